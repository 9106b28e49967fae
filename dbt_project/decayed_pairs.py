"""What is taken near an item now: pairs of a session's items in their order, the nearer and the newer the more.

A pair at places p < q of a session counts 1 / (q - p) for the later item given the earlier, and 0.7 times as much for
the earlier given the later, halved every half-life: session-aware co-visitation, as item-to-item rules in Ludewig and
Jannach, "Evaluation of Session-based Recommendation Algorithms" (2018), with the decay of news. A score is a share of
what was taken near an item, so that it doesn't age until something else is taken there: an item's row stands until the
next pair of it.

Weights are counted in whole numbers. A sum of integers is the same in every order, a sum of floats is not, and a run on
top of the last one must leave the very bytes of a build in full.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dbt_project.co_occurrence import Integers, Moments, SessionItems

MAX_GAP = 10
BACKWARD_TENTHS = 7
# Beyond, a pair counts less than 0.4 % of a new one.
WINDOW_HALF_LIVES = 8

# Every place apart, and seven tenths of it, is a whole number of 25,200ths, and 1/2 + 1/6 is as much as 2/3: of equal
# neighbours the first by id is kept. Ages are to 2^-24. So 63 bits hold 22 million pairs of one item of this very hour.
SHARES = 25_200
DECAY_UNITS = 2**24


def window_hours(half_life_hours: float, tick_hours: int) -> int:
    """How long before a stamp the later event of a pair may be, in hours; a tick at least."""
    return max(math.ceil(WINDOW_HALF_LIVES * half_life_hours), tick_hours)


@dataclass(frozen=True)
class NearestItems:
    """The items of one version that got a row `[n]`; row r has others and scores offsets[r] to offsets[r + 1]."""

    stamp: datetime
    known_on: datetime
    items: Integers
    offsets: Integers
    others: Integers
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class OrderedPairs:
    """Two distinct items of a session, each at its first place there, and when the later one came: arrays `[n]`."""

    session: Integers
    earlier: Integers
    later: Integers
    gap: Integers
    happened_on: Moments
    enters_on: Moments

    def where(self, chosen: NDArray[np.bool_] | slice | Integers) -> "OrderedPairs":
        """The chosen pairs."""
        return OrderedPairs(*(column[chosen] for column in vars(self).values()))

    def and_also(self, others: "OrderedPairs") -> "OrderedPairs":
        """These and the others."""
        both = zip(vars(self).values(), vars(others).values(), strict=True)
        return OrderedPairs(*(np.concatenate(columns) for columns in both))


def ordered_pairs(events: SessionItems) -> OrderedPairs:
    """Every pair of items at most `MAX_GAP` places apart. The events are in the order of their sessions and moments."""
    width = int(events.item.max()) + 1 if len(events.item) else 1
    first = np.unique(events.session.astype(np.int64) * width + events.item, return_index=True)[1]
    first.sort()
    placed = events.where(first)
    found = []
    for gap in range(1, MAX_GAP + 1):
        at = np.flatnonzero(placed.session[gap:] == placed.session[:-gap])
        found.append((at, at + gap))
    earlier = np.concatenate([at for at, _ in found])
    later = np.concatenate([at for _, at in found])
    return OrderedPairs(
        session=placed.session[later],
        earlier=placed.item[earlier],
        later=placed.item[later],
        gap=(later - earlier).astype(np.int8),
        happened_on=placed.happened_on[later],
        enters_on=placed.enters_on[later],
    )


def told_out_of_order(events: SessionItems) -> NDArray[np.bool_]:
    """Which events `[n]` are of sessions that had an earlier event told after a later one.

    Of all others, what is known at any tick is a beginning of the session: its pairs are as good as counted once.
    """
    back = (events.enters_on[1:] < events.enters_on[:-1]) & (events.session[1:] == events.session[:-1])
    return np.isin(events.session, np.unique(events.session[1:][back]))


def nearest_by_version(
    events: SessionItems,
    versions: Sequence[tuple[datetime, datetime]],
    *,
    tick_hours: int,
    half_life_hours: float,
    neighbours: int,
) -> Iterator[NearestItems]:
    """At each version (stamp, known on), the items that its news touched; a version that touches none is left out.

    A version known at its stamp holds the items of the sessions of which an event entered then. One known later holds
    those of the sessions that late news touched, where they have a row at that stamp to be corrected, or would have
    one had the news been on time.

    Args:
        events: in the order of their sessions, in a session of their moments; whole sessions, items numbered in the
            order of their ids.
        tick_hours: length of a tick.
        half_life_hours: age at which a pair counts half.
        neighbours: how many are kept per item; of equal scores, those of the least number.
    """
    if len(events.item) == 0:
        return
    tick = np.timedelta64(tick_hours, "h")
    hours = window_hours(half_life_hours, tick_hours)
    span = np.timedelta64(hours, "h")
    weights = _weights(hours, half_life_hours)
    crooked = told_out_of_order(events)
    straight = ordered_pairs(events.where(~crooked))
    straight = straight.where(np.argsort(straight.happened_on, kind="stable"))
    crooked_events = events.where(crooked)
    news = _News(events, tick)
    size = int(events.item.max()) + 1
    for stamp, known_on in versions:
        now, known = np.datetime64(stamp), np.datetime64(known_on)
        changed = news.of(now, known)
        if not changed.any():
            continue
        window = slice(*np.searchsorted(straight.happened_on, [now - span, now]).tolist())
        pairs = straight.where(window)
        pairs = pairs.where(pairs.enters_on <= known)
        if len(crooked_events.item):
            told = (crooked_events.happened_on < now) & (crooked_events.enters_on <= known)
            late = ordered_pairs(crooked_events.where(told))
            pairs = pairs.and_also(late.where(late.happened_on >= now - span))
        touched = _items_of(pairs, changed, size)
        if known > now:
            touched &= _items_of(pairs, news.with_a_row(now, known), size)
        if touched.any():
            ages = ((now - pairs.happened_on) / np.timedelta64(1, "h")).astype(np.int64)
            yield _nearest(stamp, known_on, pairs, weights[:, ages, pairs.gap], touched, neighbours)


class _News:
    """Which sessions `[sessions]` had an event that entered, or happened, at a tick."""

    def __init__(self, events: SessionItems, tick: np.timedelta64) -> None:
        self.tick, self.sessions = tick, int(events.session.max()) + 1
        self.entering = events.where(np.argsort(events.enters_on, kind="stable"))
        self.happening = events.where(np.argsort(events.happened_on, kind="stable"))

    def of(self, stamp: np.datetime64, known_on: np.datetime64) -> NDArray[np.bool_]:
        """Those of which something before the stamp became known at the tick."""
        told = self.entering.where(_equal(self.entering.enters_on, known_on))
        return self._marked(told.session[told.happened_on < stamp])

    def with_a_row(self, stamp: np.datetime64, known_on: np.datetime64) -> NDArray[np.bool_]:
        """Those that made a row at the stamp, or would have had their news been on time."""
        happened = self.happening.where(_equal(self.happening.happened_on, stamp - self.tick))
        return self.of(stamp, stamp) | self._marked(happened.session[happened.enters_on <= known_on])

    def _marked(self, sessions: Integers) -> NDArray[np.bool_]:
        marked = np.zeros(self.sessions, bool)
        marked[sessions] = True
        return marked


def _equal(ordered: Moments, moment: np.datetime64) -> slice:
    return slice(int(np.searchsorted(ordered, moment, "left")), int(np.searchsorted(ordered, moment, "right")))


def _items_of(pairs: OrderedPairs, sessions: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    found = np.zeros(size, bool)
    chosen = sessions[pairs.session]
    found[pairs.earlier[chosen]] = True
    found[pairs.later[chosen]] = True
    return found


def _weights(last_age: int, half_life_hours: float) -> Integers:
    """`[2, ages, gaps]`: forward and backward, by hours of age and places apart.

    A table, as an elementwise power may differ in its last bit from place to place of a long array.
    """
    by_gap = [0, *(SHARES // gap for gap in range(1, MAX_GAP + 1))]
    by_age = np.rint(DECAY_UNITS * 0.5 ** (np.arange(last_age + 1) / half_life_hours)).astype(np.int64)
    forward = by_age[:, None] * np.array(by_gap)[None, :]
    return np.stack([forward, forward // 10 * BACKWARD_TENTHS])


def _nearest(
    stamp: datetime,
    known_on: datetime,
    pairs: OrderedPairs,
    weights: Integers,
    touched: NDArray[np.bool_],
    neighbours: int,
) -> NearestItems:
    forward, backward = touched[pairs.earlier], touched[pairs.later]
    item = np.concatenate([pairs.earlier[forward], pairs.later[backward]])
    other = np.concatenate([pairs.later[forward], pairs.earlier[backward]])
    weight = np.concatenate([weights[0, forward], weights[1, backward]])
    near = sparse.csr_matrix((weight, (item, other)), shape=(len(touched), len(touched)))  # sums what is repeated
    items = np.flatnonzero(np.diff(near.indptr))
    starts = near.indptr[items]
    totals = np.add.reduceat(near.data, starts)
    row = np.repeat(np.arange(len(items)), np.diff([*starts, near.nnz]))
    best = np.lexsort((near.indices, -near.data, row))
    rank = np.arange(near.nnz) - starts[row]  # rows keep their places
    best = best[rank < neighbours]
    kept = row[rank < neighbours]
    return NearestItems(
        stamp=stamp,
        known_on=known_on,
        items=items,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(kept, minlength=len(items)))]),
        others=near.indices[best].astype(np.int64),
        scores=near.data[best] / totals[kept],
    )
