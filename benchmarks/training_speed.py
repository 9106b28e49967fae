"""Our training loop beside the stock TFRS loop at equal validation NDCG, and LightGBM's step beside a bare call.

    python -m benchmarks.training_speed --date 2026-11-22 [--home var --as-of 2011-12-10] [--epochs 6] [--batch 2048]

With a home, on its training sets of an `as_of`; without, on a synthetic shop of Online Retail's size. Both loops teach
the same towers, from the same weights, by the same pairs, step size and batch size, and take turns epoch by epoch, so
that a busy machine weighs on both alike. The stock loop is that of TFRS's tutorials: strings through `tf.data` into the
model, `tfrs.tasks.Retrieval` (here with temperature, log-Q and accidental hits removed, as ours has), Keras' Adam,
`FactorizedTopK` over all items after every batch. Told are seconds until a loop's validation NDCG@20 is at least the
bar: its own best epoch's or the other's, whichever is lower. Validation stands outside all times.

The ranker's `fit_trees` is then timed beside one `lightgbm.train` on the same made-up matrix.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_recommenders as tfrs

from benchmarks.synthetic_requests import AS_OF, synthetic_datasets
from tastemaker import names
from tastemaker.config import Config
from tastemaker.home import Home
from tastemaker.moments import microseconds
from training.datasets.build import items_file, read_dataset, requests_file
from training.evaluation import metrics
from training.feature_tensors import query_tensors, request_timestamps
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import fit_trees
from training.ranking.rows import RankerRows
from training.retrieval.batches import Learning, Rows, pair_weights, sampling_probability
from training.retrieval.examples import Pairs, Snapshots, pair_examples
from training.retrieval.recall import positives_of
from training.retrieval.tower_vocabularies import tower_vocabularies
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import TowerConfig, TwoTower, candidate_tensors
from training.splits import plan_windows

K = 20
TREE_ROWS = 375_000  # 1,500 requests × 250 candidates, as the ranker's window of Online Retail
LEARNING = Learning()


@dataclass(frozen=True)
class Shop:
    """One run's training sets as both loops read them."""

    requests: pa.Table
    items: pa.Table
    as_of: datetime
    config: Config

    @cached_property
    def user(self) -> dict[str, np.ndarray]:
        """Every request's tensors, strings as they are."""
        return query_tensors(self.requests)

    @cached_property
    def item(self) -> dict[str, np.ndarray]:
        """Every item snapshot's tensors, strings as they are."""
        return candidate_tensors(self.items)

    @cached_property
    def snapshots(self) -> Snapshots:
        """Where an item's row of a day is."""
        return Snapshots.of(self.items)

    @cached_property
    def moments(self) -> np.ndarray:
        """Every request's time."""
        return request_timestamps(self.requests)

    @cached_property
    def learnt(self) -> Pairs:
        """The pairs before validation."""
        pairs = pair_examples(self.requests, self.snapshots)
        end = plan_windows(self.config.split, self.as_of).retriever_train.end
        return pairs.select((self.moments < microseconds(end))[pairs.request])

    def tower(self) -> TwoTower:
        """An untaught tower, the same each time."""
        settings, windows = self.config.retriever, plan_windows(self.config.split, self.as_of)
        shape = TowerConfig.declared(settings.embedding_dimension, microseconds(windows.retriever_train.end))
        known = windows.retriever_train.contains(self.moments)
        requests = self.requests.filter(pa.array(known))
        vocabularies = tower_vocabularies(shape, requests, self.items, self.learnt, self.snapshots)
        tower = TwoTower(shape, vocabularies, settings.seed)
        tower.fit_scales(
            {name: values[known] for name, values in self.user.items()},
            {name: values[np.unique(self.learnt.snapshot)] for name, values in self.item.items()},
        )
        return tower

    def ndcg(self, tower: TwoTower, rows: Rows) -> float:
        """Mean NDCG@20 of the validation requests, every item that existed then competing."""
        window = plan_windows(self.config.split, self.as_of).validation
        positives = positives_of(self.requests, self.snapshots)
        days, found = self.snapshots.day_index(self.moments), []
        for day in np.unique(days[window.contains(self.moments)]):
            asked = np.flatnonzero(window.contains(self.moments) & (days == day))
            existing = self.snapshots.existing(int(day))
            query = tower.query_from_indices({name: tf.gather(values, asked) for name, values in rows.user.items()})
            item = tower.candidates_from_indices({n: tf.gather(values, existing) for n, values in rows.item.items()})
            best = tf.math.top_k(tf.linalg.matmul(query, item, transpose_b=True), K).indices.numpy()
            ranked = np.flatnonzero(self.snapshots.rows[day] >= 0)[best]
            counts = np.array([len(positives[row]) for row in asked])
            relevant = np.concatenate([positives[row] for row in asked])
            hits = metrics.hits_of(ranked, np.repeat(np.arange(len(asked)), counts), relevant)
            found.append(metrics.ndcg(hits, counts))
        return float(np.nanmean(np.concatenate(found)))


