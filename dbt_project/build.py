"""The step `transform`: from landed files to the warehouse's marts and feature tables, as of a moment."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb

from dbt_project.invocation import PROJECT, invoke_dbt
from dbt_project.warehouse_state import WarehouseState, landed_files, read_state, reason_to_rebuild, write_state
from tastemaker import names
from tastemaker.config import Config
from tastemaker.errors import TastemakerError, nearest
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from tastemaker.steps import StepReport, digest_files, digest_values, run_step

STAGING = PROJECT / "models" / "staging"
CODE_SUFFIXES = {".sql", ".py"}  # a description in YAML changes no row


def transform(home: Home, config: Config, source: str, as_of: datetime) -> StepReport:
    """Builds every model of the dbt project and runs its data tests; reuses the last result where it still stands.

    The report's facts: whether the build was full or on top of the last one and why, visible rows by table, seconds by
    model, warnings.

    Raises TastemakerError when nothing has landed, no event is before `as_of`, or a model fails; GateFailedError when a
    data test fails; BusyError when the home is in use.
    """
    _check_source(home, source)
    variables = dbt_vars(home, config, source, as_of)
    files = landed_files(home)
    return run_step(
        home,
        as_of,
        "transform",
        lambda: _build(home, variables, files, as_of),
        inputs={
            # A landed file is named by its content.
            "landed": digest_values([(file, (home.landing / file).stat().st_size) for file in files]),
            "vars": digest_values(variables),
        },
        outputs=[home.warehouse],
        code=[PROJECT],
    )


def dbt_vars(home: Home, config: Config, source: str, as_of: datetime) -> dict[str, Any]:
    """What a run tells the models."""
    return {
        "as_of": as_of.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "source": source,
        "landing": str(home.landing),
        "positive_types": list(config.events.positive_types),
        "requests": config.events.requests,
        "lateness_days": config.events.lateness_days,
        "history_length": config.features.history_length,
        "neighbours": config.features.neighbours,
        "neighbour_half_life_hours": config.features.neighbour_half_life_hours or 0,
        "grain": config.features.grain,
    }


def _check_source(home: Home, source: str) -> None:
    known = sorted(folder.name for folder in STAGING.iterdir() if folder.is_dir())
    if source not in known:
        raise TastemakerError(
            f"There is no source '{source}' under dbt_project/models/staging.{nearest(source, known)} "
            f"Known: {', '.join(known)}."
        )
    if not landed_files(home):
        raise TastemakerError(f"Nothing has landed in {home.landing}; run 'tastemaker ingest' first.")
    about = home.landing / "source.json"
    landed = json.loads(about.read_text())["source"] if about.exists() else source
    if landed != source:
        raise TastemakerError(
            f"{home.landing} holds the source '{landed}', not '{source}'; a home serves one source: "
            f"set TASTEMAKER_SOURCE={landed}, or use another TASTEMAKER_HOME."
        )


def _build(home: Home, variables: Mapping[str, Any], files: tuple[str, ...], as_of: datetime) -> dict[str, Any]:
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    last = read_state(home)
    fingerprint = _fingerprint(variables)
    reason = reason_to_rebuild(home, last, fingerprint, files, variables["lateness_days"])
    before = () if last is None or reason else last.files
    built_to = moment if last is None or reason else max(moment, last.built_to)
    # First the moment, at the end the files: a run that dies in between has taken in nothing for certain.
    home.warehouse.parent.mkdir(parents=True, exist_ok=True)
    write_state(home, WarehouseState("" if reason else fingerprint, built_to, before))
    outcome = invoke_dbt(
        home,
        variables,
        ["build", "--exclude-resource-type", "unit_test", *(["--full-refresh"] if reason else [])],
    )
    counts = _visible_rows(home, as_of)
    if counts[names.FCT_INTERACTIONS] == 0:
        raise _no_events(home, variables["source"], as_of)
    write_state(home, WarehouseState(fingerprint, built_to, files))
    return {
        "build": f"full: {reason}" if reason else "on top of the last one",
        **{f"rows of {table}": count for table, count in counts.items()},
        "slowest models": dict(sorted(outcome.model_seconds.items(), key=lambda item: -item[1])[:5]),
        "warnings": outcome.warnings,
    }


def _fingerprint(variables: Mapping[str, Any]) -> str:
    """Of everything a row depends on besides the landed rows and as_of."""
    code = [path for folder in ("models", "macros") for path in (PROJECT / folder).rglob("*")]
    settings = {name: value for name, value in variables.items() if name not in ("as_of", "landing")}
    counting = [PROJECT / "co_occurrence.py", PROJECT / "decayed_pairs.py"]
    code = [*counting, *(path for path in code if path.suffix in CODE_SUFFIXES)]
    return digest_values([digest_files(code), settings])


def _visible_rows(home: Home, as_of: datetime) -> dict[str, int]:
    now = sql_timestamp(as_of)
    seen = {
        names.FCT_INTERACTIONS: f"event_timestamp < {now} and created_timestamp <= {now}",
        names.FCT_REQUESTS: f"request_timestamp < {now} and created_timestamp <= {now}",
        names.DIM_ITEMS: f"event_timestamp < {now} and created_timestamp <= {now}",
        names.DIM_USERS: f"event_timestamp < {now} and created_timestamp <= {now}",
        **dict.fromkeys(feature_tables(), f"event_timestamp <= {now} and created_timestamp <= {now}"),
    }
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        counts = {
            table: connection.sql(f"select count(*) from {table} where {it}").fetchone() for table, it in seen.items()
        }
    return {table: row[0] for table, row in counts.items() if row is not None}


def _no_events(home: Home, source: str, as_of: datetime) -> TastemakerError:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        row = connection.sql(f"select min(event_timestamp) from stg_{source}__events").fetchone()
    first = row[0] if row else None
    if first is None:
        return TastemakerError(f"No event has landed in {home.landing}; check the source's files and ingest again.")
    return TastemakerError(
        f"No event of '{source}' is before as_of {as_of.isoformat()}: the first was at {first} UTC; "
        "choose a later as_of."
    )
