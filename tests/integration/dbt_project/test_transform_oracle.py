"""dbt on a toy shop: its feature tables equal an oracle's, in whatever order the days are run, and a leak turns red."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from feature_oracle import differences
from toy_shop import DAY, DAYS, FIRST_DAY, QUIET_DAY, Event, land, toy_events

from dbt_project.build import dbt_vars, transform
from dbt_project.invocation import invoke_dbt
from tastemaker.config import Config, EventsConfig, FeaturesConfig
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.steps import StepReport

pytestmark = pytest.mark.integration

LATENESS, LENGTH = 2, 4
CONFIG = Config(
    version=1,
    events=EventsConfig(lateness_days=LATENESS),
    features=FeaturesConfig(history_length=LENGTH, neighbours=3),
)
LAST = FIRST_DAY + DAYS * DAY
TABLES = sorted(feature_tables())


def run(home: Home, as_of: datetime) -> StepReport:
    return transform(home, CONFIG, "landing", as_of.replace(tzinfo=UTC))


def rows(home: Home, query: str) -> list[tuple]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        found = connection.sql(query).fetchall()
    return [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in found]


def table(home: Home, name: str) -> set[tuple]:
    found = rows(home, f"select * from {name}")
    assert len(found) == len(set(found))
    return set(found)


def agrees_with_oracle(home: Home, events: list[Event]) -> None:
    assert differences(home.warehouse, events, LAST, LATENESS, LENGTH) == {}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return toy_events(seed=7)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Home:
    """A shop that landed in one file and was built once, at the last day."""
    home = Home(tmp_path_factory.mktemp("built"))
    land(home.landing, "all", events)
    report = run(home, LAST)
    assert report.facts["build"].startswith("full: the warehouse is new")
    assert report.facts["warnings"] == []
    return home


def test_tables_equal_the_oracle(built: Home, events: list[Event]) -> None:
    agrees_with_oracle(built, events)
    late = rows(built, "select count(*) from user_activity where created_timestamp > event_timestamp")
    assert late[0][0] > 20  # or the toy would prove nothing about late rows


def test_an_item_that_only_events_know_goes_by_its_id(built: Home) -> None:
    assert rows(built, "select distinct title, price from dim_items where item_id = 'i8'") == [("i8", None)]


def test_sessions_and_impressions_become_requests(built: Home, events: list[Event]) -> None:
    logged = {e.request_id for e in events if e.event_type == "impression" and e.request_id and e.created <= LAST}
    found = rows(
        built, "select request_id, len(shown_item_ids) > 0 from fct_requests where request_origin = 'impressions'"
    )
    assert set(found) == {(request, True) for request in logged}
    assert rows(built, "select count(*) from fct_requests where user_id is null") == [(0,)]


def test_days_in_any_order_leave_the_same_rows_as_one_build(built: Home, events: list[Event], tmp_path: Path) -> None:
    home = Home(tmp_path)
    land(home.landing, "all", events)
    for day in (DAYS - 2, QUIET_DAY + 1, DAYS, DAYS - 3, DAYS - 1, DAYS - 5, DAYS - 4):
        as_of = FIRST_DAY + day * DAY
        run(home, as_of)
        ahead = f"select count(*) from fct_interactions where created_timestamp > timestamp '{LAST}'"
        assert rows(home, ahead) == [(0,)]
    for name in TABLES:
        assert table(home, name) == table(built, name), name

    # A file that landed too late for the overlap: everything is built anew, and says why.
    late = Event("forgotten", "ann", "i0", "purchase", FIRST_DAY + DAY, FIRST_DAY + DAY, 3.25, "forgotten")
    land(home.landing, "forgotten", [late])
    report = run(home, LAST)
    assert "events/forgotten.parquet landed rows of 2024-03-02" in report.facts["build"]
    agrees_with_oracle(home, [*events, late])


def test_the_same_run_again_is_reused(built: Home) -> None:
    before = built.warehouse.read_bytes()
    assert run(built, LAST).reused
    assert built.warehouse.read_bytes() == before


def test_dbt_unit_tests_pass(built: Home) -> None:
    variables = dbt_vars(built, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    invoke_dbt(built, variables, ["test", "--select", "test_type:unit"], progress=False)


@pytest.mark.parametrize(
    ("leak", "test"),
    [
        (
            "update user_activity set user_interactions_1d = user_interactions_1d + 1, "
            "user_interactions_90d = user_interactions_90d + 1 where event_timestamp = timestamp '{stamp}'",
            "user_activity_counts_only_earlier_events",
        ),
        (
            "update user_history set history_timestamps = [epoch_us(event_timestamp)] || history_timestamps[2:] "
            "where event_timestamp = "
            "(select max(event_timestamp) from user_history)",
            "assert_history_is_before_its_stamp",
        ),
    ],
)
def test_an_event_inside_its_own_feature_turns_red(built: Home, leak: str, test: str) -> None:
    variables = dbt_vars(built, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    kept = built.warehouse.read_bytes()
    try:
        with duckdb.connect(str(built.warehouse)) as connection:
            connection.execute(leak.format(stamp=LAST))
        with pytest.raises(GateFailedError, match=test) as caught:
            invoke_dbt(built, variables, ["test", "--select", test], progress=False)
        assert caught.value.exit_code == 3
        assert "First of them: (" in str(caught.value)
    finally:
        built.warehouse.write_bytes(kept)


def test_an_as_of_before_the_first_event_is_a_sentence(tmp_path: Path) -> None:
    home = Home(tmp_path)
    land(home.landing, "one", [Event("e", "ann", "i0", "view", LAST, LAST)])
    with pytest.raises(
        TastemakerError, match=r"No event of 'landing' is before as_of 2024-03-01.*first was at 2024-03-22"
    ):
        run(home, FIRST_DAY)
