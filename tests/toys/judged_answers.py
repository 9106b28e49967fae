"""Answers of several systems to the toy shop's requests, each as good as it is told to be, and their figures."""

from typing import Any

import numpy as np
import pyarrow as pa
from toys import two_tastes as toy

from tastemaker.config import EvaluationConfig
from training.evaluation.answers import Answers, Pairs
from training.evaluation.judgement import PerRequest, judge
from training.evaluation.shop_day import pairs_of
from training.feature_tensors import column_of, request_timestamps
from training.release.item_universe import ItemUniverse

K = 5
NEWCOMER = 3  # this item's first event is the first request that takes it; the others are old
CONFIG = EvaluationConfig(k=K, bootstrap_samples=200)


def answers(**skill: float) -> Answers:
    """Each system's places are one of the request's own items with that chance, else any item."""
    random = np.random.default_rng(0)
    requests = toy.requests(days=4)
    place = requests.column_names.index("user_tenure_days")
    tenure = pa.array([[None, 5, 300][n % 3] for n in range(len(requests))], pa.int64())
    requests = requests.set_column(place, "user_tenure_days", tenure)
    universe = ItemUniverse.of(toy.item_id(n) for n in range(toy.ITEMS))
    owner, relevant = pairs_of(column_of(requests, "positive_item_ids"), universe)
    taken = relevant.reshape(len(requests), 3)
    moments = request_timestamps(requests)[owner] / 3_600_000_000
    lists = {}
    for system, chance in skill.items():
        lines = [random.permutation(toy.ITEMS)[:K] for _ in range(len(requests))]
        for line, own in zip(lines, taken, strict=True):
            right = random.random(3) < chance
            rest = [item for item in line if item not in own]
            line[:] = [*own[right], *rest, *own[~right]][:K]
        lists[system.replace("_", " ")] = np.array(lines)
    labels = np.tile(np.array([1, 0, 0], np.int8), len(requests))
    return Answers(
        requests=requests,
        universe=universe,
        lists=lists,
        owner=owner,
        relevant=relevant,
        head=relevant < 10,
        age=np.where(relevant == NEWCOMER, moments - moments[relevant == NEWCOMER].min(), 500.0),
        surprise={name: np.ones(places.shape) for name, places in lists.items()},
        popularity=np.arange(toy.ITEMS + 1.0),
        catalogue=toy.ITEMS,
        pairs=Pairs(
            owner=np.repeat(np.arange(len(requests)), 3),
            labels=labels,
            probabilities=np.where(labels > 0, 0.6, 0.2).astype(np.float32),
            positives=len(owner),
            reachable=int(labels.sum()),
            shown=0,
        ),
    )


def judged(**skill: float) -> tuple[Answers, dict[str, Any], PerRequest]:
    """The answers, their figures, and each request's."""
    made = answers(**skill)
    figures, found = judge(made, CONFIG)
    return made, figures, found
