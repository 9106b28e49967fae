"""Where the online store is, and what to say when it is missing, lost or damaged."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from feast import FeatureStore
from redis.exceptions import RedisError

from feature_repo.materialization_state import MaterializationState
from feature_repo.newest_wins_redis import NewestWinsRedisOnlineStore, place
from feature_repo.online_rows import AGAIN, newest_wins_store
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.steps import digest_values


def online_file(home: Home) -> Path:
    """The embedded online store, a SQLite file."""
    return home.feast / "online_store.db"


@lru_cache(maxsize=4)
def online_store_name(redis_url: str | None) -> str:
    """What the state remembers of the store it tells of; a Redis by its digest, for the address may hold a password."""
    return f"redis {digest_values(redis_url)[:12]}" if redis_url else "sqlite, a packed row a key"


def mark_online(store: FeatureStore, state: MaterializationState) -> None:
    """Leaves the moment in a Redis, which may lose what it was given; a file's absence tells by itself."""
    online = newest_wins_store(store)
    if isinstance(online, NewestWinsRedisOnlineStore):
        online.mark(store.config, state.online_as_of)


def holds_online(home: Home, store: FeatureStore, state: MaterializationState) -> bool:
    """Whether the online store still has what the state tells of."""
    online = newest_wins_store(store)
    if isinstance(online, NewestWinsRedisOnlineStore):
        return online.marked(store.config) == state.online_as_of.isoformat()
    return online_file(home).exists()


def require_online(home: Home, store: FeatureStore, state: MaterializationState, redis_url: str | None) -> None:
    """Raises TastemakerError when it has not: an empty store would tell of every key that it is unknown."""
    require_same_store(state, redis_url)
    with sentences_for_damage(home, store):
        if not holds_online(home, store, state):
            redis = isinstance(newest_wins_store(store), NewestWinsRedisOnlineStore)
            lacks = f"is not as of {state.online_as_of.isoformat()}" if redis else "is missing"
            raise TastemakerError(f"{_place(home, store)} {lacks}; {AGAIN}.")


def require_same_store(state: MaterializationState, redis_url: str | None) -> None:
    """Raises TastemakerError when the features went to another online store than the one that the settings name."""
    if state.online_store != online_store_name(redis_url):
        raise TastemakerError(
            "The features were materialized into another online store than TASTEMAKER_REDIS_URL tells "
            f"({'a Redis' if redis_url else 'none, so SQLite'}); set it as it was, or {AGAIN}."
        )


@contextmanager
def sentences_for_damage(home: Home, store: FeatureStore) -> Iterator[None]:
    """Turns the stores' own errors into a sentence that names the place and the way out."""
    try:
        yield
    except sqlite3.DatabaseError as problem:
        raise TastemakerError(f"{_place(home, store)} can't be read ({problem}); remove it and {AGAIN}.") from None
    except RedisError as problem:
        raise TastemakerError(
            f"{_place(home, store)} doesn't answer ({type(problem).__name__}: {problem}); "
            "see that it runs where TASTEMAKER_REDIS_URL tells."
        ) from None


def _place(home: Home, store: FeatureStore) -> str:
    if isinstance(newest_wins_store(store), NewestWinsRedisOnlineStore):
        return place(store.config)
    return f"The online store {online_file(home)}"
