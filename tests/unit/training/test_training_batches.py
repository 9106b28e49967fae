"""What a step reads: who competes, how probably, what a pair weighs; and one epoch's loss by plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from training.feature_tensors import item_features, missing_tensors, user_features
from training.retrieval.batches import Learning, Rows, batches_of, latest_snapshots, log_presence, pair_weights
from training.retrieval.examples import Pairs
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.training_loop import TowerTraining, hidden_users
from training.retrieval.two_tower import WORDS, TwoTower
from training.vocabulary import Vocabulary

DAY = 86_400_000_000
PLAIN = Learning(unknown_users=0, unknown_items=0, history_competes=True)
# requests 0, 1, 2 with histories {a}, {b, c} and {b, c} took {a, b}, {b} and {d}
REQUEST, ITEM = np.array([0, 0, 1, 2], np.int32), np.array([0, 1, 1, 3], np.int32)
PAIRS = Pairs(REQUEST, ITEM, ITEM, 0)


@pytest.fixture
def tower() -> TwoTower:
    config = TowerConfig.declared(4, as_of=DAY, hidden=4)
    vocabularies = {name: Vocabulary.of([]) for name in (*config.user_texts, *config.item_texts, WORDS)}
    return TwoTower(config, {**vocabularies, "item_id": Vocabulary.of("abcd")}, seed=5)


@pytest.fixture
def tensors():
    user = {**missing_tensors(user_features(), 3), "request_timestamp": np.full(3, DAY)}
    user["history_item_ids"] = np.array([["a", ""], ["b", "c"], ["b", "c"]], dtype=object)
    user["history_timestamps"] = user["history_counts"] = np.ones((3, 2), np.int64)
    return user, {**missing_tensors(item_features(), 4), "item_id": np.array(list("abcd"), dtype=object)}


def test_a_pair_weighs_less_in_a_long_request_and_half_after_a_half_life():
    request = np.array([0, 1, 1, 1, 1], np.int32)
    moments = np.array([0, Learning().half_life_days * DAY])
    assert pair_weights(Pairs(request, request, request, 0), moments, Learning()).tolist() == [1 / 2] * 5


def test_how_probably_an_item_is_in_a_batch_at_all():
    assert np.exp(log_presence(np.array([1 / 4, 1.0]), 2)) == pytest.approx([7 / 16, 1])


def test_an_item_competes_as_it_was_last_known():
    pairs = Pairs(np.array([0, 1, 2]), np.array([10, 11, 12]), np.array([5, 5, 7]), 0)
    items, snapshots = latest_snapshots(pairs, np.array([30, 20, 10]))
    assert (items.tolist(), snapshots.tolist()) == ([5, 7], [10, 12])


def test_a_users_past_is_a_negative_or_nothing_but_what_they_took_again_stays_a_positive(tower, tensors):
    rows, random = Rows.of(tower, *tensors), np.random.default_rng(0)
    [competing] = batches_of(PAIRS, rows, PLAIN, 8, random)
    assert competing.ignored.shape == (0, 2)
    [batch] = batches_of(PAIRS, rows, replace(PLAIN, history_competes=False), 8, random)
    # what 0 and 1 had they took again; c is no item of the batch
    assert batch.item["item_id"].tolist() == [2, 3, 5]
    assert batch.ignored.tolist() == [[2, 1]]


@pytest.mark.parametrize("loss", ["sampled", "full"])
def test_an_item_without_its_name_competes_too_but_never_with_itself(tower, tensors, loss):
    learning, rows = replace(PLAIN, loss=loss, unknown_items=0.5), Rows.of(tower, *tensors)
    both = 0
    for seed in range(20):
        [batch] = batches_of(PAIRS, rows, learning, 8, np.random.default_rng(seed))
        tokens = batch.item["item_id"]
        assert sorted(tokens[batch.pairs[:, 1]].tolist()) == [2, 3, 3, 5]  # a and b, b, d
        forms = np.flatnonzero(tokens == 3)
        named, nameless = forms[~batch.hide_item[forms]], forms[batch.hide_item[forms]]
        if len(named) and len(nameless):
            both += 1
            for request, own in batch.pairs[tokens[batch.pairs[:, 1]] == 3].tolist():
                assert [request, (nameless if own in named else named)[0]] in batch.ignored.tolist()
            odds = 1 - (1 - 1 / 2 * 1 / 2) ** 4  # b is in half of the pairs, nameless in half of these
            assert np.exp(batch.log_probability[nameless]) == pytest.approx(odds)
            assert np.exp(batch.log_probability[named]) == pytest.approx(odds if loss == "sampled" else 1)
    assert both > 3


@pytest.mark.parametrize("loss", ["sampled", "full"])
def test_an_epochs_loss_is_the_oracles_and_falls(tower, tensors, loss):
    query, candidate = tower.query(tensors[0]).numpy(), tower.candidates(tensors[1]).numpy()
    share = np.array([1 / 4, 2 / 4, 1, 1 / 4])  # c is nobody's positive: it never competes
    correction = np.log(1 - (1 - share) ** 4) if loss == "sampled" else np.zeros(4)
    logits = query @ candidate.T / PLAIN.temperature - correction
    negatives = [[3], [3], [0, 3], [0, 1]]
    losses = [
        np.log(np.exp(logits[r, [i, *others]]).sum()) - logits[r, i]
        for r, i, others in zip(REQUEST, ITEM, negatives, strict=True)
    ]
    weights = np.array([2**-0.5, 2**-0.5, 1, 1])

    training = TowerTraining(tower, learning_rate=0.1, seed=0, learning=replace(PLAIN, loss=loss))
    rows = Rows.of(tower, *tensors)
    expected = (weights * losses).sum() / weights.sum()
    assert training.epoch(PAIRS, rows, batch_size=8) == pytest.approx(expected, rel=1e-5)
    assert training.epoch(PAIRS, rows, batch_size=8) < expected


def test_hidden_users_are_replaced_whole_and_the_others_stay():
    user = {
        "country": tf.constant([5, 6]),
        "history": tf.constant([[1, 2], [3, 4]]),
        "request_timestamp": tf.constant([8, 9]),
    }
    unknown = {"country": tf.constant([0]), "history": tf.constant([[0]])}
    hidden = hidden_users(user, unknown, tf.constant([True, False]))
    assert hidden["country"].numpy().tolist() == [0, 6]
    assert hidden["history"].numpy().tolist() == [[0, 0], [3, 4]]
    assert hidden["request_timestamp"].numpy().tolist() == [8, 9]
