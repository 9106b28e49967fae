"""From answers to figures: every system's metrics with intervals, every slice, every day, and the verdict."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tastemaker import names
from tastemaker.config import EvaluationConfig
from training.evaluation.answers import Answers, Pairs
from training.evaluation.bootstrap import Estimate, UserBootstrap
from training.evaluation.comparison import against
from training.evaluation.metrics import auc, auc_within, average_precision, coverage, hits_of, ndcg, novelty, recall
from training.evaluation.shop_day import DAY
from training.evaluation.slices import Slice, slices_of
from training.evaluation.systems import CHAMPION, NO_BASELINES, RELEASE, interval_text
from training.feature_tensors import column_of, request_timestamps
from training.ranking.calibration import log_loss, reliability

METRICS = {"recall": recall, "ndcg": ndcg, "map": average_precision}
HISTOGRAM = np.logspace(-6, 0, 61)  # the calibration never says less than 1e-6
PerRequest = dict[str, dict[str, np.ndarray]]  # system → metric → [requests]


def per_request(answers: Answers, part: Slice | None = None) -> PerRequest:
    """Every system's metrics `[requests]`; NaN where it was not asked, outside the slice, where nothing was taken."""
    positives = np.ones(len(answers.owner), bool) if part is None else part.positives
    owner, items = answers.owner[positives], answers.relevant[positives]
    relevant = np.bincount(owner, minlength=len(answers.requests))
    named = items != answers.universe.unknown  # an item without an index is never hit, and counts as missed
    result: PerRequest = {}
    for system, lists in answers.lists.items():
        hits = hits_of(lists, owner[named], items[named])
        result[system] = {name: metric(hits, relevant) for name, metric in METRICS.items()}
    if answers.asked is not None:
        result[CHAMPION] = {name: np.where(answers.asked, values, np.nan) for name, values in result[CHAMPION].items()}
    return result


def judge(answers: Answers, config: EvaluationConfig) -> tuple[dict[str, Any], PerRequest]:
    """All figures as JSON values, and the metrics of each request."""
    users = column_of(answers.requests, names.USER_ID).to_numpy(zero_copy_only=False).astype(str)
    bootstrap = UserBootstrap(users, config.bootstrap_samples, config.confidence, config.seed)
    found = per_request(answers)
    systems = {}
    for system, lists in answers.lists.items():
        systems[system] = {
            **{metric: _plain(bootstrap.mean(values)) for metric, values in found[system].items()},
            "coverage": coverage(lists, answers.catalogue),
            "novelty": novelty(lists, answers.surprise[system]),
            "requests": len(lists) if system != CHAMPION or answers.asked is None else int(answers.asked.sum()),
        }
        if system != RELEASE:
            difference = bootstrap.difference(found[RELEASE]["ndcg"], found[system]["ndcg"])
            systems[system]["release_minus_this"] = _plain(difference)
    return {
        "k": config.k,
        "confidence": config.confidence,
        "bootstrap_samples": config.bootstrap_samples,
        "requests": len(answers.requests),
        "requests_with_positives": int(np.isfinite(found[RELEASE]["recall"]).sum()),
        "users": bootstrap.users,
        "catalogue": answers.catalogue,
        "systems": systems,
        "against": against(answers, found, bootstrap),
        "probabilities": judged_pairs(answers.pairs),
        "slices": [_slice(answers, part, bootstrap) for part in slices_of(answers)],
        "days": _days(answers, found),
    }, found


def judged_pairs(pairs: Pairs) -> dict[str, Any]:
    """How far the ranker's probabilities can be believed, on the pairs it ranked."""
    if not len(pairs.labels):
        return {"pairs": 0, "positives": pairs.positives, "reachable": pairs.reachable}
    order = np.argsort(pairs.owner, kind="stable")
    base = float(pairs.labels.mean())
    table = reliability(pairs.labels, pairs.probabilities)
    return {
        "pairs": len(pairs.labels),
        "positives": pairs.positives,
        "reachable": pairs.reachable,
        "requests_with_impressions": pairs.shown,
        "auc": _number(auc(pairs.labels, pairs.probabilities)),
        "auc_within_requests": _number(auc_within(pairs.owner[order], pairs.labels[order], pairs.probabilities[order])),
        "log_loss": log_loss(pairs.labels, pairs.probabilities),
        "log_loss_of_the_mean": log_loss(pairs.labels, np.full(len(pairs.labels), base)),
        "mean_probability": float(np.mean(pairs.probabilities, dtype=np.float64)),
        "share_of_positives": base,
        **table,
        "histogram": {
            "edges": HISTOGRAM.tolist(),
            "counts": np.histogram(pairs.probabilities, HISTOGRAM)[0].tolist(),
        },
        "counts": [len(part) for part in np.array_split(np.arange(len(pairs.labels)), len(table["predicted"]))],
    }


