"""The two-tower model alone on Gowalla (LightGCN's split, BARS' Gowalla_m1): Recall@20 and NDCG@20 by full ranking.

    python -m benchmarks.gowalla --data <folder> --date 2026-11-22 [--seeds 1 2 3] [--tune valid|late] [--epochs 12]
        [--popularity 0.5]

The folder holds `train.txt`, `valid.txt` and `test.txt`, a user and its items a line
(github.com/geon0325/LightGCNpp, data/gowalla, commit a394f79a; train and valid are LightGCN's train). Without `--tune`
both are learnt from and `test` is judged once, after the last epoch. `--tune valid` learns from `train` and judges on
`valid`, a random part of the same time. `--tune late` judges on the last fifth of each line of `train`, whose order
seems that of the visits, and learns from the rest and `valid`: what is wanted of a user comes after what is known.
Either judges one training once for each of `--popularity`, which is added to the scores and is no part of learning.

What learns is the product's own: `TwoTower` with vectors of 64, one coordinate of them the popularity, and no user
embedding, over the item graph (`retriever.graph_steps`), `TowerTraining` with the full softmax. The set has no times,
so a user's past is drawn: in each epoch a random part of a user's items is to be told from the rest. All items that a
user has are masked when test items are ranked. Equal scores are ordered at random.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.deviation import deviation
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.settings import PROJECT_ROOT
from training.evaluation import metrics
from training.feature_tensors import item_features, missing_tensors
from training.retrieval.batches import Learning, Rows
from training.retrieval.examples import Pairs
from training.retrieval.item_graph import ItemGraph
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import HISTORY_COUNTS, HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, WORDS, TwoTower
from training.vocabulary import PADDING, RESERVED, Vocabulary

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "gowalla.json"
K = 20
DIMENSION = 64
HIDDEN = 0  # items have no attributes; with 128 units over the id's own vector recall@20 on valid fell by .014
GRAPH_STEPS = 2
HISTORY = 256  # items of a user that the query tower reads; 1 user in 100 has more
HELD_OUT = (0.2, 0.5)  # share of a user's items to be told, drawn for each user and epoch
EPOCHS, BATCH, LEARNING_RATE, LAST_RATE = 12, 5_120, 0.01, 0.05  # the rate falls evenly to this share
LEARNING = Learning("full", temperature=0.1, unknown_users=0, unknown_items=0)
POPULARITY = 0.5  # what is taken later is more popular: `late` recall@20 .167 with 0, .174 with .3, .175 with .5 and .7
MOMENT = 1_300_000_000_000_000  # of every visit and every request
PUBLISHED = {  # BARS' table of the same split
    "YoutubeDNN": (0.1754, 0.1473),
    "LightGCN": (0.1820, 0.1547),
    "UltraGCN": (0.1862, 0.1580),
}


@dataclass(frozen=True)
class Visits:
    """Distinct (user, item), int64 `[visits]` each, by user."""

    user: np.ndarray
    item: np.ndarray

    @classmethod
    def read(cls, *paths: Path, ordered: bool = True) -> "Visits":
        """All lines of the files, each user's items `ordered` or as they stand. Raises TastemakerError without one."""
        users, items = [], []
        for path in paths:
            if not path.exists():
                raise TastemakerError(f"There is no {path}; name the folder of Gowalla's files with --data.")
            for line in path.read_text().splitlines():
                owner, *taken = map(int, line.split())
                users.append(np.full(len(taken), owner, np.int64))
                items.append(np.array(taken, np.int64))
        user, item = np.concatenate(users), np.concatenate(items)
        return cls(user, item).ordered() if ordered else cls(user, item)

    def ordered(self) -> "Visits":
        """By user and item."""
        order = np.lexsort((self.item, self.user))
        return Visits(self.user[order], self.item[order])

    def __add__(self, other: "Visits") -> "Visits":
        return Visits(np.concatenate([self.user, other.user]), np.concatenate([self.item, other.item])).ordered()


def late_visits(path: Path) -> tuple[Visits, Visits]:
    """What stands in the first four fifths of each line, rounded up, and the rest."""
    visits = Visits.read(path, ordered=False)
    counts = np.bincount(visits.user)
    place = np.arange(len(visits.user)) - np.repeat(np.cumsum(counts) - counts, counts)
    late = place >= counts[visits.user] - counts[visits.user] // 5
    return Visits(visits.user[~late], visits.item[~late]), Visits(visits.user[late], visits.item[late])


