"""The order that a metric judges: best first, equal scores at random, so that neither a label nor an index decides.

The order of rows in a table says something (an older item, a smaller id, what was taken before what was not): a model
that gives everything the same score would be judged by it.
"""

import numpy as np


def best_first(scores: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """The places of each row's k highest scores, best first, int64 `[rows, min(k, columns)]`.

    Args:
        scores: `[rows, columns]`; −inf is last, NaN is not a score.
        k: at least 1.
        random: says who of equals is first; it is asked for as many numbers as are needed, no more.

    >>> best_first(np.array([[0.5, 2.0, -1.0, 1.0], [3.0, 0.0, 0.0, 9.0]]), 2, np.random.default_rng(1)).tolist()
    [[1, 3], [3, 0]]
    """
    rows, columns = scores.shape
    k = min(k, columns)
    if not k:
        return np.empty((rows, 0), np.int64)
    # only what reaches the k-th score needs sorting
    edge = np.partition(scores, columns - k, axis=1)[:, columns - k]
    row, place = np.nonzero(scores >= edge[:, None])
    order = np.lexsort((random.random(len(row)), -scores[row, place], row))
    first = np.searchsorted(row, np.arange(rows))
    return place[order[first[:, None] + np.arange(k)]]


def hits_of_pairs(
    owner: np.ndarray, labels: np.ndarray, scores: np.ndarray, requests: int, k: int, random: np.random.Generator
) -> np.ndarray:
    """Which places of each request's list, its pairs by their scores, hold something taken: bool `[requests, k]`.

    Args:
        owner: int `[pairs]`, the request of each pair, never decreasing.
        labels: bool, or 0 and 1, `[pairs]`.
        scores: `[pairs]`.
        requests: how many there are, with pairs or without.
        k: length of the lists; what a request lacks of pairs is no hit.
        random: see `best_first`.

    >>> owner, labels, scores = np.array([0, 0, 2]), np.array([1, 0, 1]), np.array([1.0, 3.0, 2.0])
    >>> hits_of_pairs(owner, labels, scores, 3, 2, np.random.default_rng(0)).tolist()
    [[False, True], [False, False], [True, False]]
    """
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    shape = (requests, max(k, int(place.max(initial=0)) + 1))
    by_request, taken = np.full(shape, -np.inf), np.zeros(shape, bool)
    by_request[owner, place], taken[owner, place] = scores, labels > 0
    return np.take_along_axis(taken, best_first(by_request, k, random), axis=1)
