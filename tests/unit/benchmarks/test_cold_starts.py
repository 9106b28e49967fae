"""Slices of a walk's sessions: each is in one of users and in one of items."""

import numpy as np
import pyarrow as pa

from benchmarks.walk_forward.cold_starts import cold_starts
from tastemaker import names

ITEMS = pa.table({names.ITEM_ID: ["fresh", "today", "old"], "item_age_hours": pa.array([0, 5, 24], pa.int64())})
ASKED = pa.table(
    {
        names.POSITIVE_ITEM_IDS: [["today"], ["fresh"], ["old"], ["nobody's"], ["today"]],
        "user_interactions_90d": pa.array([None, 0, 1, 5, 6], pa.int64()),
    }
)


def test_every_session_is_of_one_kind_of_user_and_wants_one_kind_of_item():
    found = {name: np.flatnonzero(rows).tolist() for name, rows in cold_starts(ASKED, ITEMS).items()}
    assert found == {
        "users with no click": [0, 1],
        "users with one click": [2],
        "users with 2 to 5 clicks": [3],
        "users with more clicks": [4],
        "items not seen before the hour": [3],
        "items of the last hour": [1],
        "items of the last day": [0, 4],
        "older items": [2],
    }
