"""The test requests put to every system, snapshot by snapshot, with the items of then in the graph that is served."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
import tensorflow as tf

from tastemaker import names
from tastemaker.moments import microseconds
from training.datasets.item_snapshots import by_snapshot, snapshot_of
from training.evaluation.baselines import Baseline, ranked
from training.evaluation.shop_day import Histories, ShopDay, pairs_of
from training.evaluation.systems import CHAMPION, RELEASE, RETRIEVER
from training.feature_tensors import column_of, query_tensors, request_timestamps
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES
from training.ranking.rows import RankerRows, ranker_rows
from training.release.fused_graph import FusedRecommender
from training.release.item_universe import ItemUniverse
from training.release.trees import CompiledForest
from training.splits import Window

HOUR = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Pairs:
    """Pairs of a request and an item with the ranker's probability: candidates, or logged impressions.

    Attributes:
        owner: int64 `[pairs]`, the request, never decreasing within a snapshot.
        labels: int8 `[pairs]`.
        probabilities: float32 `[pairs]`.
        positives, reachable: items taken, and how many of them are among the pairs.
        shown: requests whose pairs are logged impressions.
        champion: float32 `[pairs]`, the champion's probability; NaN where it gives none, None without a champion.
    """

    owner: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    positives: int
    reachable: int
    shown: int
    champion: np.ndarray | None = None


@dataclass(frozen=True)
class Answers:
    """What every system answered.

    Attributes:
        requests: the test requests, in the order of all arrays `[requests, …]`.
        universe: what an item index means.
        lists: system → int64 `[requests, k]`, item indices, −1 for an empty place.
        owner, relevant: `[positives]`, the request and the item index of what was taken; `universe.unknown` is an item
            that no system can name.
        head: bool `[positives]`, whether the item was among the most popular when it was asked.
        age: float64 `[positives]`, hours from the item's first event ever to the request; below 0 where that was in the
            request's own session.
        surprise: system → float64 `[requests, k]`, bits.
        popularity: float64 `[N + 1]`, summed over the snapshots.
        catalogue: how many items there were in some snapshot.
        pairs: the ranker's probabilities.
        asked: bool `[requests]`, those that the champion was asked; None without a champion.
    """

    requests: pa.Table
    universe: ItemUniverse
    lists: dict[str, np.ndarray]
    owner: np.ndarray
    relevant: np.ndarray
    head: np.ndarray
    age: np.ndarray
    surprise: dict[str, np.ndarray]
    popularity: np.ndarray
    catalogue: int
    pairs: Pairs
    asked: np.ndarray | None = None


@dataclass(frozen=True)
class ChampionAnswers:
    """What the champion says to some requests.

    Attributes:
        lists: int64 `[requests, k]`, item indices, −1 for an empty place.
        asked: bool `[requests]`; it has nothing to say to the others.
        probabilities: float32 `[pairs]`, of the pairs it was given; NaN where it gives none.
    """

    lists: np.ndarray
    asked: np.ndarray
    probabilities: np.ndarray


class Champion(Protocol):
    """The release that serves, ready to be asked. See `training.evaluation.champion`."""

    def answers(self, today: pa.Table, items: pa.Table, rows: RankerRows, k: int) -> ChampionAnswers:
        """Answers the requests of one snapshot.

        Args:
            today: rows of `requests.parquet`.
            items: the item snapshots of every moment in question.
            rows: the candidate's pairs.
            k: length of the lists.
        """


def ages_of(requests: pa.Table) -> np.ndarray:
    """How old what was taken was at the request, float64 `[positives]`, hours since the item's first event."""
    first = column_of(requests, names.POSITIVE_FIRST_TIMESTAMPS)
    owner = np.asarray(pc.list_parent_indices(first))
    moments = pc.list_flatten(first).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.asarray((request_timestamps(requests)[owner] - moments) / HOUR)


def purchases_before(requests: pa.Table, test: Window, universe: ItemUniverse) -> sp.csr_matrix:
    """How often each user took each item in requests that happened and were known before the test window.

    Returns counts `[users, N + 1]`.
    """
    assert test.start is not None
    known = pc.cast(requests[names.CREATED_TIMESTAMP], pa.int64()).to_numpy() <= microseconds(test.start)
    past = requests.filter(pa.array(known & (request_timestamps(requests) < microseconds(test.start))))
    users = column_of(past, names.USER_ID).dictionary_encode()
    owner, items = pairs_of(column_of(past, names.POSITIVE_ITEM_IDS), universe)
    rows = users.indices.to_numpy(zero_copy_only=False)[owner]
    known_item = items != universe.unknown
    shape = (len(users.dictionary), universe.rows)
    counts = sp.csr_matrix((np.ones(int(known_item.sum())), (rows[known_item], items[known_item])), shape=shape)
    counts.sum_duplicates()
    return counts


