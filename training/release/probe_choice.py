"""How many cells a query must look into, so that few of its nearest items are missed: measured, not assumed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUERIES_AT_ONCE = 16  # × 1M items: 64 MB of products


@dataclass(frozen=True)
class ProbeChoice:
    """For lists of up to `length` items.

    Attributes:
        length: items asked for.
        probes: cells looked into; 0 when no number of cells is worth it.
        recall: the share of the true nearest items that the probed cells hold, mean over the queries.
        scanned: the share of all items that the probed cells hold, mean over the queries.
    """

    length: int
    probes: int
    recall: float
    scanned: float


def choose_probes(
    queries: np.ndarray,
    vectors: np.ndarray,
    starts: np.ndarray,
    promise: np.ndarray,
    lengths: Sequence[int],
    recall: float,
    scanned: float,
) -> list[ProbeChoice]:
    """The fewest probes with which the queries' recall, less two standard errors, reaches `recall`.

    Args:
        queries: float32 `[Q, D]`.
        vectors: float32 `[n, D]`, cell after cell.
        starts: int `[cells + 1]`, where each cell starts in `vectors`.
        promise: float32 `[Q, cells]`, what a query expects of each cell; the largest are probed first.
        lengths: increasing, none above n.
        recall: of the items that are at least as near as the last of the exact list.
        scanned: the largest share of all items that is still worth it, mean over the queries.

    Returns:
        One choice for each length. Whatever the query, its probed cells hold `length` items.
    """
    sizes = np.diff(starts)
    order = np.argsort(-promise, axis=1, kind="stable")
    turn = np.empty_like(order)
    np.put_along_axis(turn, order, np.arange(len(sizes))[None, :], axis=1)
    cell_of = np.repeat(np.arange(len(sizes)), sizes)
    longest = max(lengths)
    turns = [np.empty((0, longest), order.dtype)]
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        products = queries[start : start + QUERIES_AT_ONCE] @ vectors.T
        turns += [_turns(row, turn[start + at][cell_of], longest) for at, row in enumerate(products)]
    when = np.concatenate(turns)  # [Q, longest], how many cells come before the one that holds the item
    share = np.cumsum(sizes[order], axis=1).mean(axis=0) / len(vectors)
    fewest = np.cumsum(np.sort(sizes))
    return [_choice(when[:, :length], share, fewest, length, recall, scanned) for length in lengths]


def _turns(products: np.ndarray, turn: np.ndarray, longest: int) -> np.ndarray:
    """`[1, longest]`: the turn of the nearest item's cell, of the second nearest's, …; of equals the earlier first."""
    last = np.partition(products, len(products) - longest)[len(products) - longest]
    near = np.flatnonzero(products >= last)
    return turn[near[np.lexsort((turn[near], -products[near]))]][None, :longest]


def _choice(
    when: np.ndarray, share: np.ndarray, fewest: np.ndarray, length: int, recall: float, scanned: float
) -> ProbeChoice:
    asked = when.shape[1]
    found = np.zeros((len(when), len(share)))
    np.add.at(found, (np.arange(len(when))[:, None], when), 1 / asked)
    found = np.cumsum(found, axis=1)
    sure = found.mean(axis=0) - 2 * found.std(axis=0) / np.sqrt(len(found))
    enough = max(int(np.argmax(sure >= recall - 1e-9)), int(np.searchsorted(fewest, asked)))
    worth = share[enough] <= scanned
    return ProbeChoice(length, enough + 1 if worth else 0, float(found[:, enough].mean()), float(share[enough]))
