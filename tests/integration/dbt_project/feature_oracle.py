"""The feature tables again, event by event in plain Python, straight from what ARCHITECTURE.md says about time."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
from toy_shop import FIRST_DAY, Event

DAY = timedelta(days=1)
POSITIVE = ("view", "click", "cart", "purchase", "rating")

Row = tuple[Any, ...]


def midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)


def known_on(event: Event) -> datetime:
    down = midnight(event.created)
    return down if down == event.created else down + DAY


def positive(event: Event) -> bool:
    return event.event_type in POSITIVE


def versions(
    events: Iterable[Event], as_of: datetime, lateness: int
) -> Iterator[tuple[datetime, datetime, list[Event]]]:
    """(stamp, known at, the events it may hold) for every midnight, and every midnight at which it was corrected."""
    events = list(events)
    stamp = FIRST_DAY
    while stamp <= as_of:
        before = [e for e in events if e.happened < stamp]
        for late in range(lateness + 1):
            moment = stamp + late * DAY
            if moment <= as_of and (late == 0 or any(known_on(e) == moment for e in before)):
                yield stamp, moment, [e for e in before if known_on(e) <= moment]
        stamp += DAY


def by_key(events: Iterable[Event], key: str) -> dict[str, list[Event]]:
    found = defaultdict(list)
    for event in events:
        if getattr(event, key) is not None:
            found[getattr(event, key)].append(event)
    return found


def inside(events: Iterable[Event], stamp: datetime, days: int, which: Callable[[Event], bool]) -> list[Event]:
    return [e for e in events if stamp - days * DAY <= e.happened < stamp and which(e)]


def worth(events: Iterable[Event]) -> float:
    return float(sum((Fraction(str(e.value)) for e in events if e.value is not None), Fraction(0)))


def days_since(stamp: datetime, event: Event) -> int:
    return (stamp - midnight(event.happened)).days - 1


def user_activity(events: list[Event], as_of: datetime, lateness: int) -> set[Row]:
    """user, stamp, known at, interactions 1/7/30/90, value 1/7/30/90, sessions, items, days since last, tenure."""
    rows = set()
    for user, theirs in by_key(events, "user_id").items():
        counted = [e for e in theirs if positive(e) or e.event_type == "refund"]
        for stamp, moment, known in versions(counted, as_of, lateness):
            wanted = [e for e in known if positive(e)]
            recent = inside(known, stamp, 90, positive)
            if not inside(known, stamp, 90, lambda e: True):
                continue
            rows.add(
                (
                    user,
                    stamp,
                    moment,
                    *(len(inside(known, stamp, days, positive)) for days in (1, 7, 30, 90)),
                    *(worth(inside(known, stamp, days, lambda e: True)) for days in (1, 7, 30, 90)),
                    len({e.session_id for e in recent} - {None}),
                    len({e.item_id for e in recent}),
                    min((days_since(stamp, e) for e in wanted), default=None),
                    max((days_since(stamp, e) for e in wanted), default=None),
                )
            )
    return rows


def item_activity(events: list[Event], as_of: datetime, lateness: int) -> set[Row]:
    """item, stamp, known at, interactions 1/7/30/90, value 7/30/90, users 7/30, impressions, days since last, age."""
    rows = set()
    for item, its in by_key(events, "item_id").items():
        for stamp, moment, known in versions(its, as_of, lateness):
            wanted = [e for e in known if positive(e)]
            if not inside(known, stamp, 90, lambda e: True):
                continue
            rows.add(
                (
                    item,
                    stamp,
                    moment,
                    *(len(inside(known, stamp, days, positive)) for days in (1, 7, 30, 90)),
                    *(
                        worth(inside(known, stamp, days, lambda e: e.event_type != "impression"))
                        for days in (7, 30, 90)
                    ),
                    *(len({e.user_id for e in inside(known, stamp, days, positive)} - {None}) for days in (7, 30)),
                    len(inside(known, stamp, 30, lambda e: e.event_type == "impression")),
                    min((days_since(stamp, e) for e in wanted), default=None),
                    max((days_since(stamp, e) for e in wanted), default=None),
                )
            )
    return rows


def user_history(events: list[Event], as_of: datetime, lateness: int, length: int) -> set[Row]:
    """user, stamp, known at, items, microseconds, types, counts: at the stamps at which a history changed."""
    rows = set()
    for user, theirs in by_key(events, "user_id").items():
        changes = [e for e in theirs if positive(e) or e.refund_of]
        for stamp, moment, known in versions(changes, as_of, lateness):
            if not any(_made_a_stamp(e, stamp, lateness) for e in known):
                continue
            if moment == stamp and not any(_enters(e) == stamp for e in known):
                continue
            gone = {e.refund_of for e in known if e.refund_of}
            kept = sorted(
                (e for e in known if positive(e) and e.event_id not in gone),
                key=lambda e: (e.happened, e.event_id),
            )
            last = {e.item_id: e for e in kept}
            items = sorted(last, key=lambda item: (-last[item].happened.timestamp(), item))[:length]
            rows.add(
                (
                    user,
                    stamp,
                    moment,
                    tuple(items),
                    tuple((last[item].happened - datetime(1970, 1, 1)) // timedelta(microseconds=1) for item in items),
                    tuple(last[item].event_type for item in items),
                    tuple(sum(e.item_id == item for e in kept) for item in items),
                )
            )
    return rows


ACTIVITY = "event_timestamp, created_timestamp, "
USER_COLUMNS = (
    "user_id, " + ACTIVITY + "columns('user_interactions_.*'), columns('user_value_.*'), "
    "user_sessions_90d, user_distinct_items_90d, user_days_since_last_event, user_tenure_days"
)
ITEM_COLUMNS = (
    "item_id, " + ACTIVITY + "columns('item_interactions_.*'), columns('item_value_.*'), "
    "columns('item_users_.*'), item_impressions_30d, item_days_since_last_event, item_age_days"
)


def differences(
    warehouse: Path, events: list[Event], as_of: datetime, lateness: int, length: int
) -> dict[str, tuple[set[Row], set[Row]]]:
    """By table that is not the oracle's: the rows that should not be there, and those that are missing."""
    tables = {
        "user_activity": (USER_COLUMNS, user_activity(events, as_of, lateness)),
        "item_activity": (ITEM_COLUMNS, item_activity(events, as_of, lateness)),
        "user_history": ("*", user_history(events, as_of, lateness, length)),
    }
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for table, (columns, expected) in tables.items():
            rows = connection.sql(f"select {columns} from {table}").fetchall()
            held = {tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows}
            if held != expected or len(rows) > len(held):
                found[table] = held - expected, expected - held
    return found


def _enters(event: Event) -> datetime:
    return max(midnight(event.happened) + DAY, known_on(event))


def _made_a_stamp(event: Event, stamp: datetime, lateness: int) -> bool:
    day_after = midnight(event.happened) + DAY
    return _enters(event) == stamp or (day_after == stamp and _enters(event) <= stamp + lateness * DAY)
