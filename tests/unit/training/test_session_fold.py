"""A running session in front of the history: row by row what `with_session` says, in as many parts as it takes."""

import pyarrow as pa
import pytest

from training.datasets import session_fold
from training.datasets.session_fold import fold_sessions

NAMES = ("history_item_ids", "history_timestamps", "history_event_types", "history_counts")
SESSION = ("session_item_ids", "session_timestamps", "session_event_types")
IDS, NUMBERS = pa.list_(pa.string()), pa.list_(pa.int64())


def table(*rows: tuple) -> pa.Table:
    columns = zip(*rows, strict=True)
    types = (IDS, NUMBERS, IDS, NUMBERS, IDS, NUMBERS, IDS)
    return pa.table(
        {n: pa.array(c, t) for n, c, t in zip((*NAMES, *SESSION), columns, types, strict=True)}
    )  # fmt: skip


OLD = (["tea", "cup"], [50, 10], ["click", "view"], [3, 1])
NONE = ([], [], [])


@pytest.mark.parametrize("at_once", [1, 100])
def test_each_history_has_its_own_session_in_front(monkeypatch, at_once):
    monkeypatch.setattr(session_fold, "ROWS_AT_ONCE", at_once)
    folded = fold_sessions(
        table(
            (*OLD, *NONE),
            (*OLD, ["pot", "cup"], [90, 80], ["click", "click"]),
            (*OLD, ["tea"], [50], ["click"]),  # the history knows this very click already
            (None, None, None, None, ["pot"], [90], ["click"]),
            (None, None, None, None, *NONE),
        ),
        length=2,
    )
    assert list(zip(*(folded[name].to_pylist() for name in NAMES), strict=True)) == [
        OLD,
        (["pot", "cup"], [90, 80], ["click", "click"], [1, 2]),
        (["tea", "cup"], [50, 10], ["click", "view"], [3, 1]),
        (["pot"], [90], ["click"], [1]),
        (None, None, None, None),
    ]


def test_without_a_session_nothing_is_touched():
    requests = table((*OLD, *NONE))
    assert fold_sessions(requests, length=1) is requests
