"""Recall by full ranking: every item that existed then competes; sampled metrics are never shown."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from training.evaluation import metrics
from training.evaluation.order import best_first
from training.feature_tensors import column_of
from training.retrieval.examples import MISSING, Snapshots

# scores of the given snapshot rows for the given request rows: [requests, items]
Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Ranking(NamedTuple):
    """One request's best items, as indices into `Snapshots.items`, best first, and its positives."""

    best: np.ndarray
    positives: np.ndarray


def recall_at(
    ks: Sequence[int],
    score: Scorer,
    positives: Sequence[np.ndarray],
    moments: np.ndarray,
    snapshots: Snapshots,
    seed: int,
) -> dict[int, float]:
    """Mean over requests of the share of a request's positives among its k best-scored items.

    `ks` are the lengths of lists; for the rest see `rankings`. Returns k → recall, 0 when there is no request with a
    positive.
    """
    found: dict[int, list[np.ndarray]] = {k: [np.empty(0)] for k in ks}
    for best, wanted in _by_day(max(ks), score, positives, moments, snapshots, seed):
        counts = np.array([len(items) for items in wanted])
        hits = metrics.hits_of(best, np.repeat(np.arange(len(counts)), counts), np.concatenate(wanted))
        for k in ks:
            found[k].append(metrics.recall(hits[:, :k], counts))
    each = {k: np.concatenate(parts) for k, parts in found.items()}
    return {k: float(values.mean()) if len(values) else 0.0 for k, values in each.items()}


def rankings(
    k: int,
    score: Scorer,
    positives: Sequence[np.ndarray],
    moments: np.ndarray,
    snapshots: Snapshots,
    seed: int,
) -> Iterator[Ranking]:
    """The k best-scored items of every request that has a positive, day by day.

    Args:
        k: list length; a list is shorter where fewer items existed.
        score: see `Scorer`.
        positives: for each request, its positive items as indices into `snapshots.items` (-1: never existed).
        moments: for each request, its time in microseconds since 1970 UTC; its candidates are the items of the latest
            snapshot day at or before.
        snapshots: the item snapshots.
        seed: of the order of equal scores, each request's its own.
    """
    for best, wanted in _by_day(k, score, positives, moments, snapshots, seed):
        yield from map(Ranking, best, wanted)


def _by_day(
    k: int,
    score: Scorer,
    positives: Sequence[np.ndarray],
    moments: np.ndarray,
    snapshots: Snapshots,
    seed: int,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """A day's lists, `[requests, k]`, and the positives of the same requests."""
    random = np.random.default_rng(seed)
    days = snapshots.day_index(moments)
    for day in np.unique(days[days >= 0]):
        rows = snapshots.existing(int(day))
        items = np.flatnonzero(snapshots.rows[day] != MISSING)
        requests = np.array([r for r in np.flatnonzero(days == day).tolist() if len(positives[r])], dtype=np.int64)
        if len(requests):
            best = best_first(score(requests, rows), k, random)
            yield items[best], [positives[request] for request in requests.tolist()]


def positives_of(requests: pa.Table, snapshots: Snapshots) -> list[np.ndarray]:
    """For each request its positives as indices into `snapshots.items`, -1 for an item that is in no snapshot."""
    positives = column_of(requests, names.POSITIVE_ITEM_IDS)
    counts = pc.list_value_length(positives).fill_null(0).to_numpy(zero_copy_only=False)
    found = pc.index_in(positives.flatten(), value_set=snapshots.items).fill_null(MISSING)
    return np.split(found.to_numpy(zero_copy_only=False), np.cumsum(counts)[:-1])
