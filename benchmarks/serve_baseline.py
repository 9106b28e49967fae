"""Latency and throughput of `recommend` over gRPC: one Feast lookup and one Predict, from processes of their own.

    python -m benchmarks.serve_baseline [--home DIR] [--seconds 10] [--clients 1 8] [--k 20]

Every client is a process (threads of one Python would wait for each other's lock, not for the server) that asks for
users of the home in a seeded order, without pause, one request at a time; where the server is full and refuses
one, `failed` counts it and the client asks again after 10 ms. Where no model server answers at
TASTEMAKER_MODEL_SERVER one is started on this machine for the run, so server and clients share its cores.
Prints one JSON line.
"""

import argparse
import json
import multiprocessing
import os
import platform
import queue
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from serving.client import Recommender, online_lookup
from serving.model_status import ServerUnreachableError, version_states
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import Settings

SEED = 20111210
WARM_UP_REQUESTS = 50
START_SECONDS = 300
# A server that is full refuses at once, and a caller that came back at once would take the cores from those it serves.
REFUSED_SECONDS = 0.01


@dataclass(frozen=True)
class Measured:
    """One number of clients. Milliseconds are per request, as the client sees them; `predict` is without the lookup."""

    clients: int
    requests: int
    failed: int
    requests_per_second: float
    recommend_p50_ms: float
    recommend_p99_ms: float
    predict_p50_ms: float
    predict_p99_ms: float
    lookup_p50_ms: float


def measure(home: Home, address: str, users: list[str], clients: int, seconds: float, k: int) -> Measured:
    """Lets `clients` processes ask for `seconds` and gathers what they saw."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["feature_repo.lookup", "serving.client"])  # Feast's 7 s of import once, not 8 times
    barrier = context.Barrier(clients)
    results: Any = context.Queue()
    workers = [
        context.Process(target=_ask, args=(home, address, users, SEED + i, seconds, k, barrier, results))
        for i in range(clients)
    ]
    for worker in workers:
        worker.start()
    seen = [_result(results, workers, seconds + START_SECONDS) for _ in workers]
    for worker in workers:
        worker.join()
    total, lookup = (np.concatenate([one[part] for one in seen]) * 1e3 for part in ("total", "lookup"))
    predict = total - lookup
    elapsed = max(one["elapsed"] for one in seen)
    return Measured(
        clients=clients,
        requests=len(total),
        failed=sum(one["failed"] for one in seen),
        requests_per_second=round(len(total) / elapsed, 1),
        recommend_p50_ms=_percentile(total, 50),
        recommend_p99_ms=_percentile(total, 99),
        predict_p50_ms=_percentile(predict, 50),
        predict_p99_ms=_percentile(predict, 99),
        lookup_p50_ms=_percentile(lookup, 50),
    )


def _result(results: Any, workers: list[Any], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return dict(results.get(timeout=1))
        except queue.Empty:
            if any(worker.exitcode for worker in workers):
                raise TastemakerError("A client process of the benchmark failed; its traceback is above.") from None
    raise TastemakerError(f"The benchmark's clients were not done after {seconds:.0f} s; is the machine very busy?")


def _ask(
    home: Home, address: str, users: list[str], seed: int, seconds: float, k: int, barrier: Barrier, results: Any
) -> None:
    look_up = online_lookup(home)
    looked: list[float] = []

    def timed(user_id: str, at: Any) -> Any:
        began = time.perf_counter()
        found = look_up(user_id, at)
        looked.append(time.perf_counter() - began)
        return found

    order = random.Random(seed).choices(users, k=4096)
    total: list[float] = []
    failed = 0
    with Recommender(address, timed, deadline_seconds=10) as recommender:
        for user in order[:WARM_UP_REQUESTS]:
            try:
                recommender.recommend(user, k)
            except TastemakerError:
                time.sleep(REFUSED_SECONDS)
        looked.clear()
        barrier.wait(timeout=START_SECONDS)
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            try:
                recommender.recommend(order[(len(total) + failed) % len(order)], k)
            except TastemakerError:
                failed += 1
                del looked[len(total) :]
                time.sleep(REFUSED_SECONDS)
                continue
            total.append(time.perf_counter() - now)
        elapsed = time.perf_counter() - began
    results.put({"total": np.array(total), "lookup": np.array(looked), "failed": failed, "elapsed": elapsed})


def users_of(home: Home) -> list[str]:
    """Every user of the home's profile table, sorted."""
    table = home.offline_store / "user_profile.parquet"
    if not table.exists():
        raise TastemakerError(f"{table} is not there; run 'tastemaker features materialize' for this home first.")
    rows = duckdb.execute("select distinct user_id from read_parquet($1) order by 1", [str(table)]).fetchall()
    return [user for (user,) in rows]


@contextmanager
def model_server(home: Home, address: str, flags: Sequence[str] = ()) -> Iterator[str]:
    """The address of a server that serves: the one that answers, else one that is started, with `flags`, and ended."""
    try:
        version_states(address, names.MODEL_NAME)
    except ServerUnreachableError:
        pass
    else:
        yield address
        return
    port, rest_port = _free_port(), _free_port()
    environment = {
        **os.environ,
        "TASTEMAKER_HOME": str(home.root),
        "TASTEMAKER_MODEL_SERVER": f"127.0.0.1:{port}",
        "TASTEMAKER_MODEL_SERVER_REST_PORT": str(rest_port),
    }
    command = [sys.executable, "-c", "from tastemaker.cli import main; main()", "serve", *flags]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_serving(f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wait_until_serving(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if "AVAILABLE" in version_states(address, names.MODEL_NAME).values():
                return
        except ServerUnreachableError:
            pass  # it is still starting
        time.sleep(0.2)
    raise TastemakerError(f"The model server started for the benchmark serves nothing after {START_SECONDS} s.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _percentile(milliseconds: Any, q: float) -> float:
    return round(float(np.percentile(milliseconds, q)), 3) if len(milliseconds) else float("nan")


def main() -> None:
    """Measures and prints one JSON line."""
    settings = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=settings.paths.root)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--k", type=int, default=20)
    chosen = parser.parse_args()
    home = Home(chosen.home.resolve())
    users = users_of(home)
    with model_server(home, settings.model_server) as address:
        version = max(v for v, s in version_states(address, names.MODEL_NAME).items() if s == "AVAILABLE")
        runs = [measure(home, address, users, n, chosen.seconds, chosen.k) for n in chosen.clients]
    result = {
        "benchmark": "serve_baseline",
        "release": version,
        "k": chosen.k,
        "seed": SEED,
        "users": len(users),
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": round(
            os.getloadavg()[0], 1
        ),  # of the last minute: above the CPUs, figures are of a busy machine
        "machine": platform.processor() or platform.machine(),
        "runs": [asdict(run) for run in runs],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
