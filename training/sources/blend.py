"""One order of what several sources propose: a weighted sum of reciprocal ranks, with weights tuned on past requests.

Reciprocal rank fusion (Cormack, Clarke & Buettcher, 2009) needs no common scale of the sources' scores; here each
source has a weight of its own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from tastemaker.steps import write_atomically
from training.evaluation import metrics
from training.evaluation.order import hits_of_pairs

FILE = "blend.json"
DEFAULT_OFFSET = 10.0
OFFSETS = (5.0, DEFAULT_OFFSET, 20.0, 60.0)
FACTORS = (0.0, 0.3, 0.7, 1.5, 3.0)
ROUNDS = 2
FLOOR = 0.05  # what a weight that was tuned away starts from again

Tell = Callable[[int, float], None]  # how many blends were tried, and the best NDCG among them


@dataclass(frozen=True)
class Blend:
    """`weights` by source, none negative; `offset` is added to a rank: a large one levels the first places."""

    weights: Mapping[str, float] = field(default_factory=dict)
    offset: float = DEFAULT_OFFSET

    def scores(self, places: Sequence[tf.Tensor], lengths: Sequence[int], sources: Sequence[str]) -> tf.Tensor:
        """float32 `[B, C]`: the sum over the sources of weight / (offset + rank); 0 where nobody proposes an item.

        Args:
            places: by source int32 `[B, C]`, the item's place in its list, from 0; its length where it is not listed.
            lengths: of the lists.
            sources: their names; one without a weight counts 1.
        """
        weights = [self.weights.get(source, 1.0) for source in sources]
        place = tf.stack(list(places), axis=2)
        worth = tf.constant(weights, tf.float32) / (self.offset + 1.0 + tf.cast(place, tf.float32))
        # one operation: a chain of additions is put in another order by TensorFlow in some graphs, not in all
        return tf.reduce_sum(tf.where(place < tf.constant(list(lengths)), worth, 0.0), axis=2)

    def save(self, folder: Path) -> None:
        """Writes `blend.json`."""
        content = {"offset": self.offset, "weights": dict(self.weights)}
        write_atomically(folder / FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Blend":
        """What `save` wrote."""
        content = json.loads((folder / FILE).read_text())
        return cls(content["weights"], content["offset"])


@dataclass(frozen=True)
class BlendRows:
    """What the sources proposed to past requests, and what was taken.

    Attributes:
        places: int32 `[pairs, sources]`; −1 where a source does not list the item.
        labels: bool `[pairs]`.
        owner: int64 `[pairs]`, the request, never decreasing.
        positives: int64 `[requests]`, items taken, among the pairs or not.
    """

    places: np.ndarray
    labels: np.ndarray
    owner: np.ndarray
    positives: np.ndarray

    def worth(self, offset: float) -> np.ndarray:
        """float64 `[pairs, sources]`: the reciprocal ranks."""
        return np.where(self.places >= 0, 1 / (offset + 1 + np.maximum(self.places, 0)), 0.0)

    def recalls(self, sources: Sequence[str]) -> dict[str, float]:
        """Share of what was taken that each source lists, and that any of them does (`mix`): mean over requests."""
        listed = np.concatenate([self.places >= 0, (self.places >= 0).any(axis=1, keepdims=True)], axis=1)
        found = {}
        for name, column in zip((*sources, "mix"), listed.T, strict=True):
            taken = np.flatnonzero(self.labels & column)
            # a list of everything that the source lists: where in it something taken stands tells nothing here
            place = np.arange(len(taken)) - np.searchsorted(self.owner[taken], self.owner[taken])
            hits = np.zeros((len(self.positives), int(place.max(initial=0)) + 1), bool)
            hits[self.owner[taken], place] = True
            found[name] = round(float(np.nanmean(metrics.recall(hits, self.positives))), 4)
        return found

    def ndcg(self, scores: np.ndarray, k: int, seed: int) -> float:
        """Mean NDCG@k of the order by `scores` `[pairs]`, equals at random, over the requests with something taken.

        >>> rows = BlendRows(np.zeros((3, 1)), np.array([False, True, True]), np.zeros(3, np.int64), np.array([2]))
        >>> round(rows.ndcg(np.array([1.0, 3.0, 2.0]), 2, 0), 3), round(rows.ndcg(np.array([3.0, 2.0, 1.0]), 2, 0), 3)
        (1.0, 0.387)
        """
        random = np.random.default_rng(seed)  # the same draw for all weights that are compared
        hits = hits_of_pairs(self.owner, self.labels, scores, len(self.positives), k, random)
        return float(np.nanmean(metrics.ndcg(hits, self.positives)))


def tuned(
    rows: BlendRows, sources: Sequence[str], k: int, seed: int, tell: Tell = lambda tried, best: None
) -> tuple[Blend, float]:
    """The blend with the best NDCG@k found by a coordinate search from equal weights, and that NDCG.

    Every offset is tried; then, for `ROUNDS` rounds, each weight in a random order is multiplied by each of `FACTORS`
    and keeps what is best. Weights are scaled to sum to 1. The default blend is where the search of its offset begins:
    what is found is no worse on these rows. `seed` is also that of the order of equal scores. `tell` is called when a
    better blend was found, and at the end.
    """
    random = np.random.default_rng(seed)
    tried_so_far, best_so_far = 0, -1.0

    def ndcg(scores: np.ndarray) -> float:
        nonlocal tried_so_far, best_so_far
        value = rows.ndcg(scores, k, seed)
        tried_so_far += 1
        if value > best_so_far:
            best_so_far = value
            tell(tried_so_far, value)
        return value

    found: tuple[float, np.ndarray, float] = (-1.0, np.ones(len(sources)), OFFSETS[0])
    for offset in OFFSETS:
        worth = rows.worth(offset)
        weights = np.ones(len(sources))
        best = ndcg(worth @ weights)
        for _ in range(ROUNDS):
            before = best
            for source in random.permutation(len(sources)):
                kept = weights[source]
                for factor in FACTORS:
                    tried = weights.copy()
                    tried[source] = max(kept, FLOOR) * factor
                    if not tried.any():
                        continue
                    value = ndcg(worth @ tried)
                    if value > best:
                        best, weights = value, tried
            if best == before:
                break
        if best > found[0]:
            found = (best, weights, offset)
    value, weights, offset = found
    tell(tried_so_far, value)
    shares = weights / weights.sum()
    return Blend(dict(zip(sources, (round(float(share), 6) for share in shares), strict=True)), offset), value
