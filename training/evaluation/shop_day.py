"""What was known before a day began: of the items at its midnight, and of each request's user."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from tastemaker import names
from training.feature_tensors import column_of, query_tensors, request_timestamps
from training.release.item_universe import ItemUniverse

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class ShopDay:
    """The items of one midnight, by item index.

    Attributes:
        popularity: float64 `[N + 1]`, interactions of the last 30 days; −1 where the item was not there.
        surprise: float64 `[N + 1]`, bits: −log2 of the item's share of the interactions of the last 90 days, each
            item with one more than it has.
        head: bool `[N + 1]`: the most popular items of the last 90 days that together have half the interactions.
        neighbours: `[N + 1, N + 1]`, similarity of an item (row) to its neighbours.
    """

    popularity: np.ndarray
    surprise: np.ndarray
    head: np.ndarray
    neighbours: sp.csr_matrix

    @classmethod
    def of(cls, items: pa.Table, universe: ItemUniverse) -> "ShopDay":
        """From one row per item with every item feature (`snapshot_of`)."""
        at = universe.indices(column_of(items, names.ITEM_ID))
        popularity = np.full(universe.rows, -1.0)
        popularity[at] = _numbers(items, "item_interactions_30d")
        interactions = np.zeros(universe.rows)
        interactions[at] = _numbers(items, "item_interactions_90d")
        share = (interactions + 1) / (interactions.sum() + len(at))
        order = np.argsort(-interactions, kind="stable")
        before = np.cumsum(interactions[order]) - interactions[order]
        head = np.zeros(universe.rows, bool)
        head[order] = (before < interactions.sum() / 2) & (interactions[order] > 0)
        return cls(popularity, -np.log2(share), head, _neighbours(items, at, universe))


@dataclass(frozen=True)
class Histories:
    """What each request's user had before, one entry a distinct item: all arrays `[entries]`.

    Attributes:
        requests: how many requests.
        owner: int64, the request.
        item: int32, the item's index.
        days: float64, days from the last time to the request.
        count: float64, how often.
    """

    requests: int
    owner: np.ndarray
    item: np.ndarray
    days: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, requests: pa.Table, universe: ItemUniverse) -> "Histories":
        """From rows of `requests.parquet`; items that the universe does not have are left out."""
        tensors = query_tensors(requests)
        ids = tensors["history_item_ids"]
        item = universe.indices(pa.array(ids.reshape(-1), pa.string())).reshape(ids.shape)
        owner, place = np.nonzero(item != universe.unknown)
        moments = request_timestamps(requests)[owner]
        days = (moments - tensors["history_timestamps"][owner, place]) / DAY
        count = tensors["history_counts"][owner, place].astype(np.float64)
        return cls(len(requests), owner, item[owner, place], days, count)

    def matrix(self, weights: np.ndarray, columns: int) -> sp.csr_matrix:
        """`weights` `[entries]` as a matrix `[requests, columns]`."""
        return sp.csr_matrix((weights, (self.owner, self.item)), shape=(self.requests, columns))


def pairs_of(lists: pa.Array, universe: ItemUniverse) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists of item ids as owner int64 `[pairs]` and item index int32 `[pairs]` (maybe `unknown`)."""
    owner = np.asarray(pc.list_parent_indices(lists))
    return owner.astype(np.int64), universe.indices(pc.list_flatten(lists))


def _neighbours(items: pa.Table, at: np.ndarray, universe: ItemUniverse) -> sp.csr_matrix:
    owner, neighbour = pairs_of(column_of(items, "neighbour_item_ids"), universe)
    scores = pc.list_flatten(column_of(items, "neighbour_scores")).to_numpy(zero_copy_only=False)
    known = (neighbour != universe.unknown) & np.isfinite(scores)
    shape = (universe.rows, universe.rows)
    return sp.csr_matrix((scores[known], (at[owner[known]], neighbour[known])), shape=shape)


def _numbers(items: pa.Table, name: str) -> np.ndarray:
    return column_of(items, name).cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
