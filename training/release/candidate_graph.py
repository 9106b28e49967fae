"""Who is judged, and by which features: query tower, candidate sources, exclusions, features of every pair.

What trains the ranker is asked of this graph, with the snapshot of each past day swapped in; what serves is the same
object's subclass, `training.release.fused_graph.FusedRecommender`, with the last day's. One function, two uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from tastemaker.config import CandidatesConfig
from training.feature_tensors import query_specs, user_features, with_defaults
from training.ranking.features import USER_NUMBERS, Retrieval, feature_matrix
from training.ranking.past import Fading, Past, UserRows
from training.release.candidates import Candidates, CandidateSources
from training.release.inputs import EXCLUDED, RANKED_ITEM_IDS, aligned, to_length
from training.release.item_index import item_index
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.release.item_universe import ItemUniverse
from training.release.row_blocks import in_row_blocks
from training.release.sample_users import Users
from training.retrieval.two_tower import TwoTower
from training.sources.source import Asked
from training.sources.trained import TrainedSources

PAIRS_AT_ONCE = 16_384  # with 500 trees 64 MB of masks; with 60 features, in training, 4 MB
CELLS_AT_ONCE = 4_194_304  # users × items of one score matrix: 16 MB

Tensors = Mapping[str, tf.Tensor]


class CandidateGraph(tf.Module):
    """Tower, item universe, item snapshot and candidate sources.

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
        self._config = sources
        self._fading = Fading(sources.history_fading_days, sources.history_fading_place)
        self.history_length = history_length
        self._indices = self.universe.table()
        self._item_ids = tf.constant([*self.universe.item_ids, ""], tf.string)

    def load_snapshot(self, items: pa.Table, as_of: datetime) -> None:
        """Swaps in the items as of one midnight: one row per item. See `ItemSnapshot.load`."""
        self.snapshot.load(items, as_of, self.tower)
        self.index.refresh(self._sample_queries)
        self.sources.refresh()

    @tf.function(input_signature=[query_specs(), EXCLUDED], autograph=False)
    def candidate_features(self, user: Tensors, exclude_item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The candidates that `recommend` ranks, and the features it ranks them by.

        Returns `item_ids` str `[B, C]`, `valid` bool `[B, C]` (False: padding, repetition, excluded or unavailable) and
        `features` float32 `[B, C, F]` in the order of FEATURE_NAMES.
        """

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, found, retrieval = self._candidates(rows, self._config.two_tower)
            features = feature_matrix(asked.past, found.items, retrieval, self.sources.popularity)
            return {"item_ids": tf.gather(self._item_ids, found.items), "valid": found.valid, "features": features}

        inputs = self._rows({**user, EXCLUDED.name: exclude_item_ids})
        outputs = {"item_ids": tf.string, "valid": tf.bool, "features": tf.float32}
        return in_row_blocks(block, inputs, self._rows_at_once(self._config.two_tower), outputs)

    @tf.function(input_signature=[query_specs()], autograph=False)
    def candidate_places(self, user: Tensors) -> dict[str, tf.Tensor]:
        """Who proposes what: `item_ids` str and `valid` bool `[B, C]`, and `places` int32 `[B, C, sources]`.

        A place is that in the source's list, from 0; −1 where it does not list the item. Sources are those that are on.
        """

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            found, proposed = self.sources.candidates(self._asked(rows), None, self._config.two_tower)
            said = proposed.at(found.places)
            places = [tf.where(at < said.lengths[source], at, -1) for source, at in said.places.items()]
            item_ids = tf.gather(self._item_ids, found.items)
            return {"item_ids": item_ids, "valid": found.valid, "places": tf.stack(places, axis=2)}

        outputs = {"item_ids": tf.string, "valid": tf.bool, "places": tf.int32}
        return in_row_blocks(block, self._rows(user), self._rows_at_once(self._config.two_tower), outputs)

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

    def _rows_at_once(self, nearest: tf.Tensor | int) -> tf.Tensor:
        """How many users fit into the memory bounds when each has this many nearest items."""
        pairs = tf.maximum(self.sources.width(nearest), self._config.ranked)
        return tf.maximum(1, tf.minimum(PAIRS_AT_ONCE // pairs, CELLS_AT_ONCE // self.sources.cells))


def _user_rows(rows: Tensors) -> UserRows:
    return UserRows(**{field.name: rows[field.name] for field in fields(UserRows)})


_QUERY = "query"
