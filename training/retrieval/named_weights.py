"""A model's weights by their path: drawn from a seed, saved as plain arrays, found again by name."""

import numpy as np
import tensorflow as tf


class NamedWeights(tf.Module):
    """Variables float32 under paths like `query/hidden/kernel`.

    Args:
        random: draws the initial values, in the order in which weights are added.
    """

    def __init__(self, random: np.random.Generator) -> None:
        super().__init__(name="weights")
        self._random = random
        self._variables: dict[str, tf.Variable] = {}

    def add(self, name: str, value: np.ndarray, trainable: bool = True) -> None:
        """A weight of this initial value."""
        named = name.replace("/", "_")
        self._variables[name] = tf.Variable(value.astype(np.float32), trainable=trainable, name=named)

    def add_table(self, name: str, rows: int, width: int, trainable: bool = True) -> None:
        """Vectors `[rows, width]` of a length of about 1."""
        self.add(name, self._random.normal(0, 1 / np.sqrt(width), (rows, width)), trainable)

    def add_layer(self, name: str, width: int, units: int) -> None:
        """A dense layer: `<name>/kernel` `[width, units]` and `<name>/bias` of 0."""
        self.add_kernel(f"{name}/kernel", width, units)
        self.add(f"{name}/bias", np.zeros(units))

    def add_kernel(self, name: str, width: int, units: int) -> None:
        """A matrix `[width, units]`, drawn after Glorot & Bengio 2010."""
        limit = np.sqrt(6 / (width + units))
        self.add(name, self._random.uniform(-limit, limit, (width, units)))

    def __getitem__(self, name: str) -> tf.Variable:
        return self._variables[name]

    def layer(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """The dense layer on `[n, width]`: `[n, units]`."""
        return tf.linalg.matmul(x, self[f"{name}/kernel"]) + self[f"{name}/bias"]

    def layer_of_each(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """The dense layer on every vector of `[batch, length, width]`: one product, whatever the length."""
        kernel = self[f"{name}/kernel"]
        batch, length = tf.shape(x)[0], tf.shape(x)[1]
        flat = self.layer(name, tf.reshape(x, [-1, kernel.shape[0]]))
        return tf.reshape(flat, [batch, length, kernel.shape[1]])

    @property
    def by_name(self) -> dict[str, tf.Variable]:
        """Every weight by its path."""
        return dict(self._variables)
