"""The rival: items of the last days' sessions most like this one.

V-SkNN of Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (UMUAI 2018): later clicks of the
session weigh more, rare items more, recent sessions more.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

HALF_LIFE_HOURS = 18.0
FADING = 0.8  # of a click against the next later one
NEIGHBOURS = 300


@dataclass(frozen=True)
class Clicks:
    """Sessions as lists of item numbers, latest first, and when the last click of each was, in hours."""

    sessions: list[np.ndarray]
    ended: np.ndarray

    def matrix(self, items: int, fading: float = 1.0) -> sp.csr_matrix:
        """float32 `[sessions, items]`, each click weighed by its place."""
        sizes = [len(session) for session in self.sessions]
        row = np.repeat(np.arange(len(sizes)), sizes)
        place = np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, np.int64)])
        column = np.concatenate(self.sessions or [np.empty(0, np.int64)])
        weight = (fading**place).astype(np.float32)
        return sp.csr_matrix((weight, (row, column)), shape=(len(sizes), items))


def session_knn(past: Clicks, now: float, asking: list[np.ndarray], items: int, k: int, seed: int = 0) -> np.ndarray:
    """The k best items for each session that asks, int64 `[requests, k]`, −1 where there are fewer; none of its own.

    Args:
        past: sessions that ended before now.
        now: in hours, as `past.ended`.
        asking: each one's clicks so far, item numbers, latest first.
        items: how many numbers there are.
        k: length of the lists.
        seed: of the order of items with as many votes; another one every hour.

    >>> past = Clicks([np.array([1, 0]), np.array([2, 0]), np.array([2, 0]), np.array([4, 3])], np.zeros(4))
    >>> session_knn(past, 1.0, [np.array([0]), np.array([3])], 5, 2).tolist()
    [[2, 1], [4, -1]]
    """
    had = past.matrix(items)
    sessions_with = np.asarray(had.sum(axis=0)).ravel()
    rarity = np.log1p(len(past.sessions) / np.maximum(sessions_with, 1)).astype(np.float32)
    recency = 0.5 ** ((now - past.ended) / HALF_LIFE_HOURS) / np.sqrt(np.maximum([len(s) for s in past.sessions], 1))
    by_item = (sp.diags(recency.astype(np.float32)) @ had @ sp.diags(rarity)).T.tocsr()
    best = np.full((len(asking), k), -1, np.int64)
    random = np.random.default_rng([seed, int(now)])
    for start in range(0, len(asking), 200):  # 200 × 100,000 sessions at a time
        part = asking[start : start + 200]
        likeness = (Clicks(part, np.zeros(len(part))).matrix(items, FADING) @ by_item).tocsr()
        for row in range(len(part)):
            values = likeness.data[likeness.indptr[row] : likeness.indptr[row + 1]]
            if len(values) > NEIGHBOURS:
                values[values < np.partition(values, -NEIGHBOURS)[-NEIGHBOURS]] = 0
        votes = (likeness @ had).tocsr()
        for row, own in enumerate(part):
            found = votes.indices[votes.indptr[row] : votes.indptr[row + 1]]
            scores = votes.data[votes.indptr[row] : votes.indptr[row + 1]]
            kept = (scores > 0) & ~np.isin(found, own)
            order = np.lexsort((random.random(int(kept.sum())), -scores[kept]))[:k]
            best[start + row, : len(order)] = found[kept][order]
    return best