def ask_everyone(
    graph: FusedRecommender,
    forest: CompiledForest,
    calibration: Calibration,
    others: Sequence[Baseline],
    requests: pa.Table,
    items: pa.Table,
    k: int,
    seed: int,
    champion: Champion | None = None,
) -> Answers:
    """Every system's list of k items for every request, and the ranker's probabilities of its pairs.

    Args:
        graph: its snapshot is swapped; afterwards it holds the last one's.
        forest, calibration: those of the graph.
        others: fitted.
        requests: rows of `requests.parquet`, earliest first.
        items: the item snapshots of every moment in question.
        champion: speaks of the same items.

    Raises TastemakerError when a day has no snapshot.
    """
    probabilities = probabilities_of(forest, calibration)
    random = np.random.default_rng(seed)
    universe = graph.universe
    parts: list[Answers] = []
    for moment, today in by_snapshot(requests, items):
        rows = ranker_rows(graph, today, items)  # leaves the moment's items in the graph
        day = ShopDay.of(snapshot_of(items, moment), universe)
        asked = Histories.of(today, universe)
        lists = _asked(graph, today, k)
        lists |= {other.name: ranked(other.scores(asked, day), day.popularity, k, random) for other in others}
        theirs = champion.answers(today, items, rows, k) if champion else None
        if theirs is not None:
            lists[CHAMPION] = theirs.lists
        owner, relevant = pairs_of(column_of(today, names.POSITIVE_ITEM_IDS), universe)
        parts.append(
            Answers(
                requests=today,
                universe=universe,
                lists=lists,
                owner=owner,
                relevant=relevant,
                head=day.head[relevant],
                age=ages_of(today),
                surprise={name: day.surprise[places] for name, places in lists.items()},
                popularity=day.popularity,
                catalogue=0,
                pairs=_pairs(rows, probabilities, theirs),
                asked=None if theirs is None else theirs.asked,
            )
        )
    return _together(parts, k)


def probabilities_of(forest: CompiledForest, calibration: Calibration) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph from the ranker's features, float32 `[rows, F]`, to its probabilities, float32 `[rows]`."""
    return tf.function(
        lambda features: calibration.probabilities(forest.raw_scores(features)),
        input_signature=[tf.TensorSpec([None, len(FEATURE_NAMES)], tf.float32)],
        autograph=False,
    )


def _asked(graph: FusedRecommender, today: pa.Table, k: int) -> dict[str, np.ndarray]:
    """The release's and the retriever's lists, with the features as of each request."""
    user = {name: tf.constant(values) for name, values in query_tensors(today).items()}
    length = tf.constant(k)
    served = graph.recommend({**user, names.INPUT_EXCLUDE_ITEM_IDS: tf.constant([[""]]), names.INPUT_K: length})
    nearest = graph.retrieve({**user, names.INPUT_K: length})
    return {
        system: item_indices(found[names.OUTPUT_ITEM_IDS].numpy(), graph.universe, k)
        for system, found in ((RELEASE, served), (RETRIEVER, nearest))
    }


def item_indices(ids: np.ndarray, universe: ItemUniverse, k: int) -> np.ndarray:
    """Bytes `[B, n]` → int64 `[B, k]`, −1 for "" and for what a small catalogue leaves open."""
    flat = universe.indices(pa.array(ids.reshape(-1), pa.binary()).cast(pa.string()))
    found = np.where(flat == universe.unknown, -1, flat).astype(np.int64).reshape(ids.shape)
    return np.pad(found, ((0, 0), (0, k - ids.shape[1])), constant_values=-1)


def _pairs(rows: RankerRows, probabilities: Callable[[tf.Tensor], tf.Tensor], theirs: ChampionAnswers | None) -> Pairs:
    return Pairs(
        owner=rows.request.astype(np.int64),
        labels=rows.labels,
        probabilities=probabilities(tf.constant(rows.features)).numpy(),
        positives=rows.positives,
        reachable=rows.reachable,
        shown=rows.shown,
        champion=None if theirs is None else theirs.probabilities,
    )


def _together(parts: Sequence[Answers], k: int) -> Answers:
    starts = np.cumsum([0, *(len(part.requests) for part in parts)])[:-1]
    universe = parts[0].universe
    there = np.any([part.popularity >= 0 for part in parts], axis=0)
    pairs = [part.pairs for part in parts]
    return Answers(
        requests=pa.concat_tables([part.requests for part in parts]),
        universe=universe,
        lists={name: np.concatenate([part.lists[name] for part in parts]) for name in parts[0].lists},
        owner=np.concatenate([part.owner + start for part, start in zip(parts, starts, strict=True)]),
        relevant=np.concatenate([part.relevant for part in parts]),
        head=np.concatenate([part.head for part in parts]),
        age=np.concatenate([part.age for part in parts]),
        surprise={name: np.concatenate([part.surprise[name] for part in parts]) for name in parts[0].surprise},
        popularity=np.sum([np.maximum(part.popularity, 0) for part in parts], axis=0),
        catalogue=int(there.sum()),
        pairs=Pairs(
            owner=np.concatenate([part.owner + start for part, start in zip(pairs, starts, strict=True)]),
            labels=np.concatenate([part.labels for part in pairs]),
            probabilities=np.concatenate([part.probabilities for part in pairs]),
            positives=sum(part.positives for part in pairs),
            reachable=sum(part.reachable for part in pairs),
            shown=sum(part.shown for part in pairs),
            champion=_joined([part.champion for part in pairs]),
        ),
        asked=_joined([part.asked for part in parts]),
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else None
