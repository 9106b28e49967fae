"""Items that were taken next: what followed the history's latest items in other sessions, of late above all.

A Markov chain of the first order with skips, "sequential rules" of Ludewig & Jannach, "Evaluation of session-based
recommendation algorithms" (2018), halved with age. Where co-visitation says what goes together, this says what comes
next; its half-life is its own, since in news the last hour tells what is read after an article and in a shop a season
does.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
import tensorflow as tf

from tastemaker import names
from tastemaker.moments import microseconds
from training.feature_tensors import column_of, request_timestamps
from training.ranking.past import DAY
from training.ranking.row_scatter import by_row
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.release.item_universe import ItemUniverse
from training.sources.source import Asked, Proposals, best_of

RECENT = 3  # entries of the history that are followed
PLACE_FADING = 0.5  # of an entry against the next later one
# On fourteen hours of G1's news, NDCG@20 of this source alone: one place .355, two .359, two and back .366.
FORWARD = (1.0, 0.5)  # by places apart
BACKWARD = 0.3  # the item before, given the item after, one place apart
SMOOTHING = 0.5  # takings that an item seen once is short of certainty
FOLLOWERS = 64  # of an item that are kept
FILE = "transitions.npz"


@dataclass(frozen=True)
class Taken:
    """What was taken after what, `[n]` each: indices of two items, their places apart from 1, and microseconds."""

    earlier: np.ndarray
    later: np.ndarray
    apart: np.ndarray
    moments: np.ndarray

    @classmethod
    def of(cls, requests: pa.Table, universe: ItemUniverse) -> "Taken":
        """Each request's first positive item after the latest items of its session; none where no session is known."""
        lists = column_of(requests, names.SESSION_ITEM_IDS)
        starts = np.asarray(lists.offsets)[:-1]
        sizes = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        before = universe.indices(lists.values)
        later = universe.indices(pc.list_element(column_of(requests, names.POSITIVE_ITEM_IDS), 0))
        moments = request_timestamps(requests)
        found = []
        for apart in range(1, len(FORWARD) + 1):
            row = np.flatnonzero(sizes >= apart)
            found.append((before[starts[row] + apart - 1], later[row], np.full(len(row), apart), moments[row]))
        earlier, later, places, moments = (np.concatenate(column) for column in zip(*found, strict=True))
        known = (earlier != universe.unknown) & (later != universe.unknown) & (earlier != later)
        return cls(earlier[known], later[known], places[known], moments[known])


