"""Top k by blocks is TensorFlow's top k, values and order, whatever the ties."""

import numpy as np
import pytest
import tensorflow as tf

from training.release.block_top_k import BLOCK, block_top_k

SPEC = [tf.TensorSpec([None, None]), tf.TensorSpec([], tf.int32)]
graph = tf.function(block_top_k, input_signature=SPEC, autograph=False)


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 1_000])
@pytest.mark.parametrize("kinds", [1, 2, 5, 50, 10**6])
def test_it_is_top_k_of_equal_values_the_lowest_index_first(count, kinds):
    random = np.random.default_rng(count * kinds)
    values = random.integers(0, kinds, (3, count)).astype(np.float32)
    values[0, random.integers(0, count, count // 3)] = np.finfo(np.float32).min  # items that are not available
    values[1] = np.finfo(np.float32).min
    values[2, random.integers(0, count, count // 3)] = -np.inf
    for k in sorted({1, min(3, count), count // 2 + 1, count}):
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        found, at = graph(values, k)
        np.testing.assert_array_equal(at, order)
        np.testing.assert_array_equal(found, np.take_along_axis(values, order, axis=1))


def test_blocks_that_are_not_chosen_hold_nothing_that_is_wanted():
    values = np.zeros((1, 4 * BLOCK), np.float32)
    values[0, BLOCK:] = 1.0  # three blocks alike: the earliest are chosen, and hold enough
    assert graph(values, 2)[1].numpy().tolist() == [[BLOCK, BLOCK + 1]]
    values[0, 3 * BLOCK] = 2.0  # a later block with a larger one, and equals of the earlier
    assert graph(values, 3)[1].numpy().tolist() == [[3 * BLOCK, BLOCK, BLOCK + 1]]


def test_no_row_and_no_value_asked_for():
    assert [part.shape for part in graph(np.zeros((0, 100), np.float32), 5)] == [(0, 5), (0, 5)]
    assert [part.shape for part in graph(np.zeros((2, 100), np.float32), 0)] == [(2, 0), (2, 0)]
