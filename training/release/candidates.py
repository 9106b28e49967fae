"""Which items come before the ranker: what every source proposes, each item once, the best of the blend first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import tensorflow as tf

from tastemaker import names
from tastemaker.config import CandidatesConfig
from tastemaker.errors import TastemakerError
from training.ranking.features import Retrieval
from training.ranking.row_scatter import by_row
from training.release.item_index import ItemIndex
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.sources.co_visitation import CoVisitation
from training.sources.content import TERMS, Content
from training.sources.matrix_factorization import MatrixFactorization
from training.sources.nearest_items import NearestItems
from training.sources.next_item import NextItem
from training.sources.own_history import OwnHistory
from training.sources.popularity import Popularity
from training.sources.source import Asked, ScoringSource, Source
from training.sources.trained import TrainedSources
from training.sources.user_knn import UserKnn


@dataclass(frozen=True)
class Candidates:
    """What the ranker judges.

    Attributes:
        items: int32 `[B, C]`, available items, each once, the best of the blend first; the rest is `unknown`.
        valid: bool `[B, C]`, where there is an item.
        places: int32 `[B, C]`, where each stands first in `Proposed.items`; W where there is no item.
    """

    items: tf.Tensor
    valid: tf.Tensor
    places: tf.Tensor


@dataclass(frozen=True)
class FirstPlaces:
    """Where each row of int32 `[B, n]` has an item for the first time.

    By search, not by marks in a row of all items: for a million those are 4 MB a user to fill and copy.

    Attributes:
        ascending: int32 `[B, n + 1]`, the rows, and `unknown` once, sorted.
        order: int32 `[B, n + 1]`, where each stood; of equals the first comes first.
    """

    ascending: tf.Tensor
    order: tf.Tensor
    unknown: int

    @classmethod
    def among(cls, items: tf.Tensor, unknown: int) -> "FirstPlaces":
        """Of int32 `[B, n]`, n may be 0; `unknown` is above every item."""
        padded = tf.pad(items, [[0, 0], [0, 1]], constant_values=unknown)
        order = tf.argsort(padded, axis=1, stable=True)
        return cls(tf.gather(padded, order, batch_dims=1), order, unknown)

    def of(self, items: tf.Tensor) -> tf.Tensor:
        """int32 `[B, C]` for int32 `[B, C]` items; n where an item is not among them, and for `unknown`."""
        at = tf.raw_ops.LowerBound(sorted_inputs=self.ascending, values=items, out_type=tf.int32)
        there = (tf.gather(self.ascending, at, batch_dims=1) == items) & (items != self.unknown)
        return tf.where(there, tf.gather(self.order, at, batch_dims=1), tf.shape(self.order)[1] - 1)


@dataclass(frozen=True)
class Proposed:
    """What the sources that are on say of a batch of users.

    Attributes:
        sources: their names.
        lengths: by source, how many items it may list.
        items: int32 `[B, W]`, the lists one after the other.
        first: an item's first place in `items`.
        own: int32 `[B, W]`, those of `items` themselves.
        places: by source int32 `[B, W + 1]`: for a first place in `items`, the item's place in that source's list;
            `lengths` where it does not list it. The last column is what nobody lists.
        blended: float32 `[B, W + 1]`, the blend's score, likewise.
    """

    sources: Sequence[str]
    lengths: Sequence[int]
    items: tf.Tensor
    first: FirstPlaces
    own: tf.Tensor
    places: Sequence[tf.Tensor]
    blended: tf.Tensor

    def of(self, items: tf.Tensor) -> Retrieval:
        """What the lists say of int32 `[B, C]` items; no scores."""
        return self.at(self.first.of(items))

    def at(self, at: tf.Tensor) -> Retrieval:
        """What the lists say of the items at first places int32 `[B, C]`, W is none; no scores."""
        return Retrieval(
            places={
                source: tf.gather(places, at, batch_dims=1)
                for source, places in zip(self.sources, self.places, strict=True)
            },
            lengths=dict(zip(self.sources, self.lengths, strict=True)),
            scores={},
            blend=tf.gather(self.blended, at, batch_dims=1),
        )


class CandidateSources(tf.Module):
    """The sources that the config switches on, over one snapshot.

    Args:
        items: the snapshot; call `refresh` after it has changed.
        index: of the same items.
        config: how many items each source proposes.
        trained: what the sources need that were trained; None where none of those is on.

    Raises TastemakerError when a source is on that was not trained.
    """

    def __init__(
        self, items: ItemSnapshot, index: ItemIndex, config: CandidatesConfig, trained: TrainedSources | None
    ) -> None:
        super().__init__(name="candidate_sources")
        self._items, self._config = items, config
        trained = trained or TrainedSources()
        self.blend = trained.blend
        self.nearest = NearestItems(items, index)
        self.popularity = Popularity(items, config.popular, config.popular_half_life_days)
        made: list[Source] = [self.nearest]
        made += [OwnHistory()] if config.history else []
        made += [self.popularity] if config.popular else []
        made += [CoVisitation()] if config.co_visitation else []
        if config.user_knn:
            sessions = _required(trained.sessions, names.SOURCE_USER_KNN)
            made.append(UserKnn(items, sessions, config.session_half_life_days))
        if config.matrix_factorization:
            factors = _required(trained.factors, names.SOURCE_MATRIX_FACTORIZATION)
            made.append(MatrixFactorization(items, factors))
        made += [Content(items)] if config.content else []
        if config.next_item:
            made.append(NextItem(items, _required(trained.transitions, names.SOURCE_NEXT_ITEM)))
        self.made = made
        self.lengths = [min(config.counts()[source.name], items.universe.rows) for source in made]

    def refresh(self) -> None:
        """Follows the snapshot."""
        for source in (*self.made, self.popularity):
            source.refresh()

    def retrieval_of(self, asked: Asked, said: Retrieval, items: tf.Tensor) -> Retrieval:
        """What the sources say of int32 `[B, C]` items, whoever chose them: what the lists say, and scores."""
        scoring = {source.name: source for source in self.made if isinstance(source, ScoringSource)}
        return replace(said, scores={name: source.scores(asked, items) for name, source in scoring.items()})

    def proposed(self, asked: Asked, excluded: tf.Tensor | None = None, count: tf.Tensor | int = 1) -> Proposed:
        """Every source's list, without what is excluded.

        Args:
            excluded: int32 `[B, E]`; `unknown`, and repetitions, do no harm.
            count: int32 scalar, how many of the nearest items are wanted; those behind the source's own list are in
                `items`, but listed by nobody.
        """
        unknown = self._items.universe.unknown
        count, enough = self._nearest(excluded, count)
        lists = [
            source.propose(asked, enough if source is self.nearest else length).items
            for source, length in zip(self.made, self.lengths, strict=True)
        ]
        items = tf.concat(lists, axis=1)
        widths = [tf.shape(part)[1] for part in lists]
        if excluded is not None:
            kept = FirstPlaces.among(excluded, unknown).of(items) == tf.shape(excluded)[1]
            nearest, others = kept[:, : widths[0]], kept[:, widths[0] :]  # the nearest are the first list
            nearest &= tf.cumsum(tf.cast(nearest, tf.int32), axis=1) <= count  # however many exclusions there are
            items = tf.where(tf.concat([nearest, others], axis=1), items, unknown)
        first = FirstPlaces.among(items, unknown)
        own = first.of(items)
        empty = tf.shape(first.order)
        places = []
        parts = zip(tf.split(items, widths, axis=1), tf.split(own, widths, axis=1), self.lengths, strict=True)
        for part, at, length in parts:
            rank = tf.where(part == unknown, length, tf.minimum(tf.range(tf.shape(part)[1]), length))
            places.append(tf.tensor_scatter_nd_min(tf.fill(empty, length), by_row(at), tf.reshape(rank, [-1])))
        sources = [source.name for source in self.made]
        blended = self.blend.scores(places, self.lengths, sources)
        return Proposed(sources, self.lengths, items, first, own, places, blended)

    def candidates(
        self, asked: Asked, excluded: tf.Tensor | None, count: tf.Tensor | int
    ) -> tuple[Candidates, Proposed]:
        """What the ranker judges: the best of the blend, none excluded, each once.

        Args:
            excluded: see `proposed`.
            count: int32 scalar, how many must be there if so many are available: the nearest items fill up what the
                lists leave open.
        """
        proposed = self.proposed(asked, excluded, count)
        width = tf.shape(proposed.items)[1]
        valid = (proposed.own == tf.range(width)) & rows_at(self._items.available, proposed.items)
        count, enough = self._nearest(excluded, count)
        kept = tf.minimum(tf.maximum(count, self._config.ranked), width - (enough - count))  # exclusions or not
        best = tf.math.top_k(tf.where(valid, proposed.blended[:, :width], -1.0), kept).indices
        valid = tf.gather(valid, best, batch_dims=1)
        items = tf.where(valid, tf.gather(proposed.items, best, batch_dims=1), self._items.universe.unknown)
        return Candidates(items, valid, tf.where(valid, best, width)), proposed

    def _nearest(self, excluded: tf.Tensor | None, count: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
        """How many of the nearest items are kept, and how many must be asked for: one more for each exclusion."""
        rows = self._items.universe.rows
        count = tf.minimum(tf.maximum(count, self.lengths[0]), rows)
        return count, count if excluded is None else tf.minimum(count + tf.shape(excluded)[1], rows)

    @property
    def cells(self) -> int:
        """Numbers that a user takes in the largest of the sources' tables."""
        sessions = [source.sessions for source in self.made if isinstance(source, UserKnn)]
        terms = TERMS if self._config.content else 1
        return max([self._items.universe.rows * terms, *sessions])

    def width(self, nearest: tf.Tensor | int) -> tf.Tensor:
        """Items of all lists together, when at least `nearest` of the nearest are asked for."""
        return tf.maximum(nearest, self.lengths[0]) + sum(self.lengths[1:])


Part = TypeVar("Part")


def _required(part: Part | None, source: str) -> Part:
    if part is None:
        raise TastemakerError(
            f"The candidate source {source} is on, but was not trained; run 'tastemaker train sources' and what "
            f"follows, or set candidates.{source} to 0 in the config file."
        )
    return part


def proposers(retrieval: Retrieval) -> tf.Tensor:
    """int32 `[B, C]`, a bit for each of CANDIDATE_SOURCES, in their order, that proposes the item.

    What nobody lists is there because the nearest items filled up what the lists left open.
    """
    bits = tf.zeros(tf.shape(retrieval.blend), tf.int32)
    for source, places in retrieval.places.items():
        listed = tf.cast(places < retrieval.lengths[source], tf.int32)
        bits += listed * (1 << names.CANDIDATE_SOURCES.index(source))
    return tf.where(bits == 0, 1 << names.CANDIDATE_SOURCES.index(names.SOURCE_TWO_TOWER), bits)


def named_sets() -> list[str]:
    """What each value of `proposers` means: the sources' names, with commas."""
    sources = names.CANDIDATE_SOURCES
    return [",".join(s for n, s in enumerate(sources) if bits >> n & 1) for bits in range(1 << len(sources))]
