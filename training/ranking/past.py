"""A batch of users and their histories inside the graph, made ready for lookups by item."""

from dataclasses import dataclass
from functools import cached_property

import tensorflow as tf

from training.ranking.row_scatter import by_row
from training.release.item_snapshot import ItemSnapshot, rows_at

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Fading:
    """How an entry of the history loses weight: 1/e after as many `days`, and `place` times for each later entry."""

    days: float = 30.0
    place: float = 1.0

    def weights(self, days: tf.Tensor) -> tf.Tensor:
        """float32 `[B, L]` for the ages of histories that begin with the latest entry."""
        places = tf.range(days.shape[1], dtype=tf.float32)
        return tf.exp(-tf.maximum(days, 0.0) / self.days) * tf.pow(self.place, places)[None, :]


@dataclass(frozen=True)
class UserRows:
    """A batch of users inside the graph.

    Attributes:
        numbers: float32 `[B, len(USER_NUMBERS)]`.
        history: int32 `[B, L]`, item indices, latest first, `unknown` for padding and for items not in the universe.
        last_seen: int64 `[B, L]`, microseconds since 1970 UTC.
        counts: float32 `[B, L]`.
        requested: int64 `[B]`, microseconds since 1970 UTC.
    """

    numbers: tf.Tensor
    history: tf.Tensor
    last_seen: tf.Tensor
    counts: tf.Tensor
    requested: tf.Tensor


@dataclass(frozen=True)
class Past:
    """The history of a batch of users.

    Attributes:
        user: the batch.
        items: the snapshot of the request's day.
        position: int32 `[B, N + 1]`, where the history first has an item, L where it doesn't.
        first: bool `[B, L]`, the entries that count: known items, each once.
        days: float32 `[B, L]`, from the last time to the request.
        weight: float32 `[B, L]`, fades; 0 where an entry does not count.
        length: L, the same for every batch.
    """

    user: UserRows
    items: ItemSnapshot
    position: tf.Tensor
    first: tf.Tensor
    days: tf.Tensor
    weight: tf.Tensor
    length: int

    @classmethod
    def of(cls, user: UserRows, items: ItemSnapshot, fading: Fading) -> "Past":
        """Of every user of the batch."""
        length, unknown = user.history.shape[1], items.universe.unknown
        places = tf.where(user.history == unknown, length, tf.range(length))
        start = tf.fill([tf.shape(user.history)[0], items.universe.rows], length)
        position = tf.tensor_scatter_nd_min(start, by_row(user.history), tf.reshape(places, [-1]))
        first = tf.gather(position, user.history, batch_dims=1) == tf.range(length)
        days = tf.cast(tf.cast(user.requested[:, None] - user.last_seen, tf.float64) / DAY, tf.float32)
        weight = tf.where(first, fading.weights(days), 0.0)
        return cls(user, items, position, first, days, weight, length)

    def at(self, values: tf.Tensor, positions: tf.Tensor, absent: float) -> tf.Tensor:
        """`values` `[B, L]` at `positions` int32 `[B, …]`; `absent` where the position is L."""
        padded = tf.pad(values, [[0, 0], [0, 1]], constant_values=absent)
        return tf.gather(padded, positions, batch_dims=1)

    def similarity(self, candidates: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """How similar candidates int32 `[B, C]` are to the history: the sum over the entries whose neighbours they are.

        Args: `weights`: float32 `[B, L, n]`, n ways to weigh the entries. Returns float32 `[B, C, n]`.

        The same sums as `recent_affinity`'s, to the bit, for C items instead of all.
        """
        batch, count = tf.unstack(tf.shape(candidates))
        places = tf.zeros_like(candidates) + tf.range(count)
        start = tf.fill([batch, self.items.universe.rows], count)
        place = tf.tensor_scatter_nd_min(start, by_row(candidates), tf.reshape(places, [-1]))
        neighbours = tf.reshape(rows_at(self.items.neighbours, self.user.history), [batch, -1])
        scores = rows_at(self.items.neighbour_scores, self.user.history)[:, :, :, None] * weights[:, :, None, :]
        ways = weights.shape[2]
        at = by_row(tf.gather(place, neighbours, batch_dims=1))
        summed = tf.tensor_scatter_nd_add(tf.zeros([batch, count + 1, ways]), at, tf.reshape(scores, [-1, ways]))
        return tf.gather(summed, tf.gather(place, candidates, batch_dims=1), batch_dims=1)

    @cached_property
    def recent_affinity(self) -> tf.Tensor:
        """float32 `[B, N + 1]`: how similar every item is to those of the history, which fades, summed over them."""
        batch, rows = tf.shape(self.first)[0], self.items.universe.rows
        neighbours = tf.reshape(rows_at(self.items.neighbours, self.user.history), [batch, -1])
        scores = rows_at(self.items.neighbour_scores, self.user.history) * self.weight[:, :, None]
        return tf.tensor_scatter_nd_add(tf.zeros([batch, rows]), by_row(neighbours), tf.reshape(scores, [-1]))
