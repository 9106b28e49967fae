"""The ranker's training rows: requests as they happened, seen through the graph that serves.

Where impressions were logged the rows are the items that were shown, and clicks their labels. Where not, they are the
candidates the graph itself would have ranked, with the request's positive items as labels; a positive that was not
among the candidates teaches nothing and is counted. Negatives are never thinned out: their share is what the
probability is made of.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from training.datasets.item_snapshots import by_snapshot, snapshot_of
from training.feature_tensors import column_of, padded, query_tensors
from training.ranking.features import FEATURE_NAMES
from training.release.candidate_graph import CandidateGraph

REQUESTS_AT_ONCE = 256  # 256 × 300 candidates × 60 features: 18 MB on their way out of the graph


@dataclass(frozen=True)
class RankerRows:
    """Pairs of a request and an item, in order of time.

    Attributes:
        features: float32 `[rows, len(FEATURE_NAMES)]`.
        labels: int8 `[rows]`, 1 where the user took the item.
        items: int32 `[rows]`, the item's index in the graph's universe.
        request: int32 `[rows]`, the index of the pair's request, never decreasing.
        requests: how many requests there are, with those that left no pair.
        positives: items the users took in these requests.
        reachable: of those, how many are among the pairs.
        shown: requests whose rows are logged impressions.
    """

    features: np.ndarray
    labels: np.ndarray
    items: np.ndarray
    request: np.ndarray
    requests: int
    positives: int
    reachable: int
    shown: int

    def between(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of the requests with `first <= index < end`: views, no copies."""
        chosen = slice(*np.searchsorted(self.request, [first, end]))
        return self.features[chosen], self.labels[chosen]


def ranker_rows(graph: CandidateGraph, requests: pa.Table, items: pa.Table) -> RankerRows:
    """The rows of every request, snapshot by snapshot, each as its own moment's snapshot in the graph makes them.

    Args:
        graph: its snapshot is swapped; afterwards it holds the last one's.
        requests: rows of `requests.parquet`, earliest first.
        items: the item snapshots of every moment in question.

    Raises TastemakerError when a day has no snapshot.
    """
    features, labels, owners = [np.empty((0, len(FEATURE_NAMES)), np.float32)], [np.empty(0, np.int8)], []
    chosen = [np.empty(0, np.int32)]
    positives = shown = start = 0
    for moment, asked in by_snapshot(requests, items):
        graph.load_snapshot(snapshot_of(items, moment), moment)
        for part in _parts(asked):
            impressions = part[names.REQUEST_ORIGIN][0].as_py() == names.ORIGIN_IMPRESSIONS
            ids, kept, values = _shown(graph, part) if impressions else _candidates(graph, part)
            taken = [set(row or ()) for row in part[names.POSITIVE_ITEM_IDS].to_pylist()]
            label = np.array([[name in row for name in line] for line, row in zip(ids, taken, strict=True)], np.int8)
            features.append(values[kept])
            labels.append(label.reshape(kept.shape)[kept])
            names_kept = np.array(ids, object)[kept]
            chosen.append(graph.universe.indices(pa.array(names_kept, pa.string())))
            owners.append(np.repeat(np.arange(start, start + len(part), dtype=np.int32), kept.sum(axis=1)))
            positives += sum(len(row) for row in taken)
            shown += len(part) if impressions else 0
            start += len(part)
    all_labels = np.concatenate(labels)
    owner = np.concatenate([*owners, np.empty(0, np.int32)])
    return RankerRows(
        features=np.concatenate(features),
        labels=all_labels,
        items=np.concatenate(chosen),
        request=owner,
        requests=start,
        positives=positives,
        reachable=int(all_labels.sum()),
        shown=shown,
    )


def _parts(requests: pa.Table) -> Iterator[pa.Table]:
    """The requests in parts of one origin and bounded size; order stays within an origin."""
    for origin in names.REQUEST_ORIGINS:
        chosen = requests.filter(pc.equal(requests[names.REQUEST_ORIGIN], origin))
        yield from (chosen.slice(at, REQUESTS_AT_ONCE) for at in range(0, len(chosen), REQUESTS_AT_ONCE))


def _candidates(graph: CandidateGraph, part: pa.Table) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """Item ids `[B, C]`, which of them count bool `[B, C]`, features `[B, C, F]`."""
    user = {name: tf.constant(values) for name, values in query_tensors(part).items()}
    found = graph.candidate_features(user, tf.constant([[""]]))
    return _texts(found["item_ids"].numpy()), found["valid"].numpy(), found["features"].numpy()


def _shown(graph: CandidateGraph, part: pa.Table) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    user = {name: tf.constant(values) for name, values in query_tensors(part).items()}
    ids = padded(column_of(part, names.SHOWN_ITEM_IDS), "", object)
    found = graph.item_features(user, tf.constant(ids))
    return ids.tolist(), found["known"].numpy(), found["features"].numpy()


def _texts(ids: np.ndarray) -> list[list[str]]:
    return [[name.decode() for name in line] for line in ids.tolist()]