class Stock(tfrs.Model):
    """The model of TFRS's tutorials around our towers: takes strings, reports top-K accuracies of every batch."""

    def __init__(self, shop: Shop, tower: TwoTower) -> None:
        super().__init__()
        self.tower = tower
        catalogue = np.unique(shop.learnt.snapshot)
        items = {name: values[catalogue] for name, values in shop.item.items()}
        latest = np.unique(items[names.ITEM_ID], return_index=True)[1]  # each item once
        everything = tf.data.Dataset.from_tensor_slices({name: values[latest] for name, values in items.items()})
        self.task = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(
                candidates=everything.batch(128).map(lambda some: (some[names.ITEM_ID], tower.candidates(some)))
            ),
            temperature=LEARNING.temperature,
            remove_accidental_hits=True,
        )

    def compute_loss(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """TFRS's hook: the loss of a batch; its metrics are filled on the way."""
        return self.task(
            self.tower.query(inputs["user"]),
            self.tower.candidates(inputs["item"]),
            sample_weight=inputs["weight"] / tf.reduce_sum(inputs["weight"]),
            candidate_sampling_probability=inputs["probability"],
            candidate_ids=inputs["item"][names.ITEM_ID],
        )


def stock_loop(shop: Shop, batch: int) -> tuple[TwoTower, Callable[[], object]]:
    """The tower, and one epoch of `Model.fit` on it."""
    tower, pairs = shop.tower(), shop.learnt
    model = Stock(shop, tower)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(shop.config.retriever.learning_rate))
    weight = pair_weights(pairs, shop.moments, LEARNING).astype(np.float32)
    probability = sampling_probability(pairs.item)[pairs.item].astype(np.float32)
    user = {name: tf.constant(values) for name, values in shop.user.items()}
    item = {name: tf.constant(values) for name, values in shop.item.items()}

    def example(request: tf.Tensor, snapshot: tf.Tensor, weight: tf.Tensor, probability: tf.Tensor) -> dict[str, Any]:
        return {
            "user": {name: tf.gather(values, request) for name, values in user.items()},
            "item": {name: tf.gather(values, snapshot) for name, values in item.items()},
            "weight": weight,
            "probability": probability,
        }

    data = tf.data.Dataset.from_tensor_slices((pairs.request, pairs.snapshot, weight, probability))
    data = (
        data.shuffle(len(weight), seed=shop.config.retriever.seed).batch(batch).map(example).prefetch(tf.data.AUTOTUNE)
    )
    return tower, lambda: model.fit(data, epochs=1, verbose=0)


def our_loop(shop: Shop, batch: int) -> tuple[TwoTower, Callable[[], object]]:
    """The tower, and one epoch of `TowerTraining` on it; strings are looked up once, before."""
    tower, settings = shop.tower(), shop.config.retriever
    training = TowerTraining(tower, settings.learning_rate, settings.seed, LEARNING)
    rows = Rows.of(tower, shop.user, shop.item)
    return tower, lambda: training.epoch(shop.learnt, rows, batch)


