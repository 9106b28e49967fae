"""How many cells are probed: worked by hand on a line of four cells, and for equals."""

import numpy as np
import pytest

from training.release.probe_choice import choose_probes

# Cells of 1, 2, 3 and 4 items; an item's product with the query 1.0 is its value.
VALUES = np.array([9, 8, 3, 7, 6, 2, 5, 4, 1, 0], np.float32)[:, None]
STARTS = np.array([0, 1, 3, 6, 10])
PROMISE = np.array([[4, 3, 2, 1]], np.float32)
ONE = np.ones((1, 1), np.float32)


def _choose(length, recall, scanned=1.0, promise=PROMISE, queries=ONE, values=VALUES):
    (choice,) = choose_probes(queries, values, STARTS, promise, [length], recall, scanned)
    return choice


@pytest.mark.parametrize(
    ("length", "wanted", "probes", "recall", "scanned"),
    [
        (1, 1.0, 1, 1, 1 / 10),
        (2, 1.0, 2, 1, 3 / 10),  # 9 in the first cell, 8 in the second
        (4, 0.5, 3, 1, 6 / 10),  # two cells would hold half, but only three of the smallest hold four items: 1 + 2 + 3
        (5, 0.8, 3, 4 / 5, 6 / 10),  # 9 8 7 6 of 9 8 7 6 5
        (5, 0.81, 4, 1, 1),
        (10, 1.0, 4, 1, 1),
    ],
)
def test_the_fewest_cells_that_hold_enough(length, wanted, probes, recall, scanned):
    choice = _choose(length, wanted)
    assert (choice.length, choice.probes) == (length, probes)
    assert choice.recall == pytest.approx(recall)
    assert choice.scanned == pytest.approx(scanned)


def test_not_worth_it_when_too_much_would_be_scanned():
    assert _choose(5, 0.81, scanned=0.9).probes == 0
    assert _choose(5, 0.8, scanned=0.7).probes == 3


def test_the_order_of_the_cells_is_what_they_promise():
    assert _choose(1, 1.0, promise=PROMISE[:, ::-1]).probes == 4


def test_an_equal_item_is_as_good_as_another():
    """All ten are equal: any three of them are the three nearest, whichever cells are first."""
    choice = _choose(3, 1.0, promise=PROMISE[:, ::-1], values=np.ones_like(VALUES))
    assert choice.recall == 1
    assert choice.probes == 2  # for the size guarantee: 1 + 2 items in the two smallest cells


def test_a_wide_spread_between_queries_asks_for_more():
    """Half of the queries find everything in the first cell, half nothing: the mean of .5 is not sure."""
    queries = np.array([[1], [-1]] * 8, np.float32)
    promise = np.repeat(PROMISE, 16, axis=0)
    assert _choose(1, 0.4, queries=queries, promise=promise).probes > 1
    assert _choose(1, 0.4, queries=np.abs(queries), promise=promise).probes == 1
