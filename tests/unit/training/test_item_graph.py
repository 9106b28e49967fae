"""The graph of who took what, and the vectors smoothed over it, against dense matrices."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tastemaker.errors import TastemakerError
from training.feature_tensors import item_features, missing_tensors, user_features
from training.retrieval.item_graph import NEIGHBOURS, ItemGraph, Smoothing
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.two_tower import ITEMS, LEARNT_ITEMS, WORDS, TwoTower
from training.vocabulary import RESERVED, Vocabulary

ROWS = 9
# two people take items 2, 3, 4; one takes 4 and 5; one takes 6 alone; nobody takes 7 and 8
PERSON = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3])
ITEM = np.array([2, 3, 4, 2, 3, 4, 4, 5, 6])


def dense(graph: ItemGraph) -> np.ndarray:
    matrix = np.zeros((len(graph.share), len(graph.share)))
    for row, (neighbours, shares) in enumerate(zip(graph.neighbours, graph.share, strict=True)):
        np.add.at(matrix[row], neighbours, shares)
    return matrix


def test_shares_are_those_of_the_normalized_products():
    taken = np.zeros((4, ROWS))
    taken[PERSON, ITEM] = 1
    people, items = taken.sum(axis=1), np.maximum(taken.sum(axis=0), 1)
    normal = taken / np.sqrt(people)[:, None] / np.sqrt(items)
    expected = normal.T @ normal
    np.fill_diagonal(expected, 0)
    expected /= np.maximum(expected.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(dense(ItemGraph.of(PERSON, ITEM, ROWS)), expected, atol=1e-6)


def test_a_pair_named_twice_counts_once_and_reserved_rows_have_no_edge():
    once = dense(ItemGraph.of(PERSON, ITEM, ROWS))
    np.testing.assert_array_equal(dense(ItemGraph.of(np.r_[PERSON, 0], np.r_[ITEM, 4], ROWS)), once)
    unknown = np.arange(RESERVED)
    np.testing.assert_array_equal(dense(ItemGraph.of(np.r_[PERSON, 2, 2], np.r_[ITEM, unknown], ROWS)), once)
    assert not once[:RESERVED].any() and not once[:, :RESERVED].any()


def test_of_many_neighbours_the_strongest_stay():
    many = NEIGHBOURS + 10
    # person 0 takes everything, person 1 items 2 and 3 alone: 3 is 2's nearest
    graph = ItemGraph.of(np.r_[np.zeros(many, int), 1, 1], np.r_[np.arange(many) + RESERVED, 2, 3], RESERVED + many)
    assert (np.count_nonzero(graph.share[RESERVED:], axis=1) == NEIGHBOURS).all()
    assert graph.neighbours[2, graph.share[2].argmax()] == 3
    assert graph.share[2].sum() == pytest.approx(1)


def test_smoothing_and_its_gradient_are_those_of_the_dense_matrix_and_the_same_each_time():
    graph = ItemGraph.of(PERSON, ITEM, ROWS)
    matrix, random = dense(graph), np.random.default_rng(3)
    filter_ = np.eye(ROWS) + matrix + matrix @ matrix
    x, weight = tf.Variable(random.normal(size=(ROWS, 4)), dtype=tf.float32), random.normal(size=(ROWS, 4))
    smoothing = Smoothing(graph, 2)

    @tf.function
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            out = smoothing(x)
            loss = tf.reduce_sum(out * tf.constant(weight, tf.float32))
        return out, tape.gradient(loss, x)

    out, gradient = run()
    np.testing.assert_allclose(out, filter_ @ x.numpy(), atol=1e-5)
    np.testing.assert_allclose(gradient, filter_.T @ weight, atol=1e-5)
    np.testing.assert_array_equal(run()[1], gradient)


def towers() -> tuple[TwoTower, dict[str, np.ndarray]]:
    config = TowerConfig.declared(4, as_of=10**15, hidden=3, graph_steps=1)
    tokens = Vocabulary(tuple(f"item-{row}" for row in range(RESERVED, ROWS)))
    empty = {name: Vocabulary.of([]) for name in (WORDS, *config.user_texts, *config.item_texts)}
    items = missing_tensors(item_features(), ROWS - RESERVED) | {"item_id": np.array(tokens.tokens, object)}
    return TwoTower(config, {**empty, "item_id": tokens}, seed=1), items


def test_a_tower_reads_the_smoothed_vectors_and_answers_the_same_after_restore_and_without_its_graph(tmp_path):
    tower, items = towers()
    plain = tower.candidates(items).numpy()
    graph = ItemGraph.of(PERSON, ITEM, ROWS)
    tower.connect(graph)
    learnt = tower.weights[LEARNT_ITEMS].numpy()
    np.testing.assert_allclose(tower.weights[ITEMS], learnt + dense(graph) @ learnt, atol=1e-6)
    found = tower.candidates(items).numpy()
    np.testing.assert_array_equal(found[-2:], plain[-2:])  # nobody's
    assert not np.allclose(found[:-2], plain[:-2])
    tower.save(tmp_path)
    loaded = TwoTower.load(tmp_path)
    for other in (loaded, loaded.settled()):
        np.testing.assert_array_equal(other.candidates(items), found)
    assert LEARNT_ITEMS not in loaded.settled().weights


def test_what_is_learnt_is_the_vector_before_smoothing(tmp_path):
    tower, _ = towers()
    assert tower.weights[LEARNT_ITEMS].trainable and not tower.weights[ITEMS].trainable
    with pytest.raises(TastemakerError, match="graph"):
        tower.settle()


def test_a_grown_tower_keeps_what_was_learnt():
    tower, _ = towers()
    more = Vocabulary(("a-new-one", *tower.vocabularies["item_id"].tokens))
    grown = tower.grown({**tower.vocabularies, "item_id": more}, as_of=2 * 10**15, seed=5)
    old, new = tower.weights[LEARNT_ITEMS].numpy(), grown.weights[LEARNT_ITEMS].numpy()
    np.testing.assert_array_equal(new[RESERVED + 1 :], old[RESERVED:])


def test_towers_without_a_hidden_layer_know_history_and_id_alone():
    tower, items = towers()
    config = replace(tower.config, hidden=0, graph_steps=0)
    bare = TwoTower(config, tower.vocabularies, seed=1)
    own = bare.weights[ITEMS].numpy()[RESERVED:]
    np.testing.assert_allclose(bare.candidates(items), own / np.linalg.norm(own, axis=1, keepdims=True), atol=1e-6)
    dear = {**items, "item_price": np.full(len(own), 99, np.float32)}
    np.testing.assert_array_equal(bare.candidates(dear), bare.candidates(items))
    nobody = {**missing_tensors(user_features(), 1), "request_timestamp": np.zeros(1, np.int64)}
    np.testing.assert_array_equal(bare.query(nobody), np.zeros((1, 4)))
