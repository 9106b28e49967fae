"""Who and what is new: sessions by what is known of their user, and by the age of the item they ask for."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.walk_forward.sessions import wanted
from tastemaker import names
from training.feature_tensors import column_of

FEW = 5  # clicks


def cold_starts(asked: pa.Table, items: pa.Table) -> dict[str, np.ndarray]:
    """bool `[requests]` by slice; every request is in one slice of users and in one of items.

    Args:
        asked: the hour's requests, with `user_interactions_90d` as of it: clicks before this session, if it is the
            user's only one in the hour.
        items: the snapshot of the hour. An item that is not in it was clicked by nobody in the days before: it is
            new in this hour, or as good as, and no list can hold it.
    """
    clicks = pc.fill_null(column_of(asked, "user_interactions_90d"), 0).to_numpy(zero_copy_only=False)
    at = pc.index_in(wanted(asked).cast(pa.string()), value_set=column_of(items, names.ITEM_ID).cast(pa.string()))
    hours = column_of(items, "item_age_hours").take(at).to_numpy(zero_copy_only=False).astype(np.float64)
    unseen = at.is_null().to_numpy(zero_copy_only=False)
    return {
        "users with no click": clicks == 0,
        "users with one click": clicks == 1,
        "users with 2 to 5 clicks": (clicks > 1) & (clicks <= FEW),
        "users with more clicks": clicks > FEW,
        "items not seen before the hour": unseen,
        "items of the last hour": ~unseen & (hours < 1),
        "items of the last day": ~unseen & (hours >= 1) & (hours < 24),
        "older items": ~unseen & ~(hours < 24),
    }
