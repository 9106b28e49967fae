"""What a ranked list, or a probability, is worth: NumPy on arrays of item indices, nothing else.

Every list metric is per request and NaN where the request has nothing relevant. Sources: Järvelin & Kekäläinen (2002)
for NDCG with gain 1, Vargas & Castells (2011) for novelty, Fawcett (2006) for AUC with ties at one half.
"""

import numpy as np


def hits_of(ranked: np.ndarray, owners: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Which places of the lists hold something relevant.

    Args:
        ranked: int `[requests, k]`, item indices, best first; below 0 is an empty place.
        owners: int `[pairs]`, the request of each relevant item.
        relevant: int `[pairs]`, item indices, each once a request; below 0 is an item that no list can hold.

    Returns:
        bool `[requests, k]`.

    >>> hits_of(np.array([[5, 2, -1], [2, 5, 9]]), np.array([0, 1, 1]), np.array([2, 2, 9])).tolist()
    [[False, True, False], [True, False, True]]
    >>> hits_of(np.array([[9], [5]]), np.array([1]), np.array([-1])).tolist()
    [[False], [False]]
    """
    owners, relevant = owners[relevant >= 0], relevant[relevant >= 0]
    width = int(max(ranked.max(initial=0), relevant.max(initial=0))) + 1
    places = np.arange(len(ranked), dtype=np.int64)[:, None] * width + ranked
    return np.isin(places, owners.astype(np.int64) * width + relevant) & (ranked >= 0)


def recall(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Share of the relevant items that are in the list: bool `[requests, k]`, counts `[requests]` → `[requests]`.

    >>> recall(np.array([[True, False, True]]), np.array([3])).tolist() == [2 / 3]
    True
    """
    return _over(hits.sum(axis=1), relevant)


def ndcg(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Discounted gain, 1 / log2(place + 1) a hit, over that of the best list of the same length.

    >>> found = ndcg(np.array([[False, True, False]]), np.array([1]))
    >>> bool(np.isclose(found[0], 1 / np.log2(3)))
    True
    >>> ndcg(np.array([[True, True]]), np.array([5])).tolist()  # no list of two can hold five
    [1.0]
    """
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    return _over(hits @ discounts, best[np.minimum(relevant, hits.shape[1])])


def average_precision(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Mean, over the hits a list of this length could have, of the precision down to each hit.

    >>> found = average_precision(np.array([[True, False, True]]), np.array([2]))
    >>> bool(np.isclose(found[0], (1 / 1 + 2 / 3) / 2))
    True
    """
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _over((precision * hits).sum(axis=1), np.minimum(relevant, hits.shape[1]))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive has a higher score than a negative, one half when equal; NaN with one class only.

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.9])) == 3.5 / 4
    True
    """
    positives = int(np.sum(labels > 0))
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # ranks from 1, equal scores share their mean
    ranks = float(middle[inverse][labels > 0].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def auc_within(owners: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUC of the requests that have both classes: how well a request's own items are told apart.

    Args:
        owners: int `[pairs]`, the request of each pair, never decreasing.
        labels: 0 or 1 `[pairs]`.
        scores: `[pairs]`.

    >>> auc_within(np.array([0, 0, 1, 1, 2]), np.array([1, 0, 1, 0, 1]), np.array([2.0, 1.0, 1.0, 2.0, 5.0]))
    0.5
    """
    starts = np.flatnonzero(np.diff(owners)) + 1
    each = [auc(a, b) for a, b in zip(np.split(labels, starts), np.split(scores, starts), strict=True)]
    found = [value for value in each if value == value]
    return float(np.mean(found)) if found else float("nan")


def coverage(ranked: np.ndarray, catalogue: int) -> float:
    """Share of the catalogue's items that are in at least one list.

    >>> coverage(np.array([[0, 1], [1, -1]]), 4)
    0.5
    """
    return len(np.unique(ranked[ranked >= 0])) / catalogue


def novelty(ranked: np.ndarray, surprise: np.ndarray) -> float:
    """Mean surprise, in bits, of what was recommended.

    Args:
        ranked: int `[requests, k]`, below 0 is an empty place.
        surprise: `[requests, k]`, −log2 of each item's share of interactions.

    >>> novelty(np.array([[0, 1], [1, -1]]), -np.log2(np.array([[1 / 2, 1 / 4], [1 / 4, 1.0]]))) == 5 / 3
    True
    """
    return float(surprise[ranked >= 0].mean()) if (ranked >= 0).any() else float("nan")


def _over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
