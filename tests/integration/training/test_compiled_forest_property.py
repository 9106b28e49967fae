"""Random forests and random rows against LightGBM."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.forests import around, assert_lightgbms_sums, thresholds

from training.release.trees import CompiledForest

pytestmark = pytest.mark.integration

TRAPS = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-35, -1e-35, 1e-36, 5e-324, -5e-324, 1e-310, 1.4e-45, -1.0, -0.5, 0.5]
CLASSES = ("multiclass", "multiclassova")
ABOVE_ZERO = ("poisson", "gamma", "tweedie")
GROUP = 10  # rows of a lambdarank query

FORESTS = st.fixed_dictionaries(
    {
        "objective": st.sampled_from(
            ["binary", "regression", "cross_entropy_lambda", "lambdarank", *ABOVE_ZERO, *CLASSES]
        ),
        "boosting": st.sampled_from(["gbdt", "dart", "rf"]),
        "num_leaves": st.sampled_from([2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 200]),
        "min_data_in_leaf": st.sampled_from([1, 5]),
        "max_depth": st.sampled_from([-1, 3]),
        "zero_as_missing": st.booleans(),
        "use_missing": st.booleans(),
        "extra_trees": st.booleans(),
        "linear_tree": st.sampled_from([False, False, True]),
        "max_cat_to_onehot": st.sampled_from([1, 4, 100]),
        "max_bin": st.sampled_from([3, 15, 255]),
        "feature_fraction": st.sampled_from([0.4, 1.0]),
    }
)


def fit(params: dict[str, Any], seed: int, rows: int, rounds: int) -> tuple[lgb.Booster, np.ndarray]:
    """A booster on five columns of several scales, one or two of them codes, and its training matrix."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 5)) * 10.0 ** rng.integers(-30, 30, 5)
    features[:, 3] = rng.integers(0, rng.integers(2, 300), rows)
    features[:, 4] = np.round(rng.normal(size=rows), 1)
    features[rng.random(features.shape) < rng.choice([0.0, 0.3])] = np.nan
    features[rng.random(features.shape) < rng.choice([0.0, 0.3])] = 0.0
    signal = np.argsort(np.argsort(np.nan_to_num(features[:, 0]))) / rows + np.sin(np.nan_to_num(features[:, 3]))
    label: np.ndarray = signal + rng.normal(size=rows) * 0.2
    objective, group = params["objective"], None
    if objective in CLASSES:
        label = np.digitize(label, [0.0, 0.7])
        params = {**params, "num_class": 3}
    elif objective in ABOVE_ZERO:
        label = np.abs(label) + 0.01
    elif objective == "lambdarank":
        label, group = np.digitize(label, [0.0, 0.7]), [GROUP] * (rows // GROUP)
    elif objective != "regression":
        label = label > 0.5
    if params["boosting"] == "rf":
        params = {**params, "bagging_freq": 1, "bagging_fraction": 0.7}
    if params["linear_tree"]:  # LightGBM takes either
        params = {**params, "zero_as_missing": False}
    common = {"verbose": -1, "num_threads": 1, "seed": seed, "min_data_per_group": 2, "cat_smooth": 1.0}
    codes = [3] if seed % 2 else "auto"
    data = lgb.Dataset(features, np.asarray(label, float), group=group, categorical_feature=codes)
    return lgb.train({**common, **params}, data, rounds), features


def rows_around(booster: lgb.Booster, features: np.ndarray, seed: int) -> np.ndarray:
    """Rows whose every value is a threshold, a neighbour of one as double or as float, a trap, a code or noise."""
    rng = np.random.default_rng(seed + 1)
    pool = [around(np.array(thresholds(booster) or [0.0])), TRAPS]
    pool += [rng.integers(-3, 400, 50).astype(float), rng.normal(size=50)]
    return np.concatenate([features[:50], rng.choice(np.concatenate(pool), (500, features.shape[1]))])


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    params=FORESTS,
    seed=st.integers(0, 10_000),
    rows=st.integers(3, 40).map(lambda groups: groups * GROUP),
    single=st.booleans(),
    iterations=st.sampled_from([None, 1, 3, 99]),
)
def test_any_forest_gives_lightgbms_leaves_and_scores(
    params: dict[str, Any], seed: int, rows: int, single: bool, iterations: int | None
) -> None:
    booster, features = fit(params, seed, rows, rounds=4)
    with np.errstate(over="ignore", under="ignore"):
        given_rows = rows_around(booster, features, seed).astype(np.float32 if single else np.float64)
    wide = given_rows.astype(np.float64)
    names = booster.feature_name()
    forest = CompiledForest(booster, num_iteration=iterations, item_only=names[:1], user_only=names[3:4])

    leaves = booster.predict(wide, num_iteration=iterations, pred_leaf=True).reshape(len(wide), -1)
    np.testing.assert_array_equal(forest.leaf_indices(given_rows), leaves)
    raw = booster.predict(wide, num_iteration=iterations, raw_score=True)
    assert_lightgbms_sums(forest.raw_scores(given_rows).numpy(), booster, wide, iterations)
    # A linear leaf may say anything up to infinity, and `exp` multiplies an error by the size of what it is given.
    sound = (np.abs(raw) < 100).reshape(len(wide), -1).all(axis=1)
    scores = booster.predict(wide, num_iteration=iterations)
    np.testing.assert_allclose(forest.scores(given_rows)[sound], scores[sound], rtol=1e-13, atol=1e-12)

    if not params["linear_tree"]:
        masks = forest.item_masks(given_rows[:, :1])[:, None]
        pairs = given_rows[:, None][..., [1, 2, 4]]
        split = forest.raw_scores_from_masks(masks, forest.user_masks(given_rows[:, 3:4]), pairs)
        np.testing.assert_array_equal(split[:, 0], forest.raw_scores(given_rows))
