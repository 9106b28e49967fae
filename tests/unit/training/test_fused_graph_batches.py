"""Batches up to thousands of different users, ranked by real trees: each row is what a call of its own would say."""

import numpy as np
import pytest
import tensorflow as tf
from toys import two_tastes as toy

from training.feature_tensors import query_tensors

MANY = 4_096
SIZES = (1, 2, 255, 1_025, MANY)
K = 5


@pytest.fixture(scope="module")
def many():
    """Different users, with items of each one's own to exclude, to rank and to be similar to."""
    requests = toy.requests(per_day=-(-MANY // 12)).slice(0, MANY)
    user = query_tensors(requests)
    rng = np.random.default_rng(3)
    items = np.array([*(toy.item_id(n) for n in range(toy.ITEMS)), "no such item"])
    drawn = {
        "exclude_item_ids": items[rng.integers(0, len(items), (MANY, 3))],
        "item_ids": items[rng.integers(0, len(items), (MANY, 4))],
    }
    return {name: tf.constant(values) for name, values in {**user, **drawn}.items()}


def inputs_of(signature, many, rows):
    """The inputs of some rows."""
    user = {name: tensor[rows] for name, tensor in many.items() if name not in ("exclude_item_ids", "item_ids")}
    return {
        "recommend": {**user, "exclude_item_ids": many["exclude_item_ids"][rows], "k": tf.constant(K)},
        "retrieve": {**user, "k": tf.constant(K)},
        "rank": {**user, "item_ids": many["item_ids"][rows]},
        "similar_items": {"item_ids": many["item_ids"][rows][:, 0], "k": tf.constant(K)},
    }[signature]


def test_the_users_differ(many):
    user = {name: tensor for name, tensor in many.items() if name not in ("exclude_item_ids", "item_ids")}
    values = [tensor.numpy().tolist() for tensor in user.values()]
    assert len({str(row) for row in zip(*values, strict=True)}) == MANY


@pytest.mark.parametrize("signature", ["recommend", "retrieve", "rank", "similar_items"])
def test_a_row_of_a_batch_of_any_size_is_that_of_a_call_alone(trees, many, signature):
    ask = getattr(trees, signature)
    rows = sorted({0, 1, 254, 255, 1_023, 1_024, MANY - 1, *range(7, MANY, 409)})
    alone = {row: ask(inputs_of(signature, many, slice(row, row + 1))) for row in rows}
    for size in SIZES:
        together = ask(inputs_of(signature, many, slice(0, size)))
        for name, values in together.items():
            assert values.shape[0] == size, name
            for row in (row for row in rows if row < size):
                np.testing.assert_array_equal(
                    values[row].numpy(), alone[row][name][0].numpy(), err_msg=f"{name} of row {row} in {size}"
                )
    assert len({alone[row]["scores"].numpy().tobytes() for row in rows}) > len(rows) // 2  # the rows do differ
