"""The same models with a stamp at every full hour: equal to the oracle, in any order of hours, and a leak turns red."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from feature_oracle import HOUR, differences
from test_planted_leaks import LEAKS, project_with
from toy_shop import DAY, FIRST_DAY, Event, land, toy_events

from dbt_project import invocation
from dbt_project.build import dbt_vars, transform
from dbt_project.invocation import invoke_dbt
from dbt_project.warehouse_state import read_state
from tastemaker.config import Config, EventsConfig, FeaturesConfig
from tastemaker.errors import GateFailedError
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.steps import StepReport

pytestmark = pytest.mark.integration

LATENESS, LENGTH = 1, 4
CONFIG = Config(
    version=1,
    events=EventsConfig(lateness_days=LATENESS),
    features=FeaturesConfig(grain="hour", history_length=LENGTH, neighbours=3),
)
LAST = FIRST_DAY + 8 * DAY + 15 * HOUR


def run(home: Home, as_of: datetime, config: Config = CONFIG) -> StepReport:
    return transform(home, config, "landing", as_of.replace(tzinfo=UTC))


def rows(home: Home, query: str) -> list[tuple]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        found = connection.sql(query).fetchall()
    return [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in found]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Three weeks' events within one, so that hours have company; some of them late by three hours or by days."""
    squeezed = []
    for e in toy_events(seed=11):
        happened = FIRST_DAY + (e.happened - FIRST_DAY) / 3
        squeezed.append(Event(**{**vars(e), "happened": happened, "created": happened + (e.created - e.happened)}))
    return squeezed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Home:
    """The shop built once, at the last hour."""
    home = Home(tmp_path_factory.mktemp("hourly"))
    land(home.landing, "all", events)
    assert run(home, LAST).facts["warnings"] == []
    return home


def test_tables_equal_the_oracle(built: Home, events: list[Event]) -> None:
    assert differences(built.warehouse, events, LAST, LATENESS, LENGTH, "hour") == {}
    for table in ("item_activity", "user_activity", "user_history"):
        late = rows(built, f"select count(*) from {table} where created_timestamp > event_timestamp")
        hours = rows(built, f"select count(*) from {table} where hour(event_timestamp) > 0")
        assert late[0][0] > 20 and hours[0][0] > 100, table  # or the toy would prove nothing


def test_hours_in_any_order_leave_the_same_rows_as_one_build(built: Home, events: list[Event], tmp_path: Path) -> None:
    home = Home(tmp_path)
    land(home.landing, "all", events)
    for hours in (-30, 0, -2):
        run(home, LAST + hours * HOUR)
    for name in feature_tables():
        assert sorted(rows(home, f"select * from {name}"), key=repr) == sorted(
            rows(built, f"select * from {name}"), key=repr
        ), name


def test_neighbours_are_counted_every_midnight(built: Home) -> None:
    stamps = rows(built, "select distinct event_timestamp from item_neighbours order by 1")
    assert len(stamps) > 5
    assert all(stamp == datetime(stamp.year, stamp.month, stamp.day) for (stamp,) in stamps)


@pytest.mark.parametrize("leak", ["a label inside its own window", "a feature stamped at its event's own time"])
def test_an_hour_that_sees_itself_turns_red(
    built: Home, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    monkeypatch.setattr(invocation, "PROJECT", project_with(tmp_path / "project", LEAKS[leak]))
    variables = dbt_vars(home, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    tables = ["user_activity", "item_activity", "user_history"]
    build = ["build", "--full-refresh", "--exclude-resource-type", "unit_test", "--select", *tables]
    with pytest.raises(GateFailedError):
        invoke_dbt(home, variables, build, progress=False)
    assert set(differences(home.warehouse, events, LAST, LATENESS, LENGTH, "hour")) == set(tables)


def test_another_grain_builds_everything_anew(built: Home, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    state = read_state(home)
    assert state is not None and state.built_to == LAST
    daily = CONFIG.model_copy(update={"features": CONFIG.features.model_copy(update={"grain": "day"})})
    report = run(home, LAST, daily)
    assert report.facts["build"] == "full: the models, the source or the config's events and features changed"
    assert rows(home, "select count(*) from user_activity where hour(event_timestamp) > 0") == [(0,)]


def test_one_reader_by_hand(tmp_path: Path) -> None:
    """Ann reads x at 10:15 and 10:45 and y at 11:30; Bob reads x at 11:00:00 exactly, which is past eleven."""
    day = FIRST_DAY
    at = {name: day + timedelta(hours=h, minutes=m) for name, (h, m) in
          {"first": (10, 15), "again": (10, 45), "other": (11, 30), "bob": (11, 0)}.items()}  # fmt: skip
    home = Home(tmp_path)
    land(
        home.landing,
        "all",
        [
            Event("e1", "ann", "x", "click", at["first"], at["first"], session_id="s"),
            Event("e2", "ann", "x", "click", at["again"], at["again"], session_id="s"),
            Event("e3", "ann", "y", "click", at["other"], at["other"], session_id="s"),
            Event("e4", "bob", "x", "click", at["bob"], at["bob"], session_id="t"),
        ],
    )
    next_item = CONFIG.model_copy(update={"events": EventsConfig(lateness_days=0, requests="next_item")})
    run(home, day + 2 * DAY, next_item)

    activity = "event_timestamp, item_interactions_1h, item_interactions_6h, item_interactions_1d, item_age_hours"
    of_x = {row[0]: row[1:] for row in rows(home, f"select {activity} from item_activity where item_id = 'x'")}
    assert of_x[day + 11 * HOUR] == (2, 2, 2, 0)  # Bob's click at eleven is not before eleven
    assert of_x[day + 12 * HOUR] == (1, 3, 3, 1)
    assert of_x[day + 16 * HOUR] == (0, 3, 3, 5)  # six hours reach back to ten
    assert of_x[day + 17 * HOUR] == (0, 1, 3, 6)
    assert of_x[day + 34 * HOUR] == (0, 0, 3, 23)  # a day reaches back to ten
    assert of_x[day + 35 * HOUR] == (0, 0, 1, 24)
    assert of_x[day + 36 * HOUR] == (0, 0, 0, 25)  # the first hour whose day before is empty is the last one told
    assert sorted(of_x) == [day + hour * HOUR for hour in [*range(11, 37), 48]]

    history = "event_timestamp, history_item_ids, history_counts"
    assert rows(home, f"select {history} from user_history where user_id = 'ann' order by 1") == [
        (day + 11 * HOUR, ("x",), (2,)),
        (day + 12 * HOUR, ("y", "x"), (1, 2)),
    ]
    stamps = rows(home, "select event_timestamp, user_interactions_1d from user_activity where user_id = 'ann'")
    assert sorted(stamps) == [(day + 11 * HOUR, 2), (day + 12 * HOUR, 3), (day + DAY, 3), (day + 2 * DAY, 0)]

    asked = "request_id, request_origin, request_timestamp, positive_item_ids, session_item_ids, session_timestamps"
    second, past = timedelta(seconds=1), datetime(1970, 1, 1)
    assert rows(home, f"select {asked} from fct_requests order by 1") == [
        ("ann/s/1", "next_item", at["first"], ("x",), (), ()),
        ("ann/s/2", "next_item", at["again"], ("x",), ("x",), ((at["first"] - past) // second * 1_000_000,)),
        ("ann/s/3", "next_item", at["other"], ("y",), ("x",), ((at["again"] - past) // second * 1_000_000,)),
        ("bob/t/1", "next_item", at["bob"], ("x",), (), ()),
    ]
