"""One user's, and 200 users', whole `recommend_v1`: our lookup beside Feast as shipped, on SQLite and on Redis.

    make bench-lookup       one JSON line: p50 and p99 of every side in milliseconds, and both sides of every ratio;
                            some three minutes

A made-up shop is materialized four times: into our two online stores by the step, and into Feast's own by Feast. The
sides take turns call by call; a figure is the median over the rounds. `cpu` is the calling thread's own time: on a busy
machine only that compares, though it leaves out what Redis does.

    ours               feature_repo.lookup.online_features, its answer left as it is; TTLs are held
    ours_values        the same and `.columns()`: every value taken, as Python's own, in the shape of Feast's to_dict
    feast              FeatureStore.get_online_features, its answer left as it is
    feast_values       the same and `.to_dict()`: every value taken, as Python's own
    feast_precomputed  on Redis, `.to_dict()` of a service with precompute_online; Feast 0.67 can't build it on SQLite,
                     and answers it only with full_feature_names and for known keys
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureService, FeatureStore
from feast.repo_config import RepoConfig
from redis import Redis
from redis.exceptions import ConnectionError as NoConnectionError

from benchmarks.circumstances import beginning, circumstances, typed
from feature_repo.definitions import definitions
from feature_repo.historical import ARROW_TYPES
from feature_repo.lookup import OnlineAnswer, online_features
from feature_repo.materialize import materialize
from tastemaker import names
from tastemaker.config import Config
from tastemaker.feature_tables import Feature, FeatureTable, feature_tables
from tastemaker.home import Home

AS_OF = datetime(2011, 12, 10, tzinfo=UTC)
USERS = 2000
MANY = 200
PRECOMPUTED = "recommend_v1_precomputed"
RATIOS = (("feast", "ours"), ("feast_values", "ours_values"), ("feast_precomputed", "ours_values"))

Lookup = Callable[[Sequence[str]], Any]


def write_warehouse(home: Home, draw: random.Random) -> None:
    """A row of each user a table, and a few items; histories of up to 100 events, as in the Online Retail shop."""
    home.root.mkdir(parents=True)
    with duckdb.connect(str(home.warehouse)) as warehouse:
        for table in feature_tables().values():
            content = _table(table, USERS if table.entity == "user" else 5, draw)
            warehouse.register("content", content)
            warehouse.execute(f"create table {table.name} as select * from content")


def _table(table: FeatureTable, rows: int, draw: random.Random) -> pa.Table:
    stamps = pa.array([AS_OF.replace(tzinfo=None)] * rows, pa.timestamp("us"))
    lengths = [draw.randrange(101) for _ in range(rows)]
    columns = {
        table.key: pa.array([f"{table.entity}-{n}" for n in range(rows)]),
        names.EVENT_TIMESTAMP: stamps,
        names.CREATED_TIMESTAMP: stamps,
    }
    for feature in table.features:
        columns[feature.name] = pa.array([_value(feature, n, draw) for n in lengths], ARROW_TYPES[feature.dtype])
    return pa.table(columns)


def _value(feature: Feature, length: int, draw: random.Random) -> Any:
    one: Callable[[], Any] = {
        "varchar": lambda: f"{draw.randrange(10_000, 30_000)}",
        "bigint": lambda: draw.randrange(1000),
        "double": draw.random,
        "boolean": lambda: draw.random() < 0.5,
    }[feature.dtype.removesuffix("[]")]
    return [one() for _ in range(length)] if feature.is_list else one()


def feast_store(home: Home, name: str, online_store: dict[str, Any]) -> FeatureStore:
    """Feast as shipped, over the offline files that the step has written, materialized by Feast."""
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(home.feast / f"{name}.registry"),
        online_store=online_store,
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
    store, declared = FeatureStore(config=config), definitions(home)
    views = [view for view in declared.views.values() if view.name.startswith("user_")]
    precomputed = FeatureService(
        name=PRECOMPUTED, features=list(views), precompute_online=online_store["type"] == "redis"
    )
    store.apply([declared.entities["user"], *views, declared.services[names.RECOMMEND_V1], precomputed])
    with contextlib.redirect_stdout(None):
        store.materialize(AS_OF - timedelta(days=1), AS_OF + timedelta(days=1))
    return store


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """host:port of a redis-server that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        program,
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        str(folder),
        "--save",
        "",
        "--logfile",
        "log",
    ]
    server = subprocess.Popen(words)
    try:
        for _ in range(300):
            with contextlib.suppress(NoConnectionError):
                Redis(port=port).ping()
                break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def redis_url(address: str | None) -> Iterator[None]:
    """The setting, within the block."""
    os.environ.pop("TASTEMAKER_REDIS_URL", None)
    if address is not None:
        os.environ["TASTEMAKER_REDIS_URL"] = address
    try:
        yield
    finally:
        os.environ.pop("TASTEMAKER_REDIS_URL", None)


