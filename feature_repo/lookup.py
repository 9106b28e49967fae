"""Features as they are now: one online lookup of a service, with the TTLs kept.

The rows are read by `feature_repo.online_rows`, not by Feast's SDK, from the same store. A value is made when it is
asked for, or every one by `columns`. 200 users' whole `recommend_v1` on SQLite: 1 ms, 2 to 3 with every value; the SDK
takes 27 and 36 (`make bench-lookup`). Nothing is kept from one lookup to the next but the connection.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, overload

from feast import FeatureStore

from feature_repo.known_names import service_keys, service_tables
from feature_repo.materialization_state import materialized
from feature_repo.online_place import online_file, require_online, require_same_store, sentences_for_damage
from feature_repo.online_rows import EPOCH, MICROSECOND, OnlineRow, entity_key, moment_of, newest_wins_store
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


class _Span(NamedTuple):
    """Where a table stands in the row of its key: which key of the question, its stamp, its features."""

    table: FeatureTable
    names: tuple[str, ...]
    key: int
    stamp: int
    values: slice


@dataclass(frozen=True)
class _ServiceViews:
    """A service's tables and keys, and what is asked of the store for each key column: its views and their features."""

    key_columns: tuple[str, ...]
    asked: tuple[dict[str, tuple[str, ...]], ...]
    spans: tuple[_Span, ...]
    # by feature: its table's position among the spans, its own position in the row
    places: dict[str, tuple[int, int, Feature]]


class OnlineFeatures(Mapping[str, OnlineValue]):
    """A key's features by name, in the order of the service; read from the store already, made values when asked."""

    __slots__ = ("_decode", "_oldest", "_rows", "_views")

    def __init__(
        self,
        views: _ServiceViews,
        rows: Sequence[OnlineRow],
        oldest: Sequence[int],
        decode: Callable[[Any], Any],
    ) -> None:
        self._views, self._rows, self._oldest, self._decode = views, rows, oldest, decode

    def __getitem__(self, name: str) -> OnlineValue:
        number, position, feature = self._views.places[name]
        span = self._views.spans[number]
        row = self._rows[span.key]
        if row[span.stamp] is None:
            return OnlineValue(feature, None, None, "not_found")
        stamped = moment_of(row[span.stamp])
        if row[span.stamp] < self._oldest[number]:
            return OnlineValue(feature, None, stamped, "stale")
        value = self._decode(row[position])
        return OnlineValue(feature, value, stamped, "null" if value is None else "present")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views.places)

    def __len__(self) -> int:
        return len(self._views.places)


class OnlineAnswer(Sequence[OnlineFeatures]):
    """The features of each key asked, in their order."""

    def __init__(
        self,
        views: _ServiceViews,
        rows: Sequence[Sequence[OnlineRow]],
        oldest: Sequence[int],
        decode: Callable[[Any], Any],
    ) -> None:
        """`rows`: for each key column a row a key; `oldest`: for each table the oldest stamp that still holds."""
        self._views, self._rows, self._oldest, self._decode = views, rows, oldest, decode

    def __len__(self) -> int:
        return len(self._rows[0])

    @overload
    def __getitem__(self, place: int) -> OnlineFeatures: ...

    @overload
    def __getitem__(self, place: slice) -> list[OnlineFeatures]: ...

    def __getitem__(self, place: int | slice) -> OnlineFeatures | list[OnlineFeatures]:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        return OnlineFeatures(self._views, [rows[place] for rows in self._rows], self._oldest, self._decode)

    def columns(self) -> dict[str, list[Any]]:
        """Every value: by feature a list over the keys, as Feast's `to_dict`; None where there is no fresh one."""
        if not len(self):
            return {name: [] for name in self._views.places}
        by_key = [list(zip(*rows, strict=True)) for rows in self._rows]
        found: dict[str, list[Any]] = {}
        for span, oldest in zip(self._views.spans, self._oldest, strict=True):
            stored = by_key[span.key]
            gone = [i for i, stamp in enumerate(stored[span.stamp]) if stamp is None or stamp < oldest]
            for name, column in zip(span.names, stored[span.values], strict=True):
                # what is not bytes is a value already
                values = [*map(self._decode, column)] if bytes in map(type, column) else list(column)
                for i in gone:
                    values[i] = None
                found[name] = values
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
    views = _views(service)
    asked = [_key(service, views.key_columns, key) for key in keys]
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
    rows: list[list[OnlineRow]] = []
    with sentences_for_damage(home, store):
        for i, (column, wanted) in enumerate(zip(views.key_columns, views.asked, strict=True)):
            encoded = [entity_key(column, key[i]) for key in asked]
            found = online.read_rows(store.config, wanted, list(dict.fromkeys(encoded))) if encoded else {}
            rows.append([found[key] for key in encoded])

    held_at = at or state.online_as_of
    oldest = [
        (held_at - timedelta(days=span.table.ttl_days) - EPOCH) // MICROSECOND if span.table.ttl_days else NEVER
        for span in views.spans
    ]
    return OnlineAnswer(views, rows, oldest, online.decode)


def _key(service: str, columns: tuple[str, ...], key: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = (key,) if isinstance(key, str) else tuple(key)
    if len(parts) != len(columns):
        raise TastemakerError(f"{service} is asked by {' and '.join(columns)}; {len(parts)} given: {', '.join(parts)}.")
    return parts


@lru_cache
def _views(service: str) -> _ServiceViews:
    tables, columns = service_tables(service), service_keys(service)
    asked: tuple[dict[str, tuple[str, ...]], ...] = tuple(
        {table.name: tuple(feature.name for feature in table.features) for table in tables if table.key == column}
        for column in columns
    )
    spans = []
    for table in tables:
        key = columns.index(table.key)
        views = list(asked[key])
        before = views[: views.index(table.name)]
        # the row: its key, the stamps of all views, then the values view by view
        first = 1 + len(views) + sum(len(asked[key][view]) for view in before)
        names = asked[key][table.name]
        spans.append(_Span(table, names, key, 1 + len(before), slice(first, first + len(names))))
    return _ServiceViews(
        key_columns=columns,
        asked=asked,
        spans=tuple(spans),
        places={
            feature.name: (number, span.values.start + i, feature)
            for number, span in enumerate(spans)
            for i, feature in enumerate(span.table.features)
        },
    )


@lru_cache(maxsize=4)
def _redis_url(variable: str | None) -> str | None:
    """The setting, read anew when its variable differs: reading settings takes 0.5 ms, a lookup 0.2."""
    return Settings().redis_url


@lru_cache(maxsize=4)
def _open(home: Home, redis_url: str | None) -> FeatureStore:
    """One store a home and process: opening costs 30 ms."""
    return open_store(home)
