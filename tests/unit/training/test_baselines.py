"""Each baseline on a shop where its answer is plain: items 0-4 are wanted by some, 5-9 by others."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from training.evaluation.baselines import ALS, BuyItAgain, CoVisitation, Popularity, ranked
from training.evaluation.shop_day import Histories, ShopDay

ITEMS = 10
POPULARITY = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1])  # the last row is that of unknown items


def day(neighbours: sp.csr_matrix | None = None) -> ShopDay:
    empty = sp.csr_matrix((ITEMS + 1, ITEMS + 1))
    nothing = np.zeros(ITEMS + 1)
    return ShopDay(POPULARITY, nothing, nothing > 0, empty if neighbours is None else neighbours)


def asked(*entries: tuple[int, int, float, float], requests: int = 1) -> Histories:
    """Entries are (request, item, days ago, count)."""
    table = np.array(entries, float).reshape(-1, 4)
    return Histories(requests, table[:, 0].astype(int), table[:, 1].astype(np.int32), table[:, 2], table[:, 3])


def answer(baseline, histories, of_day=None, k=3):
    of_day = of_day or day()
    return ranked(baseline.scores(histories, of_day), of_day.popularity, k, np.random.default_rng(0)).tolist()


def test_popularity_is_the_same_for_everyone():
    assert answer(Popularity(), asked((0, 7, 1, 5), requests=2)) == [[0, 1, 2], [0, 1, 2]]


def test_buy_it_again_weighs_count_and_recency_then_fills_up():
    assert answer(BuyItAgain(), asked((0, 7, 1, 1), (0, 8, 1, 3)), k=4) == [[8, 7, 0, 1]]
    assert answer(BuyItAgain(), asked((0, 7, 1, 1), (0, 8, 200, 3)), k=2) == [[7, 8]]


def test_co_visitation_sums_over_the_history():
    rows, columns, values = [4, 5, 5], [6, 7, 6], [0.5, 0.8, 0.4]  # 6 is a neighbour of both, 0.9 together
    neighbours = sp.csr_matrix((values, (rows, columns)), shape=(ITEMS + 1, ITEMS + 1))
    assert answer(CoVisitation(), asked((0, 4, 0, 1), (0, 5, 0, 1)), day(neighbours)) == [[6, 7, 0]]


@pytest.fixture(scope="module")
def als():
    """Half of the users take items 0-4, half 5-9, each leaving one out."""
    past = np.zeros((40, ITEMS + 1))
    for user in range(40):
        wanted = np.arange(5) + 5 * (user % 2)
        past[user, np.delete(wanted, user % 5)] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ALS(seed=1)
        found.fit(sp.csr_matrix(past))
        found.scores(asked((0, 1, 1, 1)), day())
    return found


def test_als_finds_the_half_that_a_user_never_seen_before_belongs_to(als):
    """The user's vector is solved from the history at the request, so a new user is no stranger."""
    left = answer(als, asked((0, 0, 1, 1), (0, 1, 1, 1)), k=5)[0]
    right = answer(als, asked((0, 8, 1, 1), (0, 9, 1, 1)), k=5)[0]
    assert set(left) == {0, 1, 2, 3, 4} and set(right) == {5, 6, 7, 8, 9}


def test_als_gives_popularity_to_whom_it_does_not_know(als):
    assert answer(als, asked(requests=1)) == [[0, 1, 2]]


def test_no_list_names_an_item_that_was_not_there_or_one_twice():
    random = np.random.default_rng(3)
    popularity = np.where(random.random(50) < 0.3, -1.0, random.integers(0, 4, 50))
    lists = ranked(np.maximum(random.normal(size=(40, 50)), 0), popularity, 12, random)
    assert (popularity[lists] >= 0).all()
    assert all(len(set(line)) == 12 for line in lists.tolist())


def test_a_small_catalogue_leaves_places_empty():
    assert ranked(np.zeros((1, 3)), np.array([1, 0, -1]), 4, np.random.default_rng(0)).tolist() == [[0, 1, -1, -1]]


def test_equals_come_in_random_order_decided_by_the_seed():
    def of(seed):
        return ranked(np.ones((200, 8)), np.zeros(8), 1, np.random.default_rng(seed))[:, 0]

    assert of(1).tolist() == of(1).tolist()
    assert np.bincount(of(1), minlength=8).min() > 10  # 25 expected of each


def test_better_scores_always_come_first():
    scores = np.random.default_rng(5).integers(0, 6, (30, 20)).astype(float)
    lists = ranked(scores, np.zeros(20), 10, np.random.default_rng(0))
    best = np.take_along_axis(scores, lists, axis=1)
    assert (best == -np.sort(-scores, axis=1)[:, :10]).all()