def in_turns(shop: Shop, epochs: int, batch: int) -> dict[str, Any]:
    """Seconds, CPU seconds and NDCG by epoch of both loops; ours begins with looking all strings up."""
    found: dict[str, Any] = {}
    loops: dict[str, tuple[TwoTower, Callable[[], object]]] = {}
    for name, make in (("stock", stock_loop), ("ours", our_loop)):
        began, cpu = time.monotonic(), time.process_time()
        loops[name] = make(shop, batch)
        found[name] = {"seconds": [time.monotonic() - began], "cpu": [time.process_time() - cpu], "ndcg@20": []}
    rows = Rows.of(loops["ours"][0], shop.user, shop.item)
    for epoch in range(1, epochs + 1):
        for name, (tower, run) in loops.items():
            began, cpu = time.monotonic(), time.process_time()
            run()
            side = found[name]
            side["seconds"].append(time.monotonic() - began)
            side["cpu"].append(time.process_time() - cpu)
            side["ndcg@20"].append(shop.ndcg(tower, rows))
            _tell(f"epoch {epoch}: {name} {side['seconds'][-1]:.1f} s, NDCG@20 {side['ndcg@20'][-1]:.4f}")
    bar = min(max(side["ndcg@20"]) for side in found.values())
    for side in found.values():
        reached = 1 + int(np.argmax(np.array(side["ndcg@20"]) >= bar))
        side["epochs_to_bar"] = reached
        side["seconds_to_bar"] = float(sum(side["seconds"][: 1 + reached]))
        side["cpu_to_bar"] = float(sum(side["cpu"][: 1 + reached]))
    stock, ours = found["stock"], found["ours"]
    return {
        **found,
        "ndcg_bar": bar,
        "stock : ours, seconds to the bar": stock["seconds_to_bar"] / ours["seconds_to_bar"],
        "stock : ours, CPU seconds to the bar": stock["cpu_to_bar"] / ours["cpu_to_bar"],
        "stock : ours, seconds an epoch": float(np.median(stock["seconds"][1:]) / np.median(ours["seconds"][1:])),
    }


def trees_beside_bare(rounds: int = 3) -> dict[str, Any]:
    """Seconds of the ranker's `fit_trees` on a matrix of the usual size, and of one `lightgbm.train` for as many trees.

    `fit_trees` trains twice: on the window's first four fifths to find how many trees, then on all of it.
    """
    random = np.random.default_rng(7)
    features = random.normal(size=(TREE_ROWS, len(FEATURE_NAMES))).astype(np.float32)
    wanted = features[:, :12].sum(axis=1) + np.abs(features[:, 12:18]).sum(axis=1) + random.normal(0, 4, TREE_ROWS)
    labels = (wanted > np.quantile(wanted, 0.97)).astype(np.int8)
    request = np.repeat(np.arange(TREE_ROWS // 250, dtype=np.int32), 250)
    positives = int(labels.sum())
    rows = RankerRows(
        features, labels, np.zeros(TREE_ROWS, np.int32), request, TREE_ROWS // 250, positives, positives, 0
    )
    config, ours, bare = Config(version=1).ranker, [], []
    for _ in range(rounds):
        began = time.monotonic()
        booster, facts = fit_trees(rows, config)
        ours.append(time.monotonic() - began)
        began = time.monotonic()
        lgb.train(booster.params, lgb.Dataset(features, labels), facts["trees"])
        bare.append(time.monotonic() - began)
    return {
        "rows": TREE_ROWS,
        "features": len(FEATURE_NAMES),
        "trees": facts["trees"],
        "fit_trees_seconds": ours,
        "bare_seconds": bare,
        "fit_trees : bare": float(np.median(np.array(ours) / np.array(bare))),
    }


def main() -> None:
    """Measures and prints one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--home", type=Path, help="a TASTEMAKER_HOME with training sets")
    options.add_argument("--as-of", type=datetime.fromisoformat, help="of the home's training sets")
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--batch", type=int, default=2048)
    options.add_argument("--out", type=Path, help="where to keep the result")
    given = options.parse_args()
    config, load_before = Config(version=1), os.getloadavg()[0]
    if given.home:
        home, as_of = Home(given.home), given.as_of.replace(tzinfo=UTC)
        shop = Shop(read_dataset(requests_file(home, as_of)), read_dataset(items_file(home, as_of)), as_of, config)
    else:
        shop = Shop(*synthetic_datasets(), AS_OF, config)
    result = {
        "command": " ".join(["python -m benchmarks.training_speed", *sys.argv[1:]]),
        "date": given.date,
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "load_before": round(load_before, 2),
        },
        "data": "training sets of a home" if given.home else "synthetic",
        "pairs": len(shop.learnt.request),
        "batch": given.batch,
        "loops": in_turns(shop, given.epochs, given.batch),
        "trees": trees_beside_bare(),
    }
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def _tell(line: str) -> None:
    print(f"training speed: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
