"""The systems that an evaluation compares, as its files and pages call them, and how a margin between two is told."""

from collections.abc import Mapping
from typing import Any, Final

RELEASE: Final = "release"
RETRIEVER: Final = "retriever alone"
CHAMPION: Final = "champion"
POPULARITY: Final = "popularity"
CONSTANT: Final = "always the mean"  # not a ranking: the one probability that is right on average
NO_BASELINES: Final = (RELEASE, RETRIEVER, CHAMPION)


def closest_rival(figures: Mapping[str, Any]) -> str:
    """The baseline with the highest NDCG."""
    others = {name: found for name, found in figures["systems"].items() if name not in NO_BASELINES}
    return max(others, key=lambda name: others[name]["ndcg"]["value"] or 0.0)


def interval_text(estimate: Mapping[str, float]) -> str:
    """For example "+0.0123 [+0.0101, +0.0145]"."""
    return f"{estimate['value']:+.4f} [{estimate['low']:+.4f}, {estimate['high']:+.4f}]"
