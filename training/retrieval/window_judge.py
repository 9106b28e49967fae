"""How a tower does in a window that it has not seen: full ranking of the day's items; best-sellers, too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import tensorflow as tf

from training.feature_tensors import column_of, request_timestamps
from training.retrieval.batches import Rows
from training.retrieval.examples import Snapshots
from training.retrieval.recall import Ranking, Scorer, positives_of, rankings, recall_at
from training.retrieval.two_tower import TwoTower
from training.splits import Window

RECALLS = (20, 50, 150)
POPULARITY = "item_interactions_30d"


@dataclass(frozen=True)
class WindowJudge:
    """Requests that can be asked, and the items that could be answered.

    Attributes:
        moments: int64 `[requests]`, microseconds since 1970 UTC.
        positives: by request the items that were taken.
        snapshots: which items there were at which moment.
        sold: float64 `[snapshot rows]`, how much of each was taken in the 30 days before.
        seed: of the order of items with equal scores.
    """

    moments: np.ndarray
    positives: list[np.ndarray]
    snapshots: Snapshots
    sold: np.ndarray
    seed: int

    @classmethod
    def of(cls, requests: pa.Table, items: pa.Table, snapshots: Snapshots, seed: int) -> "WindowJudge":
        """Of training sets; `snapshots` are those of `items`."""
        sold = column_of(items, POPULARITY).cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False)
        return cls(request_timestamps(requests), positives_of(requests, snapshots), snapshots, sold, seed)

    def has_positives(self, window: Window) -> bool:
        """Whether any request of the window took an item that was there."""
        return any(len(self.positives[row]) for row in self._asked(window))

    def ranked(self, window: Window, tower: TwoTower, rows: Rows, k: int) -> Iterator[Ranking]:
        """For every request of the window with a positive the tower's k best items and its positives."""
        asked = self._asked(window)
        return rankings(k, _scorer(asked, tower, rows), *self._wanted(asked), self.snapshots, self.seed)

    def recall(self, window: Window, tower: TwoTower, rows: Rows) -> dict[int, float]:
        """By length of list, the tower's."""
        asked = self._asked(window)
        return recall_at(RECALLS, _scorer(asked, tower, rows), *self._wanted(asked), self.snapshots, self.seed)

    def popularity_recall(self, window: Window) -> dict[int, float]:
        """By length of list, that of the best-sellers."""

        def score(requests: np.ndarray, snapshots: np.ndarray) -> np.ndarray:
            return np.tile(self.sold[snapshots], (len(requests), 1))

        return recall_at(RECALLS, score, *self._wanted(self._asked(window)), self.snapshots, self.seed)

    def _asked(self, window: Window) -> np.ndarray:
        return np.flatnonzero(window.contains(self.moments))

    def _wanted(self, asked: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        return [self.positives[row] for row in asked], self.moments[asked]


def taken(tensors: Mapping[str, tf.Tensor], rows: np.ndarray) -> dict[str, tf.Tensor]:
    """Some rows of every tensor."""
    return {name: tf.gather(values, rows) for name, values in tensors.items()}


def _scorer(asked: np.ndarray, tower: TwoTower, rows: Rows) -> Scorer:
    """Products with the items of snapshot rows, for requests given by their places in `asked`."""
    queries = tower.query_from_indices(taken(rows.user, asked)).numpy()

    def score(requests: np.ndarray, snapshots: np.ndarray) -> np.ndarray:
        return queries[requests] @ tower.candidates_from_indices(taken(rows.item, snapshots)).numpy().T

    return score
