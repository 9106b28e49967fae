"""The online store on SQLite: a row a key, a column a view, and time only goes forward.

Feast 0.67 keeps a row for each value, upserts whatever comes last, one statement a value, and keeps times in the
machine's local zone. Here the newest row wins (`feature_repo.online_rows`), a view is written in one transaction, and
times are microseconds since 1970 UTC, so that a writer and a reader in different zones agree.

All that is known of a key is one row of one table, in which each view's features are packed
(`feature_repo.packed_rows`): 200 users' recommend_v1 is read in half the time that a table a view and a column a
feature took. One view's expiry or replacement rewrites rows that other views share, in one transaction.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.infra_object import InfraObject
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from pydantic import Field

from feature_repo.online_rows import OnlineRow, OnlineRows, microseconds_of, moment_of
from feature_repo.packed_rows import STAMPS, PackedView, sorts_at
from feature_repo.sqlite_values import kind_of

KEY = "__entity_key"

# an equal row is left alone, so that writing the same features twice leaves the same file
UPSERT = """
insert into {table} ({key}, {view}) values (?, ?)
on conflict ({key}) do update set {view} = excluded.{view}
where ({view} is null or substr(excluded.{view}, 1, {stamps}) >= substr({view}, 1, {stamps}))
    and {view} is not excluded.{view}
"""

# SQLite takes at most 32,766 parameters in a statement
KEYS_PER_READ = 10_000

# A history of 100 items is 2.5 kB: pages of 4 kB hold one, and the cache of 2 MB that SQLite has by itself some 800.
PAGE_BYTES, CACHE_KIB = 16_384, 65_536


class NewestWinsSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's own; Feast finds the store by the name of its config class."""

    type: Literal["feature_repo.newest_wins.NewestWinsSqliteOnlineStore"] = Field(  # type: ignore[assignment]
        default="feature_repo.newest_wins.NewestWinsSqliteOnlineStore"
    )


class NewestWinsSqliteOnlineStore(SqliteOnlineStore):
    """One table: the entity key, and of each view its packed row, null without one."""

    _to_replace: str | None = None
    _inode: int | None = None
    _views: Mapping[str, PackedView] | None = None

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """The kept connection, opened anew when the file is another one: SQLite would go on reading a removed file."""
        path = Path(self._get_db_path(config))
        if self._conn is not None:
            with suppress(FileNotFoundError):
                if path.stat().st_ino == self._inode:
                    return self._conn
            self._conn.close()
            self._conn = None
        path.parent.mkdir(exist_ok=True)
        # not Feast's: it would look at every value for a type to turn it into
        self._conn = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # before the first word to it, which fails on a damaged file: its number is free again once that is removed
        self._inode, self._views = path.stat().st_ino, None
        self._conn.execute(f"pragma page_size = {PAGE_BYTES}")
        self._conn.execute(f"pragma cache_size = -{CACHE_KIB}")
        return self._conn

    def plan(self, config: RepoConfig, desired_registry_proto: Registry) -> list[InfraObject]:
        """Nothing: `update` brings every column into being, and Feast's plan would tell of tables of another shape."""
        return []

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Drops the columns of views that are gone; packs the others' rows anew when their features are others."""
        table = _quoted(config.project)
        with self._transaction(config) as connection:
            connection.execute(f"create table if not exists {table} ({KEY} primary key) without rowid")
            for view in tables_to_delete:
                held = _views_held(connection, config).get(_name(config, view))
                if held is not None:
                    connection.execute(f"alter table {table} drop column {_quoted(held.column)}")
            for view in tables_to_keep:
                name = _name(config, view)
                # Feast's own store, and ours before it packed rows, had a table a view
                connection.execute(f"drop table if exists {_quoted(f'{config.project}_{name}')}")
                _shape(connection, config, PackedView(name, {f.name: kind_of(f.dtype) for f in view.features}))

    @contextmanager
    def replacing(self, config: RepoConfig, table: FeatureView) -> Iterator[None]:
        """Lets the next write to a view throw away, in its own transaction, what the view held.

        For a past that has changed. When nothing was written by the end, the view is emptied.
        """
        self._to_replace = _name(config, table)
        try:
            yield
            if self._to_replace is not None:
                with self._transaction(config) as connection:
                    _empty(connection, config, _quoted(self._view(connection, config, self._to_replace).column))
                    self._sweep(connection, config)
        finally:
            self._to_replace = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Writes rows in one transaction; a reader sees all of them or none. A feature that is not given is null."""
        name = _name(config, table)
        with self._transaction(config) as connection:
            view = self._view(connection, config, name)
            column = _quoted(view.column)
            rows = [
                (
                    _key_bytes(config, key),
                    view.pack(values, microseconds_of(stamped), None if known is None else microseconds_of(known)),
                )
                for key, values, stamped, known in data
            ]
            # By key alone, so that of rows with one key the later still comes later. SQLite lays rows out as they come,
            # and the same rows shall leave the same bytes.
            rows.sort(key=itemgetter(0))
            if self._to_replace == name:
                _empty(connection, config, column)
            upsert = UPSERT.format(table=_quoted(config.project), key=KEY, view=column, stamps=STAMPS.size)
            connection.executemany(upsert, rows)
            if self._to_replace == name:
                self._sweep(connection, config)
        self._to_replace = None if self._to_replace == name else self._to_replace
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Each key's stamp (aware, UTC) and values, in the order asked; (None, None) for a key without a row."""
        keys = [_key_bytes(config, key) for key in entity_keys]
        features = requested_features or [field.name for field in table.features]
        [view], found = self._packed_rows(config, [_name(config, table)], list(dict.fromkeys(keys)))
        rows = [found[key][1] for key in keys]
        return [
            (None, None) if row is None else (moment_of(view.stamp(row)), view.feast_values(row, features))
            for row in rows
        ]

    def read_rows(self, config: RepoConfig, views: Mapping[str, Sequence[str]], keys: Sequence[bytes]) -> OnlineRows:
        """One query for all views, so all of one moment."""
        return OnlineRows(*self._packed_rows(config, list(views), keys))

    def expire(self, config: RepoConfig, table: FeatureView, before: datetime) -> int:
        """Removes every row stamped before a moment; returns how many went."""
        with self._transaction(config) as connection:
            column = _quoted(self._view(connection, config, _name(config, table)).column)
            gone = _empty(connection, config, column, f"{column} < ?", sorts_at(microseconds_of(before)))
            self._sweep(connection, config)
        return gone

    def _packed_rows(
        self, config: RepoConfig, views: Sequence[str], keys: Sequence[bytes]
    ) -> tuple[list[PackedView], dict[bytes, OnlineRow]]:
        connection = self._get_conn(config)
        packed = [self._view(connection, config, view) for view in views]
        columns = tuple(view.column for view in packed)
        found: dict[bytes, OnlineRow] = {}
        try:
            for start in range(0, len(keys), KEYS_PER_READ):
                some = keys[start : start + KEYS_PER_READ]
                found |= {row[0]: row for row in connection.execute(_select(config.project, columns, len(some)), some)}
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorname != "SQLITE_ERROR" or columns == self._columns_now(connection, config, views):
                raise
            # another process has packed a view anew, with other features, since its column was looked for
            return self._packed_rows(config, views, keys)
        return packed, found

    def _columns_now(self, connection: sqlite3.Connection, config: RepoConfig, views: Sequence[str]) -> tuple[str, ...]:
        self._views = None
        return tuple(self._view(connection, config, view).column for view in views)

    def _view(self, connection: sqlite3.Connection, config: RepoConfig, name: str) -> PackedView:
        views = self._views
        if views is None or name not in views:
            views = self._views = _views_held(connection, config)
        if name not in views:
            raise sqlite3.DatabaseError(f"it holds no view {name}")
        return views[name]

    def _sweep(self, connection: sqlite3.Connection, config: RepoConfig) -> None:
        """Removes keys of which no view holds a row."""
        nothing = " and ".join(f"{_quoted(view.column)} is null" for view in _views_held(connection, config).values())
        connection.execute(f"delete from {_quoted(config.project)} where {nothing}")

    @contextmanager
    def _transaction(self, config: RepoConfig) -> Iterator[sqlite3.Connection]:
        connection = self._get_conn(config)
        # without spilling, readers are shut out only while it commits
        connection.execute("pragma cache_spill = off")
        with connection:
            connection.execute("begin immediate")
            self._views = None
            yield connection


