"""What every candidate source is: a name, and the items it proposes to a batch of users, best first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import tensorflow as tf

from training.ranking.past import Past
from training.release.block_top_k import block_top_k
from training.release.item_snapshot import ItemSnapshot


@dataclass(frozen=True)
class Asked:
    """A batch of users as a source sees them.

    Attributes:
        past: their histories.
        query: float32 `[B, D]`, their query vectors.
    """

    past: Past
    query: tf.Tensor
    _made: dict[str, tf.Tensor] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        """What `make` gives for these users: proposals and scores of a source share it."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


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


@runtime_checkable
class ScoringSource(Source, Protocol):
    """A source that has something to say of any item: what it says is a feature of the ranker, too."""

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """float32 `[B, C]`, the scores of int32 `[B, C]` items; 0 is nothing to say."""


def best_of(scores: tf.Tensor, items: ItemSnapshot, count: tf.Tensor | int) -> Proposals:
    """The best available items by scores float32 `[B, N + 1]`; those with 0 or less are not proposed.

    Of equal scores the item with the lower index comes first.
    """
    count = tf.minimum(count, items.universe.rows)
    values, indices = block_top_k(tf.where(items.available[None, :], scores, 0.0), count)
    kept = values > 0.0
    return Proposals(tf.where(kept, indices, items.universe.unknown), tf.where(kept, values, 0.0))
