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
HOUR = timedelta(hours=1)
TICK = {"day": DAY, "hour": HOUR}
POSITIVE = ("view", "click", "cart", "purchase", "rating")

Row = tuple[Any, ...]


def floor(moment: datetime, tick: timedelta) -> datetime:
    """The last tick at or before a moment; a tick is a day or an hour long."""
    return datetime.min + (moment - datetime.min) // tick * tick


def known_on(event: Event, tick: timedelta) -> datetime:
    down = floor(event.created, tick)
    return down if down == event.created else down + tick


def enters(event: Event, tick: timedelta) -> datetime:
    return max(floor(event.happened, tick) + tick, known_on(event, tick))


def positive(event: Event) -> bool:
    return event.event_type in POSITIVE


def versions(
    events: Iterable[Event], as_of: datetime, lateness: int, tick: timedelta
) -> Iterator[tuple[datetime, datetime, list[Event]]]:
    """(stamp, known at, the events it may hold) for every tick, and every tick at which it was corrected."""
    events = list(events)
    stamp = FIRST_DAY
    while stamp <= as_of:
        before = [e for e in events if e.happened < stamp]
        news = {known_on(e, tick) for e in before if stamp < known_on(e, tick) <= min(as_of, stamp + lateness * DAY)}
        for moment in (stamp, *sorted(news)):
            yield stamp, moment, [e for e in before if known_on(e, tick) <= moment]
        stamp += tick


def by_key(events: Iterable[Event], key: str) -> dict[str, list[Event]]:
    found = defaultdict(list)
    for event in events:
        if getattr(event, key) is not None:
            found[getattr(event, key)].append(event)
    return found


def inside(events: Iterable[Event], stamp: datetime, days: float, which: Callable[[Event], bool]) -> list[Event]:
    return [e for e in events if stamp - days * DAY <= e.happened < stamp and which(e)]


def worth(events: Iterable[Event]) -> float:
    return float(sum((Fraction(str(e.value)) for e in events if e.value is not None), Fraction(0)))


def since(stamp: datetime, event: Event, tick: timedelta, unit: timedelta) -> int:
    return (stamp - floor(event.happened, tick) - tick) // unit


def user_activity(events: list[Event], as_of: datetime, lateness: int, tick: timedelta) -> set[Row]:
    """user, stamp, known at, interactions 1/7/30/90, value 1/7/30/90, sessions, items, days since last, tenure."""
    rows = set()
    for user, theirs in by_key(events, "user_id").items():
        counted = [e for e in theirs if positive(e) or e.event_type == "refund"]
        for stamp, moment, known in versions(counted, as_of, lateness, tick):
            if stamp != floor(stamp, DAY) and not any(
                stamp in (enters(e, tick), floor(e.happened, tick) + tick) for e in known
            ):
                continue
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
                    min((since(stamp, e, tick, DAY) for e in wanted), default=None),
                    max((since(stamp, e, tick, DAY) for e in wanted), default=None),
                )
            )
    return rows


def item_activity(events: list[Event], as_of: datetime, lateness: int, tick: timedelta) -> set[Row]:
    """item, stamp, known at, interactions 1/7/30/90, value 7/30/90, users 7/30, impressions, days since last, age in
    days; and interactions of 1 and 6 hours and the age in hours, which are missing where a tick is a day."""
    rows = set()
    for item, its in by_key(events, "item_id").items():
        for stamp, moment, known in versions(its, as_of, lateness, tick):
            if stamp != floor(stamp, DAY) and not any(
                stamp == enters(e, tick) or stamp <= floor(e.happened, tick) + DAY + tick for e in known
            ):
                continue
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
                    min((since(stamp, e, tick, DAY) for e in wanted), default=None),
                    max((since(stamp, e, tick, DAY) for e in wanted), default=None),
                    *((len(inside(known, stamp, h / 24, positive)) if tick == HOUR else None) for h in (1, 6)),
                    max((since(stamp, e, tick, HOUR) for e in wanted if tick == HOUR), default=None),
                )
            )
    return rows


def user_history(events: list[Event], as_of: datetime, lateness: int, length: int, tick: timedelta) -> set[Row]:
    """user, stamp, known at, items, microseconds, types, counts: at the stamps at which a history changed."""
    rows = set()
    for user, theirs in by_key(events, "user_id").items():
        changes = [e for e in theirs if positive(e) or e.refund_of]
        for stamp, moment, known in versions(changes, as_of, lateness, tick):
            if not any(_made_a_stamp(e, stamp, lateness, tick) for e in known):
                continue
            if moment == stamp and not any(enters(e, tick) == stamp for e in known):
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
    "item_id, " + ACTIVITY + "columns('item_interactions_.*d'), columns('item_value_.*'), "
    "columns('item_users_.*'), item_impressions_30d, item_days_since_last_event, item_age_days, "
    "item_interactions_1h, item_interactions_6h, item_age_hours"
)


def differences(
    warehouse: Path, events: list[Event], as_of: datetime, lateness: int, length: int, grain: str = "day"
) -> dict[str, tuple[set[Row], set[Row]]]:
    """By table that is not the oracle's: the rows that should not be there, and those that are missing."""
    tick = TICK[grain]
    tables = {
        "user_activity": (USER_COLUMNS, user_activity(events, as_of, lateness, tick)),
        "item_activity": (ITEM_COLUMNS, item_activity(events, as_of, lateness, tick)),
        "user_history": ("*", user_history(events, as_of, lateness, length, tick)),
    }
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for table, (columns, expected) in tables.items():
            rows = connection.sql(f"select {columns} from {table}").fetchall()
            held = {tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows}
            if held != expected or len(rows) > len(held):
                found[table] = held - expected, expected - held
    return found


def _made_a_stamp(event: Event, stamp: datetime, lateness: int, tick: timedelta) -> bool:
    tick_after = floor(event.happened, tick) + tick
    return enters(event, tick) == stamp or (tick_after == stamp and enters(event, tick) <= stamp + lateness * DAY)
