"""The online store on Redis: Feast's own hashes, in which time only goes forward.

Feast 0.67 reads a row's stamp and then writes, so that of two writers the older may win, and it drops a correction that
keeps its row's stamp. Here one script, run by Redis itself, compares and writes, a row at a time: nobody sees half a
row, and the newest row wins (`feature_repo.online_rows`). Beside Feast's fields of a view, the values and `_ts:<view>`,
a hash has `_newest:<view>`: the event and created timestamp of the row as 36 digits that sort by time.

A view is not written in one transaction, as on SQLite: a reader meanwhile meets new rows beside old ones.
Rows are found for removal by one SCAN of all keys. Redis' own expiry is left alone: it counts by the wall clock.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from feast import FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key_prefix
from feast.infra.online_stores.helpers import _mmh3, _redis_key, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import Field
from redis import Redis

from feature_repo.online_rows import AGAIN, OnlineRows, microseconds_of, python_value
from tastemaker.errors import TastemakerError

# KEYS: a hash. ARGV: its newest-field, the row's digits, '1' to write whatever is there, then fields and values
WRITE = """
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if newest and ARGV[3] ~= '1' and newest > ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], unpack(ARGV, 4))
return 1
"""

# KEYS: a hash. ARGV: its newest-field, digits, then the view's other fields
REMOVE_OLDER = """
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if not newest or newest >= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1], unpack(ARGV, 3))
return 1
"""

# so that every year from 1 to 9999 is eighteen digits
DIGITS, OFFSET = 18, 10**17
END_OF_TIME = "9" * 2 * DIGITS

ROWS_PER_TRIP = 1000


class NewestWinsRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """As Feast's own; Feast finds the store by the name of its config class."""

    type: Literal["feature_repo.newest_wins_redis.NewestWinsRedisOnlineStore"] = Field(  # type: ignore[assignment]
        default="feature_repo.newest_wins_redis.NewestWinsRedisOnlineStore"
    )


class NewestWinsRedisOnlineStore(RedisOnlineStore):
    """One hash a key, shared by the views of its entity."""

    _replacing: str | None = None
    _written: frozenset[bytes] | set[bytes] = frozenset()

    @contextmanager
    def replacing(self, config: RepoConfig, table: FeatureView) -> Iterator[None]:
        """Lets the writes to a view within the block take any row's place; removes at its end the rows not written."""
        self._replacing, self._written = _name(config, table), set()
        try:
            yield
            self._remove(config, table, END_OF_TIME, kept=self._written)
        finally:
            self._replacing, self._written = None, frozenset()

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Writes row by row, each as a whole. A feature that is not given is null."""
        client, view = self._client_of(config), _name(config, table)
        write = client.register_script(WRITE)
        fields = {field.name: _mmh3(f"{view}:{field.name}") for field in table.features}
        written = self._written if self._replacing == view and isinstance(self._written, set) else None
        for start in range(0, len(data), ROWS_PER_TRIP):
            some = data[start : start + ROWS_PER_TRIP]
            with client.pipeline(transaction=False) as pipe:
                for entity, values, stamped, created in some:
                    key = _redis_key(config.project, entity, config.entity_key_serialization_version)
                    forced = written is not None and key not in written
                    row: list[Any] = [f"_newest:{view}", _order(stamped, created), "1" if forced else "0"]
                    row += [f"_ts:{view}", _timestamp(stamped)]
                    for feature, field in fields.items():
                        row += [field, values[feature].SerializeToString() if feature in values else b""]
                    write([key], row, client=pipe)
                    if written is not None:
                        written.add(key)
                pipe.execute()
            if progress:
                progress(len(some))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """The same, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def read_rows(self, config: RepoConfig, views: Mapping[str, Sequence[str]], keys: Sequence[bytes]) -> OnlineRows:
        """One trip for all views: they share the key's hash. Raises TastemakerError when Redis has lost its mark."""
        fields: list[str | bytes] = [f"_ts:{view}" for view in views]
        fields += [_mmh3(f"{view}:{feature}") for view, features in views.items() for feature in features]
        project = config.project.encode()
        with self._client_of(config).pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key + project, fields)  # type: ignore[arg-type]  # keys may be bytes
            pipe.get(_mark(config))
            *hashes, mark = pipe.execute()
        if mark is None:
            raise TastemakerError(f"{place(config)} holds no features; {AGAIN}.")
        hashed, spans, begin = [], [], len(views)
        for place_of_stamp, features in enumerate(views.values()):
            hashed.append(HashedView(features))
            spans.append((place_of_stamp, begin, begin + len(features)))
            begin += len(features)
        rows = {
            key: (key, *(None if found[at] is None else (found[at], *found[i:j]) for at, i, j in spans))
            for key, found in zip(keys, hashes, strict=True)
        }
        return OnlineRows(hashed, rows)

    def expire(self, config: RepoConfig, table: FeatureView, before: datetime) -> int:
        """Removes every row stamped before a moment; returns how many went."""
        return self._remove(config, table, _digits(before))

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Removes every row of a view that is gone."""
        self._remove(config, table, END_OF_TIME)

    def mark(self, config: RepoConfig, moment: datetime) -> None:
        """Leaves word in Redis of the moment to which it was brought: a Redis that forgets forgets that too."""
        self._client_of(config).set(_mark(config), moment.isoformat())

    def marked(self, config: RepoConfig) -> str | None:
        """The moment that `mark` left, as ISO text."""
        found = self._client_of(config).get(_mark(config))
        return found.decode() if isinstance(found, bytes) else None

    def _remove(
        self, config: RepoConfig, table: FeatureView, older_than: str, kept: frozenset[bytes] | set[bytes] = frozenset()
    ) -> int:
        client, view = self._client_of(config), _name(config, table)
        remove = client.register_script(REMOVE_OLDER)
        fields = [f"_ts:{view}", *(_mmh3(f"{view}:{field.name}") for field in table.features)]
        gone = 0
        with client.pipeline(transaction=False) as pipe:
            for key in self._keys(config, table):
                if key not in kept:
                    remove([key], [f"_newest:{view}", older_than, *fields], client=pipe)
                if len(pipe) >= ROWS_PER_TRIP:
                    gone += sum(pipe.execute())
            return gone + sum(pipe.execute())

    def _keys(self, config: RepoConfig, table: FeatureView) -> Iterator[bytes]:
        """Every key of the view's entity in this project."""
        version, project = config.entity_key_serialization_version, config.project.encode()
        prefix = serialize_entity_key_prefix(table.join_keys, version)
        for key in self._client_of(config).scan_iter(count=ROWS_PER_TRIP, _type="hash"):
            if key.startswith(prefix) and key.endswith(project) and _is_entity_key(key[: -len(project)], version):
                yield key

    def _get_features_for_entity(
        self, values: Sequence[Any], feature_view: str, requested_features: list[str]
    ) -> tuple[datetime | None, dict[str, Value] | None]:
        """As Feast's, but a key without a row is not found, where Feast answers nulls of 1970."""
        if not values[requested_features.index(f"_ts:{feature_view}")]:
            return None, None
        found: tuple[datetime | None, dict[str, Value] | None] = super()._get_features_for_entity(
            values, feature_view, requested_features
        )
        return found

    def _client_of(self, config: RepoConfig) -> Redis:
        client: Redis = self._get_client(config.online_store)
        return client


