"""`mean`: several weighted means of the history, by age and count. The order of the items says nothing beyond that."""

import numpy as np
import tensorflow as tf

from training.retrieval.encoders.history import History
from training.retrieval.named_weights import NamedWeights

AGE_BUCKETS = 11  # floor(log2(1 + days)): today, 1-2, 3-6, … over 1023 days


class WeightedMeans(tf.Module):
    """Means in which an item's weight is a softmax, over the history, of a learnt value of its age bucket plus a learnt
    multiple of log(1 + count), for each mean its own.
    """

    def __init__(self, interests: int, weights: NamedWeights) -> None:
        super().__init__(name="weighted_means")
        self._named = weights
        recency = -np.log1p(np.arange(AGE_BUCKETS))[:, None] * np.linspace(0, 1, interests)[None, :]
        weights.add("query/recency", recency)
        weights.add("query/count", np.zeros(interests) + 0.5)

    @property
    def weights(self) -> dict[str, tf.Variable]:
        """Every weight by its path."""
        return self._named.by_name

    def __call__(self, history: History) -> tf.Tensor:
        """`[batch, interests, dimension]`."""
        bucket = tf.cast(tf.floor(tf.math.log1p(history.age_days) / np.log(2.0)), tf.int32)
        recency = tf.gather(self._named["query/recency"], tf.minimum(bucket, AGE_BUCKETS - 1))
        logits = recency + tf.math.log1p(history.counts)[:, :, None] * self._named["query/count"]
        present = history.present[:, :, None]
        logits = tf.where(present, logits, tf.constant(-1e9, tf.float32))
        weights = tf.where(present, tf.nn.softmax(logits, axis=1), 0.0)
        return tf.linalg.matmul(weights, history.items, transpose_a=True)
