"""The two towers: a user's past and an item's attributes become vectors whose product says how well they fit.

The product is the cosine of two tastes; where a tower favors what is popular (`TowerConfig.popularity`), the last
coordinate adds as much to it as an item is taken, to everyone's alike. What is learnt is the tastes.

After Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations" (RecSys 2019), and
Covington et al., "Deep neural networks for YouTube recommendations" (RecSys 2016), for a query without a user id.
Everything from raw feature tensors on is in the graph, so that training and serving cannot differ. Strings are looked
up at the border: `query` and `candidates` take strings, `query_from_indices` and `candidates_from_indices` integers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import Feature, feature_tables
from tastemaker.steps import write_atomically
from training.feature_tensors import item_features, item_tensors, user_features, with_defaults
from training.retrieval.encoders import History, history_encoder
from training.retrieval.item_graph import ItemGraph, Smoothing
from training.retrieval.named_weights import NamedWeights
from training.retrieval.tower_shape import ITEM_PROFILE, ITEM_TITLE, TowerConfig
from training.vocabulary import (
    PADDING,
    RESERVED,
    UNKNOWN,
    Vocabulary,
    load_vocabularies,
    save_vocabularies,
    split_titles,
)

HISTORY_ITEM_IDS = "history_item_ids"
HISTORY_TIMESTAMPS = "history_timestamps"
HISTORY_COUNTS = "history_counts"
WORDS = "item_title_words"
ITEMS = f"embedding/{names.ITEM_ID}"  # the weight that towers read
LEARNT_ITEMS = "graph/item_id"  # the weight that is learnt where ITEMS is smoothed from it
POPULARITY = "popularity/item_id"  # what a score gets for an item's popularity, by row of ITEMS; never learnt

TITLE_WORDS = 24  # words of a title that count; the longest of Online Retail has 9
DAY = 86_400_000_000  # microseconds

Tensors = Mapping[str, tf.Tensor]


class TwoTower(tf.Module):
    """Query tower and candidate tower over one item embedding.

    Args:
        config: the shape.
        vocabularies: by name: `item_id`, `item_title_words`, and each of `user_texts` and `item_texts`.
        seed: of the initial weights.
    """

    def __init__(self, config: TowerConfig, vocabularies: dict[str, Vocabulary], seed: int) -> None:
        super().__init__(name="two_tower")
        self.config = config
        self.vocabularies = vocabularies
        self._tables = {name: vocabulary.table() for name, vocabulary in vocabularies.items()}
        weights = NamedWeights(np.random.default_rng(seed))
        self._own = weights
        c, d = config, config.taste
        for name in (names.ITEM_ID, WORDS, *c.user_texts, *c.item_texts):
            smoothed = name == names.ITEM_ID and c.graph_steps > 0
            weights.add_table(f"embedding/{name}", vocabularies[name].size, d, trainable=not smoothed)
        if c.graph_steps:
            weights.add(LEARNT_ITEMS, weights[ITEMS].numpy())
        if c.popularity:
            weights.add(POPULARITY, np.zeros(vocabularies[names.ITEM_ID].size), trainable=False)
        for side, numerics in (("query", c.user_numerics), ("candidate", c.item_numerics)):
            weights.add(f"{side}/mean", np.zeros(len(numerics)), trainable=False)
            weights.add(f"{side}/scale", np.ones(len(numerics)), trainable=False)
        weights.add("query/interest", np.ones((c.interests, d)) / c.interests)
        width = d * (c.interests + len(c.user_texts)) + 2 * len(c.user_numerics) + 1
        self._add_tower("query", width)
        width = d * (2 + len(c.item_texts)) + 2 * len(c.item_numerics)
        self._add_tower("candidate", width)
        self._encoder = history_encoder(c.encoder, d, c.interests, seed)
        self._weights = {**weights.by_name, **self._encoder.weights}
        self._smoothing: Smoothing | None = None

    def _add_tower(self, side: str, width: int) -> None:
        hidden = self.config.hidden
        if hidden:
            self._own.add_layer(f"{side}/hidden", width, hidden)
            self._own.add_layer(f"{side}/out", hidden, self.config.taste)
        else:
            self._own.add(f"{side}/out/bias", np.zeros(self.config.taste))

    # -- the public towers -------------------------------------------------------------------------------------------

    def query(self, user: Tensors) -> tf.Tensor:
        """Vectors `[batch, dimension]` of users, from the tensors of `training.feature_tensors.query_tensors`."""
        return self.query_from_indices(self.user_indices(user))

    def candidates(self, item: Tensors) -> tf.Tensor:
        """Vectors `[n, dimension]` of items, from the tensors of `training.feature_tensors.item_tensors`."""
        return self.candidates_from_indices(self.item_indices(item))

    # -- the border: strings to integers -----------------------------------------------------------------------------

    def user_indices(self, user: Tensors) -> dict[str, tf.Tensor]:
        """The same tensors with strings looked up (int64); numbers and times pass."""
        passing = (*self.config.user_numerics, HISTORY_TIMESTAMPS, HISTORY_COUNTS, names.REQUEST_TIMESTAMP)
        found = {name: tf.convert_to_tensor(user[name]) for name in passing}
        found[HISTORY_ITEM_IDS] = self._tables[names.ITEM_ID].lookup(tf.convert_to_tensor(user[HISTORY_ITEM_IDS]))
        for name in self.config.user_texts:
            found[name] = self._tables[name].lookup(tf.convert_to_tensor(user[name]))
        return found

    def item_indices(self, item: Tensors) -> dict[str, tf.Tensor]:
        """The same tensors with strings looked up (int64); titles become `item_title_words` `[n, words]`."""
        found = {name: tf.convert_to_tensor(item[name]) for name in self.config.item_numerics}
        for name in (names.ITEM_ID, *self.config.item_texts):
            found[name] = self._tables[name].lookup(tf.convert_to_tensor(item[name]))
        words = split_titles(tf.convert_to_tensor(item[ITEM_TITLE]))[:, :TITLE_WORDS].to_tensor("")
        found[WORDS] = self._tables[WORDS].lookup(words)
        return found

    # -- the towers on integers --------------------------------------------------------------------------------------

    def query_from_indices(self, user: Tensors) -> tf.Tensor:
        """Vectors `[batch, dimension]` from the tensors of `user_indices`: a taste and, with popularity, a 1."""
        taste = self.query_taste(user)
        return tf.concat([taste, tf.ones_like(taste[:, :1])], axis=1) if self.config.popularity else taste

    def candidates_from_indices(self, item: Tensors) -> tf.Tensor:
        """Vectors `[n, dimension]` from the tensors of `item_indices`: a taste and, if so shaped, the popularity."""
        taste = self.candidate_taste(item)
        if not self.config.popularity:
            return taste
        return tf.concat([taste, tf.gather(self._weights[POPULARITY], item[names.ITEM_ID])[:, None]], axis=1)

    def query_taste(self, user: Tensors, item_vectors: tf.Tensor | None = None) -> tf.Tensor:
        """Unit vectors `[batch, taste]` from the tensors of `user_indices`.

        `item_vectors` `[rows, taste]` are read in place of the table of items, while they are learnt.
        """
        c = self.config
        interests, any_history = self._interests(user, self._items(item_vectors))
        texts = [self._lookup(name, user[name]) for name in c.user_texts]
        numbers = self._numbers("query", c.user_numerics, with_defaults(user, self._user_numeric_features()))
        flat = tf.reshape(interests, [-1, c.interests * c.taste])
        lasting = tf.reduce_sum(interests * self._weights["query/interest"], axis=1)
        return self._moved("query", lasting, [flat, *texts, numbers, any_history])

    def candidate_taste(self, item: Tensors, item_vectors: tf.Tensor | None = None) -> tf.Tensor:
        """Unit vectors `[n, taste]` from the tensors of `item_indices`; `item_vectors` as for a query."""
        c = self.config
        own = tf.gather(self._items(item_vectors), item[names.ITEM_ID])
        words = item[WORDS]
        present = tf.cast(tf.not_equal(words, PADDING), tf.float32)[:, :, None]
        bag = tf.reduce_sum(self._lookup(WORDS, words) * present, axis=1)
        bag /= tf.sqrt(tf.maximum(tf.reduce_sum(present, axis=1), 1.0))
        texts = [self._lookup(name, item[name]) for name in c.item_texts]
        numbers = self._numbers("candidate", c.item_numerics, with_defaults(item, self._item_numeric_features()))
        return self._moved("candidate", own, [own, bag, *texts, numbers])

    def _moved(self, side: str, base: tf.Tensor, inputs: list[tf.Tensor]) -> tf.Tensor:
        """The base `[n, taste]`, moved by what the side's layers make of all inputs, at length 1."""
        if not self.config.hidden:
            return tf.math.l2_normalize(base + self._weights[f"{side}/out/bias"], axis=1)
        hidden = self._own.layer(f"{side}/hidden", tf.concat(inputs, axis=1))
        return tf.math.l2_normalize(base + self._own.layer(f"{side}/out", tf.nn.relu(hidden)), axis=1)

    def _items(self, item_vectors: tf.Tensor | None) -> tf.Tensor | tf.Variable:
        return self._weights[ITEMS] if item_vectors is None else item_vectors

    def _interests(self, user: Tensors, item_vectors: tf.Tensor | tf.Variable) -> tuple[tf.Tensor, tf.Tensor]:
        """The encoder's vectors `[batch, interests, taste]`, and whether there is any history `[batch, 1]`."""
        ids = user[HISTORY_ITEM_IDS]
        asked = user[names.REQUEST_TIMESTAMP]
        asked = tf.where(tf.equal(asked, 0), tf.constant(self.config.as_of, tf.int64), asked)
        age = tf.maximum(asked[:, None] - user[HISTORY_TIMESTAMPS], 0)
        present = tf.not_equal(ids, PADDING)
        history = History(
            items=tf.gather(item_vectors, ids),
            present=present,
            age_days=tf.cast(age, tf.float32) / DAY,
            counts=tf.cast(tf.maximum(user[HISTORY_COUNTS], 0), tf.float32),
        )
        return self._encoder(history), tf.cast(tf.reduce_any(present, axis=1, keepdims=True), tf.float32)

    def _numbers(self, side: str, features: tuple[str, ...], tensors: Tensors) -> tf.Tensor:
        """Signed log(1 + |x|), standardized, 0 where missing, and a flag for missing: `[batch, 2 × features]`."""
        if not features:
            any_tensor = next(iter(tensors.values()))
            return tf.zeros([tf.shape(any_tensor)[0], 0])
        raw = signed_log(tf.stack([tf.cast(tensors[name], tf.float32) for name in features], axis=1))
        missing = tf.math.is_nan(raw)
        standard = (raw - self._weights[f"{side}/mean"]) / self._weights[f"{side}/scale"]
        standard = tf.clip_by_value(tf.where(missing, 0.0, standard), -8.0, 8.0)
        return tf.concat([standard, tf.cast(missing, tf.float32)], axis=1)

    def _user_numeric_features(self) -> list[Feature]:
        return [feature for feature in user_features() if feature.name in self.config.user_numerics]

    def _item_numeric_features(self) -> list[Feature]:
        return [feature for feature in item_features() if feature.name in self.config.item_numerics]

    # -- the item graph ----------------------------------------------------------------------------------------------

    def connect(self, graph: ItemGraph) -> None:
        """From now on ITEMS is what `graph` makes of LEARNT_ITEMS; it is no part of what is saved."""
        self._smoothing = Smoothing(graph, self.config.graph_steps)
        self.settle()

    def learnt_item_vectors(self) -> tf.Tensor | None:
        """The item vectors `[rows, taste]` as the graph makes them now, None in a tower without one."""
        if not self.config.graph_steps:
            return None
        if self._smoothing is None:
            raise TastemakerError(
                "A retriever with 'retriever.graph_steps' learns over an item graph; connect one first."
            )
        return self._smoothing(self._weights[LEARNT_ITEMS])

    def settle(self) -> None:
        """Writes what has been learnt over the graph into ITEMS, which towers read."""
        vectors = self.learnt_item_vectors()
        if vectors is not None:
            self._weights[ITEMS].assign(vectors)

    def settled(self) -> "TwoTower":
        """A tower with the same answers to the bit that knows of no graph, and can learn over none."""
        tower = TwoTower(replace(self.config, graph_steps=0), self.vocabularies, seed=0)
        for name, weight in tower.weights.items():
            weight.assign(self._weights[name])
        return tower

    # -- popularity --------------------------------------------------------------------------------------------------

    def favor(self, visits: np.ndarray, strength: float) -> None:
        """From now on an item's scores are higher by `strength` × `log_popularity(visits)`.

        Args:
            visits: of each row of the item table `[rows]`; an item that is in no row is one without visits.
            strength: in units of a cosine.
        """
        self._weights[POPULARITY].assign(strength * log_popularity(visits))

    # -- weights -----------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, tf.Variable]:
        """Every weight by its path."""
        return self._weights

    def fit_scales(self, user: Mapping[str, np.ndarray], item: Mapping[str, np.ndarray]) -> None:
        """Sets the means and scales of the numeric features from training rows (raw tensors, before defaults)."""
        sides = (
            ("query", self.config.user_numerics, with_defaults(user, self._user_numeric_features())),
            ("candidate", self.config.item_numerics, with_defaults(item, self._item_numeric_features())),
        )
        for side, features, tensors in sides:
            for column, name in enumerate(features):
                values = signed_log(tf.cast(tensors[name], tf.float32)).numpy().astype(np.float64)
                values = values[~np.isnan(values)]
                mean, scale = (float(values.mean()), float(values.std())) if values.size else (0.0, 1.0)
                self._weights[f"{side}/mean"][column].assign(mean)
                self._weights[f"{side}/scale"][column].assign(max(scale, 0.1))

    def save(self, folder: Path) -> None:
        """Writes `tower.json`, `vocabularies.json` and `weights.npz`: text and plain arrays, never code."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "tower.json", json.dumps(asdict(self.config), indent=2, sort_keys=True) + "\n")
        save_vocabularies(folder / "vocabularies.json", self.vocabularies)
        np.savez(folder / "weights.npz", **{name: weight.numpy() for name, weight in sorted(self._weights.items())})

    @classmethod
    def load(cls, folder: Path) -> "TwoTower":
        """The tower that `save` wrote, equal to the bit. Raises TastemakerError when the folder holds none."""
        if not (folder / "tower.json").exists():
            raise TastemakerError(f"There is no retriever in {folder}; train one with 'tastemaker train retriever'.")
        raw: dict[str, Any] = json.loads((folder / "tower.json").read_text())
        shape: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}
        tower = cls(TowerConfig(**shape), load_vocabularies(folder / "vocabularies.json"), seed=0)
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            for name, weight in tower._weights.items():
                weight.assign(arrays[name])
        return tower

    def grown(self, vocabularies: dict[str, Vocabulary], as_of: int, seed: int) -> "TwoTower":
        """A copy for new vocabularies: a token known here keeps its vector, a new one starts as "unknown"."""
        tower = TwoTower(replace(self.config, as_of=as_of), vocabularies, seed)
        for name, weight in self._weights.items():
            old = weight.numpy()
            table = names.ITEM_ID if name in (LEARNT_ITEMS, POPULARITY) else name.removeprefix("embedding/")
            if table in vocabularies:
                known = self.vocabularies[table].tokens
                place = {token: index + 2 for index, token in enumerate(known)}
                fresh = vocabularies[table].tokens
                old = old[[PADDING, UNKNOWN, *(place.get(token, UNKNOWN) for token in fresh)]]
            tower._weights[name].assign(old)
        return tower

    def _lookup(self, vocabulary: str, indices: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._weights[f"embedding/{vocabulary}"], indices)


def candidate_tensors(items: pa.Table) -> dict[str, np.ndarray]:
    """The tensors that the candidate tower reads, and no others: `item_id` and the features of `item_profile`."""
    return item_tensors(items, feature_tables()[ITEM_PROFILE].features)


def log_popularity(visits: np.ndarray) -> np.ndarray:
    """log(1 + visits) less its mean over all items, `[rows]` from `[rows]`, by row of the item table.

    >>> log_popularity(np.array([0, 0, np.e - 1, 0])).tolist()  # of nobody's two rows, and of two items
    [-0.5, -0.5, 0.5, -0.5]
    """
    logs = np.log1p(visits)
    return np.asarray(logs - logs[RESERVED:].mean())


def signed_log(x: tf.Tensor) -> tf.Tensor:
    """sign(x) · log(1 + |x|): refunds make values negative, and wholesale makes them large."""
    return tf.sign(x) * tf.math.log1p(tf.abs(x))
