"""Which items known users had together: the cosine of item pairs over sessions, at many stamps.

Co-occurrence counts of one stamp are the product of a sparse session × item matrix with itself. In SQL the same counts
for Online Retail's 53 Mondays are a running sum over 11 million changes of 2 million pairs: minutes, where this takes
ten seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Integers = NDArray[np.int64]
Moments = NDArray[np.datetime64]


@dataclass(frozen=True)
class SessionItems:
    """Numbered session i had numbered item i, from a tick on, in rows stamped from a later one: four arrays `[n]`."""

    session: Integers
    item: Integers
    happened_on: Moments
    enters_on: Moments

    def where(self, chosen: NDArray[np.bool_] | Integers | slice) -> "SessionItems":
        """The chosen rows."""
        return SessionItems(self.session[chosen], self.item[chosen], self.happened_on[chosen], self.enters_on[chosen])


@dataclass(frozen=True)
class Neighbours:
    """One item's neighbours at a stamp, as known at a tick: item numbers and scores `[m]`, best first."""

    stamp: datetime
    known_on: datetime
    item: int
    others: Integers
    scores: NDArray[np.float64]


def neighbour_versions(
    events: SessionItems,
    versions: Sequence[tuple[datetime, datetime]],
    *,
    window_days: int,
    least_sessions: int,
    neighbours: int,
) -> Iterator[Neighbours]:
    """Every item's neighbours at each version (stamp, known on), from what was known of the window before the stamp.

    A version known later than its stamp holds only the items in sessions that late news touched at that very tick.
    """
    for stamp, known_on in versions:
        moment = np.datetime64(stamp)
        inside = events.where(
            (events.happened_on < moment)
            & (events.happened_on >= moment - np.timedelta64(window_days, "D"))
            & (events.enters_on <= np.datetime64(known_on))
        )
        touched = inside.item
        if known_on > stamp:
            news = (events.enters_on == np.datetime64(known_on)) & (events.happened_on < moment)
            touched = inside.item[np.isin(inside.session, events.session[news])]
        item, other, score = nearest_items(
            inside.session, inside.item, least_sessions=least_sessions, neighbours=neighbours
        )
        starts = np.unique(item, return_index=True)[1]
        for start, end in pairwise([*starts.tolist(), len(item)]):
            if known_on == stamp or item[start] in touched:
                yield Neighbours(stamp, known_on, int(item[start]), other[start:end], score[start:end])


def nearest_items(
    sessions: Integers, items: Integers, *, least_sessions: int, neighbours: int
) -> tuple[Integers, Integers, NDArray[np.float64]]:
    """The items most often together with each item.

    Args:
        sessions, items: `[n]`, numbers from 0: session i had item i. Repeats count once.
        least_sessions: pairs together in fewer sessions are left out as chance.
        neighbours: how many are kept per item.

    Returns item numbers, their neighbours' and the scores, `[m]` each, ordered by item, then by score, the greatest
    first, then by neighbour. A score is the sessions with both over the square root of the product of the sessions
    with each.
    """
    if len(items) == 0:
        return np.array([], np.int64), np.array([], np.int64), np.array([], np.float64)
    names, rows = np.unique(sessions, return_inverse=True)
    had = sparse.csr_matrix((np.ones(len(items), np.int32), (rows, items)), shape=(len(names), int(items.max()) + 1))
    had.data[:] = 1
    sizes = np.asarray(had.sum(axis=0)).ravel()
    together = (had.T @ had).tocoo()
    counted = (together.data >= least_sessions) & (together.row != together.col)
    item, other = together.row[counted].astype(np.int64), together.col[counted].astype(np.int64)
    score = together.data[counted] / np.sqrt(sizes[item].astype(np.float64) * sizes[other])
    order = np.lexsort((other, -score, item))
    item, other, score = item[order], other[order], score[order]
    kept = np.arange(len(item)) - np.searchsorted(item, item, side="left") < neighbours
    return item[kept], other[kept], score[kept]
