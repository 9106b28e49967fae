"""Whatever a caller or the feature store does not know, every signature of a graph with real trees answers."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.fused_graphs import graph_of, of_day, one_of

from training.feature_tensors import item_features, user_features

K = 6
GIVEN = [toy.item_id(3), "no such item", toy.item_id(8)]
USER_FEATURES = {feature.name: feature for feature in user_features()}
ITEM_FEATURES = [feature.name for feature in item_features()]


def assert_answered(graph, user, items=toy.ITEMS):
    """Every signature gives what it promises, and two of them the same score for the same pair."""
    rows = user["request_timestamp"].shape[0]
    k = min(K, items)
    found = graph.recommend({**user, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(K)})
    ids, scores = found["item_ids"].numpy(), found["scores"].numpy()
    assert ids.shape == (rows, k)
    assert all(len(set(row) - {b""}) == k for row in ids)
    assert np.all((scores > 0) & (scores < 1))
    assert np.all(np.diff(scores, axis=1) <= 0)

    ranked = graph.rank({**user, "item_ids": tf.constant(ids)})
    np.testing.assert_array_equal(ranked["scores"].numpy(), scores)
    ranked = graph.rank({**user, "item_ids": tf.constant([GIVEN])})
    known = ranked["known"].numpy()
    assert known.shape == (rows, len(GIVEN))
    assert not known[:, 1].any()
    assert np.all(np.where(known, (ranked["scores"] > 0) & (ranked["scores"] < 1), ranked["scores"] == 0))

    retrieved = graph.retrieve({**user, "k": tf.constant(K)})
    assert all(len(set(row) - {b""}) == k for row in retrieved["item_ids"].numpy())
    assert np.isfinite(retrieved["scores"].numpy()).all()

    similar = graph.similar_items({"item_ids": tf.constant(GIVEN), "k": tf.constant(K)})
    assert np.isfinite(similar["scores"].numpy()).all()
    assert similar["item_ids"].shape == (len(GIVEN), k)


@pytest.mark.parametrize("feature", USER_FEATURES)
def test_each_feature_of_the_user_unknown_in_turn(trees, user, feature):
    kept = {name: tensor[:8] for name, tensor in user.items()}
    empty = {tf.float32: np.nan, tf.string: ""}.get(kept[feature].dtype, 0)
    assert_answered(trees, {**kept, feature: tf.fill(kept[feature].shape, tf.constant(empty, kept[feature].dtype))})
    if USER_FEATURES[feature].is_list:
        assert_answered(trees, {**kept, feature: kept[feature][:, :0]})


def test_every_feature_of_the_user_unknown(trees, user):
    kept = {name: tensor[:8] for name, tensor in user.items()}
    empty = {tf.float32: np.nan, tf.string: "", tf.int64: 0}
    assert_answered(trees, {name: tf.fill(t.shape, tf.constant(empty[t.dtype], t.dtype)) for name, t in kept.items()})


@pytest.fixture
def restless(trees):
    """The graph, whose snapshot may be swapped: it is put back."""
    yield trees
    trees.load_snapshot(snapshot(), toy.AS_OF)


def snapshot():
    """The items as of AS_OF."""
    items = toy.all_days()
    return items.filter(of_day(items, toy.AS_OF))


@pytest.mark.parametrize("feature", ITEM_FEATURES)
@pytest.mark.parametrize("of", ["every item", "every other item"])
def test_each_feature_of_the_items_unknown_in_turn(restless, user, feature, of):
    restless.load_snapshot(_without(snapshot(), feature, every=1 if of == "every item" else 2), toy.AS_OF)
    assert_answered(restless, one_of(user, 7))


def test_every_feature_of_the_items_unknown(restless, user):
    items = snapshot()
    for feature in ITEM_FEATURES:
        items = _without(items, feature, every=1)
    restless.load_snapshot(items, toy.AS_OF)
    assert_answered(restless, {name: tensor[:8] for name, tensor in user.items()})


def test_a_catalogue_of_one_under_real_trees(trees, user):
    graph = graph_of(toy.all_days(1))
    graph.attach_ranker(trees._forest, trees._calibration, "one")
    user = {name: tensor[:8] for name, tensor in user.items()}
    only = toy.item_id(0).encode()
    found = graph.recommend({**user, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(K)})
    assert found["item_ids"].numpy().tolist() == [[only]] * 8
    assert np.all((found["scores"].numpy() > 0) & (found["scores"].numpy() < 1))
    gone = graph.recommend({**user, "exclude_item_ids": tf.constant([[only]]), "k": tf.constant(K)})
    assert gone["item_ids"].numpy().tolist() == [[b""]] * 8
    assert graph.retrieve({**user, "k": tf.constant(K)})["item_ids"].numpy().tolist() == [[only]] * 8
    ranked = graph.rank({**user, "item_ids": tf.constant([[only, b"no such item"]])})
    assert ranked["known"].numpy().tolist() == [[True, False]] * 8
    np.testing.assert_array_equal(ranked["scores"].numpy()[:, 0], found["scores"].numpy()[:, 0])
    similar = graph.similar_items({"item_ids": tf.constant([only]), "k": tf.constant(K)})
    assert similar["item_ids"].numpy().tolist() == [[b""]]


def test_lists_of_no_width_are_empty_lists(trees, user):
    one, nothing = one_of(user, 7), tf.zeros([1, 0], tf.string)
    padded = trees.recommend({**one, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(K)})
    found = trees.recommend({**one, "exclude_item_ids": nothing, "k": tf.constant(K)})
    for name in ("item_ids", "scores"):
        np.testing.assert_array_equal(found[name].numpy(), padded[name].numpy())
    ranked = trees.rank({**one, "item_ids": nothing})
    assert ranked["scores"].shape == ranked["known"].shape == (1, 0)
    numbers = tf.zeros([1, 0], tf.int64)
    none = {"history_item_ids": nothing, "history_event_types": nothing}
    bare = {**one, **none, "history_timestamps": numbers, "history_counts": numbers}
    blank = {**one, **{name: tf.constant([[""]]) for name in none}}
    blank |= {name: tf.constant([[0]], tf.int64) for name in ("history_timestamps", "history_counts")}
    ours, theirs = (
        trees.recommend({**asked, "exclude_item_ids": nothing, "k": tf.constant(K)}) for asked in (bare, blank)
    )
    for name in ("item_ids", "scores"):
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())


def test_what_was_had_is_left_out_by_whoever_says_so(trees, requests, user):
    """A history's items may come again, as what is bought again does; a caller who wants none excludes them."""
    histories = [[name for name in row if name] for row in requests["history_item_ids"].to_pylist()]
    width = max(len(row) for row in histories)
    excluded = tf.constant([[*row, *[""] * (width - len(row))] for row in histories])
    ask = {**user, "k": tf.constant(toy.ITEMS)}
    may = trees.recommend({**ask, "exclude_item_ids": tf.constant([[""]])})["item_ids"].numpy()
    must_not = trees.recommend({**ask, "exclude_item_ids": excluded})["item_ids"].numpy()
    assert any(histories)
    for history, everything, others in zip(histories, may, must_not, strict=True):
        had = {name.encode() for name in history}
        assert had <= set(everything)
        assert set(others) - {b""} == set(everything) - had


def _without(items: pa.Table, feature: str, every: int) -> pa.Table:
    column = items[feature].to_pylist()
    values = [None if row % every == 0 else value for row, value in enumerate(column)]
    at = items.column_names.index(feature)
    return items.set_column(at, feature, pa.array(values, items.schema.field(feature).type))
