"""Four leaks, each written into the models of the feature tables: dbt's own tests turn red, and so does the oracle.

A copy of the project with one fault builds the three tables that events feed, on a shop that was built rightly.
"""

import json
import shutil
from datetime import UTC
from pathlib import Path

import pytest
from feature_oracle import differences
from toy_shop import DAY, DAYS, FIRST_DAY, Event, land, toy_events

from dbt_project import invocation
from dbt_project.build import dbt_vars, transform
from dbt_project.invocation import PROJECT, invoke_dbt
from tastemaker.config import Config, EventsConfig, FeaturesConfig
from tastemaker.errors import GateFailedError
from tastemaker.home import Home

pytestmark = pytest.mark.integration

LATENESS, LENGTH = 2, 4
CONFIG = Config(
    version=1,
    events=EventsConfig(lateness_days=LATENESS),
    features=FeaturesConfig(history_length=LENGTH, neighbours=3),
)
LAST = FIRST_DAY + DAYS * DAY
TABLES = ["user_activity", "item_activity", "user_history"]
COUNTED = ["user_activity_counts_only_earlier_events", "item_activity_counts_only_earlier_events"]
TOLD = "assert_history_holds_what_was_known"

ACTIVITIES = ["user_activity", "item_activity"]
STAMP = " stamp as event_timestamp"
HISTORY_STAMP = "versions.stamp as event_timestamp"
KNOWN = "select * from {{ ref('int_known_events') }}"
AT_ONCE = KNOWN.replace("*", "* replace ({{ add_ticks('happened_on', 1) }} as enters_on)")

# leak → (table, the right SQL, the leaking SQL)
LEAKS = {
    # dated two days before the last event it holds
    "a future row": [
        *((table, STAMP, STAMP.replace("stamp as", "{{ add_ticks('stamp', -2) }} as")) for table in ACTIVITIES),
        (
            "user_history",
            HISTORY_STAMP,
            HISTORY_STAMP.replace("versions.stamp", "{{ add_ticks('versions.stamp', -2) }}"),
        ),
    ],
    # the window reaches over its stamp into the day that a label of that day is drawn from
    "a label inside its own window": [
        *(
            (
                table,
                "greatest(enters_on, {{ since }}) as starts_on",
                "greatest({{ add_ticks('enters_on', -1) }}, {{ since }}) as starts_on",
            )
            for table in ACTIVITIES
        ),
        ("user_history", "positives.happened_on < versions.stamp", "positives.happened_on <= versions.stamp"),
        (
            "user_history",
            "positives.enters_on <= versions.known_on",
            "positives.enters_on <= {{ add_ticks('versions.known_on', 1) }}",
        ),
    ],
    # what was told late stands in the row as if it had been known in time
    "a late backfill": [(table, KNOWN, AT_ONCE) for table in TABLES],
    # from the day, or the very moment, of the event itself
    "a feature stamped at its event's own time": [
        *((table, STAMP, " coalesce(last_on, stamp) as event_timestamp") for table in ACTIVITIES),
        (
            "user_history",
            HISTORY_STAMP,
            "coalesce(make_timestamp(told.events[histories.held[1].turn].happened_at), versions.stamp)"
            " as event_timestamp",
        ),
    ],
}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return toy_events(seed=7)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Home:
    home = Home(tmp_path_factory.mktemp("built"))
    land(home.landing, "all", events)
    transform(home, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    assert differences(home.warehouse, events, LAST, LATENESS, LENGTH) == {}
    return home


def project_with(folder: Path, faults: list[tuple[str, str, str]]) -> Path:
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for table, right, wrong in faults:
        model = folder / "models" / "marts" / "features" / f"{table}.sql"
        sql = model.read_text()
        assert right in sql, f"{table} no longer has: {right}"
        model.write_text(sql.replace(right, wrong))
    return folder


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_in_the_feature_tables_turns_red(
    built: Home, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    monkeypatch.setattr(invocation, "PROJECT", project_with(tmp_path / "project", LEAKS[leak]))
    variables = dbt_vars(home, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    build = ["build", "--full-refresh", "--exclude-resource-type", "unit_test", "--select", *TABLES]
    with pytest.raises(GateFailedError):
        invoke_dbt(home, variables, build, progress=False)

    results = json.loads((home.root / "dbt" / "target" / "run_results.json").read_text())["results"]
    red = {entry["unique_id"].split(".")[2] for entry in results if entry["status"] == "fail"}
    assert red >= {*COUNTED, TOLD}

    differing = differences(home.warehouse, events, LAST, LATENESS, LENGTH)
    assert set(differing) == set(TABLES), "the oracle is red for each table"
    assert all(wrong for wrong, _ in differing.values())


def test_an_event_that_enters_before_it_is_known_turns_red(
    built: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule by which the tests above count again is itself under test."""
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    project = project_with(tmp_path / "project", [])
    macro = project / "macros" / "entering.sql"
    known = "{{ tick_at_or_after('created_timestamp') }}"
    assert known in macro.read_text()
    macro.write_text(macro.read_text().replace(known, "{{ tick_of('created_timestamp') }}"))
    monkeypatch.setattr(invocation, "PROJECT", project)
    variables = dbt_vars(home, CONFIG, "landing", LAST.replace(tzinfo=UTC))
    build = ["build", "--exclude-resource-type", "unit_test", "--select", "int_known_events"]
    with pytest.raises(GateFailedError, match="assert_events_enter_once_known"):
        invoke_dbt(home, variables, build, progress=False)
