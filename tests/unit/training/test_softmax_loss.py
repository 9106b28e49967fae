"""The loss with many positives a request, against TFRS's task and against plain NumPy, gradients included."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from training.retrieval.softmax_loss import ManyPositives

TEMPERATURE = 0.2


def unit(rows: int, seed: int) -> tf.Variable:
    vectors = np.random.default_rng(seed).normal(size=(rows, 3))
    return tf.Variable((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


def value_and_gradients(loss, *variables):
    with tf.GradientTape() as tape:
        value = loss(*variables)
    return [value.numpy(), *(np.asarray(tf.convert_to_tensor(g)) for g in tape.gradient(value, variables))]


def test_with_one_positive_each_it_is_tfrs_own_loss():
    probability, weight = np.array([0.2, 0.5, 1.0], np.float32), np.array([1, 2, 3], np.float32)
    task = tfrs.tasks.Retrieval(temperature=TEMPERATURE)

    def theirs(query, candidate):
        return task(
            query,
            candidate,
            sample_weight=weight,
            candidate_sampling_probability=probability,
            compute_metrics=False,
        )

    def ours(query, candidate):
        pairs, none = tf.constant([[0, 0], [1, 1], [2, 2]], tf.int64), tf.zeros([0, 2], tf.int64)
        return ManyPositives(TEMPERATURE)(query, candidate, np.log(probability), pairs, weight, none)

    for own, oracle in zip(
        value_and_gradients(ours, unit(3, 1), unit(3, 2)),
        value_and_gradients(theirs, unit(3, 1), unit(3, 2)),
        strict=True,
    ):
        assert own == pytest.approx(oracle, rel=1e-4, abs=1e-5)


def test_other_positives_and_ignored_items_are_no_negatives():
    log_probability = np.log(np.array([0.5, 1.0, 0.25, 0.75], np.float32))
    pairs = [(0, 0), (0, 2), (1, 2)]
    weight = np.array([1.0, 0.5, 2.0], np.float32)
    negatives = {(0, 0): [1, 3], (0, 2): [1, 3], (1, 2): [0, 3]}  # of request 1 item 1 is ignored

    def ours(query, candidate):
        return ManyPositives(TEMPERATURE)(
            query, candidate, log_probability, tf.constant(pairs, tf.int64), weight, tf.constant([[1, 1]], tf.int64)
        )

    def by_hand(query, candidate):
        logits = tf.linalg.matmul(query, candidate, transpose_b=True) / TEMPERATURE - log_probability
        return tf.add_n(
            [
                w * (tf.reduce_logsumexp(tf.gather(logits[r], [c, *negatives[r, c]])) - logits[r, c])
                for (r, c), w in zip(pairs, weight, strict=True)
            ]
        )

    for own, oracle in zip(
        value_and_gradients(ours, unit(2, 3), unit(4, 4)),
        value_and_gradients(by_hand, unit(2, 3), unit(4, 4)),
        strict=True,
    ):
        assert own == pytest.approx(oracle, rel=1e-4, abs=1e-5)


def test_the_coldest_temperature_overflows_nowhere():
    one = tf.constant([[1.0, 0.0]])
    both = tf.constant([[1.0, 0.0], [-1.0, 0.0]])
    pairs, none = tf.constant([[0, 0]], tf.int64), tf.zeros([0, 2], tf.int64)
    loss = ManyPositives(0.03)(one, both, np.log(np.array([1e-6, 1e-6], np.float32)), pairs, tf.ones([1]), none)
    assert float(loss) == pytest.approx(0, abs=1e-6)
