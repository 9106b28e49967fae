"""The session k-NN of the walk: items with as many votes are ordered at random, not by their numbers."""

import numpy as np
import pytest

from benchmarks.walk_forward.session_knn import KnnSettings, Sessions, session_knn


def lists(seed: int) -> np.ndarray:
    """2,000 sessions ask with item 0; ten others had it beside one of the items 1 to 10 each: all are equal."""
    past = Sessions(np.array([[item, 0] for item in range(1, 11)]).ravel(), np.full(10, 2))
    asking = Sessions(np.zeros(2_000, np.int64), np.ones(2_000, np.int64))
    return session_knn(past, np.ones(10), asking, 11, 3, np.random.default_rng(seed))


@pytest.mark.parametrize("item", [1, 10])
def test_among_equal_votes_no_item_is_preferred(item):
    found = lists(seed=1)
    assert (found == item).any(axis=1).mean() == pytest.approx(3 / 10, abs=0.04)
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_a_seed_orders_the_same_way_again_and_another_one_in_another():
    assert np.array_equal(lists(5), lists(5))
    assert not np.array_equal(lists(5), lists(6))


def test_sessions_are_cut_and_lengthened_as_lists_are():
    sessions = Sessions(np.array([3, 1, 2, 5]), np.array([2, 1, 1]))
    longer = sessions.before(np.array([7, 8, 9]))
    assert longer.items.tolist() == [7, 3, 1, 8, 2, 9, 5]
    assert longer.sizes.tolist() == [3, 2, 2]
    assert longer.some(1, 3).items.tolist() == [8, 2, 9, 5]


def test_a_session_without_a_click_that_counts_is_still_one():
    emptied = Sessions(np.array([6, 3, 6, 1]), np.array([1, 2, 1])).without(6)
    assert emptied.sizes.tolist() == [0, 1, 1]
    longer = emptied.before(np.array([7, 8, 9]))
    assert longer.items.tolist() == [7, 8, 3, 9, 1]
    assert longer.owner.tolist() == [0, 1, 1, 2, 2]


def test_settings_say_whose_votes_count():
    past = Sessions(np.array([1, 0, 2, 0, 2, 0]), np.array([2, 2, 2]))  # item 1 an hour ago; item 2 a day ago, twice
    asking, hours = Sessions(np.zeros(1, np.int64), np.ones(1, np.int64)), np.array([1.0, 24.0, 24.0])

    def best(settings: KnnSettings) -> int:
        return int(session_knn(past, hours, asking, 3, 1, np.random.default_rng(1), settings)[0, 0])

    assert best(KnnSettings(half_life_hours=2)) == 1
    assert best(KnnSettings(half_life_hours=1000)) == 2
    assert best(KnnSettings(half_life_hours=1000, neighbours=1)) == 1


def test_the_clicks_before_the_last_weigh_as_much_as_the_settings_say():
    past = Sessions(np.array([2, 0, 3, 1, 3, 1]), np.array([2, 2, 2]))
    asking = Sessions(np.array([0, 1]), np.array([2]))  # item 0 is the latest

    def best(fading: float) -> int:
        settings = KnnSettings(fading=fading)
        return int(session_knn(past, np.ones(3), asking, 4, 1, np.random.default_rng(1), settings)[0, 0])

    assert (best(0.1), best(1.0)) == (2, 3)
