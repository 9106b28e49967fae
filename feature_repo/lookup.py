"""Features as they are now: one online lookup of a service, with the TTLs kept.

The rows are read by `feature_repo.online_rows`, not by Feast's SDK, from the same store. A value is made when it is
asked for, or every one by `columns`. 200 users' whole `recommend_v1` on SQLite: 1 ms, 3 with every value; the SDK
takes 27 and 35 (`make bench-lookup`). Nothing is kept from one lookup to the next but the connection, and the moment of
the last materialization while its file is the same.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, overload

from feast import FeatureStore

from feature_repo.known_names import service_keys, service_tables
from feature_repo.materialization_state import materialized
from feature_repo.online_place import online_file, require_online, require_same_store, sentences_for_damage
from feature_repo.online_rows import (
    EPOCH,
    MICROSECOND,
    OnlineRow,
    StoredView,
    entity_keys,
    moment_of,
    newest_wins_store,
)
from feature_repo.store import open_store
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import Feature, FeatureTable
from tastemaker.home import Home
from tastemaker.settings import Settings

# before every stamp
NEVER = -(2**63)

Status = Literal["present", "null", "stale", "not_found"]


class OnlineValue(NamedTuple):
    """One feature of one key: `value` is None unless `status` is present; `stamped` is its row's event_timestamp."""

    feature: Feature
    value: Any
    stamped: datetime | None
    status: Status


class _Place(NamedTuple):
    """Where a table's row of a key is: which key of the question, which view of that key's row."""

    table: FeatureTable
    key: int
    view: int


@dataclass(frozen=True)
class _ServiceViews:
    """A service's tables and keys, and what is asked of the store for each key column: its views and their features."""

    key_columns: tuple[str, ...]
    asked: tuple[dict[str, tuple[str, ...]], ...]
    places: tuple[_Place, ...]
    # by feature: its table's number among the places
    features: dict[str, tuple[int, Feature]]


@dataclass(frozen=True)
class _Found:
    """What the store answered: for each key column its views; for each table the oldest stamp that still holds."""

    service: _ServiceViews
    views: tuple[Sequence[StoredView], ...]
    oldest: tuple[int, ...]


class OnlineFeatures(Mapping[str, OnlineValue]):
    """A key's features by name, in the order of the service; read from the store already, made values when asked."""

    __slots__ = ("_found", "_rows")

    def __init__(self, found: _Found, rows: Sequence[OnlineRow]) -> None:
        self._found, self._rows = found, rows

    def __getitem__(self, name: str) -> OnlineValue:
        number, feature = self._found.service.features[name]
        _, key, place = self._found.service.places[number]
        row = self._rows[key][1 + place]
        if row is None:
            return OnlineValue(feature, None, None, "not_found")
        view = self._found.views[key][place]
        stamp = view.stamp(row)
        if stamp < self._found.oldest[number]:
            return OnlineValue(feature, None, moment_of(stamp), "stale")
        value = view.value(row, name)
        return OnlineValue(feature, value, moment_of(stamp), "null" if value is None else "present")

    def __iter__(self) -> Iterator[str]:
        return iter(self._found.service.features)

    def __len__(self) -> int:
        return len(self._found.service.features)


class OnlineAnswer(Sequence[OnlineFeatures]):
    """The features of each key asked, in their order."""

    def __init__(self, found: _Found, rows: Sequence[Sequence[OnlineRow]]) -> None:
        """`rows`: for each key column a row a key."""
        self._found, self._rows = found, rows

    def __len__(self) -> int:
        return len(self._rows[0])

    @overload
    def __getitem__(self, place: int) -> OnlineFeatures: ...

    @overload
    def __getitem__(self, place: slice) -> list[OnlineFeatures]: ...

    def __getitem__(self, place: int | slice) -> OnlineFeatures | list[OnlineFeatures]:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        return OnlineFeatures(self._found, [rows[place] for rows in self._rows])

    def columns(self) -> dict[str, list[Any]]:
        """Every value: by feature a list over the keys, as Feast's `to_dict`; None where there is no fresh one."""
        service = self._found.service
        if not len(self):
            return {name: [] for name in service.features}
        by_view = [[*zip(*rows, strict=True)] for rows in self._rows]
        found: dict[str, list[Any]] = {}
        for (table, key, place), oldest in zip(service.places, self._found.oldest, strict=True):
            features = service.asked[key][table.name]
            found |= self._found.views[key][place].columns(by_view[key][1 + place], features, oldest)
        return found


