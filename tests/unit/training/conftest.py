"""The fused graph over the shop of two tastes, with few sources on and with all, and users to ask it for."""

import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.fused_graphs import EVERY_SOURCE, graph_of

from training.feature_tensors import query_tensors


@pytest.fixture(scope="module")
def graph():
    return graph_of(toy.all_days())


@pytest.fixture(scope="module")
def mixed():
    """With every source on."""
    return graph_of(toy.all_days(), EVERY_SOURCE)


@pytest.fixture(scope="module")
def requests():
    return toy.requests().slice(0, 40)


@pytest.fixture(scope="module")
def user(requests):
    return {name: tf.constant(values) for name, values in query_tensors(requests).items()}
