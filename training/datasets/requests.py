"""The requests of the training set: what `fct_requests` knew at as_of, with each user's features of that moment."""

from collections.abc import Iterator
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from training.datasets.parts import runs_of
from training.datasets.session_fold import fold_sessions

ROWS_AT_ONCE = 250_000  # with 20 items of history each and the join's copies 1.5 GB


def visible_requests(home: Home, as_of: datetime) -> Iterator[pa.Table]:
    """Every request before `as_of` that was known by then, earliest first, with the columns of `fct_requests`.

    In parts of whole days (UTC), as many as have `ROWS_AT_ONCE` requests together, one at least.

    And `positive_first_timestamps`, beside `positive_item_ids`: microseconds since 1970 UTC of the first event by which
    anybody, anonymous visitors included, wanted the item; never after the session in which it was taken.

    Raises TastemakerError when there is no warehouse, or no request in it.
    """
    if not home.warehouse.exists():
        raise TastemakerError(f"There is no warehouse at {home.warehouse}; build it with 'tastemaker transform'.")
    visible = f"< {sql_timestamp(as_of)} and {names.CREATED_TIMESTAMP} <= {sql_timestamp(as_of)}"
    asked = f"from {names.FCT_REQUESTS} where {names.REQUEST_TIMESTAMP} {visible}"
    day = f"date_trunc('day', {names.REQUEST_TIMESTAMP})"
    days = _query(home, f"select {day} as day, count(*) as requests {asked} group by day order by day").to_pylist()
    if not days:
        raise TastemakerError(
            f"The warehouse {home.warehouse} holds no request of a known user before {as_of:%Y-%m-%d %H:%M}; "
            "choose a later as_of, or ingest events that have a user_id."
        )
    first_events = _query(
        home,
        f"""
        select {names.ITEM_ID}, epoch_us(min({names.EVENT_TIMESTAMP})) as first
        from {names.FCT_INTERACTIONS}
        where is_positive and {names.EVENT_TIMESTAMP} {visible}
        group by {names.ITEM_ID}
        """,
    )
    for first, end in runs_of([row["requests"] for row in days], ROWS_AT_ONCE):
        within = f"{day} between timestamp '{days[first]['day']}' and timestamp '{days[end - 1]['day']}'"
        ordered = f"order by {names.REQUEST_TIMESTAMP}, {names.REQUEST_ID}"
        yield _with_first_events(_query(home, f"select * {asked} and {within} {ordered}"), first_events)


def _query(home: Home, sql: str) -> pa.Table:
    # Opened for each part: who waits for the join of one does not keep others from the warehouse.
    with duckdb.connect(str(home.warehouse), read_only=True) as warehouse:
        return warehouse.execute(sql).to_arrow_table()


def _with_first_events(requests: pa.Table, first_events: pa.Table) -> pa.Table:
    taken = requests[names.POSITIVE_ITEM_IDS].combine_chunks()
    moments = first_events["first"].take(pc.index_in(taken.flatten(), value_set=first_events[names.ITEM_ID]))
    column = pa.ListArray.from_arrays(_offsets(taken), moments.combine_chunks())
    return requests.append_column(names.POSITIVE_FIRST_TIMESTAMPS, column)


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Of the lists in their `flatten()`; a null is empty."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def requests_with_features(home: Home, requests: pa.Table, history_length: int) -> pa.Table:
    """The requests with every feature of `recommend_v1` as of their own `request_timestamp`; rows and order stay.

    A session that runs at the request is in front of the history, as a caller would put it.
    """
    # Here, not above: Feast takes 3 s to import, and whoever only reads the training sets does not need it.
    from feature_repo.historical import historical_features

    rows = pa.table({names.USER_ID: requests[names.USER_ID], names.EVENT_TIMESTAMP: requests[names.REQUEST_TIMESTAMP]})
    joined = historical_features(home, names.RECOMMEND_V1, rows)
    for name in joined.column_names[rows.num_columns :]:
        requests = requests.append_column(name, joined[name])
    return fold_sessions(requests, history_length)
