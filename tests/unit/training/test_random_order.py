"""Equal scores are ordered at random: what gives everything the same score is worth what chance is."""

import numpy as np
import pytest

from training.evaluation.metrics import ndcg
from training.evaluation.order import best_first, hits_of_pairs


def worth_of_chance(items: int, k: int) -> float:
    """NDCG@k to be expected of a random order of so many items, one of them wanted."""
    return float((1 / np.log2(np.arange(2, k + 2))).sum() / items)


@pytest.mark.parametrize("k", [1, 3, 7, 99])
def test_it_is_the_order_of_a_whole_sort(k):
    random = np.random.default_rng(3)
    scores = random.integers(0, 4, (50, 7)).astype(float)  # many ties
    scores[random.random(scores.shape) < 0.2] = -np.inf
    found = np.take_along_axis(scores, best_first(scores, k, random), axis=1)
    np.testing.assert_array_equal(found, -np.sort(-scores, axis=1)[:, :k])
    places = best_first(scores, k, random)
    assert all(len(set(row)) == len(row) for row in places.tolist())


def test_a_seed_gives_one_order_and_another_seed_another():
    scores = np.zeros((20, 30))
    one, again, other = (best_first(scores, 30, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert len({tuple(row) for row in one}) == 20  # each request has its own


def test_no_rows_and_no_columns():
    random = np.random.default_rng(0)
    assert best_first(np.empty((0, 4)), 2, random).shape == (0, 2)
    assert best_first(np.empty((3, 0)), 2, random).shape == (3, 0)


@pytest.mark.parametrize("at", [0, 9])
def test_the_place_of_an_item_among_equals_is_worth_nothing(at):
    labels = np.zeros((4_000, 10), bool)
    labels[:, at] = True
    owner = np.repeat(np.arange(4_000), 10)
    hits = hits_of_pairs(owner, labels.ravel(), np.zeros(40_000), 4_000, 3, np.random.default_rng(5))
    found = float(ndcg(hits, np.ones(4_000, int)).mean())
    assert found == pytest.approx(worth_of_chance(10, 3), abs=0.02)  # .213; always first is 1, always last is 0
