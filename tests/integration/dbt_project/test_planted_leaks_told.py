"""Four leaks written into the models of profiles and neighbours: dbt's own tests turn red, and so does the oracle.

A copy of the project with one fault builds the three tables on a shop that was built rightly. What must not be known of
an item or a user is what is told of it next; of an item's neighbours, the sessions that have not been yet.
"""

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from told_oracle import Row, differences, neighbours, profile
from told_shop import land_told, told
from toy_shop import DAY, DAYS, FIRST_DAY, land, toy_events

from dbt_project import invocation
from dbt_project.build import dbt_vars, transform
from dbt_project.invocation import PROJECT, invoke_dbt
from tastemaker.config import Config, EventsConfig, FeaturesConfig
from tastemaker.errors import GateFailedError
from tastemaker.home import Home

pytestmark = pytest.mark.integration

LATENESS, KEPT = 2, 3
CONFIG = Config(
    version=1,
    events=EventsConfig(lateness_days=LATENESS),
    features=FeaturesConfig(history_length=4, neighbours=KEPT),
)
LAST = FIRST_DAY + DAYS * DAY
AS_OF = LAST.replace(tzinfo=UTC)

USERS, ITEMS = "marts/features/user_profile.sql", "marts/features/item_profile.sql"
TOGETHER, NEIGHBOURS = "intermediate/int_item_neighbours.py", "marts/features/item_neighbours.sql"
PROFILES = [(USERS, "users"), (ITEMS, "items")]
MODELS = ["user_profile", "item_profile", "int_item_neighbours", "item_neighbours"]
RED = {"assert_profiles_hold_what_was_known", "assert_neighbours_had_met"}

HAPPENED = r'rows\["happened_on"\]\.astype\("datetime64\[\w+\]"\)'
ENTERS = r'rows\["enters_on"\]\.astype\("datetime64\[\w+\]"\)'
STAMP = r"event_timestamp,"

# leak → (model, what stands there as a pattern, what leaks)
LEAKS = {
    # dated before what it holds
    "a future row": [
        *(
            (model, r"latest\.stamp\b(?=.* as event_timestamp)", "latest.stamp - interval 2 day")
            for model, _ in PROFILES
        ),
        (NEIGHBOURS, STAMP, "event_timestamp - interval 7 day as event_timestamp,"),
    ],
    # what is told on the day of the stamp; the part of a session that comes after it
    "a label inside its own window": [
        *((model, rf"{rows}\.happened_on < versions\.stamp", "true") for model, rows in PROFILES),
        *(
            (
                model,
                rf"{rows}\.enters_on <= versions\.known_on",
                rf"{rows}.enters_on - interval 1 day <= versions.known_on",
            )
            for model, rows in PROFILES
        ),
        (TOGETHER, HAPPENED, r'\g<0> - __import__("numpy").timedelta64(1, "D")'),
        (TOGETHER, ENTERS, r'\g<0> - __import__("numpy").timedelta64(1, "D")'),
    ],
    # what was told late stands in the row as if it had been known in time
    "a late backfill": [
        *(
            (
                model,
                rf"\{{\{{ ref\('int_{rows}'\) \}}\}}",
                r"(select * replace (happened_on + interval 1 day as enters_on) from \g<0>)",
            )
            for model, rows in PROFILES
        ),
        (TOGETHER, ENTERS, r'rows["happened_on"].astype("datetime64[us]") + __import__("numpy").timedelta64(1, "D")'),
    ],
    "a feature stamped at its event's own time": [
        *(
            (model, r"[\w( .]+\)? as event_timestamp", rf"{rows}.event_timestamp as event_timestamp")
            for model, rows in PROFILES
        ),
        (
            NEIGHBOURS,
            STAMP,
            "(select max(had.happened_on) from {{ ref('int_session_items') }} as had where had.item_id "
            "= neighbours.item_id and had.happened_on < neighbours.event_timestamp) as event_timestamp,",
        ),
    ],
}


ITEMS_TOLD = told(3, [f"i{n}" for n in range(9)], 99.0)
USERS_TOLD = told(4, ["ann", "bob", "cy", "dee"], "country")
# sessions of one toy shop are too small to make many neighbours
EVENTS = [replace(event, event_id=f"{seed} {event.event_id}") for seed in (7, 8, 9) for event in toy_events(seed)]
EVENTS = [event for event in EVENTS if event.event_type != "refund"]


@pytest.fixture(scope="module")
def expected() -> dict[str, set[Row]]:
    return {
        "item_profile": profile(ITEMS_TOLD, LAST, LATENESS),
        "user_profile": profile(USERS_TOLD, LAST, LATENESS),
        "item_neighbours": neighbours(EVENTS, LAST, LATENESS, KEPT),
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("built"))
    land_told(home.landing, ITEMS_TOLD, USERS_TOLD)
    land(home.landing, "all", EVENTS)
    transform(home, CONFIG, "landing", AS_OF)
    return home


def test_profiles_and_neighbours_equal_the_oracle(built: Home, expected: dict[str, set[Row]]) -> None:
    assert differences(built.warehouse, expected) == {}
    for table, rows in expected.items():
        late = [row for row in rows if row[2] > row[1]]
        assert len(late) > 5, f"{table}: or the toy would prove nothing about what is told late"


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_in_profiles_and_neighbours_turns_red(
    built: Home, expected: dict[str, set[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(built.root, home.root)
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    for model, right, wrong in LEAKS[leak]:
        path = project / "models" / model
        text, count = re.subn(right, wrong, path.read_text())
        assert count == 1, f"{model} has {count} times: {right}"
        path.write_text(text)
    monkeypatch.setattr(invocation, "PROJECT", project)
    variables = dbt_vars(home, CONFIG, "landing", AS_OF)
    build = ["build", "--full-refresh", "--exclude-resource-type", "unit_test", "--select", *MODELS]
    with pytest.raises(GateFailedError):
        invoke_dbt(home, variables, build, progress=False)

    results = json.loads((home.root / "dbt" / "target" / "run_results.json").read_text())["results"]
    red = {entry["unique_id"].split(".")[2] for entry in results if entry["status"] == "fail"}
    assert red >= RED
    differing = differences(home.warehouse, expected)
    assert set(differing) == set(expected), "the oracle is red for each table"
    assert all(wrong for wrong, _ in differing.values())
