"""What the graph made of an hour's requests: candidates and features, of which lists are made and the ranker learns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from benchmarks.walk_forward.session_knn import Sessions
from benchmarks.walk_forward.sessions import latest_rows, session_numbers, wanted
from tastemaker import names
from tastemaker.moments import microseconds
from training.feature_tensors import column_of, padded, query_tensors, request_timestamps
from training.ranking.features import FEATURE_NAMES
from training.ranking.rows import REQUESTS_AT_ONCE, RankerRows
from training.release.fused_graph import FusedRecommender
from training.release.item_universe import ItemUniverse

NEGATIVES = 20  # of 120 candidates: with 40 a fit takes twice as long and is no better


@dataclass(frozen=True)
class Answers:
    """The candidates of an hour's requests.

    Attributes:
        items: int32 `[requests, C]`, indices in the graph's universe; −1 where there is none.
        features: float32 `[requests, C, F]`.
        wanted: int32 `[requests]`, the item that was taken.
        moments: int64 `[requests]`, when it was, microseconds since 1970 UTC.
        sessions: int32 `[requests]`, a number for each session.
    """

    items: np.ndarray
    features: np.ndarray
    wanted: np.ndarray
    moments: np.ndarray
    sessions: np.ndarray

    @classmethod
    def of(cls, graph: FusedRecommender, asked: pa.Table) -> "Answers":
        """The graph's candidates for every request, none of them of the running session."""
        own = padded(column_of(asked, names.SESSION_ITEM_IDS), "", object)
        items, features = [], []
        for at in range(0, len(asked), REQUESTS_AT_ONCE):
            part = asked.slice(at, REQUESTS_AT_ONCE)
            user = {name: tf.constant(values) for name, values in query_tensors(part).items()}
            found = graph.candidate_features(user, tf.constant(own[at : at + REQUESTS_AT_ONCE]))
            valid = found["valid"].numpy()
            ids = pa.array(found["item_ids"].numpy().ravel().astype(str), pa.string())
            items.append(np.where(valid, graph.universe.indices(ids).reshape(valid.shape), -1))
            features.append(found["features"].numpy())
        target = graph.universe.indices(wanted(asked))
        numbers = session_numbers(asked)
        return cls(np.concatenate(items), np.concatenate(features), target, request_timestamps(asked), numbers)

    @property
    def valid(self) -> np.ndarray:
        """bool `[requests, C]`, where there is a candidate."""
        return self.items >= 0

    def column(self, name: str) -> np.ndarray:
        """One feature `[requests, C]`."""
        return np.asarray(self.features[:, :, FEATURE_NAMES.index(name)])

    def known(self, now: datetime) -> "Answers":
        """Of each session the latest request whose item was taken before `now`, whether or not the session goes on."""
        before = np.flatnonzero(self.moments < microseconds(now))
        return self.take(before[latest_rows(self.sessions[before], self.moments[before])])

    def sampled(self, negatives: int, random: np.random.Generator) -> np.ndarray:
        """bool `[requests, C]`: what was taken, and at most so many other candidates of each request, at random."""
        drawn = np.where(self.valid, random.random(self.items.shape), np.inf)
        drawn[self.items == self.wanted[:, None]] = -1.0
        place = np.argsort(np.argsort(drawn, axis=1), axis=1)
        return self.valid & (place <= negatives)

    def take(self, rows: np.ndarray) -> "Answers":
        """Some of the requests."""
        return Answers(*(getattr(self, field.name)[rows] for field in fields(self)))

    def best(self, scores: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
        """The k best items by scores `[requests, C]`, ties at random: int `[requests, k]`.

        −1 where nothing is left; −inf is not in the list.
        """
        scores = np.where(self.valid, scores, -np.inf)
        order = np.lexsort((random.random(scores.shape), -scores), axis=1)[:, :k]
        best = np.take_along_axis(self.items, order, axis=1)
        return np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), best, -1)


def ranker_rows(answers: Sequence[Answers], now: datetime, random: np.random.Generator) -> RankerRows:
    """Candidates and what was taken, of each session's latest request that is known by `now`, hour by hour.

    Only of requests whose item is among the candidates, for in another nothing is better than the rest; with it at most
    NEGATIVES others, drawn at random.
    """
    parts = [part.known(now) for part in answers]
    parts = [part.take(np.flatnonzero((part.items == part.wanted[:, None]).any(axis=1))) for part in parts]
    kept = [part.sampled(NEGATIVES, random) for part in parts]
    labels = np.concatenate([(part.items == part.wanted[:, None])[at] for part, at in zip(parts, kept, strict=True)])
    sizes = np.concatenate([at.sum(axis=1) for at in kept])
    return RankerRows(
        features=np.concatenate([part.features[at] for part, at in zip(parts, kept, strict=True)]),
        labels=labels.astype(np.int8),
        items=np.concatenate([part.items[at] for part, at in zip(parts, kept, strict=True)]),
        request=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        requests=len(sizes),
        positives=len(sizes),
        reachable=int(labels.sum()),
        shown=0,
    )


def session_items(requests: pa.Table, universe: ItemUniverse) -> Sessions:
    """Each request's session so far, as indices in the universe; items that are not in it are left out."""
    lists = column_of(requests, names.SESSION_ITEM_IDS)
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    items = Sessions(universe.indices(pc.list_flatten(lists)), sizes.astype(np.int64))
    return items.without(universe.unknown)


def sessions_so_far(known: pa.Table, universe: ItemUniverse) -> Sessions:
    """Sessions up to and with each request's answer, likewise."""
    return session_items(known, universe).before(universe.indices(wanted(known))).without(universe.unknown)
