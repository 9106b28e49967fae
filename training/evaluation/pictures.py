"""What there is to see of an evaluation: every picture of the page, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.evaluation import plots
from training.evaluation.answers import Answers
from training.evaluation.systems import closest_rival

FEATURES_SHOWN = 15


def pictures_of(
    figures: Mapping[str, Any],
    answers: Answers,
    importances: Mapping[str, float],
    learnt: Mapping[str, Sequence[float]],
) -> dict[str, str]:
    """Picture → SVG. A pure function of its arguments: the same bytes whenever it is called.

    Args:
        importances: ranker feature → gain, largest first.
        learnt: what the retriever's training measured after every epoch; one metric is drawn.
    """
    drawn = {
        "systems": plots.systems(figures),
        "slices": plots.slices(figures, closest_rival(figures)),
        "days": plots.days(figures),
        "popularity": plots.popularity(cumulative_places(answers)),
    }
    if figures["probabilities"]["pairs"]:
        drawn["reliability"] = plots.reliability(figures["probabilities"])
    if importances:
        largest = dict(list(importances.items())[:FEATURES_SHOWN])
        total = sum(importances.values()) or 1.0
        shares = {name: 100 * gain / total for name, gain in largest.items()}
        drawn["importances"] = plots.bars(shares, "share of all gain, %")
    for metric, values in learnt.items():
        drawn["validation"] = plots.curve(values, metric.replace("_", " "))
    return drawn


def cumulative_places(answers: Answers) -> dict[str, np.ndarray]:
    """System → share of its list places on the n most popular items, n from 0 to all; and of what was taken."""
    count = answers.universe.unknown
    order = np.argsort(-answers.popularity[:count], kind="stable")
    named = {system: lists[lists >= 0] for system, lists in answers.lists.items()}
    named[plots.TAKEN] = answers.relevant[answers.relevant != answers.universe.unknown]
    return {
        name: np.concatenate([[0.0], np.cumsum(np.bincount(items, minlength=count)[order])]) / max(1, len(items))
        for name, items in named.items()
    }
