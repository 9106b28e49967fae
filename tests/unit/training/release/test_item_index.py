"""The inverted file against asking every item: what it finds, in every batch, after a change, saved and restored."""

import numpy as np
import pytest
import tensorflow as tf

from tastemaker.config import CandidatesConfig
from training.release import item_index as module
from training.release.item_index import ExactIndex, InvertedFile, item_index

ITEMS, WIDTH, RECALL = 8_000, 16, 0.99


class Shop(tf.Module):
    """Items as a snapshot keeps them: the last row is the unknown item."""

    def __init__(self, vectors):
        super().__init__()
        full = np.concatenate([vectors, np.zeros((1, WIDTH), np.float32)])
        self.vectors = tf.Variable(full, trainable=False)
        self.available = tf.Variable(np.arange(len(full)) < len(vectors), trainable=False)


def _tastes(seed, count=ITEMS):
    """Unit vectors around 60 tastes, as trained items lie."""
    random = np.random.default_rng(seed)
    tastes = np.random.default_rng(0).normal(size=(60, WIDTH))
    vectors = tastes[random.integers(0, 60, count)] + 0.5 * random.normal(size=(count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _index(vectors, available=None, recall=RECALL, queries=None):
    shop = Shop(vectors)
    if available is not None:
        shop.available.assign(available)
    index = InvertedFile(shop, 1_000, recall)
    index.refresh(lambda: _tastes(seed=2, count=64) if queries is None else queries)
    return shop, index


@pytest.fixture(scope="module")
def shop_and_index():
    return _index(_tastes(seed=1))


@pytest.fixture(scope="module")
def queries():
    return tf.constant(_tastes(seed=3, count=50))


def _nearest(index, query, count):
    scores, items = index.nearest(tf.constant(query), tf.constant(count))
    return scores.numpy(), items.numpy()


def _recall(shop, index, queries, count):
    (_, exact), (_, found) = _nearest(ExactIndex(shop), queries, count), _nearest(index, queries, count)
    return np.mean([len(np.intersect1d(*rows)) / count for rows in zip(exact, found, strict=True)])


@pytest.mark.parametrize("count", [1, 20, 200])
def test_it_finds_what_it_promised_for_queries_it_was_not_measured_with(shop_and_index, queries, count):
    shop, index = shop_and_index
    assert index.described()["kind"] == "inverted_file"
    assert index.described()["lists"][0]["scanned"] < 0.2
    assert _recall(shop, index, queries, count) >= 0.985


def test_it_keeps_its_promise_where_one_coordinate_is_popularity():
    def popular(tastes, last):
        return np.concatenate([tastes[:, :-1], last[:, None]], axis=1).astype(np.float32)

    logs = 0.05 * np.log1p(np.random.default_rng(6).pareto(1, ITEMS) * 10)
    asked = popular(_tastes(seed=3, count=50), np.ones(50))
    shop, index = _index(popular(_tastes(seed=1), logs - logs.mean()), queries=popular(_tastes(2, 64), np.ones(64)))
    assert index.described()["kind"] == "inverted_file"
    for count in (20, 200):
        assert _recall(shop, index, tf.constant(asked), count) >= 0.98
    exact = np.argsort(-(asked @ shop.vectors.numpy()[:-1].T), axis=1)[:, :20]
    np.testing.assert_array_equal(np.sort(_nearest(ExactIndex(shop), asked, 20)[1]), np.sort(exact))


def test_best_first_each_item_once_with_its_own_product(shop_and_index, queries):
    shop, index = shop_and_index
    scores, items = _nearest(index, queries, 100)
    assert np.all(np.diff(scores, axis=1) <= 0)
    assert all(len(set(row)) == 100 for row in items)
    products = np.take_along_axis(queries.numpy() @ shop.vectors.numpy().T, items, axis=1)
    np.testing.assert_allclose(scores, products, rtol=1e-5, atol=1e-6)


def test_the_same_bits_whatever_a_query_is_batched_with(shop_and_index, queries):
    _, index = shop_and_index
    together = _nearest(index, queries, 150)
    for rows in (slice(0, 1), slice(7, 10), slice(33, 50)):
        alone = _nearest(index, queries[rows], 150)
        for ours, theirs in zip(alone, together, strict=True):
            np.testing.assert_array_equal(ours, theirs[rows])


def test_a_list_longer_than_measured_is_exact(shop_and_index, queries):
    shop, index = shop_and_index
    count = module.LENGTHS[-1] + 1
    for ours, theirs in zip(_nearest(index, queries, count), _nearest(ExactIndex(shop), queries, count), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_probed_cells_always_hold_as_many_as_are_asked_for(shop_and_index):
    _, index = shop_and_index
    fewest = np.cumsum(np.sort(np.diff(index.starts.numpy())))
    checked = 0
    for length, probes in zip(module.LENGTHS, index.probes.numpy(), strict=False):
        assert probes == 0 or fewest[probes - 1] >= length
        checked += probes > 0
    assert checked
    _, items = _nearest(index, -100 * _tastes(seed=4, count=20), module.LENGTHS[0])
    assert items.shape == (20, module.LENGTHS[0])


def test_odd_queries_get_a_list(shop_and_index):
    _, index = shop_and_index
    odd = np.stack([np.zeros(WIDTH), np.full(WIDTH, 1e-40), np.full(WIDTH, 1e18), np.eye(WIDTH)[0]]).astype(np.float32)
    _, items = _nearest(index, odd, 200)
    assert all(len(set(row)) == 200 for row in items)


@pytest.mark.parametrize("probes", [1, 7, 40])
def test_it_asks_as_many_cells_as_it_was_measured_with_and_the_best(shop_and_index, probes):
    _, index = shop_and_index
    query = _tastes(seed=4, count=1)
    cells = len(index.starts.numpy()) - 1
    means = index.means.numpy().transpose(0, 2, 1).reshape(-1, WIDTH + 1)[:cells]
    promise = means @ np.append(query[0], module.REACH * np.linalg.norm(query))
    asked = index.likely_cells(tf.constant(query), tf.constant(probes)).numpy()
    np.testing.assert_array_equal(asked, np.sort(np.argsort(-promise)[:probes]))
    # To zeros every cell promises the same: had all been asked, a million items would be copied for such a query.
    assert len(index.likely_cells(tf.zeros([1, WIDTH]), tf.constant(probes))) == probes


def test_what_is_not_available_does_not_come_back(queries):
    available = np.random.default_rng(5).random(ITEMS + 1) < 0.8
    available[-1] = False
    shop, index = _index(_tastes(seed=1), available)
    assert index.described()["kind"] == "inverted_file"
    assert index.described()["items"] == available.sum()
    assert available[_nearest(index, queries, 200)[1]].all()
    assert _recall(shop, index, queries, 200) >= 0.985


def test_it_follows_items_that_move_go_and_come_back(queries):
    shop, index = _index(_tastes(seed=1))
    nearest = tf.function(index.nearest, input_signature=[tf.TensorSpec([None, WIDTH]), tf.TensorSpec([], tf.int32)])
    before = nearest(queries, tf.constant(50))[1].numpy()
    there = shop.available.numpy()
    shop.vectors.assign(-shop.vectors)
    index.refresh(lambda: _tastes(seed=2, count=64))
    exact = ExactIndex(shop).nearest(queries, tf.constant(50))[1].numpy()
    found = nearest(queries, tf.constant(50))[1].numpy()
    assert np.mean([len(np.intersect1d(*rows)) for rows in zip(exact, found, strict=True)]) > 49
    assert not np.array_equal(found, before)

    shop.available.assign(np.arange(ITEMS + 1) < 900)  # a small shop today
    index.refresh(lambda: pytest.fail("nothing is to be measured"))
    assert index.described() == {"kind": "exact", "items": 900}
    assert nearest(queries, tf.constant(50))[1].numpy().max() < 900
    assert nearest(queries, tf.constant(1_000))[1].shape == (50, 1_000)

    shop.available.assign(there)
    shop.vectors.assign(-shop.vectors)
    index.refresh(lambda: _tastes(seed=2, count=64))
    np.testing.assert_array_equal(nearest(queries, tf.constant(50))[1].numpy(), before)


def test_vectors_of_unequal_length(queries):
    lengths = np.random.default_rng(6).lognormal(0, 0.7, (ITEMS, 1)).astype(np.float32)
    shop, index = _index(_tastes(seed=1) * lengths)
    assert index.described()["kind"] == "inverted_file"
    assert _recall(shop, index, queries, 200) >= 0.985


def test_where_nothing_lies_close_together_every_item_is_asked():
    random = np.random.default_rng(7)
    vectors = random.normal(size=(4_000, WIDTH)).astype(np.float32)
    queries = random.normal(size=(64, WIDTH)).astype(np.float32)
    shop, index = _index(vectors, recall=0.999, queries=queries)
    described = index.described()
    assert described["kind"] == "exact"
    assert [one["probes"] for one in described["lists"]] == [0, 0, 0]
    assert index.vectors.numpy().size == 0
    assert _recall(shop, index, tf.constant(queries), 200) == 1


def test_thousands_of_items_in_one_place():
    vectors = _tastes(seed=1)
    vectors[:3_000] = vectors[0]
    _, index = _index(vectors)
    scores, items = _nearest(index, vectors[:1], 200)
    assert len(set(items[0])) == 200
    np.testing.assert_allclose(scores, 1, rtol=1e-5)


def test_a_second_index_of_the_same_items_is_the_same(shop_and_index):
    _, first = shop_and_index
    _, second = _index(_tastes(seed=1))
    assert first.described() == second.described()
    for ours, theirs in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_the_same_after_save_and_restore(shop_and_index, queries, tmp_path):
    shop, index = shop_and_index
    holder = tf.Module()
    holder.index, holder.shop = index, shop
    holder.nearest = tf.function(
        lambda query, count: dict(zip(("scores", "items"), index.nearest(query, count), strict=True)),
        input_signature=[tf.TensorSpec([None, WIDTH]), tf.TensorSpec([], tf.int32)],
        autograph=False,
    )
    tf.saved_model.save(holder, str(tmp_path / "saved"))
    restored = tf.saved_model.load(str(tmp_path / "saved"))
    for count in (150, 900, module.LENGTHS[-1] + 1):
        found = restored.nearest(queries, tf.constant(count))
        scores, items = _nearest(index, queries, count)
        np.testing.assert_array_equal(found["scores"].numpy(), scores)
        np.testing.assert_array_equal(found["items"].numpy(), items)


@pytest.mark.parametrize(("items", "kind"), [(50, ExactIndex), (51, InvertedFile)])
def test_the_choice_is_by_size(items, kind):
    sources = CandidatesConfig(exact_up_to_items=50)
    index = item_index(Shop(_tastes(seed=1, count=items)), sources)
    assert isinstance(index, kind)
    assert index.described() == {"kind": "exact", "items": items}