def tower_for(items: int, seed: int) -> TwoTower:
    """A tower that knows items by their ids alone, numbered from 0."""
    config = TowerConfig(
        dimension=DIMENSION,
        hidden=HIDDEN,
        interests=1,
        user_texts=(),
        user_numerics=(),
        item_texts=(),
        item_numerics=(),
        as_of=MOMENT,
        graph_steps=GRAPH_STEPS,
        popularity=True,
    )
    ids = Vocabulary(tuple(f"{item:06d}" for item in range(items)))
    return TwoTower(config, {names.ITEM_ID: ids, WORDS: Vocabulary(())}, seed)


def item_rows(tower: TwoTower) -> dict[str, tf.Tensor]:
    """Every item as the candidate tower takes it: an id, nothing else known."""
    tokens = tower.vocabularies[names.ITEM_ID].tokens
    return tower.item_indices(
        {**missing_tensors(item_features(), len(tokens)), names.ITEM_ID: np.array(tokens, object)}
    )


def user_rows(
    tower: TwoTower, visits: Visits, shown: np.ndarray, users: int, random: np.random.Generator
) -> dict[str, tf.Tensor]:
    """Every user as the query tower takes it, with HISTORY at most of the visits that are `shown` (bool `[visits]`)."""
    tokens = tower.vocabularies[names.ITEM_ID].indices(pa.array(tower.vocabularies[names.ITEM_ID].tokens))
    user, item = visits.user[shown], visits.item[shown]
    order = np.lexsort((random.random(len(user)), user))
    counts = np.bincount(user, minlength=users)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < HISTORY
    history = np.full((users, min(HISTORY, int(counts.max()))), PADDING, np.int64)
    history[user[kept], place[kept]] = tokens[item[order][kept]]
    return {
        HISTORY_ITEM_IDS: tf.constant(history),
        HISTORY_TIMESTAMPS: tf.fill(history.shape, tf.constant(MOMENT, tf.int64)),
        HISTORY_COUNTS: tf.ones(history.shape, tf.int64),
        names.REQUEST_TIMESTAMP: tf.fill([users], tf.constant(MOMENT, tf.int64)),
    }


def held_out(visits: Visits, users: int, random: np.random.Generator) -> np.ndarray:
    """bool `[visits]`: of each user with two visits or more a share drawn from HELD_OUT, one at least, not all."""
    counts = np.bincount(visits.user, minlength=users)
    order = np.lexsort((random.random(len(visits.user)), visits.user))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.clip(np.round(random.uniform(*HELD_OUT, users) * counts), 1, np.maximum(counts - 1, 0))
    return place < taken[visits.user]


def favor(tower: TwoTower, visits: Visits, popularity: float) -> None:
    """Scores get this times an item's log visits, as `retriever.popularity` has it."""
    counts = np.bincount(visits.item + RESERVED, minlength=tower.vocabularies[names.ITEM_ID].size)
    tower.favor(counts, popularity * LEARNING.temperature)


def learn(visits: Visits, users: int, items: int, seed: int, epochs: int, judged: Visits | None) -> TwoTower:
    """A tower taught tastes by the visits; with `judged`, tells how well it ranks those after every fifth epoch."""
    tower = tower_for(items, seed)
    random = np.random.default_rng(seed)
    item = item_rows(tower)
    known = tower.vocabularies[names.ITEM_ID]
    tower.connect(ItemGraph.of(visits.user, visits.item + RESERVED, known.size))
    training = TowerTraining(tower, LEARNING_RATE, seed, LEARNING)
    for epoch in range(1, epochs + 1):
        began = time.monotonic()
        hidden = held_out(visits, users, random)
        wanted = visits.item[hidden].astype(np.int32)
        pairs = Pairs(visits.user[hidden].astype(np.int32), wanted, wanted, 0)
        training.slow_down(max(LAST_RATE, 1 - (epoch - 1) / epochs))
        loss = training.epoch(pairs, Rows(user_rows(tower, visits, ~hidden, users, random), item), BATCH)
        _tell(f"seed {seed}, epoch {epoch}/{epochs}: loss {loss:.4f}, {time.monotonic() - began:.0f} s")
        if judged is not None and (epoch % 5 == 0 or epoch == epochs):
            _tell(f"seed {seed}, epoch {epoch}/{epochs}: {judge(tower, visits, judged, users, seed)}")
    return tower


