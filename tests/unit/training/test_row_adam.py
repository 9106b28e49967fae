"""Adam by rows: Keras' own numbers on dense gradients; on sparse ones the rows named, and no others, move."""

import numpy as np
import pytest
import tensorflow as tf

from training.retrieval.row_adam import RowAdam


def test_on_dense_gradients_it_is_keras_adam():
    ours, theirs = (tf.Variable([[1.0, -2.0], [0.5, 3.0]]) for _ in range(2))
    own, keras = RowAdam([ours], 0.1), tf.keras.optimizers.legacy.Adam(0.1)
    for step in range(5):
        gradient = tf.constant(np.random.default_rng(step).normal(size=(2, 2)), tf.float32)
        own.apply([gradient])
        keras.apply_gradients([(gradient, theirs)])
    assert ours.numpy() == pytest.approx(theirs.numpy(), rel=1e-4)


def test_a_sparse_gradient_moves_its_rows_as_a_dense_one_would_and_leaves_the_others():
    table, dense = tf.Variable(tf.ones([4, 2])), tf.Variable(tf.ones([4, 2]))
    sparse_adam, dense_adam = RowAdam([table], 0.1), RowAdam([dense], 0.1)
    # row 2 is named twice: its gradient is the sum
    sparse_adam.apply([tf.IndexedSlices(tf.constant([[1.0, 0.0], [2.0, 4.0], [1.0, 1.0]]), tf.constant([2, 0, 2]))])
    dense_adam.apply([tf.constant([[2.0, 4.0], [0.0, 0.0], [2.0, 1.0], [0.0, 0.0]])])
    assert table.numpy() == pytest.approx(dense.numpy(), rel=1e-6)
    before = table.numpy()
    sparse_adam.apply([tf.IndexedSlices(tf.constant([[1.0, 1.0]]), tf.constant([1]))])
    assert (table.numpy()[[0, 2, 3]] == before[[0, 2, 3]]).all()
    assert (table.numpy()[1] < before[1]).all()
