"""The online store on SQLite: a row a key, a column a feature, and time only goes forward.

Feast 0.67 keeps a row for each value, upserts whatever comes last, one statement a value, and keeps times in the
machine's local zone. Here the newest row wins (`feature_repo.online_rows`), a view is written in one transaction, and
times are microseconds since 1970 UTC, so that a writer and a reader in different zones agree.

A row a key, and one query for all views that it is asked of: 200 users' recommend_v1 comes in 0.8 ms, where three
queries take 1.3, and Feast's 3,600 rows of one value 4.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

from feature_repo.online_rows import OnlineRow, microseconds_of, moment_of
from feature_repo.sqlite_values import feast_value, from_stored, stored

# the row's own columns: no feature's name begins with two underscores
KEY, STAMP, KNOWN = "__entity_key", "__event_ts", "__created_ts"

# an equal row is left alone, so that writing the same features twice leaves the same file
UPSERT = """
insert into {table} ({columns}) values ({marks})
on conflict ({key}) do update set ({columns}) = ({excluded})
where (excluded.{stamp}, ifnull(excluded.{known}, excluded.{stamp})) >= ({stamp}, ifnull({known}, {stamp}))
    and ({columns}) is not ({excluded})
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
    """One table a view: the entity key, the stamps of its row, and its features."""

    _to_replace: str | None = None
    _inode: int | None = None

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """The kept connection, opened anew when the file is another one: SQLite would go on reading a removed file."""
        path = Path(self._get_db_path(config))
        if self._conn is not None:
            if path.exists() and path.stat().st_ino == self._inode:
                return self._conn
            self._conn.close()
            self._conn = None
        connection: sqlite3.Connection = super()._get_conn(config)
        # before the first word to it, which fails on a damaged file: its number is free again once that is removed
        self._inode = path.stat().st_ino
        connection.execute(f"pragma page_size = {PAGE_BYTES}")
        connection.execute(f"pragma cache_size = -{CACHE_KIB}")
        return connection

    def plan(self, config: RepoConfig, desired_registry_proto: Registry) -> list[InfraObject]:
        """Nothing: `update` brings every table into being, and Feast's plan would tell of tables of another shape."""
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
        """Drops the tables of views that are gone; gives the others a column for each feature."""
        with self._transaction(config) as connection:
            for view in tables_to_delete:
                connection.execute(f"drop table if exists {_table(config, _name(config, view))}")
            for view in tables_to_keep:
                _shape(connection, _table(config, _name(config, view)), [field.name for field in view.features])

    @contextmanager
    def replacing(self, config: RepoConfig, table: FeatureView) -> Iterator[None]:
        """Lets the next write to a view throw away, in its own transaction, what the view held.

        For a past that has changed. When nothing was written by the end, the view is emptied.
        """
        self._to_replace = _table(config, _name(config, table))
        try:
            yield
            if self._to_replace is not None:
                with self._transaction(config) as connection:
                    connection.execute(f"delete from {self._to_replace}")
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
        name, features = _table(config, _name(config, table)), [field.name for field in table.features]
        columns = [_quoted(column) for column in (KEY, STAMP, KNOWN, *features)]
        upsert = UPSERT.format(
            table=name,
            columns=", ".join(columns),
            marks=", ".join("?" * len(columns)),
            excluded=", ".join(f"excluded.{column}" for column in columns),
            key=KEY,
            stamp=STAMP,
            known=KNOWN,
        )
        rows = [
            (
                _key_bytes(config, key),
                microseconds_of(stamped),
                None if created is None else microseconds_of(created),
                *(stored(values[feature]) if feature in values else None for feature in features),
            )
            for key, values, stamped, created in data
        ]
        # By key alone, so that of rows with one key the later still comes later. SQLite lays rows out as they come, and
        # the same rows shall leave the same bytes.
        rows.sort(key=itemgetter(0))
        with self._transaction(config) as connection:
            if self._to_replace == name:
                connection.execute(f"delete from {name}")
            connection.executemany(upsert, rows)
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
        rows = self.read_rows(config, {_name(config, table): features}, list(dict.fromkeys(keys)))
        return [
            (None, None)
            if rows[key][1] is None
            else (moment_of(rows[key][1]), dict(zip(features, map(feast_value, rows[key][2:]), strict=True)))
            for key in keys
        ]

    def read_rows(
        self, config: RepoConfig, views: Mapping[str, Sequence[str]], keys: Sequence[bytes]
    ) -> dict[bytes, OnlineRow]:
        """One query for all views, so all of one moment."""
        tables = tuple((_table(config, view), tuple(features)) for view, features in views.items())
        connection = self._get_conn(config)
        found: dict[bytes, OnlineRow] = {}
        for start in range(0, len(keys), KEYS_PER_READ):
            some = keys[start : start + KEYS_PER_READ]
            found |= {row[0]: row for row in connection.execute(_select(tables, len(some)), some)}
        return found

    decode = staticmethod(from_stored)

    def expire(self, config: RepoConfig, table: FeatureView, before: datetime) -> int:
        """Removes every row stamped before a moment; returns how many went."""
        with self._transaction(config) as connection:
            gone = connection.execute(
                f"delete from {_table(config, _name(config, table))} where {STAMP} < ?", [microseconds_of(before)]
            )
        return gone.rowcount

    @contextmanager
    def _transaction(self, config: RepoConfig) -> Iterator[sqlite3.Connection]:
        connection = self._get_conn(config)
        # without spilling, readers are shut out only while it commits
        connection.execute("pragma cache_spill = off")
        with connection:
            yield connection


@lru_cache(maxsize=64)
def _select(tables: tuple[tuple[str, tuple[str, ...]], ...], keys: int) -> str:
    """The query of `read_rows`."""
    columns = ["asked.key", *(f"v{i}.{STAMP}" for i in range(len(tables)))]
    columns += [f"v{i}.{_quoted(feature)}" for i, (_, features) in enumerate(tables) for feature in features]
    joins = [f"left join {table} v{i} on v{i}.{KEY} = asked.key" for i, (table, _) in enumerate(tables)]
    asked = ",".join(["(?)"] * keys)
    return f"with asked(key) as (values {asked}) select {', '.join(columns)} from asked {' '.join(joins)}"


def _shape(connection: sqlite3.Connection, table: str, features: Sequence[str]) -> None:
    """Columns have no type: SQLite then keeps a value as it was given."""
    has = {row[1] for row in connection.execute(f"pragma table_info({table})")}
    if has and KEY not in has:
        # as Feast's own store lays it out
        connection.execute(f"drop table {table}")
        has = set()
    if not has:
        connection.execute(f"create table {table} ({KEY} primary key, {STAMP}, {KNOWN}) without rowid")
    for feature in features:
        if feature not in has:
            connection.execute(f"alter table {table} add column {_quoted(feature)}")


def _key_bytes(config: RepoConfig, key: EntityKey) -> bytes:
    return serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)


def _name(config: RepoConfig, view: FeatureView) -> str:
    return compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)


def _table(config: RepoConfig, view: str) -> str:
    return _quoted(f"{config.project}_{view}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
