"""The two-tower retriever as a source: the items nearest to the query vector."""

import tensorflow as tf

from tastemaker import names
from training.release.item_index import ItemIndex
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.sources.source import Asked, Proposals


class NearestItems(tf.Module):
    """Asks the item index.

    Args:
        items: the snapshot.
        index: of the same items; whoever loads the snapshot refreshes it.
    """

    name = names.SOURCE_TWO_TOWER

    def __init__(self, items: ItemSnapshot, index: ItemIndex) -> None:
        super().__init__(name=names.SOURCE_TWO_TOWER)
        self._items, self._index = items, index

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the product of the vectors, which may be negative, and every item has one."""
        count = tf.minimum(count, self._items.universe.rows)
        _, nearest = self._index.nearest(asked.query, count)
        # Items whose products differ in the last bit may come in either order, with the batch: sorted by exact ones.
        there = rows_at(self._items.available, nearest)
        exact = tf.where(there, self.scores(asked, nearest), tf.float32.min)
        found = tf.math.top_k(exact, count)
        there = tf.gather(there, found.indices, batch_dims=1)
        items = tf.gather(nearest, found.indices, batch_dims=1)
        return Proposals(tf.where(there, items, self._items.universe.unknown), tf.where(there, found.values, 0.0))

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """See `ScoringSource`. Summed pair by pair, not as a matrix product: the same bits whatever B and C are."""
        return tf.reduce_sum(asked.query[:, None, :] * rows_at(self._items.vectors, candidates), axis=2)

    def refresh(self) -> None:
        """The vectors are the snapshot's, the index is refreshed with it."""
