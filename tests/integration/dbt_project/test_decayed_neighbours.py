"""Neighbours in a session's order, decayed, at every hour: equal to plain Python, in any order of hours; leaks are red.

The leaks are those that profiles and neighbours are tested with, in the same places.
"""

import json
import math
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest
from feature_oracle import HOUR, enters, floor, positive
from test_planted_leaks_told import LEAKS, NEIGHBOURS, TOGETHER
from toy_shop import DAY, FIRST_DAY, Event, land, toy_events

from dbt_project import invocation
from dbt_project.build import dbt_vars
from dbt_project.invocation import PROJECT, invoke_dbt
from tastemaker.config import Config, EventsConfig, FeaturesConfig
from tastemaker.errors import GateFailedError
from tastemaker.home import Home

pytestmark = pytest.mark.integration

LATENESS, HALF_LIFE, KEPT = 1, 5.0, 3
CONFIG = Config(
    version=1,
    events=EventsConfig(lateness_days=LATENESS),
    features=FeaturesConfig(grain="hour", history_length=4, neighbours=KEPT, neighbour_half_life_hours=HALF_LIFE),
)
LAST = FIRST_DAY + 2 * DAY + 3 * HOUR
NEARNESS = "assert_neighbours_were_near"

# (item, stamp, known on) → its neighbours, best first, and their shares
Rows = dict[tuple[str, datetime, datetime], tuple[tuple[str, ...], tuple[float, ...]]]


def squeezed(seed: int) -> list[Event]:
    """Three weeks' events within two days, so that sessions go on from hour to hour; late by minutes or half a day."""
    found = []
    for e in toy_events(seed):
        happened = FIRST_DAY + (e.happened - FIRST_DAY) / 10
        late = (e.created - e.happened) / 12
        visit = f"{seed} {e.session_id[:-2]}" if e.session_id else None
        found.append(
            Event(f"{seed} {e.event_id}", e.user_id, e.item_id, e.event_type, happened, happened + late, None, visit)
        )
    return [e for e in found if e.event_type != "refund"]


EVENTS = [event for seed in (7, 8) for event in squeezed(seed)]


def oracle(events: Iterable[Event]) -> Rows:
    """Every row up to LAST, from the events alone."""
    visits = defaultdict(list)
    for e in events:
        if positive(e) and e.user_id and e.session_id and enters(e, HOUR) <= LAST:
            visits[e.session_id].append(e)
    rows: Rows = {}
    stamp = FIRST_DAY
    while stamp <= LAST:
        for late in range(LATENESS * 24 + 1):
            if stamp + late * HOUR <= LAST:
                rows |= version(visits.values(), stamp, stamp + late * HOUR)
        stamp += HOUR
    return rows


def version(visits: Iterable[list[Event]], stamp: datetime, known: datetime) -> Rows:
    near: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    touched, had_row = set(), set()
    for visit in visits:
        told = sorted(
            (e for e in visit if e.happened < stamp and enters(e, HOUR) <= known), key=lambda e: (e.happened, e.item_id)
        )
        if not told or told[-1].happened < stamp - 10 * DAY:
            continue
        first: dict[str, datetime] = {}
        for e in told:
            first.setdefault(e.item_id, floor(e.happened, HOUR))
        places = list(first)
        for p, earlier in enumerate(places):
            for q in range(p + 1, min(p + 11, len(places))):
                later, age = places[q], (stamp - first[places[q]]) / HOUR
                if age <= math.ceil(8 * HALF_LIFE):
                    weight = 0.5 ** (age / HALF_LIFE) / (q - p)
                    near[earlier][later] += weight
                    near[later][earlier] += 0.7 * weight
                    if any(enters(e, HOUR) == known for e in told):
                        touched |= {earlier, later}
                    if any(enters(e, HOUR) == stamp or floor(e.happened, HOUR) + HOUR == stamp for e in told):
                        had_row |= {earlier, later}
    rows = {}
    for item in touched & had_row if known > stamp else touched:
        total = sum(near[item].values())
        best = sorted((-round(weight / total, 9), other) for other, weight in near[item].items())[:KEPT]
        rows[item, stamp, known] = tuple(other for _, other in best), tuple(-share for share, _ in best)
    return rows


def differing(home: Home, expected: Rows) -> set[tuple[str, datetime, datetime]]:
    """Which rows are there and should not be, are missing, or tell other neighbours, or shares beyond 0.001 % off."""
    found = {row[:3]: row[3:] for row in exactly(home)}
    told = found.keys() & expected.keys()
    others = {key for key in told if tuple(found[key][0]) != expected[key][0]}
    shares = {key for key in told - others if not np.allclose(found[key][1], expected[key][1], rtol=0, atol=1e-5)}
    return (found.keys() ^ expected.keys()) | others | shares


def exactly(home: Home) -> list[tuple]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.sql("select * from item_neighbours order by all").fetchall()


def run(home: Home, as_of: datetime) -> None:
    """The table and all that it is made of, with their data tests."""
    variables = dbt_vars(home, CONFIG, "landing", as_of.replace(tzinfo=UTC))
    build = ["build", "--exclude-resource-type", "unit_test", "--select", "+item_neighbours"]
    build += ["--indirect-selection", "cautious"]  # tests of these tables alone
    assert invoke_dbt(home, variables, build, progress=False).warnings == []


@pytest.fixture(scope="module")
def expected() -> Rows:
    return oracle(EVENTS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("decayed"))
    land(home.landing, "all", EVENTS)
    run(home, LAST)
    return home


def test_neighbours_equal_the_oracle(built: Home, expected: Rows) -> None:
    assert differing(built, expected) == set()
    assert len(exactly(built)) == len(expected)  # none twice
    late = [row for row in expected if row[2] > row[1]]
    hours = {row[1] for row in expected if row[1].hour}
    assert len(late) > 50 and len(hours) > 30  # or the toy would prove nothing


def test_hours_in_any_order_leave_the_same_rows_as_one_build(built: Home, tmp_path: Path) -> None:
    home = Home(tmp_path)
    land(home.landing, "all", EVENTS)
    for hours in (-9, 0, -2):
        run(home, LAST + hours * HOUR)
    assert exactly(home) == exactly(built)  # scores to the last bit


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_turns_red(
    built: Home, expected: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    for model, right, wrong in LEAKS[leak]:
        if model in (TOGETHER, NEIGHBOURS):
            path = project / "models" / model
            by_hour = wrong.replace('timedelta64(1, "D")', 'timedelta64(1, "h")')
            text, count = re.subn(right, by_hour, path.read_text())
            assert count == 1, f"{model} has {count} times: {right}"
            path.write_text(text)
    monkeypatch.setattr(invocation, "PROJECT", project)
    variables = dbt_vars(home, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    models = ["int_item_neighbours", "item_neighbours"]
    build = ["build", "--full-refresh", "--exclude-resource-type", "unit_test", "--select", *models]
    with pytest.raises(GateFailedError):
        invoke_dbt(home, variables, build, progress=False)
    results = json.loads((home.root / "dbt" / "target" / "run_results.json").read_text())["results"]
    assert NEARNESS in {entry["unique_id"].split(".")[2] for entry in results if entry["status"] == "fail"}
    assert differing(home, expected), "the oracle is red too"
