"""The weights of the blend on rows whose best weights are known."""

import numpy as np
import pytest

from training.sources.blend import DEFAULT_OFFSET, Blend, BlendRows, tuned

REQUESTS, LISTED = 60, 12


def rows_of(seed: int, right_at: int | None, requests: int = REQUESTS, listed: int = LISTED) -> BlendRows:
    """Two sources list the same items of each request, in orders of their own; one item is taken.

    Args:
        right_at: the source that lists it first; None where both are noise.
        requests, listed: how many requests, and items of each.
    """
    random = np.random.default_rng(seed)
    places = np.array([[random.permutation(listed) for _ in range(2)] for _ in range(requests)]).transpose(0, 2, 1)
    taken = random.integers(0, listed, requests) if right_at is None else places[:, :, right_at].argmin(axis=1)
    labels = np.arange(listed) == taken[:, None]
    owner = np.repeat(np.arange(requests), listed)
    return BlendRows(places.reshape(-1, 2).astype(np.int32), labels.ravel(), owner, np.ones(requests, np.int64))


@pytest.mark.parametrize("right", [0, 1])
def test_the_source_that_is_right_gets_the_weight_and_noise_gets_next_to_none(right):
    rows = rows_of(4, right)
    blend, found = tuned(rows, ("one", "two"), 5, seed=1)
    assert found == pytest.approx(1.0)
    assert list(blend.weights.values())[right] > 0.8
    assert rows.ndcg(rows.worth(DEFAULT_OFFSET).sum(axis=1), 5, 1) < 0.9  # of equal weights


@pytest.mark.parametrize("seed", [139, 209])  # of the first 400 those in which other offsets do not get as far
def test_it_is_never_worse_than_equal_weights_at_the_default_offset(seed):
    rows = rows_of(seed, None, requests=3, listed=30)
    _, found = tuned(rows, ("one", "two"), 5, seed=seed)
    assert found >= rows.ndcg(rows.worth(Blend().offset).sum(axis=1), 5, seed)


def test_what_nobody_could_tell_apart_is_worth_what_chance_is():
    """The wanted item is the first of its request's pairs: an order that stays as it was would be right always."""
    labels = np.tile(np.arange(LISTED) == 0, REQUESTS)
    owner = np.repeat(np.arange(REQUESTS), LISTED)
    rows = BlendRows(np.zeros((len(owner), 2), np.int32), labels, owner, np.ones(REQUESTS, np.int64))
    found = np.mean([rows.ndcg(np.ones(len(owner)), 3, seed) for seed in range(60)])
    assert found == pytest.approx((1 / np.log2([2, 3, 4])).sum() / LISTED, abs=0.03)


def test_recall_is_the_share_of_what_was_taken_that_a_source_lists():
    places = np.array([[0, -1], [-1, 1], [2, 2], [-1, -1], [0, -1]], np.int32)
    labels = np.array([True, True, False, True, True])
    rows = BlendRows(places, labels, np.array([0, 0, 0, 0, 2]), np.array([4, 1, 1, 0]))
    # of request 0 one, one and two of four; of request 1, without pairs, none; of request 2 the one, or not
    assert rows.recalls(("one", "two")) == {
        "one": round((1 / 4 + 0 + 1) / 3, 4),
        "two": round((1 / 4 + 0 + 0) / 3, 4),
        "mix": round((2 / 4 + 0 + 1) / 3, 4),
    }
