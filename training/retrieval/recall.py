"""Recall by full ranking: every item that existed then competes; sampled metrics are never shown."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from training.feature_tensors import column_of
from training.retrieval.examples import MISSING, Snapshots

# scores of the given snapshot rows for the given request rows: [requests, items]
Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Ranking(NamedTuple):
    """One request's best items, as indices into `Snapshots.items`, best first, and its positives."""

    best: np.ndarray
    positives: np.ndarray


def recall_at(
    ks: Sequence[int], score: Scorer, positives: Sequence[np.ndarray], moments: np.ndarray, snapshots: Snapshots
) -> dict[int, float]:
    """Mean over requests of the share of a request's positives among its k best-scored items.

    `ks` are the lengths of lists; for the rest see `rankings`. Returns k → recall, 0 when there is no request with a
    positive.
    """
    hits = dict.fromkeys(ks, 0.0)
    judged = 0
    for best, wanted in rankings(max(ks), score, positives, moments, snapshots):
        found = np.isin(best, wanted)
        judged += 1
        for k in ks:
            hits[k] += found[:k].sum() / len(wanted)
    return {k: hits[k] / judged if judged else 0.0 for k in ks}


def rankings(
    k: int, score: Scorer, positives: Sequence[np.ndarray], moments: np.ndarray, snapshots: Snapshots
) -> Iterator[Ranking]:
    """The k best-scored items of every request that has a positive, day by day.

    Args:
        k: list length; a list is shorter where fewer items existed.
        score: see `Scorer`.
        positives: for each request, its positive items as indices into `snapshots.items` (-1: never existed).
        moments: for each request, its time in microseconds since 1970 UTC; its candidates are the items of the latest
            snapshot day at or before.
        snapshots: the item snapshots.

    Ties go to the earlier snapshot row.
    """
    days = snapshots.day_index(moments)
    for day in np.unique(days[days >= 0]):
        rows = snapshots.existing(int(day))
        items = np.flatnonzero(snapshots.rows[day] != MISSING)
        requests = np.array([r for r in np.flatnonzero(days == day).tolist() if len(positives[r])], dtype=np.int64)
        if not len(requests):
            continue
        best = np.argsort(-score(requests, rows), axis=1, kind="stable")[:, :k]
        for request, ranked in zip(requests.tolist(), items[best], strict=True):
            yield Ranking(ranked, positives[request])


def positives_of(requests: pa.Table, snapshots: Snapshots) -> list[np.ndarray]:
    """For each request its positives as indices into `snapshots.items`, -1 for an item that is in no snapshot."""
    positives = column_of(requests, names.POSITIVE_ITEM_IDS)
    counts = pc.list_value_length(positives).fill_null(0).to_numpy(zero_copy_only=False)
    found = pc.index_in(positives.flatten(), value_set=snapshots.items).fill_null(MISSING)
    return np.split(found.to_numpy(zero_copy_only=False), np.cumsum(counts)[:-1])