@dataclass(frozen=True)
class Transitions:
    """By item its followers, the likeliest first.

    Attributes:
        item_ids: of the items that occur.
        starts: int64 `[items + 1]`, where each item's followers start.
        followers: int32, places in `item_ids`.
        shares: float32, of what was taken near the item.
    """

    item_ids: tuple[str, ...]
    starts: np.ndarray
    followers: np.ndarray
    shares: np.ndarray

    @classmethod
    def fit(cls, taken: Taken, item_ids: tuple[str, ...], end: datetime, half_life_days: float) -> "Transitions":
        """Counts, halved every `half_life_days` before `end`.

        >>> end = datetime.fromisoformat("2017-10-02T00:00:00Z")
        >>> moments = np.full(3, microseconds(end))
        >>> taken = Taken(np.array([0, 0, 1]), np.array([1, 1, 2]), np.array([1, 1, 1]), moments)
        >>> found = Transitions.fit(taken, ("a", "b", "c"), end, 1.0)
        >>> found.starts.tolist(), found.followers.tolist()  # after b comes c; before it, and weighing less, came a
        ([0, 1, 3, 4], [1, 2, 0, 1])
        >>> [round(float(share), 3) for share in found.shares]  # 2 / 2.5, 1 / 2.1, 0.6 / 2.1, 0.3 / 0.8
        [0.8, 0.476, 0.286, 0.375]
        """
        age = 0.5 ** ((microseconds(end) - taken.moments) / (DAY * half_life_days))
        back = taken.apart == 1
        weight = np.concatenate([np.array([0.0, *FORWARD])[taken.apart] * age, BACKWARD * age[back]])
        item = np.concatenate([taken.earlier, taken.later[back]])
        follower = np.concatenate([taken.later, taken.earlier[back]])
        counted = sp.csr_matrix((weight, (item, follower)), shape=(len(item_ids), len(item_ids)))
        totals = np.asarray(counted.sum(axis=1)).ravel() + SMOOTHING
        row = np.repeat(np.arange(len(item_ids)), np.diff(counted.indptr))
        best = np.lexsort((counted.indices, -counted.data, row))
        kept = best[np.arange(counted.nnz) - counted.indptr[row] < FOLLOWERS]
        starts = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(item_ids)))])
        shares = (counted.data[kept] / totals[row[kept]]).astype(np.float32)
        return cls(item_ids, starts.astype(np.int64), counted.indices[kept].astype(np.int32), shares)

    def save(self, folder: Path) -> None:
        """Writes `transitions.npz`."""
        ids = np.array(self.item_ids, np.str_)
        np.savez(folder / FILE, item_ids=ids, starts=self.starts, followers=self.followers, shares=self.shares)

    @classmethod
    def load(cls, folder: Path) -> "Transitions":
        """What `save` wrote."""
        with np.load(folder / FILE) as file:
            return cls(tuple(file["item_ids"].tolist()), file["starts"], file["followers"], file["shares"])


class NextItem(tf.Module):
    """Of each item its followers, as tables."""

    name = names.SOURCE_NEXT_ITEM

    def __init__(self, items: ItemSnapshot, trained: Transitions) -> None:
        super().__init__(name=names.SOURCE_NEXT_ITEM)
        self._items = items
        shape = [items.universe.rows, FOLLOWERS]
        self.followers = tf.Variable(tf.fill(shape, items.universe.unknown), trainable=False, name="followers")
        self.shares = tf.Variable(tf.zeros(shape), trainable=False, name="shares")
        self.load(trained)

    def load(self, trained: Transitions) -> None:
        """Takes other transitions: the newest of a walk, without tracing a graph again."""
        universe = self._items.universe
        at = universe.indices(pa.array(trained.item_ids, pa.string()))
        sizes = np.diff(trained.starts)
        place = np.arange(len(trained.followers)) - np.repeat(trained.starts[:-1], sizes)
        item, follower = np.repeat(at, sizes), at[trained.followers]
        known = (item != universe.unknown) & (follower != universe.unknown)
        followers = np.full(self.followers.shape, universe.unknown, np.int32)
        shares = np.zeros(self.shares.shape, np.float32)
        followers[item[known], place[known]] = follower[known]
        shares[item[known], place[known]] = trained.shares[known]
        self.followers.assign(followers)
        self.shares.assign(shares)

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the fading sum of the shares after the latest items."""
        return best_of(asked.once(self.name, lambda: self._following(asked)), self._items, count)

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """See `ScoringSource`."""
        return tf.gather(asked.once(self.name, lambda: self._following(asked)), candidates, batch_dims=1)

    def refresh(self) -> None:
        """The transitions stay as they were trained."""

    def _following(self, asked: Asked) -> tf.Tensor:
        """float32 `[B, N + 1]`."""
        past = asked.past
        history = past.user.history[:, :RECENT]
        fading = tf.pow(PLACE_FADING, tf.range(tf.shape(history)[1], dtype=tf.float32))
        weight = tf.where(past.first[:, :RECENT], fading[None, :], 0.0)
        batch = tf.shape(history)[0]
        followers = tf.reshape(rows_at(self.followers, history), [batch, -1])
        shares = tf.reshape(rows_at(self.shares, history) * weight[:, :, None], [-1])
        return tf.tensor_scatter_nd_add(tf.zeros([batch, self._items.universe.rows]), by_row(followers), shares)
