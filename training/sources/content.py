"""Items whose title, category and brand are like those of the recent history: the only word on an item nobody took yet.

Cosine of tf-idf vectors over title words, the category and the brand (Lops, de Gemmis & Semeraro, "Content-based
recommender systems", 2011); the user is the decayed sum of the history's vectors.
"""

import numpy as np
import tensorflow as tf

from tastemaker import names
from training.ranking.row_scatter import by_row
from training.release.item_snapshot import TITLE_WORDS, ItemSnapshot, rows_at
from training.sources.source import Asked, Proposals, best_of

TERMS = TITLE_WORDS + 2


class Content(tf.Module):
    """Each item's terms with their weights, made of the snapshot: a vector of length 1, or 0 without a term."""

    name = names.SOURCE_CONTENT

    def __init__(self, items: ItemSnapshot) -> None:
        super().__init__(name=names.SOURCE_CONTENT)
        self._items = items
        rows = items.universe.rows
        self._offsets = (0, items.word_codes, items.word_codes + items.category_codes)
        self.size = items.word_codes + items.category_codes + items.brand_codes
        self.terms = tf.Variable(tf.zeros([rows, TERMS], tf.int32), trainable=False, name="terms")
        self.weights = tf.Variable(tf.zeros([rows, TERMS]), trainable=False, name="weights")

    def refresh(self) -> None:
        """Weighs the terms anew: rare among the available items is heavy."""
        items = self._items
        parts = (items.words.numpy(), items.category.numpy()[:, None], items.brand.numpy()[:, None])
        present = np.concatenate(parts, axis=1) > 0
        terms = np.concatenate([part + offset for part, offset in zip(parts, self._offsets, strict=True)], axis=1)
        present &= items.available.numpy()[:, None]
        owner = np.repeat(np.arange(len(terms)), present.sum(axis=1))
        once = np.unique(owner * np.int64(self.size) + terms[present])
        holders = np.bincount(once % self.size, minlength=self.size)
        rarity = np.log((1 + present.any(axis=1).sum()) / (1 + holders)) + 1
        weights = np.where(present, rarity[terms], 0.0)
        # a word that stands twice in a title has two entries, whose weights add up: the vector's length is over sums
        summed = np.zeros(len(once))
        np.add.at(summed, np.searchsorted(once, owner * np.int64(self.size) + terms[present]), weights[present])
        lengths = np.sqrt(np.bincount(once // self.size, weights=summed**2, minlength=len(terms)))
        weights = np.divide(weights, lengths[:, None], out=np.zeros_like(weights), where=lengths[:, None] > 0)
        self.terms.assign(np.where(present, terms, 0).astype(np.int32))
        self.weights.assign(weights.astype(np.float32))

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the sum of decayed cosines."""
        return best_of(asked.once(self.name, lambda: self._likeness(asked)), self._items, count)

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """See `ScoringSource`."""
        return tf.gather(asked.once(self.name, lambda: self._likeness(asked)), candidates, batch_dims=1)

    def _likeness(self, asked: Asked) -> tf.Tensor:
        """float32 `[B, N + 1]`."""
        profile = self._profiles(asked)
        # one operation: a chain of additions is put in another order by TensorFlow in some graphs, not in all
        return tf.reduce_sum(tf.gather(profile, self.terms, axis=1) * self.weights, axis=2)

    def _profiles(self, asked: Asked) -> tf.Tensor:
        """float32 `[B, size]`: the terms of the history, with their weights decayed and summed."""
        past = asked.past
        batch = tf.shape(past.weight)[0]
        terms = tf.reshape(rows_at(self.terms, past.user.history), [batch, -1])
        weights = rows_at(self.weights, past.user.history) * past.weight[:, :, None]
        return tf.tensor_scatter_nd_add(tf.zeros([batch, self.size]), by_row(terms), tf.reshape(weights, [-1]))