def judge(tower: TwoTower, known: Visits, wanted: Visits, users: int, seed: int) -> dict[str, float]:
    """Mean Recall@20 and NDCG@20 of the users with something wanted; what is known of a user cannot be answered."""
    random = np.random.default_rng(seed)
    candidates = tower.candidates_from_indices(item_rows(tower)).numpy()
    shuffled = random.permutation(len(candidates))  # top_k prefers the earlier of two equal scores
    column = np.argsort(shuffled)
    user = user_rows(tower, known, np.ones(len(known.user), bool), users, random)
    lengths = np.count_nonzero(user[HISTORY_ITEM_IDS].numpy(), axis=1)
    ranked = np.empty((users, K), np.int64)
    for asked in np.array_split(np.argsort(lengths, kind="stable"), max(1, users // 512)):
        part = {name: tf.gather(values, asked) for name, values in user.items()}
        for name in (HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, HISTORY_COUNTS):
            part[name] = part[name][:, : max(1, lengths[asked].max())]
        scores = tower.query_from_indices(part).numpy() @ candidates[shuffled].T
        row_of = np.full(users, -1)
        row_of[asked] = np.arange(len(asked))
        mine = row_of[known.user] >= 0
        scores[row_of[known.user[mine]], column[known.item[mine]]] = -np.inf
        ranked[asked] = shuffled[tf.math.top_k(scores, K).indices.numpy()]
    hits, relevant = metrics.hits_of(ranked, wanted.user, wanted.item), np.bincount(wanted.user, minlength=users)
    return {
        f"recall@{K}": float(np.nanmean(metrics.recall(hits, relevant))),
        f"ndcg@{K}": float(np.nanmean(metrics.ndcg(hits, relevant))),
    }


def parts(data: Path, tune: str | None) -> tuple[Visits, Visits]:
    """What is known and what is wanted: to tune on `valid` or `late`, or of `test`."""
    train, valid, test = (data / f"{name}.txt" for name in ("train", "valid", "test"))
    if tune == "late":
        early, late = late_visits(train)
        return early + Visits.read(valid), late
    return (Visits.read(train), Visits.read(valid)) if tune else (Visits.read(train, valid), Visits.read(test))


def measure(
    data: Path, date: str, seeds: list[int], epochs: int, tune: str | None, popularity: list[float]
) -> dict[str, Any]:
    """The figures of every seed, their mean and spread, with the last of `popularity`; by seed with each of them."""
    train, valid, test = (data / f"{name}.txt" for name in ("train", "valid", "test"))
    everything = Visits.read(train, valid, test)
    users, items = int(everything.user.max()) + 1, int(everything.item.max()) + 1
    known, wanted = parts(data, tune)
    tf.config.experimental.enable_op_determinism()
    found: dict[int, dict[str, float]] = {}
    tried: dict[int, dict[float, dict[str, float]]] = {}
    before = beginning()
    for seed in seeds:
        began = time.monotonic()
        tower = learn(known, users, items, seed, epochs, wanted if tune else None)
        seconds = time.monotonic() - began
        tried[seed] = {}
        for strength in popularity:
            favor(tower, known, strength)
            tried[seed][strength] = judge(tower, known, wanted, users, seed)
            _tell(f"seed {seed}, popularity {strength:g}: {tried[seed][strength]}")
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
            "popularity": popularity[-1],
            "learning_rate": LEARNING_RATE,
            "epochs": epochs,
        },
        "by_seed": found,
        "by_popularity": tried,
        "mean": {name: float(np.mean([row[name] for row in found.values()])) for name in _FIGURES},
        "spread": {name: deviation([row[name] for row in found.values()]) for name in _FIGURES},
        "published": {name: dict(zip(_FIGURES, values, strict=True)) for name, values in PUBLISHED.items()},
    }


_FIGURES = (f"recall@{K}", f"ndcg@{K}")


def main() -> None:
    """Measures; prints the result as one JSON line, and keeps it where test was judged."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder of train.txt, valid.txt and test.txt")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--popularity", type=float, nargs="+", default=[POPULARITY], help="several only with --tune")
    options.add_argument("--tune", choices=["valid", "late"], help="judge on this part of train, keep nothing")
    given = options.parse_args()
    if len(given.popularity) > 1 and not given.tune:
        options.error("test is judged with one --popularity; choose it with --tune")
    result = measure(given.data, given.date, given.seeds, given.epochs, given.tune, given.popularity)
    if not given.tune:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def _tell(line: str) -> None:
    print(f"gowalla: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