@lru_cache(maxsize=64)
def _select(project: str, columns: tuple[str, ...], keys: int) -> str:
    """The query of `read_rows`."""
    wanted = ", ".join(["asked.key", *(f"held.{_quoted(column)}" for column in columns)])
    asked = ",".join(["(?)"] * keys)
    return (
        f"with asked(key) as (values {asked}) "
        f"select {wanted} from asked left join {_quoted(project)} held on held.{KEY} = asked.key"
    )


def _views_held(connection: sqlite3.Connection, config: RepoConfig) -> dict[str, PackedView]:
    """The views that the file holds, as their columns tell."""
    columns = connection.execute("select name from pragma_table_info(?) where not pk", [config.project])
    return {view.name: view for view in map(PackedView.of_column, (column for (column,) in columns))}


def _shape(connection: sqlite3.Connection, config: RepoConfig, wanted: PackedView) -> None:
    """Gives a view its column, and the rows that it held under another."""
    table, held = _quoted(config.project), _views_held(connection, config).get(wanted.name)
    if held is not None and held.column == wanted.column:
        return
    # no type: SQLite then keeps a value as it was given
    connection.execute(f"alter table {table} add column {_quoted(wanted.column)}")
    if held is not None:
        before, now = _quoted(held.column), _quoted(wanted.column)
        connection.create_function("packed_anew", 1, lambda row: wanted.packed_anew(row, held), deterministic=True)
        connection.execute(f"update {table} set {now} = packed_anew({before}) where {before} is not null")
        connection.execute(f"alter table {table} drop column {before}")


def _empty(
    connection: sqlite3.Connection, config: RepoConfig, column: str, where: str = "true", *parameters: bytes
) -> int:
    """Forgets a view's rows; returns how many."""
    table = _quoted(config.project)
    where = f"{column} is not null and {where}"
    return connection.execute(f"update {table} set {column} = null where {where}", parameters).rowcount


def _key_bytes(config: RepoConfig, key: EntityKey) -> bytes:
    return serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)


def _name(config: RepoConfig, view: FeatureView) -> str:
    return compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
