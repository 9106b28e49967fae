"""The step that puts features where they are asked for: the offline store's files and the online store.

Offline, each table is written whole, as of the moment. Online, a view is brought from the last moment to this one with
Feast's `materialize(start - overlap, end)`: `materialize_incremental` misses late rows (feast#4133).
"""

import io
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from feast import FeatureStore

import tastemaker
from feature_repo.materialization_state import MaterializationState, read_state, state_file, write_state
from feature_repo.offline_export import export_table, open_warehouse, require_declared
from feature_repo.online_place import holds_online, mark_online, online_file, online_store_name, sentences_for_damage
from feature_repo.online_rows import newest_wins_store
from feature_repo.sources import offline_file
from feature_repo.store import REPOSITORY, apply_definitions, open_store
from tastemaker import names
from tastemaker.config import Config
from tastemaker.feature_tables import FEATURES_FOLDER, FeatureTable, feature_tables
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from tastemaker.settings import Settings
from tastemaker.steps import StepReport, digest_files, digest_values, run_step

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """Stamps to write online; `replace` when what is there can't be built upon."""

    start: datetime
    end: datetime
    replace: bool


def materialize(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Exports every feature table as of `as_of` and brings the online store there.

    An `as_of` before the online store's own leaves the online store as it is: what is served never goes back in time.
    Raises TastemakerError when the warehouse is missing or not as declared, BusyError when the home is in use.
    """
    redis_url = Settings().redis_url
    store_name = online_store_name(redis_url)
    open_warehouse(home).close()
    store = open_store(home)
    lost = read_state(home) is not None and _built_upon(home, store, store_name) is None
    return run_step(
        home,
        as_of,
        "materialize",
        lambda: _materialize(home, config, as_of, store, store_name),
        inputs={
            "home": digest_values(str(home.root.resolve())),  # Feast's registry names its files whole
            "warehouse": digest_files([home.warehouse]),
            "as_of": as_of.isoformat(),
            "lateness_days": str(config.events.lateness_days),
            "online_store": f"{store_name}, lost" if lost else store_name,
        },
        outputs=[
            home.offline_store,
            home.feast / "registry.db",
            state_file(home),
            *([] if redis_url else [online_file(home)]),
        ],
        code=[REPOSITORY, FEATURES_FOLDER, Path(tastemaker.__file__).with_name("feature_tables.py")],
    )


def _materialize(
    home: Home, config: Config, as_of: datetime, store: FeatureStore, store_name: str
) -> Mapping[str, Any]:
    tables = feature_tables()
    with open_warehouse(home) as warehouse:
        for table in tables.values():
            require_declared(warehouse, home, table)
        rows = {f"{name}.rows": export_table(warehouse, home, table, as_of) for name, table in tables.items()}
    _remove_undeclared(home)

    last = _built_upon(home, store, store_name)
    with sentences_for_damage(home, store):
        apply_definitions(home, store)
    if last is not None and as_of < last.online_as_of:
        write_state(home, MaterializationState(as_of, last.online_as_of, store_name, last.past))
        return {**rows, "online": f"left at the later {last.online_as_of.isoformat()}"}

    overlap = timedelta(days=config.events.lateness_days)
    written = {}
    with sentences_for_damage(home, store):
        for name, table in tables.items():
            window = _window(home, table, as_of, last, overlap)
            _write_online(store, table, window)
            written[f"{name}.online"] = "replaced" if window.replace else f"since {window.start.isoformat()}"
    past = {name: past_digest(home, table, as_of) for name, table in tables.items()}
    state = MaterializationState(as_of, as_of, store_name, past)
    with sentences_for_damage(home, store):
        mark_online(store, state)
    write_state(home, state)
    return {**rows, **written}


def past_digest(home: Home, table: FeatureTable, at: datetime) -> str:
    """Digest of the rows in the table's offline file that existed at a moment, whatever their order."""
    found = duckdb.execute(
        f"""
        select count(*), sum(hash(history)::hugeint)
        from read_parquet(?) as history
        where {names.EVENT_TIMESTAMP} <= {sql_timestamp(at)} and {names.CREATED_TIMESTAMP} <= {sql_timestamp(at)}
        """,
        [str(offline_file(home, table.name))],
    ).fetchone()
    return digest_values(found)[:16]


def _built_upon(home: Home, store: FeatureStore, store_name: str) -> MaterializationState | None:
    """The last state, when its online store is the one in use and still has what it was given."""
    last = read_state(home)
    with sentences_for_damage(home, store):
        holds = last is not None and last.online_store == store_name and holds_online(home, store, last)
    return last if holds else None


def _window(
    home: Home, table: FeatureTable, as_of: datetime, last: MaterializationState | None, overlap: timedelta
) -> Window:
    """Since the last moment when the past still stands; else everything that is alive."""
    alive = as_of - timedelta(days=table.ttl_days) if table.ttl_days else BEGINNING
    if last is None or last.past.get(table.name) != past_digest(home, table, last.online_as_of):
        return Window(start=alive, end=as_of, replace=True)
    # a row that became known since then is stamped at most `lateness_days` before it became known
    return Window(start=max(alive, last.online_as_of - overlap), end=as_of, replace=False)


def _write_online(store: FeatureStore, table: FeatureTable, window: Window) -> None:
    view = store.get_feature_view(table.name)
    online = newest_wins_store(store)
    with ExitStack() as around:
        if window.replace:
            around.enter_context(online.replacing(store.config, view))
        around.enter_context(redirect_stdout(io.StringIO()))
        around.enter_context(warnings.catch_warnings())
        # Ibis calls a DuckDB method that DuckDB 1.5 has renamed
        warnings.simplefilter("ignore", DeprecationWarning)
        store.materialize(window.start, window.end, feature_views=[table.name])
    if table.ttl_days:
        online.expire(store.config, view, before=window.end - timedelta(days=table.ttl_days))


def _remove_undeclared(home: Home) -> None:
    declared = {offline_file(home, name) for name in feature_tables()}
    for path in home.offline_store.glob("*.parquet"):
        if path not in declared:
            path.unlink()
