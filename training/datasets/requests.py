"""The requests of the training set: what `fct_requests` knew at as_of, with each user's features of that moment."""

from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from training.datasets.session_fold import fold_sessions


def visible_requests(home: Home, as_of: datetime) -> pa.Table:
    """Every request before `as_of` that was known by then, earliest first, with the columns of `fct_requests`.

    And `positive_first_timestamps`, beside `positive_item_ids`: microseconds since 1970 UTC of the first event by which
    anybody, anonymous visitors included, wanted the item; never after the session in which it was taken.

    Raises TastemakerError when there is no warehouse, or no request in it.
    """
    if not home.warehouse.exists():
        raise TastemakerError(f"There is no warehouse at {home.warehouse}; build it with 'tastemaker transform'.")
    with duckdb.connect(str(home.warehouse), read_only=True) as warehouse:
        visible = f"< {sql_timestamp(as_of)} and {names.CREATED_TIMESTAMP} <= {sql_timestamp(as_of)}"
        first = warehouse.execute(
            f"""
            select {names.ITEM_ID}, epoch_us(min({names.EVENT_TIMESTAMP})) as first
            from {names.FCT_INTERACTIONS}
            where is_positive and {names.EVENT_TIMESTAMP} {visible}
            group by {names.ITEM_ID}
            """
        ).to_arrow_table()
        found = warehouse.execute(
            f"""
            select *
            from {names.FCT_REQUESTS}
            where {names.REQUEST_TIMESTAMP} {visible}
            order by {names.REQUEST_TIMESTAMP}, {names.REQUEST_ID}
            """
        ).to_arrow_table()
    if not len(found):
        raise TastemakerError(
            f"The warehouse {home.warehouse} holds no request of a known user before {as_of:%Y-%m-%d %H:%M}; "
            "choose a later as_of, or ingest events that have a user_id."
        )
    taken = found[names.POSITIVE_ITEM_IDS].combine_chunks()
    moments = first["first"].take(pc.index_in(taken.flatten(), value_set=first[names.ITEM_ID]))
    column = pa.ListArray.from_arrays(_offsets(taken), moments.combine_chunks())
    return found.append_column(names.POSITIVE_FIRST_TIMESTAMPS, column)


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
