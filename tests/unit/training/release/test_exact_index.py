"""The exact index against NumPy: one query and many, catalogues of any size, after a change, saved and restored."""

import numpy as np
import pytest
import tensorflow as tf

from training.release.item_index import SIDE_BY_SIDE, ExactIndex

WIDTH = 16
SIZES = [1, SIDE_BY_SIDE - 2, SIDE_BY_SIDE - 1, SIDE_BY_SIDE, 3 * SIDE_BY_SIDE + 5]  # and one unknown item each


class Shop(tf.Module):
    """Items as a snapshot keeps them: the last row is the unknown item."""

    def __init__(self, count, seed=1):
        super().__init__()
        vectors = np.random.default_rng(seed).normal(size=(count + 1, WIDTH)).astype(np.float32)
        self.vectors = tf.Variable(vectors, trainable=False)
        self.available = tf.Variable(np.arange(count + 1) < count, trainable=False)


class Served(tf.Module):
    def __init__(self, shop):
        super().__init__()
        self.shop, self.index = shop, ExactIndex(shop)

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH]), tf.TensorSpec([], tf.int32)])
    def nearest(self, query, count):
        scores, items = self.index.nearest(query, count)
        return {"scores": scores, "items": items}


def _queries(count):
    return np.random.default_rng(7).normal(size=(count, WIDTH)).astype(np.float32)


def _by_numpy(shop, query, count):
    """What is available, the largest product first."""
    products = np.where(shop.available.numpy(), shop.vectors.numpy().astype(np.float64) @ query, -np.inf)
    return np.argsort(-products, kind="stable")[:count]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("together", [1, 2, 9])
def test_one_query_and_many_find_what_numpy_finds(count, together):
    shop, queries = Shop(count), _queries(together)
    wanted = min(count, 10)
    scores, items = ExactIndex(shop).nearest(tf.constant(queries), tf.constant(wanted))
    assert items.numpy().tolist() == [_by_numpy(shop, query, wanted).tolist() for query in queries]
    products = np.einsum("bkd,bd->bk", shop.vectors.numpy()[items.numpy()], queries)
    np.testing.assert_allclose(scores.numpy(), products, rtol=1e-5, atol=1e-5)


def test_a_query_alone_follows_items_that_change_and_go():
    shop = Shop(200)
    index, [query] = ExactIndex(shop), _queries(1)
    first = index.nearest(tf.constant(query[None]), tf.constant(5))[1].numpy()[0]
    shop.vectors.assign(Shop(200, seed=2).vectors)
    gone = _by_numpy(shop, query, 1)[0]
    shop.available[gone].assign(False)
    index.refresh(lambda: _queries(0))
    found = index.nearest(tf.constant(query[None]), tf.constant(5))[1].numpy()[0]
    assert found.tolist() == _by_numpy(shop, query, 5).tolist()
    assert gone not in found
    assert found.tolist() != first.tolist()


def test_the_same_bits_after_save_and_restore(tmp_path):
    served = Served(Shop(150))
    tf.saved_model.save(served, str(tmp_path))
    restored = tf.saved_model.load(str(tmp_path))
    for together in (1, 4):
        queries = tf.constant(_queries(together))
        ours, theirs = (of.nearest(queries, tf.constant(20)) for of in (served, restored))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
