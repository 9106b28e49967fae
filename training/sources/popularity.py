"""What everybody takes: counts of the last 90 days that halve with age, or those of the last 30 days as they are.

Events of a band of ages are as good as spread evenly over it. At hourly grain the last hour and the last six are bands.
"""

import numpy as np
import tensorflow as tf

from tastemaker import names
from training.release.item_snapshot import ITEM_NUMBERS, POPULARITY, ItemSnapshot
from training.sources.source import Asked, Proposals

BANDS = {"1h": 1 / 24, "6h": 6 / 24, "1d": 1, "7d": 7, "30d": 30, "90d": 90}  # days, of item_interactions_<span>


class Popularity(tf.Module):
    """The same list for everyone.

    Args:
        items: the snapshot.
        listed: how many items it proposes, `candidates.popular`.
        half_life_days: None counts the last 30 days.
    """

    name = names.SOURCE_POPULAR

    def __init__(self, items: ItemSnapshot, listed: int, half_life_days: float | None) -> None:
        super().__init__(name=names.SOURCE_POPULAR)
        self._items = items
        self.listed, self._half_life_days = listed, half_life_days
        rows = items.universe.rows
        self.best = tf.Variable(tf.fill([rows], items.universe.unknown), trainable=False, name="best")
        self.best_scores = tf.Variable(tf.zeros([rows]), trainable=False, name="best_scores")
        self.rank = tf.Variable(tf.fill([rows], float(rows)), trainable=False, name="rank")

    def refresh(self) -> None:
        """Counts anew."""
        available = self._items.available.numpy()
        scores = np.where(available, self._counted(), -1.0)
        order = np.argsort(-scores, kind="stable").astype(np.int32)
        rank = np.empty(len(order), np.float32)
        rank[order] = np.arange(len(order))
        self.best.assign(np.where(available[order], order, self._items.universe.unknown))
        self.best_scores.assign(np.maximum(scores[order], 0.0).astype(np.float32))
        self.rank.assign(rank)

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the count, which may be 0: a new shop has popular items, too."""
        batch = tf.shape(asked.query)[0]
        count = tf.minimum(count, self._items.universe.rows)
        best, scores = tf.convert_to_tensor(self.best)[:count], tf.convert_to_tensor(self.best_scores)[:count]
        return Proposals(
            tf.broadcast_to(best[None, :], [batch, count]), tf.broadcast_to(scores[None, :], [batch, count])
        )

    def _counted(self) -> np.ndarray:
        """float64 `[N + 1]`."""
        numbers = self._items.numbers.numpy().astype(np.float64)
        if self._half_life_days is None:
            return np.nan_to_num(numbers[:, ITEM_NUMBERS.index(POPULARITY)])
        rate = np.log(2) / self._half_life_days
        total, before, since = np.zeros(len(numbers)), np.zeros(len(numbers)), 0.0
        for span, days in BANDS.items():
            until = numbers[:, ITEM_NUMBERS.index(f"item_interactions_{span}")]
            if not np.isfinite(until).any():  # what only a grain of hours can tell
                continue
            until = np.nan_to_num(until)
            mean = (np.exp(-rate * since) - np.exp(-rate * days)) / (rate * (days - since))  # of 0.5^(age / half-life)
            total += (until - before) * mean
            before, since = until, days
        return total
