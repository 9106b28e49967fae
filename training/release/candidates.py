"""Which items come before the ranker: the retriever's nearest, the user's own, the most popular; each once."""

from dataclasses import dataclass

import tensorflow as tf

from tastemaker.config import CandidatesConfig
from training.ranking.features import Retrieval
from training.release.item_index import ItemIndex
from training.release.item_snapshot import ItemSnapshot, rows_at


@dataclass(frozen=True)
class Candidates:
    """`items` int32 `[B, C]`; `valid` bool `[B, C]` is False where a place is padding, a repetition or excluded."""

    items: tf.Tensor
    valid: tf.Tensor


def pair_scores(query: tf.Tensor, items: ItemSnapshot, candidates: tf.Tensor) -> tf.Tensor:
    """Dot products float32 `[B, C]` of each query `[B, D]` with its own candidates `[B, C]`.

    Summed pair by pair, not as a matrix product: the same bits whatever B and C are.
    """
    return tf.reduce_sum(query[:, None, :] * rows_at(items.vectors, candidates), axis=2)


def union(
    query: tf.Tensor,
    history: tf.Tensor,
    excluded: tf.Tensor,
    items: ItemSnapshot,
    index: ItemIndex,
    sources: CandidatesConfig,
    count: tf.Tensor,
) -> tuple[Candidates, tf.Tensor]:
    """Every source's items in the order nearest, history, popular; an item stays only at its first place.

    Args:
        query: float32 `[B, D]`.
        history: int32 `[B, L]`.
        excluded: int32 `[B, E]`; `unknown`, and repetitions, do no harm.
        index: of the same items.
        count: int32 scalar, how many of the nearest that are not excluded; all of them when there are fewer.

    Returns:
        The candidates, and the retriever's own list int32 `[B, min(sources.two_tower, N + 1)]`, exclusions or not.
    """
    batch, rows = tf.shape(query)[0], items.universe.rows
    count = tf.minimum(count, rows)
    enough = tf.minimum(tf.maximum(count + tf.shape(excluded)[1], sources.two_tower), rows)
    _, nearest = index.nearest(query, enough)
    barred = tf.sort(tf.pad(excluded, [[0, 0], [0, 1]], constant_values=-1), axis=1)  # never without a column
    last = tf.argsort(tf.cast(_among(barred, nearest), tf.int32), axis=1, stable=True)
    kept = tf.gather(nearest, last, batch_dims=1)[:, :count]

    popular = items.by_popularity[: sources.popular]
    parts = [kept, tf.broadcast_to(popular[None, :], [batch, tf.shape(popular)[0]])]
    if sources.history:
        parts.insert(1, history)
    found = tf.concat(parts, axis=1)
    valid = _first_places(found) & ~_among(barred, found) & rows_at(items.available, found)
    return Candidates(found, valid), nearest[:, : min(sources.two_tower, rows)]


def _among(codes: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
    """bool `[B, n]`: which of int32 `[B, n]` stand in the same row of sorted int32 `[B, m]`, m at least 1.

    By search, not by marks in a row of all items: for a million those are 4 MB a user to fill and copy.
    """
    at = tf.raw_ops.LowerBound(sorted_inputs=codes, values=asked, out_type=tf.int32)
    return tf.gather(codes, tf.minimum(at, tf.shape(codes)[1] - 1), batch_dims=1) == asked


def _first_places(codes: tf.Tensor) -> tf.Tensor:
    """bool `[B, n]`: where each row of int32 `[B, n]` has a value for the first time."""
    order = tf.argsort(codes, axis=1, stable=True)
    run = tf.raw_ops.LowerBound(sorted_inputs=tf.gather(codes, order, batch_dims=1), values=codes, out_type=tf.int32)
    return tf.gather(order, run, batch_dims=1) == tf.range(tf.shape(codes)[1])[None, :]


def retrieval_of(query: tf.Tensor, items: ItemSnapshot, candidates: tf.Tensor, listed: tf.Tensor) -> Retrieval:
    """Score and rank of each candidate `[B, C]` against the retriever's own list `[B, n]`."""
    theirs = tf.where(rows_at(items.available, listed), pair_scores(query, items, listed), tf.float32.min)
    scores = pair_scores(query, items, candidates)
    ranks = tf.searchsorted(tf.sort(-theirs, axis=1), -scores, side="left")
    return Retrieval(scores, tf.cast(ranks, tf.float32), tf.shape(listed)[1])
