"""The join in memory against the oracle in plain Python, and against the SQL where that alone is the measure."""

from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.point_in_time.join import FeatureRows, join_sql
from feature_repo.point_in_time.oracle import Version, answer
from feature_repo.point_in_time.search import NONE, Gathered, find, newest_visible

MONDAY = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)

# Few keys and few hours, so that stamps, creation times and keys coincide all the time.
hours = st.integers(0, 8).map(lambda n: MONDAY + n * HOUR)
keys = st.tuples(st.sampled_from(["1", "12", None]), st.sampled_from([3, 23, None]))
versions = st.lists(
    st.builds(Version, key=keys, event=st.none() | hours, created=st.none() | hours, value=st.integers(0, 999)),
    max_size=14,
)
asked_rows = st.lists(st.tuples(keys, hours), max_size=10)
ttls = st.sampled_from([None, HOUR, 3 * HOUR])

CONNECTION = duckdb.connect(config={"threads": 1})
CONNECTION.execute("SET GLOBAL asof_loop_join_threshold = 0")
VIEW = FeatureRows("features", {"a": "a", "b": "b"}, {"value": "value"}, "event", "created", ["position"])
NANOSECONDS = replace(
    VIEW, event="epoch_us(event) * 1000", created="epoch_us(created) * 1000", nanoseconds=True, keys={"b": "b"}
)


def connected(rows: list[Version], asked: list[tuple[tuple, datetime]]) -> duckdb.DuckDBPyConnection:
    stamp = pa.timestamp("us")
    connection = CONNECTION.cursor()
    columns = {
        "a": pa.array([row.key[0] for row in rows], pa.string()),
        "b": pa.array([row.key[1] for row in rows], pa.int64()),
        "event": pa.array([row.event for row in rows], stamp),
        "created": pa.array([row.created for row in rows], stamp),
        "position": pa.array(range(len(rows)), pa.int64()),
        "value": pa.array([row.value for row in rows], pa.int64()),
    }
    connection.register("features", pa.table(columns))
    labels = {
        "a": pa.array([key[0] for key, _ in asked], pa.string()),
        "b": pa.array([key[1] for key, _ in asked], pa.int64()),
        "__time": pa.array([time for _, time in asked], stamp),
        "__row": pa.array(range(len(asked)), pa.int64()),
    }
    connection.register("labels", pa.table(labels))
    return connection


def joined(connection: duckdb.DuckDBPyConnection, view: FeatureRows) -> list:
    gathered = Gathered(connection, "labels", [], [find(connection, "labels", view)])
    return gathered.to_arrow_table().column("value").to_pylist()


@settings(max_examples=150, deadline=None)
@given(versions, asked_rows, ttls, st.booleans())
def test_every_label_is_given_what_the_oracle_gives(rows, asked, ttl, known):
    with connected(rows, asked) as connection:
        found = joined(connection, replace(VIEW, ttl=ttl, created_must_be_known=known))
    assert found == [answer(rows, key, time, ttl=ttl, created_must_be_known=known) for key, time in asked]


@pytest.mark.parametrize(
    "view",
    [
        NANOSECONDS,
        replace(NANOSECONDS, keys={}, created_must_be_known=False),
        replace(VIEW, keys={}),
        replace(VIEW, created=None),
        replace(VIEW, position=["position % 3", "-position"]),
    ],
)
@settings(max_examples=40, deadline=None)
@given(versions, asked_rows, ttls)
def test_the_same_as_the_sql(view, rows, asked, ttl):
    view = replace(view, ttl=ttl, late=view.created is not None and view.created_must_be_known)
    with connected(rows, asked) as connection:
        by_sql = connection.execute(join_sql("labels", [], [view])).fetchall()
        assert joined(connection, view) == [value for (value,) in by_sql]


STAMPS = {"microseconds": 1, "a range that 64 bits do not hold with the key": 2**58}


@pytest.mark.parametrize("unit", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize("known", [True, False])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-6, 6), st.integers(-6, 6)), max_size=30))
def test_the_lookup_is_the_greatest_visible_row(unit, known, rows):
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    codes, event, created = columns[:, 0], columns[:, 1] * unit, columns[:, 2] * unit
    position = np.arange(len(rows))
    label_codes, label_times = (part.ravel() for part in np.meshgrid(np.arange(4), np.arange(-7, 8) * unit))
    search = newest_visible(codes, event, created, [position], keys=4, created_must_be_known=known)
    expected = [
        max(
            (row for row in position if codes[row] == c and event[row] <= t and (created[row] <= t or not known)),
            key=lambda row: (event[row], created[row], row),
            default=NONE,
        )
        for c, t in zip(label_codes, label_times, strict=True)
    ]
    assert search(label_codes, label_times).tolist() == expected


def test_infinite_stamps_are_the_first_and_the_last():
    rows = [Version(("1", 3), MONDAY, MONDAY, 1)]
    with connected(rows, [(("1", 3), MONDAY - HOUR), (("1", 3), MONDAY), (("1", 3), MONDAY + HOUR)]) as connection:
        connection.execute(
            "CREATE TEMP TABLE history AS FROM features UNION ALL VALUES "
            "('1', 3, '-infinity'::TIMESTAMP, '-infinity'::TIMESTAMP, 1, 2), "
            "('1', 3, 'infinity'::TIMESTAMP, '-infinity'::TIMESTAMP, 2, 3), "
            "('1', 3, '2024-01-01 00:30'::TIMESTAMP, 'infinity'::TIMESTAMP, 3, 4)"
        )
        assert joined(connection, replace(VIEW, relation="history")) == [2, 1, 1]


BACKFILL = [Version(("1", 3), MONDAY, MONDAY, 1), Version(("1", 3), MONDAY + HOUR, MONDAY + 5 * HOUR, 2)]
FUTURE = [Version(("1", 3), MONDAY, MONDAY, 1), Version(("1", 3), MONDAY + 3 * HOUR, MONDAY, 2)]
OWN_TIME = [Version(("1", 3), MONDAY, MONDAY, 1), Version(("1", 3), MONDAY + 2.5 * HOUR, MONDAY + 2.5 * HOUR, 2)]

PLANTED = {
    "a late backfill": (BACKFILL, replace(VIEW, created_must_be_known=False)),
    "a created time that is the stamp": (BACKFILL, replace(VIEW, created="event")),
    "a future row": (FUTURE, replace(VIEW, event="event - INTERVAL 2 HOURS")),
    "a stamp cut to the hour": (
        OWN_TIME,
        replace(VIEW, event="date_trunc('hour', event)", created="date_trunc('hour', created)"),
    ),
    "an expired row": (BACKFILL[:1], replace(VIEW, ttl=None)),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_the_oracle_sees_a_planted_leak_in_memory_too(fault):
    rows, broken = PLANTED[fault]
    asked = [(("1", 3), MONDAY + 2 * HOUR)]
    ttl = HOUR if fault == "an expired row" else None
    with connected(rows, asked) as connection:
        right = joined(connection, replace(VIEW, ttl=ttl))
        wrong = joined(connection, broken)
    assert right == [answer(rows, key, time, ttl=ttl) for key, time in asked]
    assert wrong != right
