"""One row per item, stamp at which it has a neighbour, and version; see `dbt_project.co_occurrence`."""

import pyarrow as pa

from dbt_project.co_occurrence import SessionItems, neighbour_versions

WINDOW_DAYS = 90

# A pair seen together once is chance: half of Online Retail's 2.0 million pairs are.
LEAST_SESSIONS = 2


def model(dbt, session):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Called by dbt with its own context and the DuckDB connection; returns the new rows."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["item_id", "event_timestamp", "created_timestamp"],
    )
    versions = dbt.ref("int_neighbour_versions").order("stamp, known_on").fetchall()
    numbered = dbt.ref("int_session_items").select(
        "dense_rank() over (order by session_id) - 1 as session, dense_rank() over (order by item_id) - 1 as item, "
        "item_id, happened_on, enters_on"
    )
    if versions:
        first = versions[0][0]
        numbered = numbered.filter(f"happened_on >= timestamp '{first}' - interval {WINDOW_DAYS} day")
    rows = numbered.fetchnumpy()
    names = dict(zip(rows["item"].tolist(), rows["item_id"].tolist(), strict=True))
    events = SessionItems(
        rows["session"],
        rows["item"],
        rows["happened_on"].astype("datetime64[us]"),
        rows["enters_on"].astype("datetime64[us]"),
    )
    found = list(
        neighbour_versions(
            events,
            versions,
            window_days=WINDOW_DAYS,
            least_sessions=LEAST_SESSIONS,
            neighbours=dbt.config.get("neighbours"),
        )
    )
    return pa.table(
        {
            "item_id": pa.array([names[row.item] for row in found], pa.string()),
            "event_timestamp": pa.array([row.stamp for row in found], pa.timestamp("us")),
            "created_timestamp": pa.array([row.known_on for row in found], pa.timestamp("us")),
            "neighbour_item_ids": pa.array(
                [[names[other] for other in row.others.tolist()] for row in found], pa.list_(pa.string())
            ),
            "neighbour_scores": pa.array([row.scores for row in found], pa.list_(pa.float64())),
        }
    )
