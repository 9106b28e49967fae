"""Which items TensorBoard's projector shows, and what it says of each."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tastemaker import names
from training.feature_tensors import column_of
from training.retrieval.tower_shape import ITEM_TITLE
from training.retrieval.two_tower import TwoTower, candidate_tensors

SHOWN = 10_000  # the most popular ones; a browser turns that many points smoothly
POPULARITY = "item_interactions_30d"
LABELS = (names.ITEM_ID, ITEM_TITLE, "item_category", POPULARITY)


def item_space(tower: TwoTower, items: pa.Table) -> tuple[np.ndarray, dict[str, Sequence[object]]]:
    """The tastes `[n, taste]` and labels of the most popular items of one day's snapshot."""
    popularity = column_of(items, POPULARITY).fill_null(0).to_numpy(zero_copy_only=False)
    shown = items.take(pa.array(np.sort(np.argsort(-popularity, kind="stable")[:SHOWN])))
    return tower.candidates(candidate_tensors(shown))[:, : tower.config.taste].numpy(), {
        name: column_of(shown, name).to_pylist() for name in LABELS
    }
