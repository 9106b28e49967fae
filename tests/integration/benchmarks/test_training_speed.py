"""Both loops of the training-speed benchmark on a small shop: same start, same pairs, both learn."""

import numpy as np
import pytest

from benchmarks import synthetic_requests, training_speed
from tastemaker.config import Config, RetrieverConfig
from training.retrieval.batches import Rows

SMALL = {"KINDS": 6, "OF_A_KIND": 10, "USERS": 60, "REQUESTS": 400, "POSITIVES": 4.0}

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(synthetic_requests, name, value)
    monkeypatch.setattr(training_speed, "K", 5)
    config = Config(version=1, retriever=RetrieverConfig(embedding_dimension=8, learning_rate=0.01))
    requests, items = synthetic_requests.synthetic_datasets()
    return training_speed.Shop(requests, items, synthetic_requests.AS_OF, config)


def test_a_made_up_history_holds_what_was_taken_before_and_nothing_later(shop):
    requests = shop.requests.to_pylist()
    assert len(requests) == SMALL["REQUESTS"]
    assert max(len(row["history_item_ids"]) for row in requests) > 10
    for row in requests:
        moment = np.datetime64(row["request_timestamp"], "us").astype(np.int64)
        assert all(seen < moment for seen in row["history_timestamps"])
        assert row["history_timestamps"] == sorted(row["history_timestamps"], reverse=True)


def test_both_loops_begin_alike_and_the_bar_is_one_that_both_reach(shop):
    towers = [make(shop, 256)[0] for make in (training_speed.stock_loop, training_speed.our_loop)]
    stock, ours = (shop.ndcg(tower, Rows.of(tower, shop.user, shop.item)) for tower in towers)
    assert stock == ours
    found = training_speed.in_turns(shop, 3, 256)
    assert max(found["ours"]["ndcg@20"]) > ours
    assert found["ndcg_bar"] == max(found["stock"]["ndcg@20"])  # in a dozen steps it forgets what it began with
    for side in (found["stock"], found["ours"]):
        reached = side["epochs_to_bar"]
        assert side["ndcg@20"][reached - 1] >= found["ndcg_bar"]
        assert side["seconds_to_bar"] == pytest.approx(sum(side["seconds"][: reached + 1]))
