"""What walks found, beside what is published: means over hours, deviations over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.deviation import deviation
from benchmarks.walk_forward.walk import ANSWERED, Figures

PUBLISHED = {  # NDCG@20, HR@20: Transformers4Rec (RecSys 2021), tables 1 and 2
    "V-SkNN": (0.3511, 0.6601),
    "STAN": (0.3570, 0.6681),
    "VSTAN": (0.3586, 0.6668),
    "GRU4Rec, full training": (0.2596, 0.5029),
    "GRU": (0.3549, 0.6632),
    "XLNet, masked LM": (0.3607, 0.6605),
    "XLNet with side features": (0.3675, 0.6721),
}


def summary(walks: Sequence[dict[str, Figures]]) -> dict[str, Any]:
    """By line the mean over hours, and over walks with its standard deviation; of a part of the sessions, the mean over
    those.

    >>> hour = {"blend": {"hr@20": 0.5}, "sessions": {"answered": 9.0}}
    >>> walk = {"a": hour, "b": {}, "c": {"blend": {"hr@20": 0.7}, "sessions": {"answered": 3.0}}}
    >>> summary([walk])
    {'hours': 2, 'sessions': 12, 'lines': {'blend': {'hr@20': 0.6, 'hr@20_deviation': 0.0}}}
    >>> summary([walk, {"a": hour}])["lines"]  # of .6 and .5, a sample
    {'blend': {'hr@20': 0.55, 'hr@20_deviation': 0.0707}}
    >>> rest = {"sessions": {"answered": 9.0}}
    >>> few, many = ({"new": {"hr@20": hr, "answered": n}, **rest} for hr, n in ((1.0, 1), (0.5, 3)))
    >>> summary([{"a": few, "b": many}])["lines"]  # 1 of 1 and 1.5 of 3
    {'new': {'hr@20': 0.625, 'hr@20_deviation': 0.0, 'answered': 4}}
    """
    hours = [[found for found in walk.values() if found] for walk in walks]
    lines: dict[str, dict[str, float]] = {}
    named = dict.fromkeys(line for found in hours[0] for line in found if line != "sessions")
    for line in named:
        told = [[found[line] for found in walk if line in found] for walk in hours]
        weights = [[metrics.get(ANSWERED, 1.0) for metrics in walk] for walk in told]
        lines[line] = {}
        for metric in [metric for metric in told[0][0] if metric != ANSWERED]:
            means = [
                float(np.average([metrics[metric] for metrics in walk], weights=weight))
                for walk, weight in zip(told, weights, strict=True)
            ]
            lines[line][metric] = round(float(np.mean(means)), 4)
            lines[line][f"{metric}_deviation"] = round(deviation(means), 4)
        if ANSWERED in told[0][0]:
            lines[line][ANSWERED] = int(sum(weights[0]))
    sessions = int(sum(found["sessions"][ANSWERED] for found in hours[0]))
    return {"hours": len(hours[0]), "sessions": sessions, "lines": lines}


def table(lines: dict[str, dict[str, float]]) -> str:
    """The lines beside the published ones, as Markdown, best NDCG last; after them parts of the sessions."""
    rows = [(name, ndcg, hr, "published") for name, (ndcg, hr) in PUBLISHED.items()]
    judged = [(line, found) for line, found in lines.items() if "hr@20" in found]
    rows += [(line, found["ndcg@20"], found["hr@20"], "here") for line, found in judged if ANSWERED not in found]
    rows.sort(key=lambda row: row[1])
    rows += [
        (line, found["ndcg@20"], found["hr@20"], f"here, {found[ANSWERED]} sessions")
        for line, found in judged
        if ANSWERED in found
    ]
    told = [f"| {name} | {ndcg:.4f} | {hr:.4f} | {where} |" for name, ndcg, hr, where in rows]
    return "\n".join(["| system | NDCG@20 | HR@20 | |", "|---|---|---|---|", *told])