def verdict(figures: dict[str, Any]) -> str:
    """One plain sentence: does the release beat every baseline on NDCG, with an interval that excludes zero?"""
    k, percent = figures["k"], f"{100 * figures['confidence']:g}"
    margins = {
        system: Estimate(**found["release_minus_this"])
        for system, found in figures["systems"].items()
        if system not in NO_BASELINES
    }
    ours = figures["systems"][RELEASE]["ndcg"]["value"]
    if not figures["requests_with_positives"]:
        return "Nothing was taken in the test window, so the release could not be judged."
    behind = {system: one for system, one in margins.items() if not one.low > 0}
    if not behind:
        system, one = min(margins.items(), key=lambda pair: pair[1].value)
        return (
            f"The release beats every baseline on NDCG@{k} ({ours:.4f}): the closest, {system}, by {one.value:.4f} "
            f"({percent} % interval {one.low:.4f} to {one.high:.4f})."
        )
    told = "; ".join(_short_of(system, one, percent) for system, one in behind.items())
    rest = [system for system in margins if system not in behind]
    beaten = f" It beats {_listed(rest)}." if rest else ""
    return f"The release (NDCG@{k} {ours:.4f}) does not beat every baseline: {told}.{beaten}"


def quality_table(figures: dict[str, Any]) -> dict[str, Any]:
    """The table that a demo prints: one row a system."""
    k, percent = figures["k"], f"{100 * figures['confidence']:g}"
    columns = ["system", f"recall@{k}", f"ndcg@{k}", f"map@{k}", "coverage", "novelty"]
    rows = []
    for system, found in figures["systems"].items():
        margin = found.get("release_minus_this")
        text = "" if margin is None or margin["value"] is None else interval_text(margin)
        values = [found["recall"]["value"], found["ndcg"]["value"], found["map"]["value"]]
        name = system if found["requests"] == figures["requests"] else f"{system}, {found['requests']} requests"
        rows.append([name, *(_rounded(v) for v in (*values, found["coverage"], found["novelty"])), text])
    return {"columns": [*columns, f"ndcg@{k} release minus this, {percent}%"], "rows": rows}


def per_request_table(answers: Answers, found: PerRequest) -> pa.Table:
    """One row per request and system: `request_id, user_id, request_timestamp, system`, the metrics (null: none)."""
    keys = answers.requests.select([names.REQUEST_ID, names.USER_ID, names.REQUEST_TIMESTAMP])
    parts = []
    for system, metrics in found.items():
        part = keys.append_column("system", pa.array([system] * len(keys), pa.string()))
        for metric, values in metrics.items():
            part = part.append_column(metric, pa.array(values, pa.float64(), from_pandas=True))
        parts.append(part)
    return pa.concat_tables(parts).combine_chunks()


def _slice(answers: Answers, part: Slice, bootstrap: UserBootstrap) -> dict[str, Any]:
    found = per_request(answers, part)
    counted = np.isfinite(found[RELEASE]["ndcg"])
    users = column_of(answers.requests, names.USER_ID).to_numpy(zero_copy_only=False)[part.requests]
    return {
        "dimension": part.dimension,
        "name": part.name,
        "requests": int(part.requests.sum()),
        "requests_with_positives": int(counted.sum()),
        "users": len(set(users)),
        "users_compared": {
            system: bootstrap.users_of(found[RELEASE]["ndcg"] - metrics["ndcg"])
            for system, metrics in found.items()
            if system != RELEASE
        },
        "positives": int(part.positives.sum()),
        "ndcg": {system: _plain(bootstrap.mean(metrics["ndcg"])) for system, metrics in found.items()},
        "recall": {system: _plain(bootstrap.mean(metrics["recall"])) for system, metrics in found.items()},
        "release_minus": {
            system: _plain(bootstrap.difference(found[RELEASE]["ndcg"], metrics["ndcg"]))
            for system, metrics in found.items()
            if system != RELEASE
        },
    }


def _days(answers: Answers, found: PerRequest) -> list[dict[str, Any]]:
    """NDCG of every system by day; NaN days are null."""
    day = request_timestamps(answers.requests) // DAY
    result = []
    for number in np.unique(day):
        chosen = day == number
        means = {system: _mean(metrics["ndcg"][chosen]) for system, metrics in found.items()}
        told = str(np.datetime64(int(number), "D"))
        result.append({"day": told, "requests": int(chosen.sum()), "ndcg": means})
    return result


def _short_of(system: str, one: Estimate, percent: str) -> str:
    interval = f"{percent} % interval of the difference {one.low:+.4f} to {one.high:+.4f}"
    if one.high < 0:
        return f"{system} is better by {-one.value:.4f} ({interval})"
    return f"against {system} the difference of {one.value:+.4f} could be chance ({interval})"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name: _number(value) for name, value in asdict(estimate).items()}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _mean(values: np.ndarray) -> float | None:
    counted = values[np.isfinite(values)]
    return float(counted.mean()) if len(counted) else None
