"""The requests of the training set: what `fct_requests` knew at as_of, with each user's features of that moment."""

from datetime import datetime

import duckdb
import pyarrow as pa

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from training.datasets.session_fold import fold_sessions


def visible_requests(home: Home, as_of: datetime) -> pa.Table:
    """Every request before `as_of` that was known by then, earliest first, with the columns of `fct_requests`.

    Raises TastemakerError when there is no warehouse, or no request in it.
    """
    if not home.warehouse.exists():
        raise TastemakerError(f"There is no warehouse at {home.warehouse}; build it with 'tastemaker transform'.")
    with duckdb.connect(str(home.warehouse), read_only=True) as warehouse:
        found = warehouse.execute(
            f"""
            select *
            from {names.FCT_REQUESTS}
            where {names.REQUEST_TIMESTAMP} < {sql_timestamp(as_of)}
              and {names.CREATED_TIMESTAMP} <= {sql_timestamp(as_of)}
            order by {names.REQUEST_TIMESTAMP}, {names.REQUEST_ID}
            """
        ).to_arrow_table()
    if not len(found):
        raise TastemakerError(
            f"The warehouse {home.warehouse} holds no request of a known user before {as_of:%Y-%m-%d %H:%M}; "
            "choose a later as_of, or ingest events that have a user_id."
        )
    return found


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
