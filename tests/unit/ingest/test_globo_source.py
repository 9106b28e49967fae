"""The Globo source: milliseconds become moments; copies and impossible clicks are quarantined and counted."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from ingest.land import ingest
from ingest.newest import midnight_after_newest
from ingest.resolving import resolve
from ingest.sources import GLOBO
from tastemaker.errors import TastemakerError
from tastemaker.settings import Settings

AS_OF = datetime(2017, 10, 17, tzinfo=UTC)
START = 1_506_825_423_000  # 2017-10-01 02:37:03
HOUR = 3_600_000


def clicks(*rows: dict[str, int | None]) -> pa.Table:
    """Clicks on article 7 by reader 1, 17 ms after their session began, but for what a row says otherwise."""
    usual = {
        "user_id": 1,
        "session_id": 11,
        "session_start": START,
        "session_size": 2,
        "click_article_id": 7,
        "click_timestamp": START + 17,
        "click_environment": 4,
        "click_device_group": 3,
        "click_os": 20,
        "click_country": 1,
        "click_region": 20,
        "click_referrer_type": 2,
    }
    return pa.Table.from_pylist([{**usual, **row} for row in rows])


def test_milliseconds_become_moments(home, tmp_path, landed):
    pq.write_table(clicks({}, {"click_article_id": 8, "click_timestamp": START + HOUR}), tmp_path / "clicks.parquet")
    facts = ingest(home, "globo", str(tmp_path / "clicks.parquet"), AS_OF).facts
    assert (facts["read"], facts["passed"], facts["quarantined"], facts["visible"]) == (2, 2, 0, {"clicks": 2})
    first, second = landed("clicks")
    assert first["session_start"] == datetime(2017, 10, 1, 2, 37, 3)
    assert first["click_timestamp"] == datetime(2017, 10, 1, 2, 37, 3, 17000)
    assert second["click_timestamp"] == datetime(2017, 10, 1, 3, 37, 3)


def test_the_publishers_csv_files_are_read_too(home, tmp_path, landed):
    pa_csv.write_csv(clicks({}), tmp_path / "clicks_hour_000.csv")
    pa_csv.write_csv(clicks({"click_timestamp": START + HOUR}), tmp_path / "clicks_hour_001.csv")
    facts = ingest(home, "globo", str(tmp_path), AS_OF).facts
    assert facts["passed"] == 2
    assert landed("clicks")[0]["click_timestamp"] == datetime(2017, 10, 1, 2, 37, 3, 17000)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({}, "duplicate key: user_id, session_id, click_article_id, click_timestamp"),
        ({"click_timestamp": START - 1}, "before its session: click_timestamp"),
        ({"click_timestamp": START // 1000}, "time out of range: click_timestamp"),  # seconds, not milliseconds
        ({"click_timestamp": START * 1000}, "wrong type: click_timestamp"),  # microseconds: beyond every calendar
        ({"session_id": None}, "missing value: session_id"),
        ({"user_id": -1}, "out of bounds: user_id"),
    ],
)
def test_a_wrong_click_is_quarantined_and_counted(home, tmp_path, wrong, rule):
    pq.write_table(clicks({}, wrong), tmp_path / "clicks.parquet")
    facts = ingest(home, "globo", str(tmp_path / "clicks.parquet"), AS_OF).facts
    assert (facts["read"], facts["passed"], facts["quarantined"]) == (2, 1, 1)
    assert facts["files"][0]["reasons"] == {rule: 1}


def test_text_that_is_no_whole_number_is_no_moment(home, tmp_path):
    pa_csv.write_csv(clicks({}), tmp_path / "clicks.csv")
    text = (tmp_path / "clicks.csv").read_text()
    (tmp_path / "clicks.csv").write_text(text + text.splitlines()[1].replace(str(START + 17), "yesterday") + "\n")
    facts = ingest(home, "globo", str(tmp_path / "clicks.csv"), AS_OF).facts
    assert facts["files"][0]["reasons"] == {"wrong type: click_timestamp": 1}


def test_the_newest_click_is_found_before_anything_lands(home, tmp_path):
    pq.write_table(clicks({}, {"click_timestamp": START + 24 * HOUR}), tmp_path / "clicks.parquet")
    newest = midnight_after_newest(GLOBO, str(tmp_path / "clicks.parquet"), home.cache)
    assert newest == datetime(2017, 10, 3, tzinfo=UTC)


def test_clicks_that_are_not_there_are_a_sentence_with_their_terms(home, tmp_path):
    with pytest.raises(TastemakerError, match=r"cannot be fetched .*10\.1145/3270323\.3270328.*TASTEMAKER_GLOBO"):
        resolve("globo", None, {}, home)
    with pytest.raises(TastemakerError, match=r"no Globo clicks at /nowhere.*10\.1145/3270323\.3270328"):
        resolve("globo", "/nowhere", {}, home)


def test_the_path_wins_over_the_setting(home, tmp_path: Path, monkeypatch):
    file = tmp_path / "clicks.parquet"
    file.touch()
    monkeypatch.setenv("TASTEMAKER_GLOBO", str(file))
    named = Settings().named_files
    assert resolve("globo", None, named, home).path == str(file)
    assert resolve("globo", str(tmp_path), named, home).path == str(tmp_path)
