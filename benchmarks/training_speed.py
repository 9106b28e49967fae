"""Our training loop beside the stock TFRS loop at equal validation NDCG, and LightGBM's step beside a bare call.

    TASTEMAKER_HOME=… python -m benchmarks.training_speed --date 2026-11-22 [--as-of 2011-12-10] [--seeds 3]

On the training sets of a home through which `train retriever` and `train sources` have run; with `--synthetic`, on a
made-up shop. The loops (`benchmarks.two_loops`: stock, a lean one of it, ours) teach the same towers, from the same
weights, by the same pairs and batch size, each by the step size that suits it, and take turns epoch by epoch, so that a
busy machine weighs on all alike. A loop ends when its validation NDCG@20 has not risen for `retriever.patience` epochs.
Told are seconds until a loop is at the bar: the lower of the two best NDCGs that are compared. Validation stands
outside all times.

The ranker's `fit_trees` is then timed beside one `lightgbm.train` for as many trees on the same matrix.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.synthetic_requests import AS_OF, synthetic_datasets
from benchmarks.two_loops import STOCK_STEP, Shop, lean_loop, our_loop, stock_loop
from tastemaker.config import Config, load_config
from tastemaker.moments import parse_as_of
from tastemaker.settings import Settings
from training.datasets.files import items_file, read_dataset, requests_file
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import fit_trees, window_rows
from training.ranking.rows import RankerRows
from training.retrieval.batches import Rows
from training.retrieval.two_tower import TwoTower
from training.splits import plan_windows

MADE_UP_REQUESTS, MADE_UP_CANDIDATES = 1_500, 250  # about Online Retail's
STOPPING = ("num_iterations", "early_stopping_round")  # LightGBM notes them in a booster's parameters
LOOPS = {"stock": stock_loop, "lean": lean_loop, "ours": our_loop}


def in_turns(shop: Shop, epochs: int, batch: int) -> dict[str, Any]:
    """Seconds, CPU seconds and NDCG by epoch of every loop, and how ours compares with each other one.

    A loop's first seconds are those before its first epoch: where strings are looked up once, that is there.
    """
    found: dict[str, Any] = {}
    loops: dict[str, tuple[TwoTower, Callable[[], object]]] = {}
    for name, make in LOOPS.items():
        began, cpu = time.monotonic(), time.process_time()
        loops[name] = make(shop, batch)
        found[name] = {"seconds": [time.monotonic() - began], "cpu": [time.process_time() - cpu], "ndcg@20": []}
    rows = Rows.of(loops["ours"][0], shop.user, shop.item)
    start = shop.ndcg(loops["ours"][0], rows)
    for epoch in range(1, epochs + 1):
        for name, (tower, run) in loops.items():
            side = found[name]
            if _has_ended(side["ndcg@20"], shop.config.retriever.patience):
                continue
            began, cpu = time.monotonic(), time.process_time()
            run()
            side["seconds"].append(time.monotonic() - began)
            side["cpu"].append(time.process_time() - cpu)
            side["ndcg@20"].append(shop.ndcg(tower, rows))
            _tell(f"epoch {epoch}: {name} {side['seconds'][-1]:.1f} s, NDCG@20 {side['ndcg@20'][-1]:.4f}")
    return {
        "seed": shop.config.retriever.seed,
        "ndcg_untaught": start,
        **found,
        **{f"{name} : ours": compared(found[name], found["ours"]) for name in LOOPS if name != "ours"},
    }


def compared(other: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Both sides' way to the bar: the best NDCG of the side whose best is lower."""
    bar = min(max(side["ndcg@20"]) for side in (other, ours))
    epochs = [1 + int(np.argmax(np.array(side["ndcg@20"]) >= bar)) for side in (other, ours)]
    figures: dict[str, float] = {"ndcg_bar": bar, "epochs": epochs[0], "our_epochs": epochs[1]}
    for clock in ("seconds", "cpu"):
        to_bar = [sum(side[clock][: 1 + count]) for side, count in zip((other, ours), epochs, strict=True)]
        figures |= {f"{clock}_to_bar": to_bar[0], f"our_{clock}_to_bar": to_bar[1]}
        figures[f"ratio_of_{clock}"] = to_bar[0] / to_bar[1]
        figures[f"ratio_of_{clock}_an_epoch"] = float(np.median(other[clock][1:]) / np.median(ours[clock][1:]))
    return figures


def _has_ended(curve: list[float], patience: int) -> bool:
    return bool(curve) and len(curve) - 1 - int(np.argmax(curve)) >= patience


