"""The product's two towers on Gowalla's visits: `TwoTower` with vectors of 64 over the item graph, and nothing else.

One coordinate is the popularity; there is no user embedding. `TowerTraining` learns with the full softmax. The set has
no times, so a user's past is drawn: in each epoch a random part of a user's items is to be told from the rest.
"""

import sys
import time

import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.gowalla.visits import Visits, full_ranking
from tastemaker import names
from training.feature_tensors import item_features, missing_tensors
from training.retrieval.batches import Learning, Rows
from training.retrieval.examples import Pairs
from training.retrieval.item_graph import ItemGraph
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import (
    HISTORY_COUNTS,
    HISTORY_ITEM_IDS,
    HISTORY_TIMESTAMPS,
    WORDS,
    TwoTower,
    log_popularity,
)
from training.vocabulary import PADDING, RESERVED, Vocabulary

DIMENSION = 64
HIDDEN = 0  # items have no attributes; with 128 units over the id's own vector recall@20 on valid fell by .014
GRAPH_STEPS = 2
HISTORY = 256  # items of a user that the query tower reads; 1 user in 100 has more
HELD_OUT = (0.3, 0.7)  # share of a user's items to be told, drawn for each user and epoch
EPOCHS, BATCH, LEARNING_RATE, LAST_RATE = 18, 2_560, 0.01, 0.05  # the rate falls evenly to this share
LEARNING = Learning("full", temperature=0.1, unknown_users=0, unknown_items=0)
# What is taken later is more popular. Given, served: `late` recall@20 .176 with 0, .5; .179 with .4, .7 or .7, .9.
POPULARITY_GIVEN, POPULARITY = 0.7, 0.9
MOMENT = 1_300_000_000_000_000  # of every visit and every request


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
    tower.favor(_visitors(tower, visits), popularity * LEARNING.temperature)


def _visitors(tower: TwoTower, visits: Visits) -> np.ndarray:
    return np.bincount(visits.item + RESERVED, minlength=tower.vocabularies[names.ITEM_ID].size)


def learn(
    visits: Visits, users: int, items: int, seed: int, epochs: int, given: float, judged: Visits | None
) -> TwoTower:
    """A tower taught tastes by the visits, popularity having been `given` as `retriever.popularity_given` has it.

    With `judged`, tells how well it ranks those after every fifth epoch.
    """
    tower = tower_for(items, seed)
    random = np.random.default_rng(seed)
    item = item_rows(tower)
    known = tower.vocabularies[names.ITEM_ID]
    tower.connect(ItemGraph.of(visits.user, visits.item + RESERVED, known.size))
    logits = given * log_popularity(_visitors(tower, visits))
    training = TowerTraining(tower, LEARNING_RATE, seed, LEARNING, logits)
    for epoch in range(1, epochs + 1):
        began = time.monotonic()
        hidden = held_out(visits, users, random)
        wanted = visits.item[hidden].astype(np.int32)
        pairs = Pairs(visits.user[hidden].astype(np.int32), wanted, wanted, 0)
        training.slow_down(max(LAST_RATE, 1 - (epoch - 1) / epochs))
        loss = training.epoch(pairs, Rows(user_rows(tower, visits, ~hidden, users, random), item), BATCH)
        progress(f"seed {seed}, epoch {epoch}/{epochs}: loss {loss:.4f}, {time.monotonic() - began:.0f} s")
        if judged is not None and (epoch % 5 == 0 or epoch == epochs):
            progress(f"seed {seed}, epoch {epoch}/{epochs}: {judge(tower, visits, judged, users, seed)}")
    return tower


def judge(tower: TwoTower, known: Visits, wanted: Visits, users: int, seed: int) -> dict[str, float]:
    """The tower's `full_ranking`, with HISTORY at most of each user's visits."""
    candidates = tower.candidates_from_indices(item_rows(tower)).numpy()
    user = user_rows(tower, known, np.ones(len(known.user), bool), users, np.random.default_rng(seed))
    lengths = np.count_nonzero(user[HISTORY_ITEM_IDS].numpy(), axis=1)

    def scores_of(asked: np.ndarray) -> np.ndarray:
        part = {name: tf.gather(values, asked) for name, values in user.items()}
        for name in (HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, HISTORY_COUNTS):
            part[name] = part[name][:, : max(1, lengths[asked].max())]
        return np.asarray(tower.query_from_indices(part).numpy() @ candidates.T)

    return full_ranking(scores_of, known, wanted, users, len(candidates), seed)


def progress(line: str) -> None:
    """To stderr."""
    print(f"gowalla: {line}", file=sys.stderr, flush=True)
