"""The ranker's features: the one function that trains it and serves it.

Everything here is TensorFlow on integers, row by row of the batch: no row's features depend on another row, nor on how
many rows or candidates there are. Trees are indifferent to monotone transforms, so nothing is scaled; NaN is "missing".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tastemaker import names
from training.feature_tensors import NUMERIC_TYPES, user_features
from training.ranking.past import DAY, Past, UserRows
from training.ranking.row_scatter import by_row, marked
from training.release.item_snapshot import ITEM_NUMBERS, TITLE_WORDS, ItemSnapshot, rows_at
from training.sources.popularity import Popularity

RECENT = 20  # items of the history whose titles say what is wanted now

USER_NUMBERS: tuple[str, ...] = tuple(f.name for f in user_features() if f.dtype in NUMERIC_TYPES)
REQUEST = ("request_hour", "request_weekday", "history_items")
RETRIEVAL = ("retrieval_score", "retrieval_rank", "from_two_tower", "from_popular", "item_popularity_rank")
# The score of co-visitation is `neighbour_of_history_recent`.
PROPOSED = (
    "from_history",
    "from_co_visitation",
    "co_visitation_rank",
    "from_user_knn",
    "user_knn_rank",
    "user_knn_score",
    "from_matrix_factorization",
    "matrix_factorization_rank",
    "matrix_factorization_score",
    "from_content",
    "content_rank",
    "content_score",
    "from_next_item",
    "next_item_rank",
    "next_item_score",
    "blend_score",
)
REPEAT = (
    "in_history",
    "history_position",
    "history_count",
    "history_count_share",
    "history_days_since",
    "history_reorders_due",
)
NEIGHBOURS = (
    "neighbours_in_history_sum",
    "neighbours_in_history_max",
    "neighbours_in_history_recent",
    "neighbour_of_history_sum",
    "neighbour_of_history_recent",
    "neighbour_of_latest",
)
CONTENT = ("title_overlap", "category_share", "brand_share", "price_ratio")

FEATURE_NAMES: tuple[str, ...] = (
    *USER_NUMBERS,
    *ITEM_NUMBERS,
    *REQUEST,
    *RETRIEVAL,
    *PROPOSED,
    *REPEAT,
    *NEIGHBOURS,
    *CONTENT,
)

# What a feature depends on says how often it must be computed: once a release, once a request, once a pair.
ITEM_ONLY: tuple[str, ...] = (*ITEM_NUMBERS, "from_popular", "item_popularity_rank")
USER_ONLY: tuple[str, ...] = (*USER_NUMBERS, *REQUEST)
PAIR_ONLY: tuple[str, ...] = tuple(name for name in FEATURE_NAMES if name not in ITEM_ONLY and name not in USER_ONLY)


@dataclass(frozen=True)
class Retrieval:
    """What the candidate sources say of the candidates. A source that is off has no entry.

    Attributes:
        places: by source int32 `[B, C]`, the item's place in the source's list, 0 is the best; the list's length where
            it is not listed.
        lengths: by source, how long its list may be.
        scores: by source float32 `[B, C]`, of those that have something to say of any item.
        blend: float32 `[B, C]`, the order of all lists together; 0 where nobody lists the item.
    """

    places: Mapping[str, tf.Tensor]
    lengths: Mapping[str, int]
    scores: Mapping[str, tf.Tensor]
    blend: tf.Tensor


def feature_matrix(past: Past, candidates: tf.Tensor, retrieval: Retrieval, popularity: Popularity) -> tf.Tensor:
    """The features of every pair, in the order of FEATURE_NAMES.

    Args:
        past: the batch, over the snapshot of the request's day.
        candidates: int32 `[B, C]`, item indices.
        retrieval: of the same pairs.
        popularity: whose list is proposed to everyone.

    Returns:
        float32 `[B, C, len(FEATURE_NAMES)]`.
    """
    groups = [
        _per_pair(user_columns(past.user, past.items), candidates),
        item_columns(past.items, candidates, popularity),
        pair_columns(past, candidates, retrieval),
    ]
    grouped = (*USER_ONLY, *ITEM_ONLY, *PAIR_ONLY)
    return tf.gather(tf.concat(groups, axis=2), [grouped.index(name) for name in FEATURE_NAMES], axis=2)


def user_columns(user: UserRows, items: ItemSnapshot) -> tf.Tensor:
    """The features of the request alone, float32 `[B, len(USER_ONLY)]`."""
    hour = tf.math.floormod(user.requested, DAY) // (DAY // 24)
    weekday = tf.math.floormod(user.requested // DAY + 3, 7)  # 1970-01-01 was a Thursday; Monday is 0
    known = tf.reduce_sum(tf.cast(user.history != items.universe.unknown, tf.float32), axis=1)
    request = tf.stack([tf.cast(hour, tf.float32), tf.cast(weekday, tf.float32), known], axis=1)
    return tf.concat([user.numbers, request], axis=1)


def item_columns(items: ItemSnapshot, at: tf.Tensor, popularity: Popularity) -> tf.Tensor:
    """The features of the items alone at int32 indices `[…]`, float32 `[…, len(ITEM_ONLY)]`."""
    listed = tf.cast(rows_at(popularity.rank, at) < popularity.listed, tf.float32)
    own = tf.stack([listed, rows_at(items.popularity_rank, at)], axis=-1)
    return tf.concat([rows_at(items.numbers, at), own], axis=-1)


def pair_columns(past: Past, candidates: tf.Tensor, retrieval: Retrieval) -> tf.Tensor:
    """The features that need both, float32 `[B, C, len(PAIR_ONLY)]`."""
    proposed = _from_sources(retrieval)
    columns = [proposed[name] for name in ("two_tower_score", "two_tower_rank", "from_two_tower", *PROPOSED)]
    groups = [_repeat(past, candidates), _neighbours(past, candidates), _content(past, candidates)]
    return tf.concat([tf.stack(columns, axis=2), *groups], axis=2)


def _from_sources(retrieval: Retrieval) -> dict[str, tf.Tensor]:
    """Who proposes an item, at which place and with which score; for a source that is off the same everywhere."""
    missing = tf.fill(tf.shape(retrieval.blend), float("nan"))
    columns = {"blend_score": retrieval.blend}
    for source in names.CANDIDATE_SOURCES:
        place = retrieval.places.get(source)
        listed = None if place is None else tf.cast(place < retrieval.lengths[source], tf.float32)
        columns[f"from_{source}"] = tf.zeros_like(missing) if listed is None else listed
        columns[f"{source}_rank"] = missing if place is None else tf.cast(place, tf.float32)
        columns[f"{source}_score"] = retrieval.scores.get(source, missing)
    return columns


def _repeat(past: Past, candidates: tf.Tensor) -> tf.Tensor:
    """Of this very item: had before, how often, how long ago; and reorders overdue, the days since the last time over
    the user's mean days between two of its events.

    Made for each entry of the history, and taken from there: float32 `[B, C, len(REPEAT)]`.
    """
    nan, user = float("nan"), past.user
    total = tf.reduce_sum(tf.where(past.first, user.counts, 0.0), axis=1, keepdims=True)
    tenure = user.numbers[:, USER_NUMBERS.index("user_tenure_days"), None]
    of_entries = [
        tf.ones_like(past.days),
        tf.zeros_like(past.days) + tf.range(past.length, dtype=tf.float32),
        user.counts,
        tf.math.divide_no_nan(user.counts, total),
        past.days,
        past.days * user.counts / tf.maximum(tenure, 1.0),
    ]
    absent = tf.broadcast_to(tf.constant([0.0, nan, 0.0, 0.0, nan, nan]), [tf.shape(candidates)[0], 1, len(REPEAT)])
    entries = tf.concat([tf.stack(of_entries, axis=2), absent], axis=1)
    return tf.gather(entries, tf.gather(past.position, candidates, batch_dims=1), batch_dims=1)


def _neighbours(past: Past, candidates: tf.Tensor) -> tf.Tensor:
    """Similarity of the candidate and the history, both ways: the candidate's neighbours that the user had, and the
    neighbours of what the user had that are the candidate (lists are cut, so the two differ); and those of the latest
    item alone. float32 `[B, C, len(NEIGHBOURS)]`."""
    items = past.items
    batch, count = tf.unstack(tf.shape(candidates))
    width = items.neighbours.shape[1]
    theirs = tf.reshape(rows_at(items.neighbours, candidates), [batch, count * width])
    scores = rows_at(items.neighbour_scores, candidates)
    position = tf.gather(past.position, theirs, batch_dims=1)
    had = tf.cast(position < past.length, tf.float32)
    weight = past.at(past.weight, position, 0.0)
    shape = [batch, count, width]
    met = scores * tf.reshape(had, shape)
    of_candidates = [
        tf.reduce_sum(met, axis=2),
        tf.reduce_max(met, axis=2),
        tf.reduce_sum(scores * tf.reshape(weight, shape), axis=2),
    ]
    latest = tf.zeros_like(past.weight) + tf.one_hot(0, past.length)
    weights = tf.stack([tf.cast(past.first, tf.float32), past.weight, latest], axis=2)
    return tf.concat([tf.stack(of_candidates, axis=2), past.similarity(candidates, weights)], axis=2)


def _content(past: Past, candidates: tf.Tensor) -> tf.Tensor:
    """Title words shared with the recent history (a share of the candidate's words), the share of the history in the
    same category and brand, and the price over the user's usual price. float32 `[B, C, len(CONTENT)]`."""
    items, user = past.items, past.user
    recent_words = rows_at(items.words, user.history[:, :RECENT])
    batch, count = tf.unstack(tf.shape(candidates))
    seen_words = marked(tf.reshape(recent_words, [batch, -1]), items.word_codes)
    words = rows_at(items.words, candidates)
    shared = tf.gather(seen_words, tf.reshape(words, [batch, count * TITLE_WORDS]), batch_dims=1)
    present = tf.cast(words > 0, tf.float32)
    overlap = tf.reduce_sum(tf.reshape(shared, [batch, count, TITLE_WORDS]) * present, axis=2)
    overlap = tf.math.divide_no_nan(overlap, tf.reduce_sum(present, axis=2))
    shares = [
        _share(codes, size, past, candidates)
        for codes, size in ((items.category, items.category_codes), (items.brand, items.brand_codes))
    ]
    usual = user.numbers[:, USER_NUMBERS.index("user_mean_item_price_90d"), None]
    price = rows_at(items.numbers, candidates)[:, :, ITEM_NUMBERS.index("item_price")]
    ratio = tf.where(usual > 0.0, price / usual, float("nan"))
    return tf.stack([overlap, *shares, ratio], axis=2)


def _share(codes: tf.Variable, size: int, past: Past, candidates: tf.Tensor) -> tf.Tensor:
    """How much of the history has the candidate's code; missing where the candidate has none."""
    counted = tf.cast(past.first, tf.float32)
    of_history = rows_at(codes, past.user.history)
    empty = tf.zeros([tf.shape(candidates)[0], size])
    dense = tf.tensor_scatter_nd_add(empty, by_row(of_history), tf.reshape(counted, [-1]))
    own = rows_at(codes, candidates)
    share = tf.math.divide_no_nan(tf.gather(dense, own, batch_dims=1), tf.reduce_sum(counted, axis=1, keepdims=True))
    return tf.where(own > 0, share, float("nan"))


def _per_pair(per_row: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """`[B, n]` repeated for each candidate: `[B, C, n]`."""
    batch, count = tf.unstack(tf.shape(candidates))
    return tf.broadcast_to(per_row[:, None, :], [batch, count, tf.shape(per_row)[1]])
