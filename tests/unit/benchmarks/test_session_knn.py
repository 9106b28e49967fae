"""The session k-NN of the walk: items with as many votes are ordered at random, not by their numbers."""

import numpy as np
import pytest

from benchmarks.walk_forward.session_knn import Clicks, session_knn


def lists(now: float, seed: int = 0) -> np.ndarray:
    """2,000 sessions ask with item 0; ten others had it beside one of the items 1 to 10 each: all are equal."""
    past = Clicks([np.array([item, 0]) for item in range(1, 11)], np.zeros(10))
    return session_knn(past, now, [np.array([0])] * 2_000, 11, 3, seed)


@pytest.mark.parametrize("item", [1, 10])
def test_among_equal_votes_no_item_is_preferred(item):
    found = lists(now=1.0)
    assert (found == item).any(axis=1).mean() == pytest.approx(3 / 10, abs=0.04)
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_an_hour_is_ordered_the_same_way_again_and_another_hour_or_seed_in_another():
    assert np.array_equal(lists(5.0), lists(5.0))
    assert not np.array_equal(lists(5.0), lists(6.0))
    assert not np.array_equal(lists(5.0), lists(5.0, seed=1))
