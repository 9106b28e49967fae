"""From the one bit left in each tree's mask to leaf numbers, and what those leaves are worth together."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from training.release.trees.decision import ZERO
from training.release.trees.leaf_masks import Lanes
from training.release.trees.model_text import Forest, LinearLeaf

SIGNED = {8: tf.int8, 16: tf.int16, 32: tf.int32, 64: tf.int64}


def exit_leaves(masks: tf.Tensor, lanes: Lanes) -> tf.Tensor:
    """Masks with one bit left in every tree, int64 `[rows, words]`, to leaf numbers, int32 `[rows, trees]`."""
    rows = tf.shape(masks)[0]
    lane = (
        masks
        if lanes.bits == 64
        else tf.reshape(tf.bitcast(masks, SIGNED[lanes.bits]), [rows, lanes.words * 64 // lanes.bits])
    )
    below = tf.raw_ops.PopulationCount(
        x=lane - 1
    )  # how many bits lie under the one that is set; all 64 in an empty word
    below = tf.cast(below, tf.int32)
    if lanes.per_tree == 1:
        return below[:, : lanes.trees]
    below = tf.reshape(below, [rows, lanes.trees, lanes.per_tree])
    offset = tf.range(lanes.per_tree) * lanes.bits
    return tf.reduce_sum(tf.where(below < lanes.bits, below + offset, 0), axis=-1)


class LeafValues(tf.Module):
    """What a row's leaves are worth, summed over the trees of each class.

    LightGBM adds tree after tree; here halves are added to halves, which is faster (a running sum in LightGBM's order
    takes three times as long for 500 trees), rounds less, and gives a row the same bits in every batch size. Each order
    of `n` values is off by at most `(n - 1) · 2^-53` of the sum of their absolute values (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., 4.2), so the two differ by less than `n · 2^-52` of it: 1.1e-13 of it
    for 500 trees. It is no absolute bound: of scores in the millions an ulp alone is 1e-10.
    """

    def __init__(self, forest: Forest) -> None:
        super().__init__(name="leaf_values")
        self.iterations, self.per_iteration = forest.iterations, forest.trees_per_iteration
        sizes = np.array([tree.leaves for tree in forest.trees], np.int32)
        self.first_leaf = tf.Variable(np.cumsum(sizes, dtype=np.int32) - sizes, trainable=False, name="first_leaf")
        values = np.concatenate([np.zeros(0), *(tree.leaf_value for tree in forest.trees)])
        self.values = tf.Variable(values, trainable=False, name="values")
        self.linear = any(tree.linear for tree in forest.trees)
        if self.linear:
            leaves: list[LinearLeaf] = []
            for tree in forest.trees:
                leaves.extend(tree.linear or (LinearLeaf(float(value), (), ()) for value in tree.leaf_value))
            self._tabulate(leaves)

    def _tabulate(self, leaves: Sequence[LinearLeaf]) -> None:
        width = max(len(leaf.features) for leaf in leaves)
        features = np.zeros((len(leaves), width), np.int32)  # column 0 of the padded features is a zero
        coefficients = np.zeros((len(leaves), width))
        for row, leaf in enumerate(leaves):
            features[row, : len(leaf.features)] = np.array(leaf.features, np.int32) + 1
            coefficients[row, : len(leaf.features)] = leaf.coefficients
        self.width = width
        self.const = tf.Variable([leaf.const for leaf in leaves], trainable=False, dtype=tf.float64, name="const")
        self.linear_features = tf.Variable(features, trainable=False, name="linear_features")
        self.coefficients = tf.Variable(coefficients, trainable=False, name="coefficients")

    def worth(self, leaves: tf.Tensor, first: int, features: tf.Tensor | None) -> tf.Tensor:
        """Leaf numbers int32 `[rows, trees]` of the trees from `first` on to their values, float64 `[trees, rows]`.

        `features` `[rows, F]`, in the model's order, are read by linear leaves alone.
        """
        count = leaves.shape[1]
        flat = leaves + self.first_leaf[first : first + count]
        values = tf.convert_to_tensor(self.values)
        if self.linear and features is not None:
            return tf.transpose(self._linear(flat, tf.gather(values, flat), features))
        return tf.gather(values, tf.transpose(flat))  # before they are twice as wide

    def sums(self, worth: Sequence[tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
        """The `worth` of all trees, in their order, to raw scores, float64 `[rows, classes]`."""
        if not self.iterations:
            return tf.zeros([rows, self.per_iteration], tf.float64)
        by_iteration = tf.reshape(tf.concat(worth, axis=0), [self.iterations, self.per_iteration, rows])
        return tf.transpose(_sum_of_halves(by_iteration, self.iterations))

    def _linear(self, flat: tf.Tensor, plain: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        x = tf.cast(features, tf.float64)
        x = tf.pad(tf.where(tf.abs(x) <= ZERO, tf.zeros_like(x), x), [[0, 0], [1, 0]])
        output = tf.gather(self.const, flat)
        missing = tf.zeros_like(output, tf.bool)
        columns, coefficients = tf.gather(self.linear_features, flat), tf.gather(self.coefficients, flat)
        for term in range(self.width):
            value = tf.gather(x, columns[..., term], batch_dims=1)
            missing |= tf.math.is_nan(value)
            output += coefficients[..., term] * value
        return tf.where(missing, plain, output)


def _sum_of_halves(terms: tf.Tensor, count: int) -> tf.Tensor:
    """The sum of `terms` `[count, ...]` over the first axis."""
    odd = []
    while count > 1:
        half = count // 2
        first, second, rest = tf.split(terms, [half, half, count - 2 * half])
        if count % 2:
            odd.append(rest)
        terms, count = first + second, half
    return tf.squeeze(tf.add_n([terms, *odd]), 0)
