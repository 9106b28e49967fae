"""Releases of any size, made by the project's own code: what they take to build, to load, on disk and in memory.

    python -m benchmarks.synthetic_release ITEMS RANKER FOLDER

Prints one JSON line. A process of its own for each size: peaks of memory do not add up.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm as lgb

from benchmarks import synthetic_shop
from tastemaker import names
from training.ranking.features import FEATURE_NAMES
from training.release.build import write_release
from training.release.fused_graph import FusedRecommender

# What the model server does with a version, in a process that has nothing else: seconds until it is loaded and until
# the first answer, and what both add to the process.
LOAD = """
import json, sys, time
from pathlib import Path
import numpy, psutil
from serving.server.flags import parse_flags
from serving.server.saved_model import SavedModel, SessionOptions
from training.release.inputs import input_defaults
own = psutil.Process().memory_info
before, began = own().rss, time.perf_counter()
intra, inter, requests = parse_flags(["--model_base_path=."]).parallelism
model = SavedModel(Path(sys.argv[1]), SessionOptions(intra, inter, request_threads=requests))
loaded = time.perf_counter()
signature = model.signatures["recommend"]
feeds = {signature.inputs[name].name: value for name, value in input_defaults("recommend").items()}
fetches = [output.name for output in signature.outputs.values()]
spent = []
for call in range(int(sys.argv[2]) + 1):
    start = time.perf_counter()
    model.run(feeds, fetches)
    spent.append(time.perf_counter() - start)
print(json.dumps({
    "load_s": round(loaded - began, 2),
    "first_answer_s": round(spent[0], 2),
    "recommend_p50_ms": round(float(numpy.median(spent[1:])) * 1e3, 2),
    "memory_mib": round((own().rss - before) / 2**20),
}))
"""


def ranker(items: int) -> tuple[lgb.Booster, lgb.Booster]:
    """The ranker of a shop of so many items, and one that knows no features of the pair, which Python has to make."""
    table, users = synthetic_shop.items_table(items), synthetic_shop.users_table(items)
    rows, labels = synthetic_shop.ranking_rows(synthetic_shop.graph_of(table), users)
    return (
        synthetic_shop.booster_on(rows, labels, list(FEATURE_NAMES)),
        synthetic_shop.booster_on(rows, labels, list(synthetic_shop.PLAIN_FEATURES)),
    )


def build(items: int, booster: str | lgb.Booster, folder: Path) -> tuple[FusedRecommender, dict[str, Any]]:
    """A release at `folder`, and what it took."""
    table = synthetic_shop.items_table(items)
    began = time.perf_counter()
    graph = synthetic_shop.graph_of(table)
    assembled = time.perf_counter()
    synthetic_shop.attach(graph, booster)
    attached = time.perf_counter()
    moment = synthetic_shop.AS_OF.isoformat()
    content = {
        "format": 1,
        "model": names.MODEL_NAME,
        "release": synthetic_shop.RELEASE,
        "as_of": moment,
        "item_snapshot": moment,
    }
    write_release(graph, folder, content, synthetic_shop.users_table(items))
    written = time.perf_counter()
    masks = graph.item_masks
    assert masks is not None
    return graph, {
        "items": items,
        "build_s": round(written - began, 1),
        "snapshot_and_index_s": round(assembled - began, 2),
        "trees_and_masks_s": round(attached - assembled, 2),
        "write_s": round(written - attached, 2),
        "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1),
        "masks_baked": masks.baked,
        "masks_mb": round(masks.bytes / 1e6, 1),
        "index": graph.index.described(),
    }


def loaded(folder: Path, calls: int) -> dict[str, Any]:
    """What the model server's own loading takes, and the median of `calls` answers in-process."""
    command = [sys.executable, "-c", LOAD, str(folder), str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured_apart(items: int, booster: Path, folder: Path, calls: int) -> dict[str, Any]:
    """`build` and `loaded` of a release of so many items, built in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.synthetic_release", str(items), str(booster), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), **loaded(folder, calls)}


if __name__ == "__main__":
    told = build(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))[1]
    print(json.dumps({**told, "build_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}))
