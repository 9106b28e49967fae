"""Who visited what, which part of it is known and which is wanted, and how well a full ranking finds it.

A folder holds `train.txt`, `valid.txt` and `test.txt`, a user and its items a line (github.com/geon0325/LightGCNpp,
data/gowalla, commit a394f79a; train and valid are LightGCN's train). All items that a user is known to have visited are
masked when its wanted items are ranked. Equal scores are ordered at random.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tastemaker.errors import TastemakerError
from training.evaluation import metrics

K = 20
FIGURES = (f"recall@{K}", f"ndcg@{K}")
USERS_AT_ONCE = 512


@dataclass(frozen=True)
class Visits:
    """Distinct (user, item), int64 `[visits]` each, by user."""

    user: np.ndarray
    item: np.ndarray

    @classmethod
    def read(cls, *paths: Path, ordered: bool = True) -> "Visits":
        """All lines of the files, each user's items `ordered` or as they stand. Raises TastemakerError without one."""
        users, items = [], []
        for path in paths:
            if not path.exists():
                raise TastemakerError(f"There is no {path}; name the folder of Gowalla's files with --data.")
            for line in path.read_text().splitlines():
                owner, *taken = map(int, line.split())
                users.append(np.full(len(taken), owner, np.int64))
                items.append(np.array(taken, np.int64))
        user, item = np.concatenate(users), np.concatenate(items)
        return cls(user, item).ordered() if ordered else cls(user, item)

    def ordered(self) -> "Visits":
        """By user and item."""
        order = np.lexsort((self.item, self.user))
        return Visits(self.user[order], self.item[order])

    def __add__(self, other: "Visits") -> "Visits":
        return Visits(np.concatenate([self.user, other.user]), np.concatenate([self.item, other.item])).ordered()


def late_visits(path: Path) -> tuple[Visits, Visits]:
    """What stands in the first four fifths of each line, rounded up, and the rest."""
    visits = Visits.read(path, ordered=False)
    counts = np.bincount(visits.user)
    place = np.arange(len(visits.user)) - np.repeat(np.cumsum(counts) - counts, counts)
    late = place >= counts[visits.user] - counts[visits.user] // 5
    return Visits(visits.user[~late], visits.item[~late]), Visits(visits.user[late], visits.item[late])


def parts(data: Path, tune: str | None) -> tuple[Visits, Visits]:
    """What is known and what is wanted: to tune on `valid` or `late`, or of `test`."""
    train, valid, test = (data / f"{name}.txt" for name in ("train", "valid", "test"))
    if tune == "late":
        early, late = late_visits(train)
        return early + Visits.read(valid), late
    return (Visits.read(train), Visits.read(valid)) if tune else (Visits.read(train, valid), Visits.read(test))


def extent(data: Path) -> tuple[int, int]:
    """How many users and items the three files have, each numbered from 0."""
    everything = Visits.read(*(data / f"{name}.txt" for name in ("train", "valid", "test")))
    return int(everything.user.max()) + 1, int(everything.item.max()) + 1


def full_ranking(
    scores_of: Callable[[np.ndarray], np.ndarray], known: Visits, wanted: Visits, users: int, items: int, seed: int
) -> dict[str, float]:
    """Mean Recall@K and NDCG@K of the users with something wanted; what is known of a user cannot be answered.

    Args:
        scores_of: of some users, int64 `[n]`, `[n, items]`; users with as many visits are asked for together.
        known: what is masked.
        wanted: what is looked for.
        users: how many there are, numbered from 0.
        items: likewise.
        seed: of the order of equal scores.
    """
    shuffled = np.random.default_rng(seed).permutation(items)  # top_k prefers the earlier of two equal scores
    column = np.argsort(shuffled)
    judged = np.unique(wanted.user)
    by_visits = judged[np.argsort(np.bincount(known.user, minlength=users)[judged], kind="stable")]
    ranked = np.zeros((users, K), np.int64)
    for asked in np.array_split(by_visits, max(1, len(judged) // USERS_AT_ONCE)):
        scores = scores_of(asked)[:, shuffled]
        row_of = np.full(users, -1)
        row_of[asked] = np.arange(len(asked))
        mine = row_of[known.user] >= 0
        scores[row_of[known.user[mine]], column[known.item[mine]]] = -np.inf
        ranked[asked] = shuffled[tf.math.top_k(scores, K).indices.numpy()]
    hits, relevant = metrics.hits_of(ranked, wanted.user, wanted.item), np.bincount(wanted.user, minlength=users)
    return {
        f"recall@{K}": float(np.nanmean(metrics.recall(hits, relevant))),
        f"ndcg@{K}": float(np.nanmean(metrics.ndcg(hits, relevant))),
    }
