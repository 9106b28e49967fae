"""Encoders of a user's history, by name: what `retriever.encoder` of the config chooses from.

One contract: `encoder(History) -> [batch, interests, dimension]`, vectors in the items' own space, and its weights by
path. A row does not depend on the others of its batch, padding does not matter (within 1e-6: another length is another
sum), and a history without an item gives zeros: what they mean is learnt by the query tower, which is told so.
"""

from collections.abc import Callable
from typing import get_args

import numpy as np

from tastemaker.config import EncoderName
from training.retrieval.encoders.attention import CausalAttention
from training.retrieval.encoders.cnn import DilatedConvolutions
from training.retrieval.encoders.history import Events, History
from training.retrieval.encoders.lstm import RecurrentState
from training.retrieval.encoders.mean import WeightedMeans
from training.retrieval.encoders.sequence import MeansAndState, StateEncoder
from training.retrieval.named_weights import NamedWeights

__all__ = ["ENCODERS", "EncoderName", "Events", "History", "HistoryEncoder", "history_encoder"]

HistoryEncoder = WeightedMeans | MeansAndState
_STATES: dict[EncoderName, Callable[[int, NamedWeights], StateEncoder]] = {
    "cnn": DilatedConvolutions,
    "lstm": RecurrentState,
    "attention": CausalAttention,
}
ENCODERS: tuple[EncoderName, ...] = get_args(EncoderName)


def history_encoder(name: EncoderName, dimension: int, interests: int, seed: int) -> HistoryEncoder:
    """An encoder with its initial weights, drawn from the seed and from nothing else."""
    weights = NamedWeights(np.random.default_rng([seed, 1]))  # not the towers' numbers again
    if name == "mean":
        return WeightedMeans(interests, weights)
    return MeansAndState(interests, weights, _STATES[name](dimension, weights))
