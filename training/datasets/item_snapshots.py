"""The item snapshots: every item that existed at a midnight, with its features as of that midnight.

At hourly grain the judged windows have one at every full hour too, of the items that somebody wanted lately.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from tastemaker.config import Grain
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from training.datasets.parts import runs_of
from training.splits import Windows

DAY = "day"  # the moment of an item snapshot: a midnight, or at hourly grain a full hour
ITEM_PROFILE = "item_profile"
ITEM_ACTIVITY = "item_activity"
# At full hours the others are left out: 24 snapshots a day of all 45,000 items that Globo ever had are a million rows.
WANTED_WITHIN = timedelta(days=3)
ROWS_AT_ONCE = 500_000  # with 60 neighbours each 0.6 GB, twice that in the join
# A year of daily snapshots would be a million rows for four thousand items; but news is born and forgotten in a week.
RETRIEVER_STEP: dict[Grain, timedelta] = {"day": timedelta(days=7), "hour": timedelta(days=1)}


def snapshot_days(windows: Windows, earliest: datetime, grain: Grain) -> list[datetime]:
    """Every tick of the validation, ranker, calibration and test windows and as_of, and before them every seventh
    midnight, at hourly grain every one.

    Args:
        windows: of the run.
        earliest: the first request's moment; no day lies before it.
    """
    judged = (windows.validation, windows.ranker, windows.calibration, windows.test)
    ticks = [tick for window in judged for tick in window.ticks(grain)]
    first = min([*ticks, windows.as_of]).replace(hour=0, minute=0, second=0, microsecond=0)
    before = []
    while first - RETRIEVER_STEP[grain] > earliest:
        first -= RETRIEVER_STEP[grain]
        before.append(first)
    return [*reversed(before), *(tick for tick in ticks if tick > earliest), windows.as_of]


def existing_items(home: Home, days: Sequence[datetime]) -> pa.Table:
    """One row per day and item whose profile was known by then: `item_id`, `day`, `event_timestamp` (the day).

    A day that is a full hour and no midnight has only the items with a positive event since, or in the three days
    before its midnight.
    """
    profiles, activity = (home.offline_store / f"{table}.parquet" for table in (ITEM_PROFILE, ITEM_ACTIVITY))
    for table in (profiles, activity):
        if not table.exists():
            raise TastemakerError(f"There are no item features at {table}; run 'tastemaker features materialize'.")
    listed = ", ".join(f"({sql_timestamp(day)})" for day in days)
    return duckdb.execute(
        f"""
        with days({DAY}) as (values {listed}),
        items as (
            select {names.ITEM_ID}, min(greatest({names.EVENT_TIMESTAMP}, {names.CREATED_TIMESTAMP})) as known_from
            from read_parquet(?)
            group by {names.ITEM_ID}
        ),
        -- from each row on, until the next one, an item was last wanted that many days before
        wanted as (
            select {names.ITEM_ID}, {names.EVENT_TIMESTAMP} as wanted_from
            from read_parquet(?)
            where item_days_since_last_event < {WANTED_WITHIN.days}
              and {names.CREATED_TIMESTAMP} = {names.EVENT_TIMESTAMP}
        )
        select {names.ITEM_ID}, {DAY}, {DAY} as {names.EVENT_TIMESTAMP}
        from items inner join days on known_from <= {DAY}
        where {DAY} = date_trunc('day', {DAY})
           or exists (
               from wanted
               where wanted.{names.ITEM_ID} = items.{names.ITEM_ID}
                 and wanted_from between date_trunc('day', {DAY}) and {DAY}
           )
        order by {DAY}, {names.ITEM_ID}
        """,
        [str(profiles), str(activity)],
    ).to_arrow_table()


def item_snapshots(home: Home, days: Sequence[datetime]) -> pa.Table:
    """The existing items of each day with every feature of `item_v1` as of it: `item_id`, `day`, features."""
    return _with_features(home, existing_items(home, days))


def item_snapshot_parts(home: Home, days: Sequence[datetime]) -> Iterator[pa.Table]:
    """The same in parts of whole days, as many as have `ROWS_AT_ONCE` rows together, one at least."""
    existing = existing_items(home, days)
    sizes = np.unique(existing[DAY].to_numpy(), return_counts=True)[1].tolist()
    for first, end in runs_of(sizes, ROWS_AT_ONCE) or [(0, 0)]:
        yield _with_features(home, existing.slice(sum(sizes[:first]), sum(sizes[first:end])))


def _with_features(home: Home, items: pa.Table) -> pa.Table:
    # Here, not above: Feast takes 3 s to import, and whoever only reads the training sets does not need it.
    from feature_repo.historical import historical_features

    return historical_features(home, names.ITEM_V1, items).drop_columns([names.EVENT_TIMESTAMP])


def snapshot_of(items: pa.Table, day: datetime) -> pa.Table:
    """The rows of one moment. Raises TastemakerError when the snapshots do not have it."""
    moment = pa.scalar(day.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
    found = items.filter(pc.equal(items[DAY], moment))
    if not len(found):
        raise TastemakerError(
            f"There is no item snapshot of {day:%Y-%m-%d %H:%M}; build the training sets again with "
            "'tastemaker dataset'."
        )
    return found


def by_snapshot(requests: pa.Table, items: pa.Table) -> Iterator[tuple[datetime, pa.Table]]:
    """Each moment of a snapshot that requests are answered by, earliest first, and those requests in their order.

    It is the newest snapshot of the request's day (UTC) at or before the request: its midnight, at hourly grain the
    full hour where there is one. A day without any has its midnight, at which `snapshot_of` says so.
    """
    moments = pc.unique(items[DAY]).cast(pa.timestamp("us")).to_numpy()
    moments = np.sort(np.concatenate([moments, np.array([datetime.min], moments.dtype)]))
    asked = requests[names.REQUEST_TIMESTAMP].cast(pa.timestamp("us")).to_numpy()
    newest = moments[np.searchsorted(moments, asked, side="right") - 1]
    midnights = asked.astype("datetime64[D]").astype(newest.dtype)
    answered = np.maximum(newest, midnights)  # a midnight that is not there is told by whoever reads it
    for moment in np.unique(answered):
        yield moment.astype(datetime).replace(tzinfo=UTC), requests.filter(pa.array(answered == moment))
