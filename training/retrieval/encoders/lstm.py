"""`lstm`: a recurrent state that takes in the newest items, oldest first.

After Hidasi et al., "Session-based recommendations with recurrent neural networks" (GRU4Rec, ICLR 2016), with the cell
of Hochreiter & Schmidhuber 1997. A loop of matrix products: not every server has a fused recurrent operation.
"""

import numpy as np
import tensorflow as tf

from training.retrieval.encoders.history import Events
from training.retrieval.encoders.sequence import add_ages, with_ages
from training.retrieval.named_weights import NamedWeights

NEWEST = 50  # as many as SASRec's authors read of the Amazon histories; a step of the loop each


class RecurrentState(tf.Module):
    """One LSTM cell of `dimension` units and a linear layer from its output into the items' space."""

    newest = NEWEST

    def __init__(self, dimension: int, weights: NamedWeights) -> None:
        super().__init__(name="recurrent_state")
        self._weights = weights
        self._dimension = dimension
        add_ages(weights, dimension)
        weights.add_layer("encoder/input", dimension, 4 * dimension)
        remembering = np.zeros(4 * dimension)
        remembering[dimension : 2 * dimension] = 1  # Gers et al. 2000: at first a cell forgets little
        weights["encoder/input/bias"].assign(remembering)
        weights.add_kernel("encoder/recurrent", dimension, 4 * dimension)
        weights.add_layer("encoder/output", dimension, dimension)

    def __call__(self, events: Events) -> tf.Tensor:
        """`[batch, dimension]`: the output after the newest event."""
        w = self._weights
        inputs = tf.transpose(w.layer_of_each("encoder/input", with_ages(w, events)), [1, 0, 2])
        present = tf.transpose(events.present)[:, :, None]
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(events.present, tf.int32), axis=1))
        recurrent = tf.convert_to_tensor(w["encoder/recurrent"])
        nothing = tf.zeros([tf.shape(events.items)[0], self._dimension])

        def step(at: tf.Tensor, output: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            gates = tf.gather(inputs, at) + tf.linalg.matmul(output, recurrent)
            taken, remembered, told, candidate = tf.split(gates, 4, axis=1)
            new = tf.sigmoid(remembered) * cell + tf.sigmoid(taken) * tf.tanh(candidate)
            here = tf.gather(present, at)
            return at - 1, tf.where(here, tf.sigmoid(told) * tf.tanh(new), output), tf.where(here, new, cell)

        # a shorter history waits: its state is zeros until its oldest event
        _, output, _ = tf.while_loop(
            lambda at, *_: at >= 0, step, (longest - 1, nothing, nothing), maximum_iterations=NEWEST
        )
        return w.layer("encoder/output", output)
