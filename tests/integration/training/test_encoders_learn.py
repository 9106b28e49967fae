"""Two toys whose right answer anyone can see: one where the last item alone says what comes next, one where only the
bag of items does. What reads an order must see the first; nobody may miss the second.
"""

import numpy as np
import pytest
import tensorflow as tf

from tastemaker.config import EncoderName
from training.feature_tensors import item_features, missing_tensors, user_features
from training.retrieval.batches import Learning, Rows
from training.retrieval.encoders import ENCODERS
from training.retrieval.examples import Pairs
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import WORDS, TwoTower
from training.vocabulary import Vocabulary

pytestmark = pytest.mark.integration

AS_OF = 1_323_475_200_000_000
ITEMS, LENGTH, REQUESTS, JUDGED = 12, 6, 1800, 400
NAMES = np.array([f"{kind}-{n:02d}" for kind in ("circle", "bag") for n in range(ITEMS)], dtype=object)


def shop(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Histories int `[requests, LENGTH]`, latest first, -1 padding, and the next item of each `[requests]`.

    Of the first ITEMS items the next one follows the last around a circle, whatever came before. Of the others a
    history's items are all of one half, in any order, and so is the next. Requests take turns.
    """
    past, following = np.full((REQUESTS, LENGTH), -1), np.empty(REQUESTS, np.int64)
    for row in range(REQUESTS):
        if row % 2 == 0:
            past[row] = random.permutation(ITEMS)[:LENGTH]
            following[row] = (past[row, 0] + 1) % ITEMS
        else:
            *seen, following[row] = random.permutation(LENGTH)[: LENGTH - 1] + ITEMS + random.integers(0, 2) * LENGTH
            past[row, : len(seen)] = seen
    return past, following


@pytest.fixture(scope="module", params=ENCODERS)
def ranked(request) -> tuple[EncoderName, np.ndarray, np.ndarray]:
    """The encoder, and for requests it has not learnt from: all items, best first, and the next item."""
    past, following = shop(np.random.default_rng(5))
    user = {**missing_tensors(user_features(), REQUESTS), "request_timestamp": np.full(REQUESTS, AS_OF)}
    user["history_item_ids"] = np.array([*NAMES, ""], dtype=object)[past]
    user["history_timestamps"] = np.full(past.shape, AS_OF - 1_000_000)  # one basket: no time tells the order
    user["history_counts"] = np.ones(past.shape, np.int64)
    item = {**missing_tensors(item_features(), len(NAMES)), "item_id": NAMES}
    config = TowerConfig.declared(16, as_of=AS_OF, hidden=16, encoder=request.param)
    empty = {name: Vocabulary.of([]) for name in (*config.user_texts, *config.item_texts, WORDS)}
    tower = TwoTower(config, {**empty, "item_id": Vocabulary.of(NAMES)}, seed=2)
    learning, rows = TowerTraining(tower, 0.02, 2, Learning()), Rows.of(tower, user, item)
    taught = np.arange(REQUESTS - JUDGED, dtype=np.int32)
    wanted = following.astype(np.int32)
    pairs = Pairs(taught, wanted[taught], wanted[taught], 0)
    for _ in range(12):
        learning.epoch(pairs, rows, batch_size=64)
    asked = {name: tf.constant(values[-JUDGED:]) for name, values in user.items()}
    scores = tower.query(asked).numpy() @ tower.candidates(item).numpy().T
    return request.param, np.argsort(-scores, axis=1), following[-JUDGED:]


def test_what_reads_an_order_knows_what_follows_the_last_item(ranked):
    encoder, best, following = ranked
    right = best[::2, 0] == following[::2]
    if encoder == "mean":
        assert right.mean() < 0.4  # a bag of six holds the right one's predecessor, and does not say which it is
    else:
        assert right.mean() > 0.9


def test_a_bag_is_enough_where_the_order_says_nothing(ranked):
    _, best, following = ranked
    found = (best[1::2, :LENGTH] == following[1::2, None]).any(axis=1)
    assert found.mean() > 0.95  # it is one of its half
