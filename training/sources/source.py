"""What every candidate source is: a name, and the items it proposes to a batch of users, best first."""

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from training.ranking.past import Past
from training.release.item_snapshot import ItemSnapshot


@dataclass(frozen=True)
class Asked:
    """A batch of users as a source sees them: their past, and their query vectors float32 `[B, D]`."""

    past: Past
    query: tf.Tensor


@dataclass(frozen=True)
class Proposals:
    """A source's list for each user, best first.

    Attributes:
        items: int32 `[B, n]`, available items, each once in a row; the rest of a row is `unknown`.
        scores: float32 `[B, n]`, not increasing in a row; 0 for padding. Each source has a scale of its own.
    """

    items: tf.Tensor
    scores: tf.Tensor


class Source(Protocol):
    """One way to find candidates.

    A row's proposals do not depend on the other rows. A source holds the item snapshot, or variables that `refresh`
    makes of it, and what was trained; all of it is saved with the graph.
    """

    name: str

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """Up to `count` items for each user."""

    def refresh(self) -> None:
        """Follows the snapshot, which has changed."""


class ScoringSource(Source, Protocol):
    """A source that has something to say of any item: what it says is a feature of the ranker, too."""

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """float32 `[B, C]`, the scores of int32 `[B, C]` items; 0 is nothing to say."""


def best_of(scores: tf.Tensor, items: ItemSnapshot, count: tf.Tensor | int) -> Proposals:
    """The best available items by scores float32 `[B, N + 1]`; those with 0 or less are not proposed.

    Of equal scores the item with the lower index comes first.
    """
    count = tf.minimum(count, items.universe.rows)
    found = tf.math.top_k(tf.where(items.available[None, :], scores, 0.0), count)
    kept = found.values > 0.0
    return Proposals(tf.where(kept, found.indices, items.universe.unknown), tf.where(kept, found.values, 0.0))


def places_in(listed: tf.Tensor, candidates: tf.Tensor, unknown: int) -> tf.Tensor:
    """Where int32 `[B, n]` lists have int32 `[B, C]` items: int32 `[B, C]`, n where they do not.

    By sorting the lists, not by a table of all items: the cost does not grow with the catalogue.
    """
    length = tf.shape(listed)[1]
    padded = tf.pad(listed, [[0, 0], [0, 1]], constant_values=unknown)
    order = tf.argsort(padded, axis=1, stable=True)
    ascending = tf.gather(padded, order, batch_dims=1)
    at = tf.minimum(tf.searchsorted(ascending, candidates), length)
    there = (tf.gather(ascending, at, batch_dims=1) == candidates) & (candidates != unknown)
    return tf.where(there, tf.gather(order, at, batch_dims=1), length)