def medians(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Over seeds, of every ratio."""
    pairs = [name for name in runs[0] if name.endswith(" : ours")]
    ratios = [figure for figure in runs[0][pairs[0]] if figure.startswith("ratio")]
    return {pair: {ratio: float(np.median([run[pair][ratio] for run in runs])) for ratio in ratios} for pair in pairs}


def trees_beside_bare(rows: RankerRows, config: Config, rounds: int) -> dict[str, Any]:
    """Seconds of the ranker's `fit_trees`, and of one `lightgbm.train` of as many trees from the whole matrix."""
    ours, bare = [], []
    lists = np.unique(rows.request, return_counts=True)[1] if config.ranker.objective == "lambdarank" else None
    for _ in range(rounds):
        began = time.monotonic()
        booster, facts = fit_trees(rows, config.ranker)
        ours.append(time.monotonic() - began)
        asked = {name: value for name, value in booster.params.items() if name not in STOPPING}
        began = time.monotonic()
        lgb.train(asked, lgb.Dataset(rows.features, rows.labels, group=lists), booster.num_trees())
        bare.append(time.monotonic() - began)
        _tell(f"trees: fit_trees {ours[-1]:.1f} s, bare {bare[-1]:.1f} s")
    return {
        "rows": len(rows.labels),
        "features": rows.features.shape[1],
        "trees": booster.num_trees(),
        **{name: value for name, value in facts.items() if name != "trees"},
        "fit_trees_seconds": ours,
        "bare_seconds": bare,
        "fit_trees : bare": float(np.median(np.array(ours) / np.array(bare))),
    }


def made_up_rows() -> RankerRows:
    """A matrix of about the size that Online Retail's ranker has."""
    random = np.random.default_rng(7)
    count = MADE_UP_REQUESTS * MADE_UP_CANDIDATES
    features = random.normal(size=(count, len(FEATURE_NAMES))).astype(np.float32)
    wanted = features[:, :12].sum(axis=1) + np.abs(features[:, 12:18]).sum(axis=1) + random.normal(0, 4, count)
    labels = (wanted > np.quantile(wanted, 0.95)).astype(np.int8)
    request = np.repeat(np.arange(MADE_UP_REQUESTS, dtype=np.int32), MADE_UP_CANDIDATES)
    taken = int(labels.sum())
    return RankerRows(features, labels, np.zeros(count, np.int32), request, MADE_UP_REQUESTS, taken, taken, 0)


def given_shop(config: Config, as_of: datetime | None) -> tuple[Shop, RankerRows]:
    """The training sets and the ranker's prepared matrix, of a home as of a moment or made up."""
    if as_of is None:
        return Shop(*synthetic_datasets(), AS_OF, config), made_up_rows()
    home = Settings().paths
    shop = Shop(read_dataset(requests_file(home, as_of)), read_dataset(items_file(home, as_of)), as_of, config)
    return shop, window_rows(home, config, as_of)(plan_windows(config.split, as_of).ranker)


def main() -> None:
    """Measures and prints one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--as-of", default="2011-12-10", help="of the training sets in the home")
    options.add_argument("--synthetic", action="store_true", help="a made-up shop instead of a home's")
    options.add_argument("--seeds", type=int, default=3, help="how often both loops are run")
    options.add_argument("--epochs", type=int, default=20, help="upper bound")
    options.add_argument("--rounds", type=int, default=5, help="how often the trees are trained")
    options.add_argument("--out", type=Path, help="where to keep the result")
    given = options.parse_args()
    config = Config(version=1) if given.synthetic else load_config(Settings().config)
    before, batch = beginning(), config.retriever.batch_size
    shop, rows = given_shop(config, None if given.synthetic else parse_as_of(given.as_of))
    trees = trees_beside_bare(rows, config, given.rounds)
    runs = []
    for seed in range(config.retriever.seed, config.retriever.seed + given.seeds):
        other = config.model_copy(update={"retriever": config.retriever.model_copy(update={"seed": seed})})
        runs.append(in_turns(replace(shop, config=other), given.epochs, batch))
    result = {
        **circumstances(
            typed("benchmarks.training_speed", given.out),
            given.date,
            before,
            "lightgbm",
            "tensorflow",
            "tensorflow-recommenders",
        ),
        "data": "made up" if given.synthetic else f"training sets of a home as of {given.as_of}",
        "pairs": len(shop.learnt.request),
        "batch": batch,
        "learning_rate": {"stock": STOCK_STEP, "ours": config.retriever.learning_rate},
        "loops": {**medians(runs), "runs": runs},
        "trees": trees,
    }
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def _tell(line: str) -> None:
    print(f"training speed: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
