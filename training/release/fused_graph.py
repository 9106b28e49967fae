"""One graph for the whole answer: query tower, nearest items, exclusions, features, trees, probability, top k.

The same object, with the snapshot of each past day swapped in, makes the ranker's training matrix; with the last
day's it is saved as the release. What trains and what serves is one function.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from tastemaker.config import CandidatesConfig
from training.feature_tensors import query_specs, user_features, with_defaults
from training.ranking.calibration import Calibration
from training.ranking.features import USER_NUMBERS, Retrieval, feature_matrix, pair_columns, user_columns
from training.ranking.past import Fading, Past, UserRows
from training.release.block_top_k import block_top_k
from training.release.candidates import Candidates, CandidateSources, named_sets, proposers
from training.release.inputs import (
    EXCLUDED,
    RANKED_ITEM_IDS,
    SIGNATURE_INPUTS,
    SIMILAR_ITEM_IDS,
    K,
    aligned,
    require_k,
    to_length,
)
from training.release.item_index import item_index
from training.release.item_masks import Forest, ItemMasks
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.release.item_universe import ItemUniverse
from training.release.row_blocks import in_row_blocks
from training.release.sample_users import Users
from training.retrieval.two_tower import TwoTower
from training.sources.source import Asked
from training.sources.trained import TrainedSources

PAIRS_AT_ONCE = 16_384  # with 500 trees 64 MB of masks; with 60 features, in training, 4 MB
HOUR = 3_600_000_000  # microseconds
CELLS_AT_ONCE = 4_194_304  # users × items of one score matrix: 16 MB

Tensors = Mapping[str, tf.Tensor]


class FusedRecommender(tf.Module):
    """Tower, item universe and item snapshot; with a forest attached, the release.

    Args:
        tower: the trained two-tower model.
        items: item snapshots of any days; their items are all the graph will ever speak of.
        sources: how many items each source proposes, and how many the ranker judges.
        history_length, neighbours: `features.*` of the config. Lists are cut or padded to these lengths, so that a
            row's result does not depend on what it is batched with.
        sample_users: gives the users with whom the index of a large catalogue is measured; without it all are asked.
        trained: what sources have learnt; needed where one of those is on.
    """

    def __init__(
        self,
        tower: TwoTower,
        items: pa.Table,
        sources: CandidatesConfig,
        history_length: int,
        neighbours: int,
        sample_users: Callable[[], Users] | None = None,
        trained: TrainedSources | None = None,
    ) -> None:
        super().__init__(name="recommender")
        self.tower = tower
        self.universe = ItemUniverse.of(items[names.ITEM_ID].to_pylist())
        self.snapshot = ItemSnapshot(self.universe, items, tower.config.dimension, neighbours, tower.config.taste)
        self._sample_users = sample_users
        self.index = item_index(self.snapshot, sources)
        self.sources = CandidateSources(self.snapshot, self.index, sources, trained)
        self._two_tower = sources.two_tower
        self._ranked = sources.ranked
        self._fading = Fading(sources.history_fading_days, sources.history_fading_place)
        self._item_fresh = sources.item_fresh_hours * HOUR
        self.history_length = history_length
        self._indices = self.universe.table()
        self._item_ids = tf.constant([*self.universe.item_ids, ""], tf.string)
        self._forest: Forest | None = None
        self.item_masks: ItemMasks | None = None
        self._calibration: Calibration | None = None
        self._release = ""

    def load_snapshot(self, items: pa.Table, as_of: datetime) -> None:
        """Swaps in the items as of one midnight: one row per item. See `ItemSnapshot.load`."""
        self.snapshot.load(items, as_of, self.tower)
        self.index.refresh(self._sample_queries)
        self.sources.refresh()
        if self.item_masks is not None:
            self.item_masks.refresh()

    def attach_ranker(self, forest: Forest, calibration: Calibration, release: str) -> None:
        """Makes the graph complete. `release` is the name it answers with."""
        self._forest, self._calibration, self._release = forest, calibration, release
        self.item_masks = ItemMasks(forest, self.snapshot, self.sources.popularity)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        """What a SavedModel holds beside its signatures: all that they read, and `candidate_features` to look inside.

        TensorFlow's own answer has every method that is a `tf.function`, traced once more for being saved.
        """
        children: dict[str, Any] = super()._trackable_children("checkpoint", **kwargs)
        return children | ({"candidate_features": self.candidate_features} if save_type == "savedmodel" else {})

    # -- what trains the ranker ----------------------------------------------------------------------------------------

    @tf.function(input_signature=[query_specs(), EXCLUDED], autograph=False)
    def candidate_features(self, user: Tensors, exclude_item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The candidates that `recommend` ranks, and the features it ranks them by.

        Returns `item_ids` str `[B, C]`, `valid` bool `[B, C]` (False: padding, repetition, excluded or unavailable) and
        `features` float32 `[B, C, F]` in the order of FEATURE_NAMES.
        """

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, found, retrieval = self._candidates(rows, self._two_tower)
            features = feature_matrix(asked.past, found.items, retrieval, self.sources.popularity)
            return {"item_ids": tf.gather(self._item_ids, found.items), "valid": found.valid, "features": features}

        inputs = self._rows({**user, EXCLUDED.name: exclude_item_ids})
        outputs = {"item_ids": tf.string, "valid": tf.bool, "features": tf.float32}
        return in_row_blocks(block, inputs, self._rows_at_once(self._two_tower), outputs)

    @tf.function(input_signature=[query_specs()], autograph=False)
    def candidate_places(self, user: Tensors) -> dict[str, tf.Tensor]:
        """Who proposes what: `item_ids` str and `valid` bool `[B, C]`, and `places` int32 `[B, C, sources]`.

        A place is that in the source's list, from 0; −1 where it does not list the item. Sources are those that are on.
        """

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            found, proposed = self.sources.candidates(self._asked(rows), None, self._two_tower)
            said = proposed.at(found.places)
            places = [tf.where(at < said.lengths[source], at, -1) for source, at in said.places.items()]
            item_ids = tf.gather(self._item_ids, found.items)
            return {"item_ids": item_ids, "valid": found.valid, "places": tf.stack(places, axis=2)}

        outputs = {"item_ids": tf.string, "valid": tf.bool, "places": tf.int32}
        return in_row_blocks(block, self._rows(user), self._rows_at_once(self._two_tower), outputs)

    @tf.function(input_signature=[query_specs(), RANKED_ITEM_IDS], autograph=False)
    def item_features(self, user: Tensors, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The features by which `rank` judges items that somebody else chose.

        Returns `known` bool `[B, C]` and `features` float32 `[B, C, F]`.
        """

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, items, retrieval = self._given(rows)
            features = feature_matrix(asked.past, items, retrieval, self.sources.popularity)
            return {"known": rows_at(self.snapshot.available, items), "features": features}

        inputs = self._rows({**user, RANKED_ITEM_IDS.name: item_ids})
        outputs = {"known": tf.bool, "features": tf.float32}
        return in_row_blocks(block, inputs, self._rows_at_once(tf.shape(item_ids)[1]), outputs)

    # -- the four signatures -------------------------------------------------------------------------------------------

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RECOMMEND]], autograph=False)
    def recommend(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str, `scores` f32 and `sources` str (who proposed it) `[B, min(k, available items)]`, best first,
        `release` str and `items_fresh_until` int64 `[B]`, microseconds since 1970 UTC.

        Where exclusions leave fewer, a row ends in "" with score 0.
        """
        k = require_k(inputs[K.name])
        k = tf.minimum(k, self.snapshot.available_count)
        count = tf.maximum(k, self._two_tower)

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, found, retrieval = self._candidates(rows, count)
            return self._best(found, self._raw_scores(asked.past, found.items, retrieval), proposers(retrieval), k)

        per_row = self._rows({name: tensor for name, tensor in inputs.items() if name != K.name})
        result = in_row_blocks(block, per_row, self._rows_at_once(count), {**_ANSWER, names.OUTPUT_SOURCES: tf.string})
        batch = tf.shape(result[names.OUTPUT_ITEM_IDS])[0]
        return {
            **result,
            names.OUTPUT_RELEASE: tf.fill([batch], self._release),
            names.OUTPUT_ITEMS_FRESH_UNTIL: tf.fill([batch], self.snapshot.as_of + self._item_fresh),
        }

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RETRIEVE]], autograph=False)
    def retrieve(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str and `scores` f32 `[B, min(k, available items)]`: the blend of all sources, before any ranking.

        An item with score 0 is listed by none of them; the nearest of those come first.
        """
        k = tf.minimum(require_k(inputs[K.name]), self.snapshot.available_count)

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked = self._asked(rows)
            found, proposed = self.sources.candidates(asked, None, k)
            best = found.items[:, :k]
            return self._padded(best, proposed.at(found.places[:, :k]).blend, found.valid[:, :k])

        per_row = self._rows({name: tensor for name, tensor in inputs.items() if name != K.name})
        return in_row_blocks(block, per_row, self._rows_at_once(k), _ANSWER)

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RANK]], autograph=False)
    def rank(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`scores` f32 `[B, C]`, probabilities, and `known` bool `[B, C]`; an unknown item's score is 0."""

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, items, retrieval = self._given(rows)
            known = rows_at(self.snapshot.available, items)
            scores = self._probabilities(self._raw_scores(asked.past, items, retrieval))
            return {names.OUTPUT_SCORES: tf.where(known, scores, 0.0), names.OUTPUT_KNOWN: known}

        count = tf.shape(inputs[RANKED_ITEM_IDS.name])[1]
        outputs = {names.OUTPUT_SCORES: tf.float32, names.OUTPUT_KNOWN: tf.bool}
        return in_row_blocks(block, self._rows(inputs), self._rows_at_once(count), outputs)

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_SIMILAR_ITEMS]], autograph=False)
    def similar_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str and `scores` f32 `[B, min(k, available items)]`: cosines of tastes, the item itself out.

        An item that is unknown or unavailable has a row of "" and 0; any row ends so when there are too few others.
        """
        k = tf.minimum(require_k(inputs[K.name]), self.snapshot.available_count)
        items = self.snapshot

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            own = tf.cast(self._indices.lookup(rows[SIMILAR_ITEM_IDS.name]), tf.int32)
            direction = rows_at(items.vectors, own) * rows_at(items.inverse_norms, own)[:, None]
            # a popular item is like no other for that: 0 stands for its popularity, and nothing of the items is copied
            popularity = items.vectors.shape[1] - items.taste
            if popularity:
                direction = tf.pad(direction[:, : items.taste], [[0, 0], [0, popularity]])
            cosines = tf.linalg.matmul(direction, items.vectors, transpose_b=True) * items.inverse_norms[None, :]
            others = items.available[None, :] & (tf.range(self.universe.rows)[None, :] != own[:, None])
            others &= rows_at(items.available, own)[:, None]
            _, found = block_top_k(tf.where(others, cosines, cosines.dtype.min), k)
            kept = tf.gather(others, found, batch_dims=1)
            # A matrix product's last bit depends on how many rows it has, so what is said is summed pair by pair.
            exact = tf.reduce_sum(direction[:, None, :] * rows_at(items.vectors, found), axis=2)
            exact *= rows_at(items.inverse_norms, found)
            scores, places = tf.math.top_k(tf.where(kept, exact, exact.dtype.min), k)
            found, kept = (tf.gather(values, places, batch_dims=1) for values in (found, kept))
            return self._padded(found, scores, kept)

        per_row = aligned({SIMILAR_ITEM_IDS.name: inputs[SIMILAR_ITEM_IDS.name]})
        return in_row_blocks(block, per_row, self._rows_at_once(k), _ANSWER)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _rows(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """What blocks of rows are made from: every row's user and query vector, and the items it speaks of."""
        rows = aligned(inputs)
        user, query = self._users(rows)
        items = {name: rows[name] for name in (EXCLUDED.name, RANKED_ITEM_IDS.name) if name in rows}
        return {**{field.name: getattr(user, field.name) for field in fields(user)}, _QUERY: query, **items}

    def _users(self, rows: Tensors) -> tuple[UserRows, tf.Tensor]:
        """The users as integers and numbers, and their query vectors `[B, D]`."""
        length = self.history_length
        user = with_defaults({feature.name: rows[feature.name] for feature in user_features()}, user_features())
        for feature in user_features():
            if feature.is_list:
                user[feature.name] = to_length(user[feature.name], length, "" if feature.dtype == "varchar[]" else 0)
        asked = rows[names.REQUEST_TIMESTAMP]
        user[names.REQUEST_TIMESTAMP] = tf.where(asked == 0, self.snapshot.as_of, asked)
        # One by one: a matrix product's last bit depends on how many rows it has.
        query = in_row_blocks(self._query, user, 1, {"query": tf.float32})["query"]
        return (
            UserRows(
                numbers=tf.stack([user[name] for name in USER_NUMBERS], axis=1),
                history=tf.cast(self._indices.lookup(user["history_item_ids"]), tf.int32),
                last_seen=user["history_timestamps"],
                counts=tf.cast(user["history_counts"], tf.float32),
                requested=user[names.REQUEST_TIMESTAMP],
            ),
            query,
        )

    def _sample_queries(self) -> np.ndarray:
        """Query vectors `[users, D]`, of no user when there are none to sample."""
        users = self._sample_users() if self._sample_users else {}
        if not users or not len(users[names.REQUEST_TIMESTAMP]):
            return np.empty((0, self.tower.config.dimension), np.float32)
        return np.asarray(self._users({name: tf.constant(values) for name, values in users.items()})[1])

    def _query(self, user: Tensors) -> dict[str, tf.Tensor]:
        query = self.tower.query(user)
        return {"query": tf.where(tf.math.is_finite(query), query, 0.0)}

    def _asked(self, rows: Tensors) -> Asked:
        return Asked(Past.of(_user_rows(rows), self.snapshot, self._fading), rows[_QUERY])

    def _candidates(self, rows: Tensors, count: tf.Tensor | int) -> tuple[Asked, Candidates, Retrieval]:
        """The users, their candidates, and what the sources say of them."""
        asked = self._asked(rows)
        excluded = tf.cast(self._indices.lookup(rows[EXCLUDED.name]), tf.int32)
        found, proposed = self.sources.candidates(asked, excluded, count)
        return asked, found, self.sources.retrieval_of(asked, proposed.at(found.places), found.items)

    def _given(self, rows: Tensors) -> tuple[Asked, tf.Tensor, Retrieval]:
        """The users, the items in the request int32 `[B, C]`, and what the sources say of them."""
        asked = self._asked(rows)
        items = tf.cast(self._indices.lookup(rows[RANKED_ITEM_IDS.name]), tf.int32)
        return asked, items, self.sources.retrieval_of(asked, self.sources.proposed(asked).of(items), items)

    def _raw_scores(self, past: Past, items: tf.Tensor, retrieval: Retrieval) -> tf.Tensor:
        """float64 `[B, C]`: the forest on the rows of `feature_matrix`, to the bit, without making them.

        The item's own features have been asked when the snapshot was loaded, the user's own are asked once a request.
        """
        assert self._forest is not None and self.item_masks is not None, "attach_ranker comes first"
        per_user = self._forest.user_masks(user_columns(past.user, self.snapshot))
        per_pair = pair_columns(past, items, retrieval)
        return self._forest.raw_scores_from_masks(self.item_masks.of(items), per_user, per_pair)

    def _probabilities(self, raw: tf.Tensor) -> tf.Tensor:
        assert self._calibration is not None, "attach_ranker comes first"
        return self._calibration.probabilities(raw)

    def _best(self, found: Candidates, raw: tf.Tensor, proposed_by: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The k best by raw score, of equals the better one in the blend."""
        raw, places = tf.math.top_k(tf.where(found.valid, raw, raw.dtype.min), k)
        kept = tf.gather(found.valid, places, batch_dims=1)
        best = self._padded(tf.gather(found.items, places, batch_dims=1), self._probabilities(raw), kept)
        named = tf.gather(named_sets(), tf.where(kept, tf.gather(proposed_by, places, batch_dims=1), 0))
        return {**best, names.OUTPUT_SOURCES: named}

    def _padded(self, found: tf.Tensor, scores: tf.Tensor, kept: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.where(kept, found, self.universe.unknown)
        return {
            names.OUTPUT_ITEM_IDS: tf.gather(self._item_ids, found),
            names.OUTPUT_SCORES: tf.where(kept, scores, 0.0),
        }

    def _rows_at_once(self, nearest: tf.Tensor | int) -> tf.Tensor:
        """How many users fit into the memory bounds when each has this many nearest items."""
        pairs = tf.maximum(self.sources.width(nearest), self._ranked)
        return tf.maximum(1, tf.minimum(PAIRS_AT_ONCE // pairs, CELLS_AT_ONCE // self.sources.cells))


def _user_rows(rows: Tensors) -> UserRows:
    return UserRows(**{field.name: rows[field.name] for field in fields(UserRows)})


_QUERY = "query"
_ANSWER = {names.OUTPUT_ITEM_IDS: tf.string, names.OUTPUT_SCORES: tf.float32}
