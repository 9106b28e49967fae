"""What a caller does with a session that still runs: its items go in front of the history that the features tell.

Features are as of the last tick; what somebody did since then only the caller knows. Training asks as a caller would.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class History:
    """The four lists of `user_history`, one entry per item, latest first: ids, microseconds since 1970 UTC of the last
    event, its type, and the number of events."""

    item_ids: Sequence[str]
    timestamps: Sequence[int]
    event_types: Sequence[str]
    counts: Sequence[int]


def with_session(
    history: History, item_ids: Sequence[str], timestamps: Sequence[int], event_types: Sequence[str], length: int
) -> History:
    """The history with the running session's distinct items in front, latest first, cut at `length` items.

    An item of both moves to the front and is counted once more, unless the history holds that very event already: a
    session may have begun before the last tick.

    Args:
        history: as of the last tick.
        item_ids: distinct items of the session so far, latest first.
        timestamps: when each was last had, microseconds since 1970 UTC.
        event_types: type of each one's last event.
        length: `features.history_length`.

    >>> before = History(["tea", "cup"], [50, 10], ["click", "click"], [3, 1])
    >>> after = with_session(before, ["pot", "cup"], [90, 80], ["click", "view"], length=3)
    >>> after.item_ids, after.timestamps, after.event_types, after.counts
    (['pot', 'cup', 'tea'], [90, 80, 50], ['click', 'view', 'click'], [1, 2, 3])
    >>> with_session(after, ["cup"], [80], ["view"], length=2)  # known by now: moved, not counted again
    History(item_ids=['cup', 'pot'], timestamps=[80, 90], event_types=['view', 'click'], counts=[2, 1])
    """
    place = {item: at for at, item in enumerate(history.item_ids)}
    counts = []
    for item, moment in zip(item_ids, timestamps, strict=True):
        at = place.get(item)
        known = 0 if at is None else history.counts[at]
        counts.append(known if at is not None and history.timestamps[at] >= moment else known + 1)
    moved = set(item_ids)
    rest = [at for at, item in enumerate(history.item_ids) if item not in moved]
    return History(
        [*item_ids, *(history.item_ids[at] for at in rest)][:length],
        [*timestamps, *(history.timestamps[at] for at in rest)][:length],
        [*event_types, *(history.event_types[at] for at in rest)][:length],
        [*counts, *(history.counts[at] for at in rest)][:length],
    )
