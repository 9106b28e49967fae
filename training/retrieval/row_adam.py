"""Adam that touches only the rows of an embedding table that a batch has read."""

from collections.abc import Iterable

import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class RowAdam(tf.Module):
    """Adam (Kingma & Ba, ICLR 2015); for a sparse gradient, moments and weights of its rows alone move.

    Keras' Adam also decays the moments of every other row and moves it by what is left of them: work that grows with
    the table, not with the batch, and steps for items that nobody has asked for.

    Args:
        variables: what is learnt; the order of the gradients.
        learning_rate: the step size; assign another to `learning_rate` for the steps that follow.
    """

    def __init__(self, variables: Iterable[tf.Variable], learning_rate: float) -> None:
        super().__init__(name="row_adam")
        self._variables = tuple(variables)
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float32, trainable=False)
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._first = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self._variables]
        self._second = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self._variables]

    @property
    def own(self) -> tuple[tf.Variable, ...]:
        """What it remembers, beside what is learnt: with the same values it goes on the same way."""
        return (self.learning_rate, self._steps, *self._first, *self._second)

    def apply(self, gradients: Iterable[tf.Tensor | tf.IndexedSlices]) -> None:
        """One step; a gradient that is `tf.IndexedSlices` moves the rows it names, however often it names them."""
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        size = self.learning_rate * tf.sqrt(1.0 - BETA_2**step) / (1.0 - BETA_1**step)
        for variable, first, second, gradient in zip(
            self._variables, self._first, self._second, gradients, strict=True
        ):
            if isinstance(gradient, tf.IndexedSlices):
                _move_rows(variable, first, second, gradient, size)
            else:
                m = first.assign(BETA_1 * first + (1 - BETA_1) * gradient)
                v = second.assign(BETA_2 * second + (1 - BETA_2) * tf.square(gradient))
                variable.assign_sub(size * m / (tf.sqrt(v) + EPSILON))


def _move_rows(
    variable: tf.Variable, first: tf.Variable, second: tf.Variable, gradient: tf.IndexedSlices, size: tf.Tensor
) -> None:
    rows, place = tf.unique(gradient.indices)
    g = tf.math.unsorted_segment_sum(gradient.values, place, tf.shape(rows)[0])
    m = BETA_1 * tf.gather(first, rows) + (1 - BETA_1) * g
    v = BETA_2 * tf.gather(second, rows) + (1 - BETA_2) * tf.square(g)
    first.scatter_update(tf.IndexedSlices(m, rows))
    second.scatter_update(tf.IndexedSlices(v, rows))
    variable.scatter_sub(tf.IndexedSlices(size * m / (tf.sqrt(v) + EPSILON), rows))
