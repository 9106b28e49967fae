"""The release against one other system at a time: the same requests, the same pairs, the same resamples of the users.

Lists are compared with every system, probabilities with those that give any: the champion, on the pairs that both rank,
and the one constant that is right on average.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from training.evaluation.answers import Answers, Pairs
from training.evaluation.bootstrap import Estimate, UserBootstrap
from training.evaluation.metrics import coverage
from training.evaluation.systems import CHAMPION, CONSTANT, RELEASE
from training.ranking.calibration import BINS, FLOOR, reliability

LIST_METRICS = ("ndcg", "recall")


def against(
    answers: Answers, found: dict[str, dict[str, np.ndarray]], bootstrap: UserBootstrap
) -> dict[str, dict[str, Any]]:
    """Other system → metric → `release`, `other`, `difference` (release minus other) and `users`, as JSON values.

    Args:
        found: system → metric → `[requests]`; NaN where there is none.
    """
    result: dict[str, dict[str, Any]] = {}
    for system in answers.lists:
        if system != RELEASE:
            result[system] = {
                metric: _of_requests(found[RELEASE][metric], found[system][metric], bootstrap)
                for metric in LIST_METRICS
            }
            result[system]["coverage"] = _coverage(answers, system, bootstrap)
    if answers.pairs.champion is not None:
        kept = np.isfinite(answers.pairs.champion)
        result[CHAMPION] |= _of_pairs(answers.pairs, kept, answers.pairs.champion, bootstrap, len(answers.requests))
    everyone = np.ones(len(answers.pairs.labels), bool)
    mean = np.full(len(everyone), answers.pairs.labels.mean() if len(everyone) else np.nan)
    constant = _of_pairs(answers.pairs, everyone, mean, bootstrap, len(answers.requests))
    result[CONSTANT] = {name: constant[name] for name in ("log_loss",) if name in constant}
    return result


def _of_requests(ours: np.ndarray, theirs: np.ndarray, bootstrap: UserBootstrap) -> dict[str, Any]:
    both = np.isfinite(ours) & np.isfinite(theirs)
    means = tuple(float(values[both].mean()) if both.any() else None for values in (ours, theirs))
    return _told(means, bootstrap.difference(ours, theirs), bootstrap.users_of(ours - theirs))


def _coverage(answers: Answers, system: str, bootstrap: UserBootstrap) -> dict[str, Any]:
    asked = np.ones(len(answers.requests), bool)
    if system == CHAMPION and answers.asked is not None:
        asked = answers.asked
    ours, theirs = (np.where(asked[:, None], answers.lists[name], -1) for name in (RELEASE, system))
    shares = tuple(coverage(lists, answers.catalogue) for lists in (ours, theirs))
    draws = (bootstrap.distinct(ours) - bootstrap.distinct(theirs)) / answers.catalogue
    difference = bootstrap.around(shares[0] - shares[1], draws)
    return _told(shares, difference, bootstrap.users_of(np.where(asked, 0.0, np.nan)))


def _of_pairs(
    pairs: Pairs, kept: np.ndarray, theirs: np.ndarray, bootstrap: UserBootstrap, requests: int
) -> dict[str, Any]:
    """Log-loss and calibration error on the pairs that are kept; nothing where there are none."""
    if not kept.any():
        return {}
    owner, labels = pairs.owner[kept], pairs.labels[kept]
    both = (pairs.probabilities[kept], theirs[kept])
    counts = np.bincount(owner, minlength=requests).astype(np.float64)
    users = bootstrap.users_of(np.where(counts > 0, 0.0, np.nan))
    losses = [_losses(labels, probabilities) for probabilities in both]
    gap = bootstrap.ratio(np.bincount(owner, losses[0] - losses[1], requests), counts)
    errors = tuple(float(reliability(labels, probabilities)["calibration_error"]) for probabilities in both)
    drawn = [_drawn_error(owner, labels, probabilities, bootstrap, counts) for probabilities in both]
    return {
        "log_loss": _told((float(losses[0].mean()), float(losses[1].mean())), gap, users),
        "calibration_error": _told(errors, bootstrap.around(errors[0] - errors[1], drawn[0] - drawn[1]), users),
    }


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each pair −log of the probability given to what happened, in nats: float64 `[pairs]`."""
    p = np.clip(probabilities.astype(np.float64), FLOOR, 1 - FLOOR)
    return -np.where(labels > 0, np.log(p), np.log1p(-p))


def _drawn_error(
    owner: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, bootstrap: UserBootstrap, counts: np.ndarray
) -> np.ndarray:
    """The calibration error of every resample, `[samples]`, over the bins of all pairs."""
    gaps = np.zeros((len(counts), BINS))
    for number, part in enumerate(np.array_split(np.argsort(probabilities, kind="stable"), BINS)):
        gaps[:, number] = np.bincount(owner[part], probabilities[part].astype(np.float64) - labels[part], len(counts))
    drawn = np.abs(bootstrap.drawn(gaps)).sum(axis=1)
    return np.divide(drawn, bootstrap.drawn(counts), out=np.zeros_like(drawn), where=drawn > 0)


def _told(values: tuple[float | None, ...], difference: Estimate, users: int) -> dict[str, Any]:
    plain = {name: value if np.isfinite(value) else None for name, value in asdict(difference).items()}
    return {"release": values[0], "other": values[1], "difference": plain, "users": users}
