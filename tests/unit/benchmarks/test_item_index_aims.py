"""What the index benchmark counts as missed."""

import pytest

from benchmarks.item_index import AIMED_ITEMS, AIMED_RECALL, AIMED_TIMES_FASTER, missed


@pytest.mark.parametrize(
    ("recall", "times", "items", "said"),
    [
        (AIMED_RECALL, AIMED_TIMES_FASTER, AIMED_ITEMS, []),
        (0.98, 9.0, AIMED_ITEMS, ["recall"]),
        (1.0, 3.9, AIMED_ITEMS, ["times faster"]),
        (1.0, 0.5, AIMED_ITEMS - 1, []),  # a small catalogue has no index: every item is asked
        (0.5, 0.5, AIMED_ITEMS, ["recall", "times faster"]),
    ],
)
def test_each_aim_that_is_missed_is_said(recall, times, items, said):
    found = {"recall": {"inverted": recall}, "times_faster_than_exact": {"inverted": times}}
    sentences = missed(found, items)
    assert len(sentences) == len(said) and all(word in one for word, one in zip(said, sentences, strict=True))
