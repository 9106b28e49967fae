"""Whether a canary may take the stable version's place: bounds on errors, latency and what is answered.

A pure function of two replays. Score distributions are compared by the Kolmogorov-Smirnov distance, the largest gap
between two cumulative distributions: 0 for the same, 1 for disjoint ones. Lists are compared by how much of the stable
version's list the canary lists too.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.releases.replay import Replay
from tastemaker import names
from tastemaker.config import CanaryConfig


@dataclass(frozen=True)
class Rule:
    """One figure against its bound, with the sentence that tells it."""

    rule: str
    observed: float
    bound: float
    passed: bool
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def compare(canary: Replay, stable: Replay | None, bounds: CanaryConfig) -> list[Rule]:
    """Every rule that can be held. Without a stable version, or with one that takes other inputs, there are fewer."""
    rules = [_errors(canary, stable, bounds), _latency(canary, stable, bounds)]
    if stable is not None:
        pairs = [
            (one, other)
            for one, other in zip(canary.answers, stable.answers, strict=True)
            if one is not None and other is not None
        ]
        rules += [rule for rule in (_scores(pairs, bounds), _overlap(pairs, bounds)) if rule is not None]
    return rules


def _errors(canary: Replay, stable: Replay | None, bounds: CanaryConfig) -> Rule:
    both = set() if stable is None else set(stable.errors) & set(canary.errors)
    failed = {index: reason for index, reason in canary.errors.items() if index not in both}
    share = len(failed) / max(1, len(canary.answers))
    first = f" ({next(iter(failed.values()))})" if failed else ""
    sentence = f"{len(failed)} of {len(canary.answers)} requests failed that the stable version answers{first}"
    if stable is None:
        sentence = f"{len(failed)} of {len(canary.answers)} requests failed{first}"
    passed = share <= bounds.max_error_share and bool(canary.answers)
    return Rule(
        "errors", share, bounds.max_error_share, passed, f"{sentence}; allowed is {bounds.max_error_share:.1%}."
    )


def _latency(canary: Replay, stable: Replay | None, bounds: CanaryConfig) -> Rule:
    bound = bounds.p99_milliseconds
    if stable is not None and stable.milliseconds:
        bound = max(bound, bounds.max_p99_factor * stable.p99_milliseconds)
    p99 = canary.p99_milliseconds
    beside = f", the stable version's is {stable.p99_milliseconds:.0f} ms" if stable and stable.milliseconds else ""
    sentence = f"Its p99 is {p99:.0f} ms{beside}; allowed are {bound:.0f} ms."
    return Rule("latency", p99, bound, bool(p99 <= bound), sentence)


def _scores(pairs: list[tuple[Any, Any]], bounds: CanaryConfig) -> Rule | None:
    """Over the signature `recommend` alone: its scores are probabilities, those of `retrieve` are not."""
    canary = [_listed_scores(one) for one, _ in pairs if names.OUTPUT_RELEASE in one]
    stable = [_listed_scores(other) for _, other in pairs if names.OUTPUT_RELEASE in other]
    if not canary or not stable:
        return None
    distance = ks_distance(np.concatenate(canary), np.concatenate(stable))
    passed = distance <= bounds.max_score_distance
    sentence = (
        f"Its scores are {distance:.2f} away from the stable version's (Kolmogorov-Smirnov); "
        f"allowed is {bounds.max_score_distance:.2f}."
    )
    return Rule("scores", distance, bounds.max_score_distance, passed, sentence)


def _overlap(pairs: list[tuple[Any, Any]], bounds: CanaryConfig) -> Rule | None:
    shares = [
        share
        for one, other in pairs
        if names.OUTPUT_RELEASE in one and names.OUTPUT_RELEASE in other
        for share in _shared(one[names.OUTPUT_ITEM_IDS], other[names.OUTPUT_ITEM_IDS])
    ]
    if not shares:
        return None
    mean = float(np.mean(shares))
    sentence = (
        f"It lists {mean:.0%} of the items that the stable version lists for the same request; "
        f"at least {bounds.min_list_overlap:.0%} are expected."
    )
    return Rule("lists", mean, bounds.min_list_overlap, mean >= bounds.min_list_overlap, sentence)


def ks_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The Kolmogorov-Smirnov distance of two samples; 1 where one of them is empty and the other is not.

    >>> ks_distance(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    0.0
    >>> ks_distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0]))
    0.5
    """
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    values = np.sort(np.concatenate([one, other]))
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _listed_scores(outputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    scores, items = outputs[names.OUTPUT_SCORES], outputs[names.OUTPUT_ITEM_IDS]
    found: NDArray[Any] = scores[items != b""]
    return found


def _shared(canary: NDArray[Any], stable: NDArray[Any]) -> list[float]:
    """Of each row [k] of item ids, the share of the stable version's items that the canary lists too."""
    shares = []
    for mine, theirs in zip(canary, stable, strict=True):
        listed = set(theirs.tolist()) - {b""}
        if listed:
            shares.append(len(listed & set(mine.tolist())) / len(listed))
    return shares
