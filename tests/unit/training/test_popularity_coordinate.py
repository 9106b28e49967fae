"""Popularity as a coordinate of its own: what it adds to a score, and what it leaves alone."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.by_retrieval import ByRetrieval
from toys.fused_graphs import LENGTH, NEIGHBOURS, SOURCES, of_day

from training.feature_tensors import item_features, missing_tensors, query_tensors, user_features
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES
from training.release.fused_graph import FusedRecommender
from training.retrieval.batches import Learning, Rows
from training.retrieval.examples import Pairs
from training.retrieval.item_graph import ItemGraph
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import ITEMS, POPULARITY, WORDS, TwoTower, log_popularity
from training.vocabulary import RESERVED, Vocabulary

STRENGTH = 0.05
VISITS = np.array([0, 0, 30, 4, 0, 9])  # of nobody's two rows, and of a, b, c and d


def made(popularity: bool = True, hidden: int = 4, graph_steps: int = 0) -> TwoTower:
    config = TowerConfig.declared(8, as_of=10**15, hidden=hidden, graph_steps=graph_steps, popularity=popularity)
    empty = {name: Vocabulary.of([]) for name in (WORDS, *config.user_texts, *config.item_texts)}
    tower = TwoTower(config, {**empty, "item_id": Vocabulary.of("abcd")}, seed=1)
    if graph_steps:
        tower.connect(ItemGraph.of(np.array([0, 0, 1, 1]), np.array([2, 3, 3, 5]), RESERVED + 4))
    return tower


def favoring(**shape) -> TwoTower:
    tower = made(**shape)
    tower.favor(VISITS, STRENGTH)
    return tower


def items(ids: str = "abcdz") -> dict[str, np.ndarray]:
    """Those known, and one of which nobody has heard."""
    return {**missing_tensors(item_features(), len(ids)), "item_id": np.array(list(ids), object)}


def users() -> dict[str, np.ndarray]:
    """Two with a history, and one of whom nothing is known."""
    user = {**missing_tensors(user_features(), 3), "request_timestamp": np.full(3, 10**15)}
    user["history_item_ids"] = np.array([["a", "c"], ["d", ""], ["", ""]], object)
    user["history_timestamps"] = user["history_counts"] = np.array([[1, 1], [1, 0], [0, 0]])
    return user


@pytest.mark.parametrize("shape", [{}, {"hidden": 0}, {"graph_steps": 1}])
def test_a_score_is_the_cosine_of_the_tastes_and_the_log_of_the_visits(shape):
    tower = favoring(**shape)
    query, candidates = tower.query(users()).numpy(), tower.candidates(items()).numpy()
    assert query.shape[1] == candidates.shape[1] == tower.config.dimension == 8
    tastes, likings = (v[:, :7].astype(np.float64) for v in (candidates, query))
    np.testing.assert_allclose(np.linalg.norm(tastes, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(likings[:2], axis=1), 1, rtol=1e-5)
    logs = np.log([31, 5, 1, 10, 1])
    np.testing.assert_allclose(
        query @ candidates.T, likings @ tastes.T + STRENGTH * (logs - logs[:4].mean()), rtol=1e-5, atol=1e-6
    )


def test_without_it_every_dimension_is_learnt_and_no_weight_is_kept_for_it():
    tower = made(popularity=False)
    assert POPULARITY not in tower.weights
    assert tower.weights[ITEMS].shape[1] == 8
    for vectors in (tower.query(users()), tower.candidates(items())):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("graph_steps", [0, 1])
def test_what_is_learnt_is_the_same_to_the_bit_however_strong_it_is(graph_steps):
    tf.config.experimental.enable_op_determinism()
    request, item = np.array([0, 0, 1, 2], np.int32), np.array([0, 1, 1, 3], np.int32)
    learnt = []
    for tower in (made(graph_steps=graph_steps), favoring(graph_steps=graph_steps)):
        before, untaught = tower.weights[POPULARITY].numpy(), tower.weights[ITEMS].numpy()
        training, rows = TowerTraining(tower, 0.1, 0, Learning("full")), Rows.of(tower, users(), items())
        losses = [training.epoch(Pairs(request, item, item, 0), rows, 8) for _ in range(3)]
        learnt.append((losses, {name: w.numpy().tobytes() for name, w in tower.weights.items() if name != POPULARITY}))
        np.testing.assert_array_equal(tower.weights[POPULARITY], before)
        assert not np.allclose(tower.weights[ITEMS], untaught)
    assert learnt[0] == learnt[1]


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_tastes_need_not_say_what_popularity_is_given_to_say(loss):
    """Everybody takes item a eight times, and one of the others twice: what is left to tell is the others."""
    tf.config.experimental.enable_op_determinism()
    request = np.repeat(np.arange(3, dtype=np.int32), 10)
    item = np.array([[0] * 8 + [own] * 2 for own in (1, 2, 3)], np.int32).ravel()
    visits = np.concatenate([np.zeros(RESERVED), np.bincount(item)])
    liking = []
    for given in (None, 2 * log_popularity(visits)):
        tower = made(popularity=False)
        user = {**users(), "history_item_ids": np.array([["b", "a"], ["c", "a"], ["d", "a"]], object)}
        user["history_timestamps"] = user["history_counts"] = np.ones((3, 2), int)
        learning = Learning(loss, unknown_users=0, unknown_items=0, history_competes=True)
        training = TowerTraining(tower, 0.05, 0, learning, given)
        rows = Rows.of(tower, user, items("abcd"))
        for _ in range(30):
            training.epoch(Pairs(request, item, item, 0), rows, 30)
        cosines = tower.query(user).numpy() @ tower.candidates(items("abcd")).numpy().T
        liking.append(cosines[:, 0].mean() - np.diag(cosines[:, 1:]).mean())
    assert liking[0] > 0 > liking[1]


def test_what_is_given_is_part_of_every_logit():
    tower = made(popularity=False)
    user = {**tower.user_indices(users()), "request_timestamp": tf.fill([3], tf.constant(10**15, tf.int64))}
    item = tower.item_indices(items())
    given = np.array([9.0, 0.5, -1.0, 2.0, 0.0, 1.0])  # of nobody's two rows, and of a, b, c and d; z is unknown
    learning = Learning("full", temperature=0.5, unknown_users=0, unknown_items=0, history_competes=True)
    training = TowerTraining(tower, 0.0, 0, learning, given)
    request, wanted = np.array([0, 1, 1], np.int32), np.array([1, 0, 3], np.int32)
    loss = training.epoch(Pairs(request, wanted, wanted, 0), Rows(user, item), 3)
    logits = tower.query(users()).numpy() @ tower.candidates(items("abd")).numpy().T / 0.5 + given[[2, 3, 5]]
    e = np.exp(logits)  # c and z have no pair and do not compete
    first = -np.log(e[0, 1] / e[0].sum())
    others = [-np.log(e[1, own] / (e[1, own] + e[1, 1])) for own in (0, 2)]
    shares = np.array([1, 2**-0.5, 2**-0.5])
    assert loss == pytest.approx(np.average([first, *others], weights=shares), rel=1e-5)


def test_it_is_saved_and_read_again_and_goes_with_a_tower_that_is_settled_or_grown(tmp_path):
    tower = favoring(graph_steps=1)
    found = tower.candidates(items()).numpy()
    tower.save(tmp_path)
    assert json.loads((tmp_path / "tower.json").read_text())["popularity"] is True
    loaded = TwoTower.load(tmp_path)
    more = {**tower.vocabularies, "item_id": Vocabulary(("new", *"abcd"))}
    for other in (loaded, loaded.settled(), tower.grown(more, as_of=2 * 10**15, seed=5)):
        np.testing.assert_array_equal(other.candidates(items())[:, 7], found[:, 7])
        np.testing.assert_array_equal(other.query(users())[:, 7], np.ones(3))
    for other in (loaded, loaded.settled()):
        np.testing.assert_array_equal(other.candidates(items()), found)
        np.testing.assert_array_equal(other.query(users()), tower.query(users()))


@pytest.fixture(scope="module")
def graph():
    """A shop in which the sixth item is taken so often that it is first with everyone."""
    rows = toy.all_days()
    plain = toy.tower(rows)
    tower = TwoTower(replace(plain.config, popularity=True), plain.vocabularies, seed=1)
    visits = np.maximum(0, 20.0 - np.arange(plain.vocabularies["item_id"].size))
    visits[plain.vocabularies["item_id"].indices(pa.array([toy.item_id(5)]))] = 10**6
    tower.favor(visits, 0.2)
    graph = FusedRecommender(tower, rows, SOURCES, LENGTH, NEIGHBOURS, trained=toy.trained_sources(rows, toy.AS_OF))
    graph.load_snapshot(rows.filter(of_day(rows, toy.AS_OF)), toy.AS_OF)
    graph.attach_ranker(ByRetrieval(), Calibration("platt"), "toy")
    return graph


@pytest.fixture(scope="module")
def user():
    return {name: tf.constant(values) for name, values in query_tensors(toy.requests().slice(0, 20)).items()}


def test_the_index_and_the_rankers_feature_have_the_served_product(graph, user):
    query, vectors = graph.tower.query(user).numpy(), graph.snapshot.vectors.numpy()
    products = query.astype(np.float64) @ vectors[:-1].astype(np.float64).T
    assert (products.argmax(axis=1) == 5).all() and not (products[:, 5] <= 1).any()
    _, found = graph.index.nearest(tf.constant(query), tf.constant(5))
    np.testing.assert_array_equal(found, np.argsort(-products, axis=1)[:, :5])
    given = graph.candidate_features(user, tf.constant([[""]]))
    at, checked = FEATURE_NAMES.index("retrieval_score"), 0
    for row, column in zip(*np.nonzero(given["valid"].numpy()), strict=True):
        item = int(given["item_ids"].numpy()[row, column].decode().removeprefix("item-"))
        score = given["features"].numpy()[row, column, at]
        np.testing.assert_allclose(score, products[row, item], rtol=1e-4, atol=1e-5)
        checked += 1
    assert checked > 50


def test_similar_items_are_alike_in_taste_however_popular(graph):
    found = graph.similar_items({"item_ids": tf.constant([toy.item_id(4), toy.item_id(5)]), "k": tf.constant(4)})
    tastes = graph.snapshot.vectors.numpy()[:-1, :7]
    tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)
    for row, own in enumerate((4, 5)):
        cosines = tastes @ tastes[own]
        best = [i for i in np.argsort(-cosines) if i != own][:4]
        assert [name.decode() for name in found["item_ids"].numpy()[row]] == [toy.item_id(i) for i in best]
        np.testing.assert_allclose(found["scores"].numpy()[row], cosines[best], rtol=1e-5, atol=1e-6)


def test_a_saved_graph_answers_the_same(graph, user, tmp_path):
    asked = {"item_ids": tf.constant([toy.item_id(4)]), "k": tf.constant(4)}
    tf.saved_model.save(graph, str(tmp_path / "m"), signatures={"similar_items": graph.similar_items})
    restored = tf.saved_model.load(str(tmp_path / "m"))
    ours, theirs = graph.similar_items(asked), restored.signatures["similar_items"](**asked)
    for name, values in ours.items():
        np.testing.assert_array_equal(theirs[name], values)
