"""The fused graph over the shop of two tastes, with few sources on and with all, and users to ask it for."""

import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.fused_graphs import EVERY_SOURCE, graph_of, with_trees

from training.feature_tensors import query_tensors


@pytest.fixture(scope="module")
def graph():
    return graph_of(toy.all_days())


@pytest.fixture(scope="module")
def mixed():
    """With every source on."""
    return graph_of(toy.all_days(), EVERY_SOURCE)


@pytest.fixture(scope="session")
def trees(user):
    """With every source on, and ranked by a compiled forest. Once for all files: it takes longest to trace."""
    return with_trees(graph_of(toy.all_days(), EVERY_SOURCE), user)


@pytest.fixture(scope="session")
def requests():
    return toy.requests().slice(0, 40)


@pytest.fixture(scope="session")
def user(requests):
    return {name: tf.constant(values) for name, values in query_tensors(requests).items()}