def lookups(home: Home, address: str | None, feast: FeatureStore) -> dict[str, Lookup]:
    """The sides of one kind of store; their answers are compared before anything is timed."""

    def ours(users: Sequence[str]) -> OnlineAnswer:
        return online_features(home, names.RECOMMEND_V1, users)

    def ours_values(users: Sequence[str]) -> dict[str, list[Any]]:
        return ours(users).columns()

    service = feast.get_feature_service(names.RECOMMEND_V1)
    sides: dict[str, Lookup] = {
        "ours": ours,
        "ours_values": ours_values,
        "feast": lambda users: feast.get_online_features(service, {"user_id": users}),
        "feast_values": lambda users: feast.get_online_features(service, {"user_id": users}).to_dict(),
    }
    if address is not None:
        whole = feast.get_feature_service(PRECOMPUTED)
        sides["feast_precomputed"] = lambda users: feast.get_online_features(
            whole, {"user_id": users}, full_feature_names=True
        ).to_dict()
    users = [f"user-{n}" for n in range(MANY)]
    found = ours(users)
    for side in sides.keys() - {"ours", "ours_values", "feast"}:
        told = {name.rsplit("__", 1)[-1]: values for name, values in sides[side](users).items()}
        for feature in found[0]:
            assert told[feature] == [row[feature].value for row in found], f"{side} tells another {feature}"
    return sides


def compare(folder: Path, *, seed: int, rounds: int, calls: dict[int, int]) -> dict[str, Any]:
    """Milliseconds by store, number of keys and side."""
    draw = random.Random(seed)
    embedded, served = Home(folder / "sqlite"), Home(folder / "redis")
    found: dict[str, Any] = {}
    with redis_server(folder) as address:
        for store, home, url in (("sqlite", embedded, None), ("redis", served, address)):
            write_warehouse(home, random.Random(seed))
            with redis_url(url):
                materialize(home, Config(version=1), AS_OF)
                as_shipped = (
                    {"type": "redis", "connection_string": f"{address},db=1"}
                    if url
                    else {"type": "sqlite", "path": str(home.feast / "as_shipped.db")}
                )
                sides = lookups(home, url, feast_store(home, "as_shipped", as_shipped))
                found[store] = {str(keys): _timed(sides, keys, calls[keys], rounds, draw) for keys in calls}
    return found


def _timed(sides: dict[str, Lookup], keys: int, calls: int, rounds: int, draw: random.Random) -> dict[str, Any]:
    p50: dict[str, list[float]] = {side: [] for side in sides}
    p99: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        questions = [[f"user-{n}" for n in draw.sample(range(USERS), keys)] for _ in range(calls)]
        wall: dict[str, list[float]] = {side: [] for side in sides}
        worked: dict[str, list[float]] = {side: [] for side in sides}
        for users in questions:
            # call by call in turns, so that a busy moment of the machine meets every side
            for side in draw.sample(list(sides), len(sides)):
                began, began_cpu = time.perf_counter(), time.thread_time()
                sides[side](users)
                worked[side].append(1000 * (time.thread_time() - began_cpu))
                wall[side].append(1000 * (time.perf_counter() - began))
        for side, times in wall.items():
            p50[side].append(statistics.median(times))
            p99[side].append(sorted(times)[min(len(times) - 1, int(0.99 * len(times)))])
            cpu[side].append(statistics.median(worked[side]))
    return {
        "calls_a_round": calls,
        "rounds": rounds,
        "p99_ms": _medians(p99),
        **{f"{name}_ms": _medians(of) for name, of in (("p50", p50), ("cpu_p50", cpu))},
        **{f"{name}_ratios": _ratios(_medians(of)) for name, of in (("p50", p50), ("cpu_p50", cpu))},
    }


def _medians(by_round: dict[str, list[float]]) -> dict[str, float]:
    return {side: round(statistics.median(values), 3) for side, values in by_round.items()}


def _ratios(medians: dict[str, float]) -> dict[str, float]:
    return {f"{a}/{b}": round(medians[a] / medians[b], 2) for a, b in RATIOS if a in medians}


def main() -> None:
    """Prints one JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--calls-of-one", type=int, default=300, help="lookups of one key a round and side")
    options.add_argument("--calls-of-many", type=int, default=30, help="lookups of 200 keys a round and side")
    options.add_argument("--seed", type=int, default=20111210)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    given, before = options.parse_args(), beginning()
    with tempfile.TemporaryDirectory(prefix="bench_lookup_") as folder:
        calls = {1: given.calls_of_one, MANY: given.calls_of_many}
        found = compare(Path(folder), seed=given.seed, rounds=given.rounds, calls=calls)
    facts = {
        "benchmark": "lookup",
        **circumstances(typed("benchmarks.lookup"), given.date, before, "feast", "redis"),
        "seed": given.seed,
    }
    print(json.dumps({**facts, "service": names.RECOMMEND_V1, "users": USERS, **found}))


if __name__ == "__main__":
    main()
