"""A lasting taste and the state that a history has come to: what the encoders that read an order have in common.

Beside the state stand weighted means of the whole history, as a session's last click stands beside its general
interest in Li et al., "Neural attentive session-based recommendation" (CIKM 2017), and in Tang & Wang's Caser.
"""

from typing import Protocol

import numpy as np
import tensorflow as tf

from training.retrieval.encoders.history import LOG_MINUTES, Events, History, log_minutes
from training.retrieval.encoders.mean import WeightedMeans
from training.retrieval.named_weights import NamedWeights


class StateEncoder(Protocol):
    """Reads events in their order: `[batch, dimension]`, whatever it likes where there is none."""

    newest: int

    def __call__(self, events: Events) -> tf.Tensor:
        """The state after the newest event."""


class MeansAndState(tf.Module):
    """`interests - 1` weighted means and one state.

    Args:
        interests: vectors in all, at least 1.
        weights: where the means' weights go; the state's are there already.
        state: how the newest events become a vector.
    """

    def __init__(self, interests: int, weights: NamedWeights, state: StateEncoder) -> None:
        super().__init__(name="means_and_state")
        self._named = weights
        self._state = state
        self._means = WeightedMeans(interests - 1, weights) if interests > 1 else None

    @property
    def weights(self) -> dict[str, tf.Variable]:
        """Every weight by its path."""
        return self._named.by_name

    def __call__(self, history: History) -> tf.Tensor:
        """`[batch, interests, dimension]`, the state last."""
        events = Events.newest(history, self._state.newest)
        state = tf.where(events.present[:, :1], self._state(events), 0.0)[:, None, :]
        return state if self._means is None else tf.concat([self._means(history), state], axis=1)


def add_ages(weights: NamedWeights, dimension: int) -> None:
    """What `with_ages` adds to an event by its age before the request: nothing at first."""
    weights.add("encoder/age", np.zeros((LOG_MINUTES, dimension)))


def with_ages(weights: NamedWeights, events: Events) -> tf.Tensor:
    """The events' vectors, each moved by what its age has been found to mean; padding stays zero."""
    ages = tf.gather(weights["encoder/age"], log_minutes(events.age_minutes))
    return kept(events.items + ages, events.present)


def kept(vectors: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """`[batch, n, width]` with zeros where nothing is present."""
    return tf.where(present[:, :, None], vectors, 0.0)


def add_norm(weights: NamedWeights, name: str, width: int) -> None:
    """The weights of `normalized`."""
    weights.add(f"{name}/gain", np.ones(width))
    weights.add(f"{name}/shift", np.zeros(width))


def normalized(weights: NamedWeights, name: str, x: tf.Tensor) -> tf.Tensor:
    """Layer normalization of the last axis (Ba, Kiros & Hinton 2016)."""
    centered = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    return centered * tf.math.rsqrt(variance + 1e-6) * weights[f"{name}/gain"] + weights[f"{name}/shift"]
