"""The compiled forest against LightGBM itself: the same leaf for every tree and row, the same raw scores."""

import re
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tastemaker.errors import TastemakerError
from training.release.trees import CompiledForest
from training.release.trees.row_blocks import ROWS as ROWS_A_BLOCK

ROWS = 400
CATEGORICAL = {"min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 4}

MODELS: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary", "sigmoid": 1.7},
    "binary without missing values": {"objective": "binary", "use_missing": False},
    "zero as missing": {"objective": "binary", "zero_as_missing": True, "num_leaves": 63},
    "64 leaves": {"objective": "binary", "num_leaves": 64},
    "65 leaves": {"objective": "binary", "num_leaves": 65},
    "150 leaves": {"objective": "regression", "num_leaves": 150, "min_data_in_leaf": 1},
    "16 leaves": {"objective": "regression", "num_leaves": 16},
    "stumps": {"objective": "regression", "num_leaves": 2},
    "categorical": {"objective": "binary", **CATEGORICAL},
    "categorical, zero as missing": {"objective": "regression", "zero_as_missing": True, **CATEGORICAL},
    "categorical one-hot": {"objective": "regression", **CATEGORICAL, "max_cat_to_onehot": 1000},
    "dart": {"objective": "binary", "boosting": "dart", "drop_rate": 0.5},
    "random forest": {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    "random forest of classes": {
        "objective": "multiclass",
        "num_class": 3,
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.6,
    },
    "linear leaves": {"objective": "regression", "linear_tree": True},
    "extra trees": {"objective": "regression", "extra_trees": True},
    "no boost from average": {"objective": "binary", "boost_from_average": False},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "multiclassova": {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.5},
    "reg_sqrt": {"objective": "regression", "reg_sqrt": True},
    **{
        name: {"objective": name}
        for name in (
            *("regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
            *("cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg"),
        )
    },
}


def train(params: dict[str, Any], rounds: int = 5, rows: int = ROWS) -> tuple[lgb.Booster, np.ndarray]:
    """A booster on six columns, two of them codes, with nulls and zeros, and its training matrix."""
    rng = np.random.default_rng(11)
    features = rng.normal(size=(rows, 6))
    features[:, 3] = rng.integers(0, 70, rows)
    features[:, 4] = rng.integers(0, 3, rows)
    features[rng.random(features.shape) < 0.1] = np.nan
    features[rng.random(features.shape) < 0.1] = 0.0
    truth = np.nan_to_num(features[:, 0]) + np.sin(np.nan_to_num(features[:, 3])) + rng.normal(size=rows) * 0.3
    label = {
        "binary": truth > 0,
        "multiclass": np.digitize(truth, [-0.5, 0.5]),
        "multiclassova": np.digitize(truth, [-0.5, 0.5]),
        "cross_entropy": 1 / (1 + np.exp(-truth)),
        "cross_entropy_lambda": 1 / (1 + np.exp(-truth)),
        "lambdarank": np.digitize(truth, [-0.5, 0.5]),
        "rank_xendcg": np.digitize(truth, [-0.5, 0.5]),
    }.get(params["objective"], np.abs(truth) + 0.1)
    group = [20] * (rows // 20) if params["objective"] in ("lambdarank", "rank_xendcg") else None
    categorical = [3, 4] if "cat_smooth" in params else "auto"
    data = lgb.Dataset(features, label.astype(float), group=group, categorical_feature=categorical)
    settings = {"verbose": -1, "min_data_in_leaf": 3, "num_threads": 1, "seed": 3, **params}
    return lgb.train(settings, data, rounds), features


def borders(booster: lgb.Booster) -> np.ndarray:
    """Every threshold, its neighbours as double and as float, and the values floating point keeps for traps."""
    zero = float(np.float32(1e-35))
    points = [0.0, -0.0, zero, -zero, 1e-36, -1e-36, 5e-324, -5e-324, 1e-310, 1.4e-45, 1e-38, np.inf, -np.inf, np.nan]
    points += [1e300, -1e300, -1.0, -0.5, 1.0, 2.0**31, 2.0**31 - 1, 2.0**32, 2.0**63, 69.5, 70.0, 1e9, 16777217.0]
    for line in re.findall(r"^threshold=(.*)$", booster.model_to_string(), re.MULTILINE):
        points += [float(word) for word in line.split()]
    exact = np.unique(points)
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
        around = [np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)]
        around += [np.nextafter(single, np.float32(way)) for way in (np.inf, -np.inf)]
    return np.concatenate([exact, single, *around])


def probes(booster: lgb.Booster, features: np.ndarray, dtype: type) -> np.ndarray:
    """Training rows, and rows in which every feature meets every border value in turn."""
    rng = np.random.default_rng(5)
    values = borders(booster)
    columns = [rng.permutation(values) for _ in range(features.shape[1])]
    with np.errstate(over="ignore"):
        return np.concatenate([features, np.stack(columns, axis=1)]).astype(dtype)


@pytest.mark.parametrize("model", MODELS)
def test_same_leaf_and_same_score_as_lightgbm_at_and_around_every_threshold(model: str) -> None:
    booster, features = train(MODELS[model])
    forest = CompiledForest(booster)
    for dtype in (np.float64, np.float32):
        rows = probes(booster, features, dtype)
        wide = rows.astype(np.float64)  # LightGBM decides on the double that a float stands for
        leaves = booster.predict(wide, pred_leaf=True).reshape(len(rows), -1)
        np.testing.assert_array_equal(forest.leaf_indices(rows), leaves)
        raw = booster.predict(wide, raw_score=True)
        np.testing.assert_allclose(forest.raw_scores(rows), raw, rtol=1e-14, atol=1e-12)
        np.testing.assert_allclose(forest.scores(rows), booster.predict(wide), rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("model", ["binary", "150 leaves", "categorical", "multiclass", "zero as missing", "16 leaves"])
def test_split_form_gives_the_bits_of_the_whole(model: str) -> None:
    booster, features = train(MODELS[model])
    names = booster.feature_name()
    item, user = [names[3], names[0]], [names[5]]
    forest = CompiledForest(booster, item_only=item, user_only=user)
    assert (forest.item_features, forest.user_features) == ((names[0], names[3]), (names[5],))

    users, candidates = 7, 11
    items = np.random.default_rng(1).integers(0, 40, (users, candidates))
    rows = features[: users * candidates].reshape(users, candidates, 6).copy()
    rows[..., [0, 3]] = features[100:140][items][..., [0, 3]]
    rows[..., 5] = rows[:, :1, 5]
    baked = forest.item_masks(features[100:140][:, [0, 3]])
    split = forest.raw_scores_from_masks(
        tf.gather(baked, items), forest.user_masks(rows[:, 0, [5]]), rows[..., [1, 2, 4]]
    )

    whole = forest.raw_scores(rows.reshape(-1, 6)).numpy()
    np.testing.assert_array_equal(split.numpy().reshape(whole.shape), whole)
    np.testing.assert_allclose(whole, CompiledForest(booster).raw_scores(rows.reshape(-1, 6)), rtol=0, atol=1e-12)


def test_split_form_needs_no_feature_of_any_kind() -> None:
    booster, features = train({"objective": "binary"})
    names = booster.feature_name()
    forest = CompiledForest(booster, item_only=names[:5], user_only=names[5:])
    rows = features[:4]
    masks = tf.gather(forest.item_masks(rows[:, :5]), [[0], [1], [2], [3]])
    scores = forest.raw_scores_from_masks(masks, forest.user_masks(rows[:, 5:]), np.zeros((4, 1, 0), np.float32))
    np.testing.assert_allclose(scores[:, 0], booster.predict(rows, raw_score=True), rtol=0, atol=1e-12)


def test_empty_forest_and_single_leaf_trees() -> None:
    features = np.ones((50, 2))
    constant = lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(features, np.arange(50) % 2), 3)
    forest = CompiledForest(constant)
    np.testing.assert_array_equal(forest.scores(features), constant.predict(features))
    np.testing.assert_array_equal(forest.leaf_indices(features), np.zeros((50, forest.trees)))

    empty = lgb.Booster({"objective": "binary", "verbose": -1}, lgb.Dataset(features, np.arange(50) % 2))
    forest = CompiledForest(empty)
    assert forest.trees == 0
    np.testing.assert_array_equal(forest.raw_scores(features), np.zeros(50))
    np.testing.assert_array_equal(forest.scores(features), np.full(50, 0.5))
    assert forest.leaf_indices(features).shape == (50, 0)


def test_a_row_scores_alike_in_every_batch_size() -> None:
    booster, features = train({"objective": "binary"})
    forest = CompiledForest(booster)
    many = np.tile(features, (6, 1))
    assert len(many) > 2 * ROWS_A_BLOCK
    np.testing.assert_array_equal(forest.raw_scores(many), np.tile(forest.raw_scores(features), 6))
    np.testing.assert_array_equal(forest.leaf_indices(many), np.tile(forest.leaf_indices(features), (6, 1)))
    np.testing.assert_array_equal(forest.raw_scores(features[:1]), forest.raw_scores(features)[:1])


def test_a_batch_of_none_and_of_one_row() -> None:
    booster, features = train({"objective": "binary"})
    forest = CompiledForest(booster)
    assert forest.raw_scores(features[:0]).shape == (0,)
    np.testing.assert_allclose(forest.scores(features[:1]), booster.predict(features[:1]), rtol=0, atol=1e-12)


def test_iterations_are_those_booster_predict_takes() -> None:
    booster, features = train({"objective": "multiclass", "num_class": 3}, rounds=6)
    for asked in (1, 4, 6, 99, 0, -1):
        forest = CompiledForest(booster, num_iteration=asked)
        expected = booster.predict(features, num_iteration=asked, raw_score=True)
        np.testing.assert_allclose(forest.raw_scores(features), expected, rtol=0, atol=1e-12)
    booster.best_iteration = 2
    np.testing.assert_allclose(
        CompiledForest(booster).raw_scores(features), booster.predict(features, raw_score=True), rtol=0, atol=1e-12
    )


def test_columns_may_come_in_another_order() -> None:
    booster, features = train({"objective": "regression", "linear_tree": True})
    order = [4, 2, 0, 5, 1, 3]
    forest = CompiledForest(booster, feature_names=[booster.feature_name()[column] for column in order])
    np.testing.assert_allclose(
        forest.raw_scores(features[:, order]), booster.predict(features, raw_score=True), rtol=0, atol=1e-12
    )


def test_a_file_compiles_to_the_same_bits_as_its_booster(tmp_path: Path) -> None:
    booster, features = train(MODELS["categorical"])
    booster.save_model(tmp_path / "model.txt")
    for path in (tmp_path / "model.txt", str(tmp_path / "model.txt")):
        np.testing.assert_array_equal(CompiledForest(path).scores(features), CompiledForest(booster).scores(features))


def test_a_custom_objective_is_left_untransformed() -> None:
    booster, features = train({"objective": "regression"})
    text = re.sub(r"^objective=.*\n", "", booster.model_to_string(), flags=re.MULTILINE)
    custom = lgb.Booster(model_str=text)
    np.testing.assert_array_equal(CompiledForest(custom).scores(features), CompiledForest(custom).raw_scores(features))


def test_linear_leaves_refuse_the_split_form_by_name() -> None:
    booster, features = train(MODELS["linear leaves"])
    forest = CompiledForest(booster, item_only=[booster.feature_name()[0]])
    masks = forest.item_masks(features[:1, :1])[None]
    with pytest.raises(TastemakerError, match="linear leaves"):
        forest.raw_scores_from_masks(masks, forest.user_masks(features[:1, :0]), features[None, :1, 1:])


def test_wrong_tensors_are_refused_in_a_sentence_even_while_a_graph_is_built() -> None:
    booster, features = train({"objective": "binary"})
    forest = CompiledForest(booster)
    with pytest.raises(TastemakerError, match=r"^features has shape .*, expected 6 columns last: Column_0"):
        tf.function(forest.scores)(features[:, :5])
    with pytest.raises(TastemakerError, match="features has type int64, expected float32 or float64"):
        forest.leaf_indices(features.astype(np.int64) if not np.isnan(features).any() else np.zeros((2, 6), np.int64))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"item_only": ["Column_9"]}, "item_only names 'Column_9'"),
        ({"user_only": ["Colum_1"]}, "Did you mean 'Column_1'"),
        ({"item_only": ["Column_1"], "user_only": ["Column_1"]}, "both item_only and user_only"),
        ({"feature_names": ["Column_0"]}, "needs the feature 'Column_1'"),
        ({"feature_names": [f"Column_{column}" for column in range(7)]}, "has no feature 'Column_6'"),
        ({"feature_names": [f"Column_{column}" for column in (0, 1, 2, 3, 4, 5, 5)]}, "gives 'Column_5' twice"),
    ],
)
def test_unknown_features_are_refused_by_name(arguments: dict[str, Any], sentence: str) -> None:
    booster, _ = train({"objective": "binary"}, rounds=1)
    with pytest.raises(TastemakerError, match=sentence):
        CompiledForest(booster, **arguments)


def test_codes_of_other_categories_than_it_was_trained_with_are_refused_by_name() -> None:
    colours = ["blue", "green", "red"]
    frame = pd.DataFrame({"colour": pd.Categorical([*colours] * 40, categories=colours), "size": np.arange(120.0)})
    label = (frame["colour"] == "green").astype(float)
    booster = lgb.train({"verbose": -1, "min_data_in_leaf": 1, "min_data_per_group": 1}, lgb.Dataset(frame, label), 3)
    with pytest.raises(TastemakerError, match="categories of 1 columns, 0 are given"):
        CompiledForest(booster)
    with pytest.raises(TastemakerError, match="'green', 'red' in categorical column 0, the codes are of 'green'"):
        CompiledForest(booster, encoding=[["green", "blue", "red"]])
    codes = np.stack([frame["colour"].cat.codes, frame["size"]], axis=1).astype(np.float64)
    ours = CompiledForest(booster, encoding=[colours]).raw_scores(codes)
    np.testing.assert_allclose(ours, booster.predict(frame, raw_score=True), rtol=0, atol=1e-12)
