"""At full hours the item snapshots hold what was wanted lately, at midnights every item."""

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from tastemaker.config import SplitConfig
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from training.datasets.item_snapshots import by_snapshot, existing_items, snapshot_days, snapshot_of
from training.splits import plan_windows

DAY = datetime(2017, 10, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_full_hour_has_the_items_wanted_lately_and_a_midnight_all(home: Home) -> None:
    home.offline_store.mkdir(parents=True)
    profiles, activity = (home.offline_store / f"item_{kind}.parquet" for kind in ("profile", "activity"))
    duckdb.execute(f"""
        copy (
            select item_id, known as event_timestamp, known as created_timestamp
            from (values ('old', timestamp '2017-10-01'), ('late', timestamp '2017-10-01'),
                ('new', timestamp '2017-10-10 02:00')) as items(item_id, known)
        ) to '{profiles}' (format parquet)
    """)
    duckdb.execute(f"""
        copy (
            select item_id, stamp as event_timestamp, stamp as created_timestamp, days as item_days_since_last_event
            from (values ('old', timestamp '2017-10-10', 3), ('late', timestamp '2017-10-10', 2),
                ('new', timestamp '2017-10-10 02:00', 0)) as rows(item_id, stamp, days)
        ) to '{activity}' (format parquet)
    """)
    rows = existing_items(home, [DAY, DAY + HOUR, DAY + 2 * HOUR]).to_pylist()
    found = [(row["item_id"], row["day"].hour) for row in rows]
    assert found == [("late", 0), ("old", 0), ("late", 1), ("late", 2), ("new", 2)]


def test_judged_windows_have_every_hour_and_the_days_before_their_midnights() -> None:
    split = SplitConfig(validation_days=1, ranker_days=1, calibration_days=1, test_days=1)
    moments = snapshot_days(plan_windows(split, DAY), DAY - timedelta(days=6.5), "hour")
    midnights = [DAY - timedelta(days=6), DAY - timedelta(days=5)]
    assert moments == [*midnights, *(DAY - hours * HOUR for hours in range(96, -1, -1))]


def asked(*moments: datetime) -> pa.Table:
    naive = [moment.replace(tzinfo=None) for moment in moments]
    return pa.table({"request_timestamp": pa.array(naive, pa.timestamp("us"))})


def snapshots(*moments: datetime) -> pa.Table:
    return pa.table({"day": pa.array([m.replace(tzinfo=None) for m in moments for _ in range(2)], pa.timestamp("us"))})


def test_a_request_is_answered_by_the_newest_snapshot_of_its_day() -> None:
    minute, second = timedelta(minutes=1), timedelta(seconds=1)
    hours = snapshots(DAY, DAY + HOUR, DAY + 3 * HOUR, DAY + 24 * HOUR)
    requests = asked(DAY + 4 * HOUR, DAY + 2 * HOUR, DAY + HOUR - second, DAY + HOUR, DAY + 24 * HOUR + minute)
    found = {moment: part["request_timestamp"].to_pylist() for moment, part in by_snapshot(requests, hours)}
    naive = DAY.replace(tzinfo=None)
    assert found == {
        DAY: [naive + HOUR - second],
        DAY + HOUR: [naive + 2 * HOUR, naive + HOUR],  # in the order they were in
        DAY + 3 * HOUR: [naive + 4 * HOUR],
        DAY + 24 * HOUR: [naive + 24 * HOUR + minute],
    }


def test_at_daily_grain_that_is_its_midnight() -> None:
    days = snapshots(DAY - timedelta(days=1), DAY)
    requests = asked(DAY - HOUR, DAY, DAY + 23 * HOUR)
    assert [(moment, len(part)) for moment, part in by_snapshot(requests, days)] == [
        (DAY - timedelta(days=1), 1),
        (DAY, 2),
    ]


def test_yesterdays_snapshot_answers_nobody_today() -> None:
    days = snapshots(DAY)
    ((moment, part),) = by_snapshot(asked(DAY + 25 * HOUR), days)
    assert (moment, len(part)) == (DAY + 24 * HOUR, 1)
    with pytest.raises(TastemakerError, match="no item snapshot of 2017-10-11 00:00"):
        snapshot_of(days, moment)
