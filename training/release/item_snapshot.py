"""The items as of one midnight, as variables that can be swapped without tracing a graph again."""

from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.moments import microseconds
from training.feature_tensors import NUMERIC_TYPES, item_features, item_tensors, with_defaults
from training.release.item_universe import ItemUniverse
from training.vocabulary import PADDING, RESERVED, UNKNOWN, Vocabulary, title_words

POPULARITY = "item_interactions_30d"
TITLE_WORDS = 12  # longer titles are cut: Online Retail's longest has 9 words

ITEM_NUMBERS: tuple[str, ...] = tuple(f.name for f in item_features() if f.dtype in NUMERIC_TYPES)


class CandidateTower(Protocol):
    """What gives an item its place: a function from item features, `[N]` each, to vectors `[N, D]`."""

    def candidates(self, items: dict[str, tf.Tensor]) -> tf.Tensor:
        """Item vectors `[N, D]`."""


class ItemSnapshot(tf.Module):
    """Item features, vectors and availability by item index, N + 1 rows (`ItemUniverse`).

    Attributes:
        numbers: float32 `[N + 1, len(ITEM_NUMBERS)]`, missing as declared (often NaN).
        vectors: float32 `[N + 1, D]`; zero where the item is not there.
        taste: how many of the D, from the first, two items are compared by; what is left is popularity.
        inverse_norms: float32 `[N + 1]`, 1 / length of the taste, 0 for a zero vector.
        available: bool `[N + 1]`: the item was in the shop on that day.
        by_popularity: int32 `[N + 1]`, indices, most interactions in 30 days first, what is unavailable last.
        popularity_rank: float32 `[N + 1]`, its inverse; 0 is the most popular.
        neighbours, neighbour_scores: int32 and float32 `[N + 1, K]`, `unknown` and 0 where there are fewer.
        words: int32 `[N + 1, TITLE_WORDS]`, 0 is none.
        category, brand: int32 `[N + 1]`, 0 is none.
        as_of: int64 scalar, microseconds since 1970 UTC.
    """

    def __init__(
        self, universe: ItemUniverse, items: pa.Table, dimension: int, neighbours: int, taste: int | None = None
    ) -> None:
        """An empty snapshot.

        Args:
            items: rows of any days, from which the words, categories and brands get their codes.
            dimension: D of the item vectors.
            neighbours: K, the most that an item keeps.
            taste: see above; None: all D.
        """
        super().__init__(name="item_snapshot")
        self.universe = universe
        texts = {name: pc.unique(items[name]).to_pylist() for name in ("item_title", "item_category", "item_brand")}
        self._words = Vocabulary.of(word for title in texts["item_title"] if title for word in title_words(title))
        self._titles = _TitleCodes(self._words)
        self._categories = Vocabulary.of(texts["item_category"])
        self._brands = Vocabulary.of(texts["item_brand"])
        self.word_codes, self.category_codes, self.brand_codes = (
            v.size for v in (self._words, self._categories, self._brands)
        )
        self.taste = dimension if taste is None else taste
        rows, k = universe.rows, neighbours
        self.numbers = tf.Variable(tf.zeros([rows, len(ITEM_NUMBERS)]), trainable=False, name="numbers")
        self.vectors = tf.Variable(tf.zeros([rows, dimension]), trainable=False, name="vectors")
        self.inverse_norms = tf.Variable(tf.zeros([rows]), trainable=False, name="inverse_norms")
        self.available = tf.Variable(tf.zeros([rows], tf.bool), trainable=False, name="available")
        self.available_count = tf.Variable(0, trainable=False, name="available_count")
        self.by_popularity = tf.Variable(tf.range(rows), trainable=False, name="by_popularity")
        self.popularity_rank = tf.Variable(tf.zeros([rows]), trainable=False, name="popularity_rank")
        self.neighbours = tf.Variable(tf.fill([rows, k], universe.unknown), trainable=False, name="neighbours")
        self.neighbour_scores = tf.Variable(tf.zeros([rows, k]), trainable=False, name="neighbour_scores")
        self.words = tf.Variable(tf.zeros([rows, TITLE_WORDS], tf.int32), trainable=False, name="words")
        self.category = tf.Variable(tf.zeros([rows], tf.int32), trainable=False, name="category")
        self.brand = tf.Variable(tf.zeros([rows], tf.int32), trainable=False, name="brand")
        self.as_of = tf.Variable(tf.zeros([], tf.int64), trainable=False, name="as_of")

    def load(self, items: pa.Table, as_of: datetime, tower: CandidateTower) -> None:
        """Swaps in the items as of one midnight; an item of the universe without a row is not available.

        Args:
            items: one row per item: `item_id` and every item feature.
            as_of: that midnight.
            tower: gives the items their vectors.

        Raises TastemakerError when an item has two rows, or none of the items is in the universe.
        """
        tensors = item_tensors(items)
        at = self.universe.indices(pa.array(tensors[names.ITEM_ID], pa.string()))
        known = at != self.universe.unknown
        at = at[known]
        if len(np.unique(at)) != len(at):
            raise TastemakerError(
                f"The item snapshot of {as_of:%Y-%m-%d} has {len(at) - len(np.unique(at))} items with more than one "
                "row; build the training sets again with 'tastemaker dataset'."
            )
        if not len(at):
            raise TastemakerError(
                f"The item snapshot of {as_of:%Y-%m-%d} has no item; "
                "choose an as_of after the first event, and build the training sets again with 'tastemaker dataset'."
            )
        tensors = {name: values[known] for name, values in tensors.items()}
        filled = with_defaults(tensors, [f for f in item_features() if f.name in ITEM_NUMBERS])
        numbers = np.stack([np.asarray(filled[name], np.float32) for name in ITEM_NUMBERS], axis=1)
        vectors = np.asarray(tower.candidates({n: tf.convert_to_tensor(v) for n, v in tensors.items()}), np.float32)
        vectors = np.where(np.isfinite(vectors), vectors, np.float32(0))
        norms = np.linalg.norm(vectors[:, : self.taste].astype(np.float64), axis=1)

        self._assign(self.numbers, at, numbers, np.nan)
        self._assign(self.vectors, at, vectors, 0)
        self._assign(self.inverse_norms, at, np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0), 0)
        self._assign(self.available, at, np.ones(len(at), bool), False)
        self.available_count.assign(len(at))
        self._load_popularity(at, numbers[:, ITEM_NUMBERS.index(POPULARITY)])
        self._load_neighbours(at, tensors)
        codes = np.array([self._titles.codes(title) for title in tensors["item_title"]], np.int32)  # [n, TITLE_WORDS]
        self._assign(self.words, at, codes, PADDING)
        for variable, vocabulary, name in (
            (self.category, self._categories, "item_category"),
            (self.brand, self._brands, "item_brand"),
        ):
            self._assign(variable, at, vocabulary.indices(pa.array(tensors[name], pa.string())), PADDING)
        self.as_of.assign(microseconds(as_of))

    def popular_item_ids(self, count: int) -> list[str]:
        """The most popular available items, best first: what to show when no model answers."""
        available = self.available.numpy()
        return [self.universe.item_ids[i] for i in self.by_popularity.numpy() if available[i]][:count]

    def _load_popularity(self, at: np.ndarray, interactions: np.ndarray) -> None:
        popularity = np.full(self.universe.rows, -np.inf)
        popularity[at] = np.nan_to_num(interactions, nan=0.0)
        order = np.argsort(-popularity, kind="stable").astype(np.int32)
        rank = np.empty(self.universe.rows, np.float32)
        rank[order] = np.arange(self.universe.rows)
        self.by_popularity.assign(order)
        self.popularity_rank.assign(rank)

    def _load_neighbours(self, at: np.ndarray, tensors: dict[str, np.ndarray]) -> None:
        ids = tensors["neighbour_item_ids"]
        indices = self.universe.indices(pa.array(ids.reshape(-1), pa.string())).reshape(ids.shape)
        scores = _to_width(tensors["neighbour_scores"], ids.shape[1], 0.0)
        scores = np.where((indices == self.universe.unknown) | ~np.isfinite(scores), np.float32(0), scores)
        width = int(self.neighbours.shape[1])
        self._assign(self.neighbours, at, _to_width(indices, width, self.universe.unknown), self.universe.unknown)
        self._assign(self.neighbour_scores, at, _to_width(scores, width, 0.0), 0)

    def _assign(self, variable: tf.Variable, at: np.ndarray, values: np.ndarray, rest: float) -> None:
        full = np.full(variable.shape, rest, variable.dtype.as_numpy_dtype)
        full[at] = values
        variable.assign(full)


