"""What serves, measured against what one would do otherwise: `make bench-serve`.

    python -m benchmarks.serve --date 2026-11-22 [--quick] [--out benchmarks/results/serve.json]

Prints one JSON line. In one run, the sides of a ratio taking turns, so that a busy machine weighs on both; the load
average stands beside. Synthetic, complete data through the project's own code (`synthetic_shop`, `synthetic_release`).

- `trees`: 500 trees × 63 leaves in the graph, against LightGBM and a level-by-level traversal (`benchmarks.trees`).
- `recommend`: 50,000 items × 64 dimensions, 200 candidates, k = 20. Ours is one feature lookup and one Predict over
  gRPC to `tastemaker serve`, from a client process, as a product backend is one; the obvious way is
  `benchmarks.obvious_way`, in this process. They take turns of BLOCK requests.
- `clients`: requests/s of 1, 4 and 16 client processes on the same cores (`benchmarks.serve_baseline`).
- `nearest`: top 200 of one query over 50,000 × 64, against NumPy's matmul and argpartition (`benchmarks.nearest`).
- `releases`: build, load, disk and memory for 4,000, 50,000 and 1,000,000 items.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import serve_baseline, synthetic_release, synthetic_shop
from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.client_process import ClientProcess, timed
from benchmarks.obvious_way import ObviousWay
from benchmarks.synthetic_shop import AS_OF, CANDIDATES
from benchmarks.trees import PAUSE_S, THREADS
from serving.releases.labels import CANARY, STABLE, Served, write_served
from serving.releases.versions import place
from tastemaker.home import Home

K, ITEMS, VERSION = 20, 50_000, 202603010000_00
BLOCK, WARM_UP = 10, 20
OTHER_SIZES = (4_000, 1_000_000)
CLIENTS = (1, 4, 16)


def one_client(home: Home, address: str, obvious: ObviousWay, requests: int) -> dict[str, Any]:
    """Both sides for the same users, in turns of BLOCK requests.

    Not request by request: what the other side leaves behind, cold caches and threads that still spin, then weighs on
    both, and neither would meet it where it runs alone.
    """
    users = np.random.default_rng(synthetic_shop.SEED).choice(synthetic_shop.user_ids(), requests).tolist()
    spent: dict[str, list[float]] = {"obvious": [], "ours": []}
    with ClientProcess(home, address, K) as client:
        asking = {"obvious": lambda block: timed(lambda user: obvious.recommend(user, K), block), "ours": client.ask}
        for ask in asking.values():
            ask(users[:WARM_UP])
        for start in range(0, requests, BLOCK):
            for side, ask in asking.items():
                time.sleep(PAUSE_S)
                spent[side] += ask(users[start : start + BLOCK])
    told = {side: percentiles(np.array(times)) for side, times in spent.items()}
    return {**told, "ours_to_obvious_p50": round(told["ours"]["p50_ms"] / told["obvious"]["p50_ms"], 3)}


def nearest(threads: int, rounds: int) -> dict[str, Any]:
    """`benchmarks.nearest` with as many threads a side, in a process of its own: NumPy's are counted when it starts."""
    command = [sys.executable, "-m", "benchmarks.nearest", str(threads), str(rounds)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def trees(rounds: int) -> dict[str, Any]:
    """`benchmarks.trees` in a process of its own, whose threads end with it."""
    command = [sys.executable, "-m", "benchmarks.trees", "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def percentiles(milliseconds: Any) -> dict[str, float]:
    """p50 and p99 of an array of milliseconds."""
    return {f"p{q}_ms": round(float(np.percentile(milliseconds, q)), 2) for q in (50, 99)}


def served(scratch: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything about one release of ITEMS, and the sizes of others."""
    home = Home(scratch / "home")
    home.root.mkdir()
    ranker, plain = synthetic_release.ranker(ITEMS)
    ranker.save_model(str(scratch / "ranker.txt"))
    graph, told = synthetic_release.build(ITEMS, ranker, home.candidate(AS_OF))
    releases = [{**told, **synthetic_release.loaded(home.candidate(AS_OF), chosen.requests // 4)}]
    result: dict[str, Any] = {}
    synthetic_shop.fill_feature_store(home, synthetic_shop.items_table(ITEMS), synthetic_shop.users_table(ITEMS))
    place(home, home.candidate(AS_OF), VERSION)
    write_served(home, Served({STABLE: VERSION, CANARY: VERSION}))
    with serve_baseline.model_server(home, chosen.server, chosen.server_flag) as address:
        obvious = ObviousWay(home, graph, plain, THREADS)
        result["recommend"] = one_client(home, address, obvious, chosen.requests)
        users = synthetic_shop.user_ids()
        runs = [serve_baseline.measure(home, address, users, clients, chosen.seconds, K) for clients in CLIENTS]
    result["clients"] = [
        {
            "clients": run.clients,
            "answered_per_second": run.requests_per_second,
            "p50_ms": run.recommend_p50_ms,
            "p99_ms": run.recommend_p99_ms,
            "predict_p50_ms": run.predict_p50_ms,
            "lookup_p50_ms": run.lookup_p50_ms,
            "refused": run.failed,
        }
        for run in runs
    ]
    for items in OTHER_SIZES[:1] if chosen.quick else OTHER_SIZES:
        calls = chosen.requests // 4
        folder = scratch / f"release_{items}"
        releases.append(synthetic_release.measured_apart(items, scratch / "ranker.txt", folder, calls))
    result["releases"] = sorted(releases, key=lambda one: int(one["items"]))
    return result


def main() -> None:
    """Measures everything and prints one JSON line; the result file is written only at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    parser.add_argument("--quick", action="store_true", help="few repetitions, no million items: does it run at all?")
    parser.add_argument(
        "--server", default="127.0.0.1:1", help="a model server that serves already; else one is started"
    )
    parser.add_argument("--server-flag", action="append", default=[], help="of the model server that is started")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.requests, chosen.seconds, chosen.rounds = (40, 1.0, 10) if chosen.quick else (300, 5.0, 60)
    before, began = beginning(), time.monotonic()
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)

    result: dict[str, Any] = {
        "trees": trees(chosen.rounds),
        "nearest": [nearest(threads, chosen.rounds) for threads in range(1, THREADS + 1)],
    }
    with tempfile.TemporaryDirectory(prefix="tastemaker-bench-") as scratch:
        result |= served(Path(scratch), chosen)
    told = {
        "benchmark": "serve",
        **circumstances(typed("benchmarks.serve", chosen.out), chosen.date, before, "lightgbm", "numpy", "tensorflow"),
        "seconds": round(time.monotonic() - began),
        "shop": {
            "seed": synthetic_shop.SEED,
            "items": ITEMS,
            "dimensions": synthetic_shop.DIMENSIONS,
            "users": synthetic_shop.USERS,
            "candidates": CANDIDATES,
            "k": K,
            "forest": [synthetic_shop.TREES, synthetic_shop.LEAVES],
        },
        **result,
    }
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
