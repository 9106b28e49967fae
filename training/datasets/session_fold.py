"""The running sessions of next-item requests, folded into the histories as a caller would before asking."""

import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from tastemaker.running_session import History, with_session

ITEM_IDS, TIMESTAMPS, EVENT_TYPES, COUNTS = HISTORY = (
    "history_item_ids",
    "history_timestamps",
    "history_event_types",
    "history_counts",
)
SESSION = (names.SESSION_ITEM_IDS, names.SESSION_TIMESTAMPS, names.SESSION_EVENT_TYPES)
ROWS_AT_ONCE = 100_000  # as Python lists: 20 items and 4 lists of each row are 0.7 GB


def fold_sessions(requests: pa.Table, length: int) -> pa.Table:
    """The requests with every history as `with_session` makes it; a request without a session keeps its own.

    Args:
        requests: `fct_requests`' session lists and `user_history`'s features.
        length: `features.history_length`.
    """
    if not pc.any(pc.greater(pc.list_value_length(requests[names.SESSION_ITEM_IDS]), 0)).as_py():
        return requests
    parts = [_folded(requests.slice(at, ROWS_AT_ONCE), length) for at in range(0, len(requests), ROWS_AT_ONCE)]
    for place, name in enumerate(HISTORY):
        column = pa.chunked_array([part[place] for part in parts])
        requests = requests.set_column(requests.column_names.index(name), requests.field(name), column)
    return requests


def _folded(part: pa.Table, length: int) -> list[pa.Array]:
    lists: tuple[list[object], ...] = ([], [], [], [])
    columns = (part[name].to_pylist() for name in (*HISTORY, *SESSION))
    for *history, ids, moments, kinds in zip(*columns, strict=True):
        if ids:
            told = (values or () for values in history)  # null: nobody knows the user yet
            after = with_session(History(*told), ids, moments, kinds, length)
            history = [after.item_ids, after.timestamps, after.event_types, after.counts]
        for values, row in zip(lists, history, strict=True):
            values.append(row)
    return [pa.array(values, part.schema.field(name).type) for values, name in zip(lists, HISTORY, strict=True)]