class HashedView:
    """How a view's row is read: its stamp, then its features' serialized values."""

    def __init__(self, features: Sequence[str]) -> None:
        self._places = {feature: place for place, feature in enumerate(features, start=1)}

    def stamp(self, row: Sequence[bytes]) -> int:
        """Microseconds since 1970 UTC."""
        return int(Timestamp.FromString(row[0]).ToMicroseconds())

    def value(self, row: Sequence[bytes | None], feature: str) -> Any:
        """A feature as Python's own; None where it is null."""
        return _python(row[self._places[feature]])

    def columns(
        self, rows: Sequence[Sequence[bytes] | None], features: Sequence[str], oldest: int
    ) -> dict[str, list[Any]]:
        """By feature its value in every row; None without a row, or one stamped before `oldest`."""
        nothing = [b""] * (1 + len(self._places))
        held = [nothing if row is None or self.stamp(row) < oldest else row for row in rows]
        columns = [*zip(*held, strict=True)]
        return {feature: [*map(_python, columns[self._places[feature]])] for feature in features}


def place(config: RepoConfig) -> str:
    """Which Redis, without its password."""
    servers, _ = RedisOnlineStore._parse_connection_string(config.online_store.connection_string)
    return "The online store, Redis at " + ", ".join(":".join(server.values()) for server in servers)


def _is_entity_key(key: bytes, version: int) -> bool:
    """Not, say, a key of a project whose name ends like this one's."""
    try:
        deserialize_entity_key(key, version)
    except ValueError:
        return False
    return True


def _order(stamped: datetime, created: datetime | None) -> str:
    return _digits(stamped) + _digits(stamped if created is None else created)


def _digits(moment: datetime) -> str:
    return f"{microseconds_of(moment) + OFFSET:0{DIGITS}d}"


def _timestamp(moment: datetime) -> bytes:
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds_of(moment))
    return bytes(stamp.SerializeToString())


def _python(stored: bytes | None) -> Any:
    return python_value(stored) if stored else None


def _name(config: RepoConfig, view: FeatureView) -> str:
    return compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)


def _mark(config: RepoConfig) -> str:
    return f"{config.project}:materialized"
