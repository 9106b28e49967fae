"""Training sets through the real Feast: every row sees what was known at its own moment, and nothing after."""

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow.parquet as pq
import pytest

from feature_repo.materialize import materialize
from tastemaker.config import Config, SplitConfig
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.moments import microseconds
from tastemaker.steps import digest_files
from training.datasets import item_snapshots, requests
from training.datasets.build import build_datasets
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import snapshot_of

pytestmark = pytest.mark.integration

AS_OF = datetime(2020, 3, 1, tzinfo=UTC)
CONFIG = Config(version=1, split=SplitConfig(validation_days=2, ranker_days=3, calibration_days=2, test_days=3))


def day(n: float) -> datetime:
    """n days before as_of, naive UTC as in the warehouse."""
    return (AS_OF - timedelta(days=n)).replace(tzinfo=None)


# (key, stamp, known on, the feature's value)
PROFILES = [("old", 40, 40, 1.0), ("old", 5, 5, 2.0), ("old", 5, 4, 3.0), ("new", 2, 2, 9.0), ("later", 0, -1, 7.0)]
ACTIVITY = [("ann", 21, 21, 1), ("ann", 6, 6, 6), ("ann", 6, 3, 7)]
# (request, user, moment, known on)
REQUESTS = [
    ("r1", "ann", 20.5, 20),
    ("r2", "ann", 5.5, 5),
    ("r3", "ann", 2.5, 2),
    ("r4", "bob", 1.5, 1),
    ("late", "ann", 1.2, -1),
    ("future", "ann", -0.5, -1),
]
# (positive, moment, known on) of events with the item "old"
FIRSTS = [(True, 39, -1), (False, 30, 30), (True, 25.25, 25), (True, 20.5, 20)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("datasets"))
    with duckdb.connect(str(home.warehouse)) as warehouse:
        for name, table in feature_tables().items():
            columns = ", ".join(f"{feature.name} {feature.dtype}" for feature in table.features)
            stamps = "event_timestamp timestamp, created_timestamp timestamp"
            warehouse.execute(f"create table {name} ({table.key} varchar, {stamps}, {columns})")
        for key, stamp, known, price in PROFILES:
            warehouse.execute(
                "insert into item_profile (item_id, event_timestamp, created_timestamp, item_price) "
                "values (?, ?, ?, ?)",
                [key, day(stamp), day(known), price],
            )
        for key, stamp, known, count in ACTIVITY:
            warehouse.execute(
                "insert into user_activity (user_id, event_timestamp, created_timestamp, user_interactions_90d) "
                "values (?, ?, ?, ?)",
                [key, day(stamp), day(known), count],
            )
        warehouse.execute(
            "create table fct_requests (request_id varchar, user_id varchar, request_timestamp timestamp, "
            "created_timestamp timestamp, positive_item_ids varchar[], session_item_ids varchar[], "
            "session_timestamps bigint[], session_event_types varchar[])"
        )
        warehouse.execute(
            "create table fct_interactions (item_id varchar, is_positive boolean, event_timestamp timestamp, "
            "created_timestamp timestamp)"
        )
        for positive, moment, known in FIRSTS:
            values = ["old", positive, day(moment), day(known)]
            warehouse.execute("insert into fct_interactions values (?, ?, ?, ?)", values)
        for request, user, moment, known in REQUESTS:
            values = [request, user, day(moment), day(known), ["old"]]
            warehouse.execute("insert into fct_requests values (?, ?, ?, ?, ?, [], [], [])", values)
    materialize(home, CONFIG, AS_OF)
    return home


@pytest.fixture(scope="module")
def report(home):
    return build_datasets(home, CONFIG, AS_OF)


def test_requests_are_those_known_by_as_of_with_features_of_their_own_moment(home, report):
    requests = read_dataset(requests_file(home, AS_OF))
    assert requests["request_id"].to_pylist() == ["r1", "r2", "r3", "r4"]
    # r2 is before the correction became known; r3 is after it, but the row's two days have ended
    assert requests["user_interactions_90d"].to_pylist() == [1, 6, None, None]
    assert requests["positive_item_ids"].to_pylist() == [["old"]] * 4
    # not the impression, and not the earlier event of which nobody knew by as_of
    assert requests["positive_first_timestamps"].to_pylist() == [[microseconds(AS_OF - timedelta(days=25.25))]] * 4


def test_an_item_is_in_the_snapshots_from_the_midnight_it_was_known(home, report):
    items = read_dataset(items_file(home, AS_OF))
    assert len(items) == report.facts["item_snapshots"]
    shown = {(row["item_id"], row["day"]): row["item_price"] for row in items.to_pylist()}
    assert len(shown) == len(items)
    assert ("later", day(0)) not in shown
    assert [n for n in range(10, -1, -1) if ("new", day(n)) in shown] == [2, 1, 0]
    assert [shown["old", day(n)] for n in (6, 5, 4, 0)] == [1.0, 2.0, 3.0, 3.0]


def test_days_are_every_midnight_of_the_judged_windows_and_every_seventh_before(home, report):
    days = sorted(set(read_dataset(items_file(home, AS_OF))["day"].to_pylist()))
    assert days == [day(17), *(day(n) for n in range(10, -1, -1))]
    assert set(snapshot_of(read_dataset(items_file(home, AS_OF)), AS_OF)["item_id"].to_pylist()) == {"old", "new"}


def test_building_again_is_reused_and_a_fresh_build_leaves_the_same_bytes(home, report):
    assert build_datasets(home, CONFIG, AS_OF).reused
    before = digest_files([requests_file(home, AS_OF), items_file(home, AS_OF)])
    items_file(home, AS_OF).unlink()
    assert not build_datasets(home, CONFIG, AS_OF).reused
    assert digest_files([requests_file(home, AS_OF), items_file(home, AS_OF)]) == before


def test_windows_beyond_the_first_request_are_told(home, report):
    config = Config(version=1, split=SplitConfig(test_days=60))
    with pytest.raises(TastemakerError, match="choose a later as_of or shorter windows"):
        build_datasets(home, config, AS_OF)


def test_in_parts_of_a_day_the_rows_are_the_same(home, report, monkeypatch):
    files = [requests_file(home, AS_OF), items_file(home, AS_OF)]
    before = [read_dataset(file) for file in files]
    assert [pq.ParquetFile(file).num_row_groups for file in files] == [1, 1]
    monkeypatch.setattr(requests, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(item_snapshots, "ROWS_AT_ONCE", 1)
    files[1].unlink()
    again = build_datasets(home, CONFIG, AS_OF)
    assert not again.reused and again.facts == report.facts
    assert [read_dataset(file).equals(table) for file, table in zip(files, before, strict=True)] == [True, True]
    assert [pq.ParquetFile(file).num_row_groups for file in files] == [4, 12]  # days with a request, and midnights
