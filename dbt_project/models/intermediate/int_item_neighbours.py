"""One row per item, stamp at which it has a neighbour, and version; see `dbt_project.co_occurrence`.

With `features.neighbour_half_life_hours`, see `dbt_project.decayed_pairs`.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pyarrow as pa

from dbt_project.co_occurrence import Neighbours, SessionItems, neighbour_versions
from dbt_project.decayed_pairs import NearestItems, nearest_by_version, window_hours

WINDOW_DAYS = 90

# A pair seen together once is chance: half of Online Retail's 2.0 million pairs are.
LEAST_SESSIONS = 2

ROWS = pa.schema(
    {
        "item_id": pa.string(),
        "event_timestamp": pa.timestamp("us"),
        "created_timestamp": pa.timestamp("us"),
        "neighbour_item_ids": pa.list_(pa.string()),
        "neighbour_scores": pa.list_(pa.float64()),
    }
)


def model(dbt, session):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Called by dbt with its own context and the DuckDB connection; returns the new rows, a batch at a time."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["item_id", "event_timestamp", "created_timestamp"],
    )
    neighbours, half_life = dbt.config.get("neighbours"), float(dbt.config.get("neighbour_half_life_hours"))
    tick_hours = {"day": 24, "hour": 1}[dbt.config.get("grain")]
    versions = dbt.ref("int_neighbour_versions").order("stamp, known_on").fetchall()
    had = dbt.ref("int_session_items")
    if versions:
        reach = window_hours(half_life, tick_hours) if half_life else WINDOW_DAYS * 24
        recent = f"happened_on >= timestamp '{versions[0][0]}' - interval {reach} hour"
        # Whole sessions: which item of one came first may be told by an older event.
        had = had.filter(f"session_id in (select session_id from ({had.sql_query()}) where {recent})")
    names = had.select("item_id").distinct().order("item_id").fetchnumpy()["item_id"]
    numbered = had.select(
        "cast(dense_rank() over (order by session_id) - 1 as integer) as session, "
        "cast(dense_rank() over (order by item_id) - 1 as integer) as item, happened_on, enters_on, happened_at"
    )
    rows = numbered.order("session, happened_at, item, enters_on").fetchnumpy()
    events = SessionItems(
        rows["session"],
        rows["item"],
        rows["happened_on"].astype("datetime64[us]"),
        rows["enters_on"].astype("datetime64[us]"),
    )
    found = (
        nearest_by_version(events, versions, tick_hours=tick_hours, half_life_hours=half_life, neighbours=neighbours)
        if half_life
        else _by_version(
            neighbour_versions(
                events, versions, window_days=WINDOW_DAYS, least_sessions=LEAST_SESSIONS, neighbours=neighbours
            )
        )
    )
    ids = pa.array(names, pa.string())
    return pa.RecordBatchReader.from_batches(ROWS, (_rows(version, ids) for version in found))


def _by_version(found: Iterator[Neighbours]) -> Iterator[NearestItems]:
    for (stamp, known_on), its in groupby(found, key=lambda row: (row.stamp, row.known_on)):
        rows = list(its)
        yield NearestItems(
            stamp=stamp,
            known_on=known_on,
            items=np.array([row.item for row in rows]),
            offsets=np.cumsum([0, *(len(row.others) for row in rows)]),
            others=np.concatenate([row.others for row in rows]),
            scores=np.concatenate([row.scores for row in rows]),
        )


def _rows(version: NearestItems, ids: pa.Array) -> pa.RecordBatch:
    """Made of arrays: lists of Python's own for the neighbours of 400 hours are gigabytes."""
    count = len(version.items)
    offsets = pa.array(version.offsets, pa.int32())
    return pa.record_batch(
        [
            ids.take(pa.array(version.items)),
            pa.repeat(pa.scalar(version.stamp, pa.timestamp("us")), count),
            pa.repeat(pa.scalar(version.known_on, pa.timestamp("us")), count),
            pa.ListArray.from_arrays(offsets, ids.take(pa.array(version.others))),
            pa.ListArray.from_arrays(offsets, pa.array(version.scores)),
        ],
        schema=ROWS,
    )