def rows_at(by_item: tf.Variable, at: tf.Tensor) -> tf.Tensor:
    """The rows of a variable at int32 indices `[…]`, where others read the variable whole.

    `tf.gather` of a variable itself makes TensorFlow copy all of it at every later whole read (copy-on-read of sparsely
    accessed variables): 12 MB a request for 50,000 vectors of 64 dimensions, 0.7 ms.
    """
    return tf.gather(tf.convert_to_tensor(by_item), at)


class _TitleCodes:
    """Titles as codes of their words; remembered, because titles hardly change from day to day.

    Not dictionaries of the module itself: TensorFlow tracks those, and goes through all of one whenever a key is added,
    so that 50,000 new titles took six minutes, and saving them half of one.
    """

    def __init__(self, words: Vocabulary) -> None:
        self._code_of = {word: index for index, word in enumerate(words.tokens, RESERVED)}
        self._coded: dict[str, tuple[int, ...]] = {}

    def codes(self, title: str) -> tuple[int, ...]:
        """The codes of a title's first words, `TITLE_WORDS` of them."""
        found = self._coded.get(title)
        if found is None:
            codes = [self._code_of.get(word, UNKNOWN) for word in title_words(title)[:TITLE_WORDS]]
            found = self._coded[title] = (*codes, *[PADDING] * (TITLE_WORDS - len(codes)))
        return found


def _to_width(values: np.ndarray, width: int, padding: float) -> np.ndarray:
    """Cuts or pads `[n, L]` at the end to `[n, width]`."""
    missing = max(0, width - values.shape[1])
    return np.pad(values[:, :width], ((0, 0), (0, missing)), constant_values=padding)
