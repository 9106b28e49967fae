"""Each source against the same thing said in plain Python, or by the library it was trained with."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
from implicit.als import AlternatingLeastSquares
from toys import asked_sources as toy
from toys import two_tastes

from tastemaker.moments import microseconds
from training.ranking.past import Fading
from training.sources import matrix_factorization as mf
from training.sources import user_knn
from training.sources.co_visitation import CoVisitation
from training.sources.content import Content
from training.sources.own_history import OwnHistory
from training.sources.popularity import Popularity

HISTORY = [2, 4, 7]
HALF_LIFE_DAYS = 20.0


@pytest.fixture(scope="module")
def items():
    return toy.snapshot()


def _weights(history=HISTORY):
    return {item: math.exp(-(1 + place) / Fading().days) for place, item in enumerate(history)}


def _as_lists(found, row=0):
    return found.items.numpy()[row].tolist(), found.scores.numpy()[row].tolist()


def _best(scores, count):
    ranked = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
    return [item for item, _ in ranked], [score for _, score in ranked]


def test_co_visitation_sums_decayed_similarities(items):
    rows = {row["item_id"]: row for row in two_tastes.items_of(two_tastes.AS_OF)}
    expected = {}
    for item, weight in _weights().items():
        row = rows[two_tastes.item_id(item)]
        for name, score in zip(row["neighbour_item_ids"], row["neighbour_scores"], strict=True):
            number = int(name.removeprefix("item-"))
            expected[number] = expected.get(number, 0.0) + score * weight
    found, scores = _as_lists(CoVisitation().propose(toy.asked(items, [HISTORY]), 4))
    best, values = _best(expected, 4)
    np.testing.assert_allclose(scores, values, rtol=1e-5)
    assert found == best


def test_history_is_latest_first_each_once(items):
    found, scores = _as_lists(OwnHistory().propose(toy.asked(items, [[4, 2, 4, 7]]), 8))
    assert found[:4] == [4, 2, 7, items.universe.unknown]
    np.testing.assert_allclose(scores[:3], [math.exp(-d / Fading().days) for d in (1, 2, 4)], rtol=1e-5)


def test_content_is_the_cosine_with_the_decayed_history(items):
    rows = two_tastes.items_of(two_tastes.AS_OF)
    terms = [
        [*row["item_title"].lower().split(), *([f"category {row['item_category']}"] if row["item_category"] else [])]
        for row in rows
    ]
    holders = {term: sum(term in other for other in terms) for row in terms for term in row}
    vectors = []
    for row in terms:
        vector = {term: row.count(term) * (math.log((1 + len(rows)) / (1 + holders[term])) + 1) for term in row}
        length = math.sqrt(sum(value**2 for value in vector.values()))
        vectors.append({term: value / length for term, value in vector.items()})
    profile = {}
    for item, weight in _weights().items():
        for term, value in vectors[item].items():
            profile[term] = profile.get(term, 0.0) + weight * value
    expected = [sum(profile.get(term, 0.0) * value for term, value in vector.items()) for vector in vectors]
    content = Content(items)
    content.refresh()
    asked = toy.asked(items, [HISTORY])
    found, scores = _as_lists(content.propose(asked, two_tastes.ITEMS))
    np.testing.assert_allclose(scores, [expected[item] for item in found], rtol=1e-5)
    np.testing.assert_allclose(scores, sorted(expected, reverse=True), rtol=1e-5)


def test_popularity_without_a_half_life_is_the_snapshots_order(items):
    plain = Popularity(items, 5, None)
    plain.refresh()
    found, _ = _as_lists(plain.propose(toy.asked(items, [[]]), 5))
    assert [two_tastes.item_id(n) for n in found] == items.popular_item_ids(5)


def test_popularity_with_decay_prefers_what_is_taken_now():
    rows = two_tastes.items_of(two_tastes.AS_OF)
    for row in rows:
        row |= dict.fromkeys((f"item_interactions_{days}d" for days in (1, 7, 30, 90)), 0)
        row |= {"item_interactions_1h": None, "item_interactions_6h": None}
    rows[3] |= {"item_interactions_30d": 100, "item_interactions_90d": 100}  # the day before last week
    rows[5] |= dict.fromkeys((f"item_interactions_{days}d" for days in (1, 7, 30, 90)), 20)  # yesterday
    loaded = toy.snapshot()
    loaded.load(two_tastes.items_table(rows), two_tastes.AS_OF, two_tastes.tower(two_tastes.all_days()))
    for half_life, first in ((3.0, 5), (300.0, 3), (None, 3)):
        source = Popularity(loaded, 5, half_life)
        source.refresh()
        found, scores = _as_lists(source.propose(toy.asked(loaded, [[]]), 2))
        assert found[0] == first
        assert source.rank.numpy()[found].tolist() == [0, 1]
        if half_life == 3.0:  # 20 events, spread over a day
            rate = math.log(2) / 3
            assert scores[0] == pytest.approx(20 * (1 - math.exp(-rate)) / rate)


def test_popularity_at_hourly_grain_knows_the_last_hours():
    rows = two_tastes.items_of(two_tastes.AS_OF)
    spans = ("1h", "6h", "1d", "7d", "30d", "90d")
    for row in rows:
        row |= dict.fromkeys((f"item_interactions_{span}" for span in spans), 0)
    rows[3] |= dict.fromkeys((f"item_interactions_{span}" for span in spans[2:]), 20)  # of yesterday, not of tonight
    rows[5] |= dict.fromkeys((f"item_interactions_{span}" for span in spans), 19)  # all in the last hour
    loaded = toy.snapshot()
    loaded.load(two_tastes.items_table(rows), two_tastes.AS_OF, two_tastes.tower(two_tastes.all_days()))
    for half_life, first in ((0.1, 5), (300.0, 3)):
        source = Popularity(loaded, 5, half_life)
        source.refresh()
        found, scores = _as_lists(source.propose(toy.asked(loaded, [[]]), 2))
        assert found[0] == first
        if half_life == 0.1:
            rate = math.log(2) / half_life
            assert scores[0] == pytest.approx(19 * (1 - math.exp(-rate / 24)) / (rate / 24), rel=1e-5)


def test_a_users_factors_are_those_that_implicit_solves(items):
    counts = toy.counts()
    factors = mf.ItemFactors.fit(counts, items.universe.item_ids, toy.DIMENSION, seed=1)
    model = AlternatingLeastSquares(
        factors=toy.DIMENSION,
        regularization=mf.REGULARIZATION,
        alpha=mf.ALPHA,
        iterations=mf.ITERATIONS,
        random_state=1,
        num_threads=2,
    )
    model.fit(counts, show_progress=False)
    asked = toy.asked(items, [HISTORY, list(range(1, 9))])
    ages = np.arange(1, toy.LENGTH + 1)
    weights = (1 + np.arange(toy.LENGTH) % 3) * 0.5 ** (ages / mf.HALF_LIFE_DAYS)
    history = np.zeros((2, items.universe.rows - 1), np.float32)
    history[0, HISTORY] = weights[: len(HISTORY)]
    history[1, np.arange(1, 9)] = weights
    users = model.recalculate_user(np.arange(2), sp.csr_matrix(history))
    expected = users @ model.item_factors.T
    every = np.tile(np.arange(items.universe.rows - 1, dtype=np.int32), (2, 1))
    scores = mf.MatrixFactorization(items, factors).scores(asked, every).numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_sessions_are_the_latest_each_item_once():
    owner, members = np.array([0, 0, 0, 2, 1, 1]), np.array([5, 5, 3, 1, 2, 0])
    moments = np.array([microseconds(two_tastes.AS_OF - timedelta(days=d)) for d in (3, 1, 2)])
    found = user_knn.Sessions.fit(owner, members, moments, tuple("abcdef"), two_tastes.AS_OF)
    assert found.days.tolist() == [1, 2, 3]
    assert found.starts.tolist() == [0, 2, 3, 5]
    assert found.members.tolist() == [0, 2, 1, 3, 5]


def test_neighbouring_sessions_vote(items):
    trained = toy.sessions()
    sessions = [trained.members[a:b].tolist() for a, b in zip(trained.starts, trained.starts[1:], strict=False)]
    votes = {}
    for members, days in zip(sessions, trained.days, strict=True):
        similarity = sum(_weights().get(item, 0.0) for item in members)
        similarity *= 0.5 ** (days / HALF_LIFE_DAYS) / math.sqrt(len(members))
        for item in members:
            votes[item] = votes.get(item, 0.0) + similarity
    rarity = {item: math.log((len(sessions) + 1) / (1 + sum(item in s for s in sessions))) for item in votes}
    expected = {item: value * rarity[item] for item, value in votes.items()}
    found, scores = _as_lists(user_knn.UserKnn(items, trained, HALF_LIFE_DAYS).propose(toy.asked(items, [HISTORY]), 6))
    best, values = _best(expected, 6)
    np.testing.assert_allclose(scores, values, rtol=1e-5)
    assert found == best


def test_other_sessions_take_the_place_of_those_before(items):
    first = toy.sessions()
    other = user_knn.Sessions.fit(
        np.array([0, 0, 1, 1, 2, 2, 2]),
        np.array([*HISTORY[:1], 7, *HISTORY[1:2], 8, 9, 10, HISTORY[0]]),
        np.array([microseconds(two_tastes.AS_OF - timedelta(days=d)) for d in (1, 2, 3)]),
        items.universe.item_ids,
        two_tastes.AS_OF,
    )
    source = user_knn.UserKnn(items, replace(first, room=len(first.days) + 5), HALF_LIFE_DAYS)
    ask = tf.function(lambda: source.propose(toy.asked(items, [HISTORY]), 6).scores)
    roomy = ask().numpy()
    exact = user_knn.UserKnn(items, first, HALF_LIFE_DAYS).propose(toy.asked(items, [HISTORY]), 6).scores.numpy()
    np.testing.assert_array_equal(roomy, exact)
    source.load(other)
    alone = user_knn.UserKnn(items, other, HALF_LIFE_DAYS).propose(toy.asked(items, [HISTORY]), 6).scores.numpy()
    np.testing.assert_array_equal(ask().numpy(), alone)
    assert not np.array_equal(alone, exact)


def test_only_the_nearest_sessions_vote_and_long_tables_are_cut(items, monkeypatch):
    monkeypatch.setattr(user_knn, "NEIGHBOURS", 1)
    monkeypatch.setattr(user_knn, "ITEMS_OF_A_SESSION", 2)
    trained = toy.sessions()
    found, _ = _as_lists(user_knn.UserKnn(items, trained, HALF_LIFE_DAYS).propose(toy.asked(items, [HISTORY]), 6))
    assert sum(item != items.universe.unknown for item in found) <= 2
