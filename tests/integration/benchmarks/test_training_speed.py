"""Both loops of the training-speed benchmark on a small shop: same start, same pairs, both learn."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import synthetic_requests, training_speed, two_loops
from tastemaker.config import Config, RankerConfig, RetrieverConfig
from training.retrieval.batches import Rows
from training.retrieval.recall import positives_of
from training.splits import plan_windows

SMALL = {"KINDS": 6, "OF_A_KIND": 10, "USERS": 60, "REQUESTS": 400, "POSITIVES": 4.0}

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(synthetic_requests, name, value)
    monkeypatch.setattr(two_loops, "K", 5)
    monkeypatch.setattr(two_loops, "STOCK_STEP", 0.01)
    config = Config(version=1, retriever=RetrieverConfig(embedding_dimension=8, learning_rate=0.01))
    requests, items = synthetic_requests.synthetic_datasets()
    return two_loops.Shop(requests, items, synthetic_requests.AS_OF, config)


def test_a_made_up_history_holds_what_was_taken_before_and_nothing_later(shop):
    requests = shop.requests.to_pylist()
    assert len(requests) == SMALL["REQUESTS"]
    assert max(len(row["history_item_ids"]) for row in requests) > 10
    for row in requests:
        moment = np.datetime64(row["request_timestamp"], "us").astype(np.int64)
        assert all(seen < moment for seen in row["history_timestamps"])
        assert row["history_timestamps"] == sorted(row["history_timestamps"], reverse=True)


def test_a_loop_ends_when_it_has_not_risen_for_its_patience():
    assert not training_speed._has_ended([], 2)
    assert not training_speed._has_ended([0.1, 0.3, 0.2], 2)
    assert training_speed._has_ended([0.1, 0.3, 0.2, 0.3], 2)  # as high is not higher


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_the_trees_are_as_many_on_both_sides(monkeypatch, objective):
    monkeypatch.setattr(training_speed, "MADE_UP_REQUESTS", 40)
    monkeypatch.setattr(training_speed, "MADE_UP_CANDIDATES", 50)
    grown, train = [], lgb.train
    monkeypatch.setattr(lgb, "train", lambda *given, **options: grown.append(train(*given, **options)) or grown[-1])
    config = Config(
        version=1, ranker=RankerConfig(max_trees=9, leaves=5, learning_rate=0.3, patience=2, objective=objective)
    )
    found = training_speed.trees_beside_bare(training_speed.made_up_rows(), config, 2)
    assert [booster.num_trees() for booster in grown] == [found["trees"]] * 4
    assert len(found["fit_trees_seconds"]) == len(found["bare_seconds"]) == 2


class SameForAll:
    """A tower to which all items are the same."""

    def query_from_indices(self, user):
        return tf.ones([len(user["request_timestamp"]), 2])

    def candidates_from_indices(self, item):
        return tf.ones([len(item["item_id"]), 2])


def test_to_know_nothing_is_worth_what_chance_is(shop):
    rows = Rows.of(shop.tower(), shop.user, shop.item)
    window = plan_windows(shop.config.split, shop.as_of).validation
    wanted = [np.unique(row) for row in positives_of(shop.requests, shop.snapshots)]
    counts = np.array([len(wanted[at]) for at in np.flatnonzero(window.contains(shop.moments))])
    items = SMALL["KINDS"] * SMALL["OF_A_KIND"]
    discounts = 1 / np.log2(np.arange(2, two_loops.K + 2))
    best = np.cumsum(discounts)[np.minimum(counts[counts > 0], two_loops.K) - 1]
    by_chance = float((counts[counts > 0] / items * discounts.sum() / best).mean())
    found = []
    for seed in range(100):
        retriever = shop.config.retriever.model_copy(update={"seed": seed})
        other = replace(shop, config=shop.config.model_copy(update={"retriever": retriever}))
        found.append(other.ndcg(SameForAll(), rows))
    assert len(set(found)) > 1
    assert np.mean(found) == pytest.approx(by_chance, rel=0.15)


def test_the_loops_begin_alike_and_the_bar_is_one_that_both_reach(shop):
    towers = [make(shop, 256)[0] for make in training_speed.LOOPS.values()]
    untaught = {shop.ndcg(tower, Rows.of(tower, shop.user, shop.item)) for tower in towers}
    found = training_speed.in_turns(shop, 3, 64)
    assert untaught == {found["ndcg_untaught"]}
    for name in ("stock", "lean"):
        sides, told = (found[name], found["ours"]), found[f"{name} : ours"]
        assert told["ndcg_bar"] == min(max(side["ndcg@20"]) for side in sides) > found["ndcg_untaught"]
        for side, who in zip(sides, ("", "our_"), strict=True):
            reached = told[f"{who}epochs"]
            assert side["ndcg@20"][reached - 1] >= told["ndcg_bar"] > max(side["ndcg@20"][: reached - 1], default=0)
            assert told[f"{who}seconds_to_bar"] == pytest.approx(sum(side["seconds"][: reached + 1]))
        assert told["ratio_of_seconds"] == pytest.approx(told["seconds_to_bar"] / told["our_seconds_to_bar"])
    assert set(training_speed.medians([found])) == {"stock : ours", "lean : ours"}
