"""Four leaks, each planted in a feature table that the offline store joins: labels are told what they could not know.

The labels are the events themselves, and what each could know is counted straight from the events. `leaks` is the
measure; it is silent on the table that was made rightly, and tells every planted one.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_feast_store import ASOF, USER, asked, feast_store, user_view, values, write_rows

pytestmark = pytest.mark.integration

DAYS = 30
# (user, stamp, created, count), as `write_rows` takes them, in days
FeatureRow = tuple[str, float, float, int]


@dataclass(frozen=True)
class Event:
    user: str
    day: float
    """When it happened."""
    told: float
    """When it became known, a day or two later for one in five."""


def shop(seed: int) -> list[Event]:
    draw = random.Random(seed)
    moments = [(draw.choice("abc"), draw.randrange(DAYS) + draw.randrange(1, 24) / 24) for _ in range(300)]
    return [Event(user, day, day + draw.choice([0, 0, 0, 0, 1.5])) for user, day in moments]


def counted(events: list[Event], user: str, before: float, known: float) -> int:
    """The user's events before a moment that were known at another."""
    return sum(event.user == user and event.day < before and event.told <= known for event in events)


def midnights(events: list[Event], late_days: int = 3) -> list[FeatureRow]:
    """The table as it should be: a row each midnight, and a later version for each midnight that told of more."""
    rows = []
    for user in "abc":
        for stamp in range(DAYS + 1):
            versions = [counted(events, user, stamp, stamp + late) for late in range(late_days)]
            for late, count in enumerate(versions):
                if late == 0 or count != versions[late - 1]:
                    rows.append((user, float(stamp), float(stamp + late), count))
    return rows


def future_row(events: list[Event]) -> list[FeatureRow]:
    """One user's last row is dated a week back."""
    rows = [row for row in midnights(events) if row[0] == "a"]
    user, stamp, _, count = max(rows, key=lambda row: row[1])
    return [*midnights(events), (user, stamp - 7, stamp - 7, count)]


def label_inside(events: list[Event]) -> list[FeatureRow]:
    """The window reaches a day beyond its stamp."""
    return [
        (
            user,
            stamp,
            known,
            count + counted(events, user, stamp + 1, stamp + 1) - counted(events, user, stamp, stamp + 1),
        )
        for user, stamp, known, count in midnights(events)
    ]


def late_backfill(events: list[Event]) -> list[FeatureRow]:
    """What was told late stands in the row as if it had been known at its stamp."""
    return [(user, stamp, stamp, counted(events, user, stamp, DAYS * 2)) for user, stamp, _, _ in midnights(events)]


def own_time(events: list[Event]) -> list[FeatureRow]:
    """A row an event, stamped with the event and counting it."""
    return [
        (event.user, event.day, event.day, counted(events, event.user, event.day, event.day) + 1) for event in events
    ]


LEAKS: dict[str, Callable[[list[Event]], list[FeatureRow]]] = {
    "a future row": future_row,
    "a label inside its own window": label_inside,
    "a late backfill": late_backfill,
    "a feature stamped at its event's own time": own_time,
}


def leaks(folder: Path, events: list[Event], rows: list[FeatureRow], **offline: object) -> int:
    """How many events were given a count above what was known of the time before them."""
    write_rows(folder / "f.parquet", rows)
    store = feast_store(folder, [USER, user_view(folder / "f.parquet")], type=ASOF, threads=1, **offline)
    labels = asked(*((event.user, event.day) for event in events))
    given = values(store.get_historical_features(entity_df=labels, features=["counts:n"]))
    assert len(given) == len(events)
    return sum(
        (count or 0) > counted(events, event.user, event.day, event.day)
        for event, count in zip(events, given, strict=True)
    )


def test_the_table_as_it_should_be_tells_nobody_too_much(tmp_path: Path) -> None:
    events = shop(5)
    assert leaks(tmp_path, events, midnights(events)) == 0


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_told(tmp_path: Path, leak: str) -> None:
    events = shop(5)
    assert leaks(tmp_path, events, LEAKS[leak](events)) > 0


def test_a_store_that_does_not_ask_when_a_row_was_created_leaks(tmp_path: Path) -> None:
    """The late backfill again, by a fault of the store: rows with their right created_timestamp, which nobody reads."""
    events = shop(5)
    assert leaks(tmp_path, events, midnights(events), filter_by_created_timestamp=False) > 0
