"""How the ranker's trees are grown: once, on all but the window's end, which says where to cut."""

import numpy as np
import pytest
from toys.event_files import curves_of

from tastemaker.config import RankerConfig
from tastemaker.errors import TastemakerError
from training.evaluation.metrics import ndcg
from training.ranking.calibration import log_loss
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import STOPPING_SHARE, fit_trees
from training.ranking.rows import RankerRows
from training.ranking.tree_curves import TreeCurves
from training.tensorboard_run import TensorBoardRun

REQUESTS, CANDIDATES = 200, 20
CONFIG = RankerConfig(max_trees=60, leaves=7, learning_rate=0.3, patience=5, min_rows_in_leaf=5)


def rows(noise: float = 2.0, taken: float = 0.8) -> RankerRows:
    """The first feature says, through noise, what is taken: soon there is nothing left to learn."""
    random = np.random.default_rng(3)
    count = REQUESTS * CANDIDATES
    features = random.normal(size=(count, len(FEATURE_NAMES))).astype(np.float32)
    labels = (features[:, 0] + noise * random.normal(size=count) > np.quantile(features[:, 0], taken)).astype(np.int8)
    request = np.repeat(np.arange(REQUESTS, dtype=np.int32), CANDIDATES)
    positives = int(labels.sum())
    return RankerRows(features, labels, np.zeros(count, np.int32), request, REQUESTS, positives, positives, 0)


def probabilities(booster, features: np.ndarray) -> np.ndarray:
    return np.asarray(booster.predict(features))


def test_it_ends_with_the_best_tree_by_what_it_has_not_learnt():
    curve: list[float] = []
    made = rows()
    booster, facts = fit_trees(made, CONFIG, [lambda env: curve.append(env.evaluation_result_list[0][2])])
    assert facts["trees"] == booster.num_trees() == 1 + int(np.argmin(curve))
    assert len(curve) == facts["trees"] + CONFIG.patience < CONFIG.max_trees
    features, labels = made.between(round(REQUESTS * (1 - STOPPING_SHARE)), REQUESTS)
    assert log_loss(labels, probabilities(booster, features)) == pytest.approx(min(curve))
    assert facts["stopping_log_loss"] == min(curve) < facts["stopping_base_log_loss"]


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_that_it_is_followed_changes_no_byte_and_the_last_point_is_the_training_sets_own(objective, tmp_path):
    slow = {"objective": objective, "max_trees": 20, "patience": 20, "learning_rate": 0.1}
    made, config = rows(noise=0.5), CONFIG.model_copy(update=slow)
    curves = TreeCurves()
    booster, facts = fit_trees(made, config, [curves])
    assert booster.model_to_string() == fit_trees(made, config)[0].model_to_string()
    with TensorBoardRun(tmp_path / "run") as log:
        curves.show(log, config)
    found = curves_of(tmp_path / "run")
    metric = {"binary": "log_loss", "lambdarank": "ndcg@20"}[objective]
    assert list(found[f"stopping/{metric}"]) == list(range(1, 21))
    assert found[f"stopping/{metric}"][facts["trees"]] == pytest.approx(facts[f"stopping_{metric}"], rel=1e-6)
    learnt = found[f"training/{metric}"]
    assert list(learnt) == [1, 10, 20]
    if objective == "binary":
        assert facts["trees"] >= 10  # none of the ten has been cut off
        features, labels = made.between(0, round(REQUESTS * (1 - STOPPING_SHARE)))
        ten = np.asarray(booster.predict(features, num_iteration=10))
        assert learnt[10] == pytest.approx(log_loss(labels, ten), rel=1e-5)


def test_where_nothing_stops_it_every_tree_is_kept():
    booster, facts = fit_trees(rows(noise=0.5), CONFIG.model_copy(update={"max_trees": 3, "feature_fraction": 1.0}))
    assert booster.num_trees() == facts["trees"] == 3


def test_the_same_rows_leave_the_same_bytes_and_the_config_is_obeyed():
    first, again = (fit_trees(rows(), CONFIG)[0].model_to_string() for _ in range(2))
    assert first == again
    for change in ({"seed": 4}, {"feature_fraction": 0.2}, {"min_rows_in_leaf": 300}):
        assert fit_trees(rows(), CONFIG.model_copy(update=change))[0].model_to_string() != first


def test_a_part_of_the_rows_is_no_copy():
    made = rows()
    features, labels = made.between(3, 5)
    assert np.shares_memory(features, made.features) and np.shares_memory(labels, made.labels)
    assert (features == made.features[(made.request >= 3) & (made.request < 5)]).all()
    assert len(labels) == 2 * CANDIDATES


def test_labels_of_one_kind_only_are_told():
    with pytest.raises(TastemakerError, match="too few, on one side of its early-stopping split"):
        fit_trees(rows(noise=0.0, taken=1.0), CONFIG)


def test_lambdarank_learns_the_order_within_a_request_and_stops_by_its_ndcg():
    made, config = rows(noise=0.5), CONFIG.model_copy(update={"objective": "lambdarank"})
    booster, facts = fit_trees(made, config)
    assert "objective=lambdarank" in booster.model_to_string()
    assert "stopping_log_loss" not in facts
    features, labels = made.between(round(REQUESTS * (1 - STOPPING_SHARE)), REQUESTS)
    scores = np.asarray(booster.predict(features)).reshape(-1, CANDIDATES)
    hits = np.take_along_axis(labels.reshape(-1, CANDIDATES), np.argsort(-scores, axis=1, kind="stable"), axis=1) > 0
    found = ndcg(hits, hits.sum(axis=1))
    assert facts["stopping_ndcg@20"] == pytest.approx(np.nan_to_num(found, nan=1.0).mean())
    assert facts["stopping_ndcg@20"] > 0.8
    assert fit_trees(made, config)[0].model_to_string() == booster.model_to_string()
