"""What an item's own features leave of every tree: baked once a snapshot, then one gathered row a candidate."""

from typing import Protocol

import tensorflow as tf

from training.ranking.features import item_columns
from training.release.item_snapshot import ItemSnapshot
from training.sources.popularity import Popularity

# The masks of all items lie in memory and in every version on disk: 500 trees of 63 leaves take 4 KB an item, so that
# 50,000 items are 200 MB, and a million 4 GB. Above this they are made for each request's candidates instead, which
# gives the same bits.
BAKED_BYTES = 256 * 2**20
ITEMS_AT_ONCE = 4_096  # of a bake: 16 MB of masks at 4 KB an item


class Forest(Protocol):
    """The compiled ranker; see `training.release.trees.CompiledForest`.

    `words` is how many int64 hold the masks of one row.
    """

    words: int

    def item_masks(self, item_features: tf.Tensor) -> tf.Tensor:
        """float32 `[N, len(ITEM_ONLY)]` → int64 `[N, words]`."""

    def user_masks(self, user_features: tf.Tensor) -> tf.Tensor:
        """float32 `[B, len(USER_ONLY)]` → int64 `[B, words]`."""

    def raw_scores_from_masks(
        self, item_masks_gathered: tf.Tensor, user_masks: tf.Tensor, pair_features: tf.Tensor
    ) -> tf.Tensor:
        """int64 `[B, C, words]`, int64 `[B, words]` and float32 `[B, C, len(PAIR_ONLY)]` → float64 `[B, C]`."""


class ItemMasks(tf.Module):
    """The item masks of one snapshot under one forest.

    Attributes:
        baked: whether they are kept; chosen by `bound`.
        bytes: what keeping them takes, or would take.

    Args:
        forest: the ranker.
        items: the snapshot; call `refresh` after it has changed.
        popularity: of the same items, refreshed before the masks.
        bound: bytes up to which masks are kept.
    """

    def __init__(self, forest: Forest, items: ItemSnapshot, popularity: Popularity, bound: int = BAKED_BYTES) -> None:
        super().__init__(name="item_masks")
        self._forest, self._items, self._popularity = forest, items, popularity
        rows = items.universe.rows
        self.bytes = rows * forest.words * 8
        self.baked = self.bytes <= bound
        if self.baked:
            self.table = tf.Variable(tf.zeros([rows, forest.words], tf.int64), trainable=False, name="item_masks")
            self.refresh()

    def refresh(self) -> None:
        """Makes the masks again from the snapshot as it is now."""
        if not self.baked:
            return
        rows = self._items.universe.rows
        for start in range(0, rows, ITEMS_AT_ONCE):
            at = tf.range(start, min(rows, start + ITEMS_AT_ONCE))
            self.table[start : start + ITEMS_AT_ONCE].assign(self._made(at))

    def of(self, candidates: tf.Tensor) -> tf.Tensor:
        """The masks of int32 `[B, C]` items, int64 `[B, C, words]`."""
        if self.baked:
            return tf.gather(self.table, candidates)
        made = self._made(tf.reshape(candidates, [-1]))
        return tf.reshape(made, tf.concat([tf.shape(candidates), [self._forest.words]], axis=0))

    def _made(self, at: tf.Tensor) -> tf.Tensor:
        return self._forest.item_masks(item_columns(self._items, at, self._popularity))
