"""The two-tower that learns hour by hour: the product's tower and training loop on the last hours' requests."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from tastemaker.config import RetrieverConfig
from tastemaker.moments import microseconds
from training.feature_tensors import column_of, query_tensors, request_timestamps
from training.retrieval.batches import Learning, Rows
from training.retrieval.examples import MISSING, Pairs
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.tower_vocabularies import WORD_TITLES
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import WORDS, TwoTower, candidate_tensors
from training.vocabulary import RESERVED, UNKNOWN, Vocabulary

LEARNT_AGAIN_HOURS = 6  # each hour the requests of the last six are gone through once, the older the lighter
HALF_LIFE_DAYS = 3 / 24


class NewsTower:
    """One tower whose tables have a row for every item there will ever be, so that no graph is traced again.

    A row is the unknown item's until the item has been seen: `meet` copies that into it, as `TwoTower.grown` does.

    Args:
        config: of the retriever.
        item_ids: of the whole walk.
        countries: of its users.
        start: the first hour.
    """

    def __init__(self, config: RetrieverConfig, item_ids: list[str], countries: list[str], start: datetime) -> None:
        shape = TowerConfig.declared(config.embedding_dimension, microseconds(start), encoder=config.encoder)
        vocabularies = {
            names.ITEM_ID: Vocabulary.of(item_ids),
            WORDS: Vocabulary.of([], WORD_TITLES),
            **{name: Vocabulary.of([]) for name in shape.item_texts},
            **{name: Vocabulary.of(countries) for name in shape.user_texts},
        }
        self.tower = TwoTower(shape, vocabularies, config.seed)
        learning = Learning(loss=config.loss, half_life_days=HALF_LIFE_DAYS, unknown_items=0.02)
        self._training = TowerTraining(self.tower, config.learning_rate, config.seed, learning)
        self._batch_size = config.batch_size
        self._met = np.zeros(vocabularies[names.ITEM_ID].size, bool)
        self._scaled = False

    def meet(self, items: pa.Table) -> None:
        """The items of a snapshot: those seen for the first time begin as the unknown item."""
        at = self.tower.vocabularies[names.ITEM_ID].indices(column_of(items, names.ITEM_ID))
        new = at[~self._met[at] & (at >= RESERVED)]
        if len(new):
            table = self.tower.weights[f"embedding/{names.ITEM_ID}"]
            table.scatter_update(tf.IndexedSlices(tf.repeat(table[UNKNOWN : UNKNOWN + 1], len(new), axis=0), new))
            self._met[new] = True

    def state(self) -> dict[str, np.ndarray]:
        """See `TowerTraining.state`."""
        return {**self._training.state(), "met": self._met, "scaled": np.array(self._scaled)}

    def go_on_from(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave."""
        self._training.go_on_from(state)
        self._met, self._scaled = state["met"].copy(), bool(state["scaled"])

    def learn(self, requests: pa.Table, wanted: pa.Array, items: pa.Table) -> float:
        """One pass over requests that lie in the past, their items as of now; returns the mean loss.

        Args:
            requests: with their features.
            wanted: the item id that each asked for.
            items: the snapshot of now; a request for an item that it does not hold teaches nothing.
        """
        found = pc.index_in(wanted.cast(pa.string()), value_set=column_of(items, names.ITEM_ID).cast(pa.string()))
        row = found.fill_null(MISSING).to_numpy(zero_copy_only=False).astype(np.int32)
        kept = np.flatnonzero(row != MISSING).astype(np.int32)
        pairs = Pairs(kept, row[kept], row[kept], len(row) - len(kept))
        if not len(kept):
            return float("nan")
        user = {name: tf.constant(values) for name, values in query_tensors(requests).items()}
        item = {name: tf.constant(values) for name, values in candidate_tensors(items).items()}
        if not self._scaled:
            self.tower.fit_scales(user, item)
            self._scaled = True
        return self._training.epoch(pairs, Rows.of(self.tower, user, item), self._batch_size)


def between(requests: pa.Table, first: datetime, end: datetime) -> np.ndarray:
    """bool `[requests]`: answered by a click in `[first, end)`."""
    moments = request_timestamps(requests)
    return (moments >= microseconds(first)) & (moments < microseconds(end))
