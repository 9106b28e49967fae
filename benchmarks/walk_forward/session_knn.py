"""The rival: items of the last days' sessions most like this one.

V-SkNN of Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (UMUAI 2018): later clicks of the
session weigh more, rare items more, recent sessions more.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class KnnSettings:
    """What was best on the tuning half (`benchmarks/LOG.md`).

    Attributes:
        half_life_hours: of a session's weight.
        fading: weight of a click against the next later one.
        neighbours: how many sessions vote.
    """

    half_life_hours: float = 1.5
    fading: float = 0.2
    neighbours: int = 300


@dataclass(frozen=True)
class Sessions:
    """Item numbers, session after session, in a session latest first.

    Attributes:
        items: int `[clicks]`.
        sizes: int `[sessions]`, how many of them are each one's.
    """

    items: np.ndarray
    sizes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """int `[sessions]`, where each one's items begin."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def owner(self) -> np.ndarray:
        """int `[clicks]`, the session that each is of."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def before(self, latest: np.ndarray) -> "Sessions":
        """The same, each after one more click, int `[sessions]`."""
        return Sessions(np.insert(self.items, self.starts, latest), self.sizes + 1)

    def without(self, item: int) -> "Sessions":
        """The same sessions, each without an item.

        >>> Sessions(np.array([3, 1, 3, 3]), np.array([2, 2])).without(3)
        Sessions(items=array([1]), sizes=array([1, 0]))
        """
        kept = self.items != item
        return Sessions(self.items[kept], np.bincount(self.owner[kept], minlength=len(self.sizes)))

    def some(self, first: int, end: int) -> "Sessions":
        """The sessions of `[first, end)`."""
        ends = np.cumsum(self.sizes)
        return Sessions(self.items[self.starts[first] : ends[end - 1]], self.sizes[first:end])

    def matrix(self, items: int, fading: float = 1.0) -> sp.csr_matrix:
        """float32 `[sessions, items]`, each click weighed by its place.

        >>> Sessions(np.array([2, 0, 1]), np.array([2, 1])).matrix(3, 0.5).toarray().tolist()
        [[0.5, 0.0, 1.0], [0.0, 1.0, 0.0]]
        """
        row = self.owner
        weight = (fading ** (np.arange(len(row)) - self.starts[row])).astype(np.float32)
        return sp.csr_matrix((weight, (row, self.items)), shape=(len(self.sizes), items))


def session_knn(
    past: Sessions,
    hours: np.ndarray,
    asking: Sessions,
    items: int,
    k: int,
    random: np.random.Generator,
    settings: KnnSettings = KnnSettings(),
) -> np.ndarray:
    """The k best items for each session that asks, int64 `[requests, k]`, −1 where there are fewer; none of its own.

    Args:
        past: sessions as far as they are known.
        hours: float `[sessions]`, since the last click of each of these.
        asking: each one's clicks so far.
        items: how many numbers there are.
        k: length of the lists.
        random: says which of items with as many votes comes first.
        settings: how sessions and clicks are weighed.

    >>> past = Sessions(np.array([1, 0, 2, 0, 2, 0, 4, 3]), np.array([2, 2, 2, 2]))
    >>> asking = Sessions(np.array([0, 3]), np.array([1, 1]))
    >>> session_knn(past, np.ones(4), asking, 5, 2, np.random.default_rng(1)).tolist()
    [[2, 1], [4, -1]]
    """
    had = past.matrix(items)
    sessions_with = np.asarray(had.sum(axis=0)).ravel()
    rarity = np.log1p(len(past.sizes) / np.maximum(sessions_with, 1)).astype(np.float32)
    recency = 0.5 ** (hours / settings.half_life_hours) / np.sqrt(np.maximum(past.sizes, 1))
    by_item = (sp.diags(recency.astype(np.float32)) @ had @ sp.diags(rarity)).T.tocsr()
    best = np.full((len(asking.sizes), k), -1, np.int64)
    for start in range(0, len(best), 200):  # 200 × 100,000 sessions at a time
        part = asking.some(start, min(start + 200, len(best)))
        likeness = (part.matrix(items, settings.fading) @ by_item).tocsr()
        for row in range(len(part.sizes)):
            values = likeness.data[likeness.indptr[row] : likeness.indptr[row + 1]]
            if len(values) > settings.neighbours:
                values[values < np.partition(values, -settings.neighbours)[-settings.neighbours]] = 0
        likeness.eliminate_zeros()
        votes = (likeness @ had).tocsr()
        for row, own in enumerate(np.split(part.items, part.starts[1:])):
            found = votes.indices[votes.indptr[row] : votes.indptr[row + 1]]
            scores = votes.data[votes.indptr[row] : votes.indptr[row + 1]]
            kept = (scores > 0) & ~np.isin(found, own)
            order = np.lexsort((random.random(int(kept.sum())), -scores[kept]))[:k]
            best[start + row, : len(order)] = found[kept][order]
    return best
