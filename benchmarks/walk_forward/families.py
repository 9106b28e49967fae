"""Families of the ranker's features, to say what each adds: a ranker that lacks one sees it missing everywhere."""

import numpy as np

from training.ranking.features import (
    CONTENT,
    FEATURE_NAMES,
    NEIGHBOURS,
    PROPOSED,
    REPEAT,
    REQUEST,
    RETRIEVAL,
    USER_NUMBERS,
)
from training.release.item_snapshot import ITEM_NUMBERS

FAMILIES: dict[str, tuple[str, ...]] = {
    "user": USER_NUMBERS,
    "item": (*ITEM_NUMBERS, "item_popularity_rank"),
    "request": REQUEST,
    "retriever": tuple(name for name in RETRIEVAL if name != "item_popularity_rank"),
    "sources": PROPOSED,
    "history": REPEAT,
    "neighbours": NEIGHBOURS,
    "content": CONTENT,
}


def without(features: np.ndarray, family: str | None) -> np.ndarray:
    """float32 `[rows, F]` with one family missing; None leaves all as they are."""
    if family is None:
        return features
    lacking = features.copy()
    lacking[:, [FEATURE_NAMES.index(name) for name in FAMILIES[family]]] = np.nan
    return lacking
