"""The two-tower model alone on Gowalla (LightGCN's split, BARS' Gowalla_m1): Recall@20 and NDCG@20 by full ranking.

    python -m benchmarks.gowalla --data <folder> --date 2026-11-22 [--seeds 1 2 3] [--tune valid|late] [--epochs 12]
        [--given 0.7] [--popularity 0.9]

Without `--tune` both of `train.txt` and `valid.txt` are learnt from and `test` is judged once for each seed, after the
last epoch. `--tune valid` learns from `train` and judges on `valid`, a random part of the same time. `--tune late`
judges on the last fifth of each line of `train`, whose order seems that of the visits, and learns from the rest and
`valid`: what is wanted of a user comes after what is known. Either judges one training once for each of
`--popularity`, which is added to the scores and is no part of learning; `--given` is what learning takes as given.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.deviation import deviation
from benchmarks.gowalla.towers import (
    BATCH,
    DIMENSION,
    EPOCHS,
    GRAPH_STEPS,
    HELD_OUT,
    LEARNING,
    LEARNING_RATE,
    POPULARITY,
    POPULARITY_GIVEN,
    favor,
    judge,
    learn,
    progress,
)
from benchmarks.gowalla.visits import FIGURES, extent, parts
from tastemaker.settings import PROJECT_ROOT

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "gowalla.json"
PUBLISHED = {  # BARS' table of the same split
    "YoutubeDNN": (0.1754, 0.1473),
    "LightGCN": (0.1820, 0.1547),
    "UltraGCN": (0.1862, 0.1580),
}


def measure(
    data: Path, date: str, seeds: list[int], epochs: int, tune: str | None, given: float, popularity: list[float]
) -> dict[str, Any]:
    """The figures of every seed, their mean and spread, with the last of `popularity`; by seed with each of them."""
    users, items = extent(data)
    known, wanted = parts(data, tune)
    tf.config.experimental.enable_op_determinism()
    found: dict[int, dict[str, float]] = {}
    tried: dict[int, dict[float, dict[str, float]]] = {}
    before = beginning()
    for seed in seeds:
        began = time.monotonic()
        tower = learn(known, users, items, seed, epochs, given, wanted if tune else None)
        seconds = time.monotonic() - began
        tried[seed] = {}
        for strength in popularity:
            favor(tower, known, strength)
            tried[seed][strength] = judge(tower, known, wanted, users, seed)
            progress(f"seed {seed}, popularity {strength:g}: {tried[seed][strength]}")
        found[seed] = {**tried[seed][popularity[-1]], "training_seconds": round(seconds, 1)}
    return {
        **circumstances(typed("benchmarks.gowalla", data), date, before, "tensorflow"),
        "judged_on": tune or "test",
        "users": users,
        "items": items,
        "settings": {
            "dimension": DIMENSION,
            "graph_steps": GRAPH_STEPS,
            "loss": LEARNING.loss,
            "temperature": LEARNING.temperature,
            "popularity_given": given,
            "popularity": popularity[-1],
            "held_out": HELD_OUT,
            "batch": BATCH,
            "learning_rate": LEARNING_RATE,
            "epochs": epochs,
        },
        "by_seed": found,
        "by_popularity": tried,
        "mean": {name: float(np.mean([row[name] for row in found.values()])) for name in FIGURES},
        "spread": {name: deviation([row[name] for row in found.values()]) for name in FIGURES},
        "published": {name: dict(zip(FIGURES, values, strict=True)) for name, values in PUBLISHED.items()},
    }


def main() -> None:
    """Measures; prints the result as one JSON line, and keeps it where test was judged."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder of train.txt, valid.txt and test.txt")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--given", type=float, default=POPULARITY_GIVEN)
    options.add_argument("--popularity", type=float, nargs="+", default=[POPULARITY], help="several only with --tune")
    options.add_argument("--tune", choices=["valid", "late"], help="judge on this part of train, keep nothing")
    given = options.parse_args()
    if len(given.popularity) > 1 and not given.tune:
        options.error("test is judged with one --popularity; choose it with --tune")
    result = measure(given.data, given.date, given.seeds, given.epochs, given.tune, given.given, given.popularity)
    if not given.tune:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