def online_features(
    home: Home, service: str, keys: Sequence[str | tuple[str, ...]], at: datetime | None = None
) -> OnlineAnswer:
    """A service's features of each key, by feature name, in the order of the service; one a key, in their order.

    Args:
        home: whose online store is asked; its connection is kept for the next call.
        service: a feature service's name.
        keys: ids; for a service of users and items, pairs (user_id, item_id).
        at: the moment against which TTLs are held. By default that of the last materialization, not the wall clock:
            time is an argument, and by the clock every feature of a shop whose data ends in 2011 would be stale.

    Raises TastemakerError for an unknown service, a key of the wrong shape, an `at` before what the online store holds,
    a home in which nothing was materialized, a missing or damaged online store.
    """
    service_views = _views(service)
    by_column = _by_column(service, service_views.key_columns, keys)
    state = materialized(home)
    if at is not None and at < state.online_as_of:
        raise TastemakerError(
            f"The online store holds features as of {state.online_as_of.isoformat()} and can't tell those of "
            f"{at.isoformat()}; ask for historical features."
        )
    redis_url = _redis_url(os.environ.get("TASTEMAKER_REDIS_URL"))
    require_same_store(state, redis_url)
    store = _open(home, redis_url)
    if redis_url is None and not online_file(home).exists():
        # SQLite would make an empty file and find nothing in it
        require_online(home, store, state, redis_url)
    online = newest_wins_store(store)
    views: list[Sequence[StoredView]] = []
    rows: list[list[OnlineRow]] = []
    with sentences_for_damage(home, store):
        for column, wanted, parts in zip(service_views.key_columns, service_views.asked, by_column, strict=True):
            encoded = entity_keys(column, parts)
            found = online.read_rows(store.config, wanted, list(dict.fromkeys(encoded)))
            views.append(found.views)
            rows.append([found.by_key[key] for key in encoded])

    held_at = (at or state.online_as_of) - EPOCH
    oldest = tuple(
        (held_at - timedelta(days=table.ttl_days)) // MICROSECOND if table.ttl_days else NEVER
        for table, *_ in service_views.places
    )
    return OnlineAnswer(_Found(service_views, tuple(views), oldest), rows)


def _by_column(service: str, columns: tuple[str, ...], keys: Sequence[str | tuple[str, ...]]) -> list[list[str]]:
    """The ids of each key column."""
    parts = [(key,) if isinstance(key, str) else key for key in keys]
    for key in parts:
        if len(key) != len(columns):
            raise TastemakerError(f"{service} is asked by {' and '.join(columns)}; {len(key)} given: {', '.join(key)}.")
    return [[key[i] for key in parts] for i in range(len(columns))]


@lru_cache
def _views(service: str) -> _ServiceViews:
    tables, columns = service_tables(service), service_keys(service)
    asked = tuple(
        {table.name: tuple(feature.name for feature in table.features) for table in tables if table.key == column}
        for column in columns
    )
    places = []
    for table in tables:
        key = columns.index(table.key)
        places.append(_Place(table, key, list(asked[key]).index(table.name)))
    features = {feature.name: (i, feature) for i, table in enumerate(tables) for feature in table.features}
    return _ServiceViews(columns, asked, tuple(places), features)


@lru_cache(maxsize=4)
def _redis_url(variable: str | None) -> str | None:
    """The setting, read anew when its variable differs: reading settings takes 0.5 ms, a lookup 0.2."""
    return Settings().redis_url


@lru_cache(maxsize=4)
def _open(home: Home, redis_url: str | None) -> FeatureStore:
    """One store a home and process: opening costs 30 ms."""
    return open_store(home)
