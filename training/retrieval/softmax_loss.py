"""The loss: a softmax over items, shared by all the positives of a request, with a gradient written by hand.

A request's query is compared once with every competing item, however many positives it has. Cosines are bounded, so
the exponentials need no maximum first, and the gradient is two matrix products of them: over 41,000 items a step takes
a third of the memory traffic of the composed operations.
"""

import tensorflow as tf
import tensorflow_recommenders as tfrs


class ManyPositives(tf.Module, tfrs.tasks.base.Task):
    """-log of a positive's share in the softmax of its request, summed over pairs by weight.

    Where every request has one positive and every item occurs once, the value and gradients are those of
    `tfrs.tasks.Retrieval` with log-Q correction; a request's other positives are no negatives of it, and nor is what
    `ignored` names.

    Args:
        temperature: what cosines are divided by.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__(name="many_positives")
        self._temperature = temperature

    def __call__(
        self,
        query: tf.Tensor,
        candidate: tf.Tensor,
        log_probability: tf.Tensor,
        pairs: tf.Tensor,
        weight: tf.Tensor,
        ignored: tf.Tensor,
    ) -> tf.Tensor:
        """The loss, a scalar; differentiable in `query` and `candidate`.

        Args:
            query: unit vectors `[requests, taste]`.
            candidate: unit vectors `[items, taste]`, each item once.
            log_probability: `[items]`, the log of the probability with which an item is among the candidates (Yi et
                al., RecSys 2019), 0 where it always is; less what its logits have beside the cosine.
            pairs: int64 `[pairs, 2]`, row of `query` and row of `candidate`, distinct.
            weight: `[pairs]`.
            ignored: int64 `[n, 2]`, further (query, candidate) that are no negatives, distinct and none of `pairs`.
        """
        temperature = self._temperature

        @tf.custom_gradient
        def loss(q: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, object]:
            row, column = pairs[:, 0], pairs[:, 1]
            # a cosine is at most 1: no exponential is above exp(-log_probability). What does not depend on the query is
            # a column more of the product, which saves three passes over [requests, items].
            level = (-1.0 / temperature - log_probability)[:, None]
            logits = tf.linalg.matmul(
                tf.concat([q / temperature, tf.ones_like(q[:, :1])], axis=1),
                tf.concat([c, level], axis=1),
                transpose_b=True,
            )
            e = tf.exp(logits)
            own = tf.gather_nd(e, pairs)
            no_negatives = tf.concat([pairs, ignored], axis=0)
            negatives = tf.tensor_scatter_nd_update(e, no_negatives, tf.zeros([tf.shape(no_negatives)[0]]))
            total = tf.gather(tf.reduce_sum(negatives, axis=1), row) + own

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                scale = upstream / temperature
                requests = tf.shape(q)[0]
                away = scale * tf.math.unsorted_segment_sum(weight / total, row, requests)[:, None]
                toward = (scale * weight * (own / total - 1.0))[:, None]
                query_pull = tf.math.unsorted_segment_sum(toward * tf.gather(c, column), row, requests)
                item_pull = tf.math.unsorted_segment_sum(toward * tf.gather(q, row), column, tf.shape(c)[0])
                return (
                    away * tf.linalg.matmul(negatives, c) + query_pull,
                    tf.linalg.matmul(negatives, away * q, transpose_a=True) + item_pull,
                )

            return tf.reduce_sum(weight * (tf.math.log(total) - tf.math.log(own))), gradient

        return loss(query, candidate)
