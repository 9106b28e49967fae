"""Ways to teach the same towers the same pairs: TFRS's loop as its tutorials write it, a lean one of it, and ours.

The stock loop: strings through `tf.data` into the model, `tfrs.tasks.Retrieval` (here with temperature, log-Q and
accidental hits removed, as ours has), Keras' Adam, `FactorizedTopK` over all items after every batch, whose vectors are
computed anew each time. The lean one: the same task and optimizer on strings looked up once, without metrics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tastemaker import names
from tastemaker.config import Config
from tastemaker.moments import microseconds
from training.evaluation import metrics
from training.evaluation.order import best_first
from training.feature_tensors import query_tensors, request_timestamps
from training.retrieval.batches import Learning, Rows, pair_weights, sampling_probability
from training.retrieval.examples import Pairs, Snapshots, pair_examples
from training.retrieval.recall import positives_of
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.tower_vocabularies import tower_vocabularies
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import TwoTower, candidate_tensors
from training.splits import plan_windows

K = 20
LEARNING = Learning()
# Adam's for the stock loop, of .001, .003 and .01, by the NDCG@20 that it reaches on Online Retail
STOCK_STEP = 0.003


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
        """Mean NDCG@20 of the validation requests, every item that existed then competing; ties at random."""
        window = plan_windows(self.config.split, self.as_of).validation
        positives = positives_of(self.requests, self.snapshots)
        days, found = self.snapshots.day_index(self.moments), []
        random = np.random.default_rng(self.config.retriever.seed)
        for day in np.unique(days[window.contains(self.moments)]):
            asked = np.flatnonzero(window.contains(self.moments) & (days == day))
            existing = self.snapshots.existing(int(day))
            query = tower.query_from_indices({name: tf.gather(values, asked) for name, values in rows.user.items()})
            item = tower.candidates_from_indices({n: tf.gather(values, existing) for n, values in rows.item.items()})
            best = best_first(tf.linalg.matmul(query, item, transpose_b=True).numpy(), K, random)
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
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(STOCK_STEP))
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


def lean_loop(shop: Shop, batch: int) -> tuple[TwoTower, Callable[[], object]]:
    """The tower, and one epoch of the stock task on it without strings and metrics."""
    tower, pairs = shop.tower(), shop.learnt
    rows = Rows.of(tower, shop.user, shop.item)
    task = tfrs.tasks.Retrieval(temperature=LEARNING.temperature, remove_accidental_hits=True)
    optimizer = tf.keras.optimizers.legacy.Adam(STOCK_STEP)
    variables = tower.trainable_variables
    weight = pair_weights(pairs, shop.moments, LEARNING).astype(np.float32)
    probability = sampling_probability(pairs.item)[pairs.item].astype(np.float32)
    random = np.random.default_rng(shop.config.retriever.seed)
    place, real = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32)

    @tf.function(input_signature=[place, place, real, real])
    def step(request: tf.Tensor, snapshot: tf.Tensor, weight: tf.Tensor, probability: tf.Tensor) -> None:
        user = {name: tf.gather(values, request) for name, values in rows.user.items()}
        item = {name: tf.gather(values, snapshot) for name, values in rows.item.items()}
        with tf.GradientTape() as tape:
            loss = task(
                tower.query_from_indices(user),
                tower.candidates_from_indices(item),
                sample_weight=weight / tf.reduce_sum(weight),
                candidate_sampling_probability=probability,
                candidate_ids=item[names.ITEM_ID],
                compute_metrics=False,
            )
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    def epoch() -> None:
        order = random.permutation(len(weight))
        for chosen in np.split(order, range(batch, len(order), batch)):
            request, snapshot = (values[chosen].astype(np.int64) for values in (pairs.request, pairs.snapshot))
            step(request, snapshot, weight[chosen], probability[chosen])

    return tower, epoch


def our_loop(shop: Shop, batch: int) -> tuple[TwoTower, Callable[[], object]]:
    """The tower, and one epoch of `TowerTraining` on it; strings are looked up once, before."""
    tower, settings = shop.tower(), shop.config.retriever
    training = TowerTraining(tower, settings.learning_rate, settings.seed, LEARNING)
    rows = Rows.of(tower, shop.user, shop.item)
    return tower, lambda: training.epoch(shop.learnt, rows, batch)
