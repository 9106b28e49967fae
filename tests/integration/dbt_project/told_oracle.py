"""Profiles and neighbours again in plain Python, straight from what ARCHITECTURE.md and the tables' pages say."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
from told_shop import Told
from toy_shop import DAY, Event

POSITIVE = ("view", "click", "cart", "purchase", "rating")
WINDOW_DAYS, LEAST_SESSIONS = 90, 2

Row = tuple[Any, ...]


def midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)


def enters(one: Told | Event) -> datetime:
    """The first midnight after it happened at which it was known."""
    known = midnight(one.created)
    return max(midnight(one.happened) + DAY, known if known == one.created else known + DAY)


def corrections(stamp: datetime, as_of: datetime, lateness: int) -> Iterator[datetime]:
    return (moment for late in range(lateness + 1) if (moment := stamp + late * DAY) <= as_of)


def profile(all_told: Iterable[Told], as_of: datetime, lateness: int) -> set[Row]:
    """key, stamp, known at, what holds: at the midnights at which it changed."""
    by_key = defaultdict(list)
    for one in all_told:
        by_key[one.key].append(one)
    rows = set()
    for key, its in by_key.items():
        for stamp in {enters(one) for one in its} | {midnight(one.happened) + DAY for one in its}:
            for moment in corrections(stamp, as_of, lateness):
                known = [one for one in its if one.happened < stamp and enters(one) <= moment]
                made = any(
                    enters(one) == stamp
                    or (midnight(one.happened) + DAY == stamp and enters(one) <= stamp + lateness * DAY)
                    for one in known
                )
                if made and any(enters(one) == moment for one in known):
                    last = max(known, key=lambda one: (one.happened, one.created))
                    rows.add((key, stamp, moment, last.what))
    return rows


def neighbours(events: Iterable[Event], as_of: datetime, lateness: int, kept: int) -> set[Row]:
    """item, stamp, known at, neighbours, scores: at Mondays, and at each midnight that corrected one."""
    events = [e for e in events if e.event_type in POSITIVE and e.user_id and e.session_id]
    stamp = midnight(min(e.happened for e in events))
    rows = set()
    while stamp <= as_of:
        for moment in corrections(stamp, as_of, lateness) if stamp.weekday() == 0 else ():
            before = [e for e in events if e.happened < stamp and enters(e) <= moment]
            news = {e.session_id for e in before if enters(e) == moment}
            if moment > stamp and not news:
                continue
            had = defaultdict(set)
            for e in before:
                if e.happened >= stamp - WINDOW_DAYS * DAY:
                    had[e.session_id].add(e.item_id)
            touched = {item for session, items in had.items() if session in news or moment == stamp for item in items}
            for item, best in nearest(list(had.values()), kept).items():
                if item in touched:
                    rows.add((item, stamp, moment, tuple(o for _, o in best), tuple(-s for s, _ in best)))
        stamp += DAY
    return rows


def nearest(sessions: list[set[str]], kept: int) -> dict[str, list[tuple[float, str]]]:
    alone, both = defaultdict(int), defaultdict(int)
    for items in sessions:
        for item in items:
            alone[item] += 1
        for pair in combinations(sorted(items), 2):
            both[pair] += 1
    found = defaultdict(list)
    for (a, b), count in both.items():
        if count >= LEAST_SESSIONS:
            score = round(count / math.sqrt(alone[a] * alone[b]), 12)
            found[a].append((-score, b))
            found[b].append((-score, a))
    return {item: sorted(others)[:kept] for item, others in found.items()}


def differences(warehouse: Path, expected: dict[str, set[Row]]) -> dict[str, tuple[set[Row], set[Row]]]:
    """By table that is not the oracle's: the rows that should not be there, and those that are missing."""
    columns = {
        "user_profile": "user_id, event_timestamp, created_timestamp, user_country",
        "item_profile": "item_id, event_timestamp, created_timestamp, item_price",
        "item_neighbours": "* replace "
        "(list_transform(neighbour_scores, lambda score: round(score, 12)) as neighbour_scores)",
    }
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for table, rows in expected.items():
            told = connection.sql(f"select {columns[table]} from {table}").fetchall()
            held = {tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in told}
            if held != rows or len(told) > len(held):
                found[table] = held - rows, rows - held
    return found
