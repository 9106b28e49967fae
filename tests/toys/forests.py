"""LightGBM models of every kind, small ones, and the rows at which a compiled forest could go wrong."""

import re
from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import numpy as np

ROWS, COLUMNS = 400, 6
CATEGORICAL = {"min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 4}
BAGGED = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
EMPTY = "empty"  # in a model's name: as it is before its first round

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
    "random forest": {"objective": "binary", **BAGGED},
    "random forest of classes": {"objective": "multiclass", "num_class": 3, **BAGGED},
    "linear leaves": {"objective": "regression", "linear_tree": True},
    "linear leaves, categorical": {"objective": "regression", "linear_tree": True, **CATEGORICAL},
    "linear leaves of classes": {"objective": "multiclass", "num_class": 3, "linear_tree": True},
    "extra trees": {"objective": "regression", "extra_trees": True},
    "no boost from average": {"objective": "binary", "boost_from_average": False},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "multiclassova": {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.5},
    "a class that nobody has": {"objective": "multiclass", "num_class": 4, "num_leaves": 80, "min_data_in_leaf": 1},
    "single leaves": {"objective": "binary", "min_data_in_leaf": ROWS},
    EMPTY: {"objective": "binary"},
    f"{EMPTY} classes": {"objective": "multiclass", "num_class": 3},
    f"{EMPTY} random forest": {"objective": "binary", **BAGGED},
    "reg_sqrt": {"objective": "regression", "reg_sqrt": True},
    **{
        name: {"objective": name}
        for name in (
            *("regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
            *("cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg"),
        )
    },
}


def train(
    params: dict[str, Any], rounds: int = 5, rows: int = ROWS, unit: float = 1.0
) -> tuple[lgb.Booster, np.ndarray]:
    """A booster on six columns, two of them codes, with nulls and zeros, and its training matrix.

    Labels that are numbers are of the order of `unit`. With no `rounds` the booster is as it is before the first.
    """
    rng = np.random.default_rng(11)
    features = rng.normal(size=(rows, COLUMNS))
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
    }.get(params["objective"], (np.abs(truth) + 0.1) * unit)
    group = [20] * (rows // 20) if params["objective"] in ("lambdarank", "rank_xendcg") else None
    categorical = [3, 4] if "cat_smooth" in params else "auto"
    data = lgb.Dataset(features, label.astype(float), group=group, categorical_feature=categorical)
    settings = {"verbose": -1, "min_data_in_leaf": 3, "num_threads": 1, "seed": 3, **params}
    return (lgb.train(settings, data, rounds) if rounds else lgb.Booster(settings, data)), features


def trained(model: str) -> tuple[lgb.Booster, np.ndarray]:
    """One of `MODELS` and its training matrix."""
    return train(MODELS[model], rounds=0 if model.startswith(EMPTY) else 5)


def borders(booster: lgb.Booster) -> np.ndarray:
    """Every threshold, its neighbours as double and as float, and the values floating point keeps for traps."""
    zero = float(np.float32(1e-35))
    points = [0.0, -0.0, zero, -zero, 1e-36, -1e-36, 5e-324, -5e-324, 1e-310, 1.4e-45, 1e-38, np.inf, -np.inf, np.nan]
    points += [1e300, -1e300, -1.0, -0.5, 1.0, 2.0**31, 2.0**31 - 1, 2.0**32, 2.0**63, 69.5, 70.0, 1e9, 16777217.0]
    return around(np.array([*points, *thresholds(booster)]))


def thresholds(booster: lgb.Booster) -> list[float]:
    """The thresholds of all nodes; of categorical ones the number of their set."""
    lines = re.findall(r"^threshold=(.*)$", booster.model_to_string(), re.MULTILINE)
    return [float(word) for line in lines for word in line.split()]


def around(points: np.ndarray) -> np.ndarray:
    """Points `[n]` and their neighbours on both sides, as doubles and as floats."""
    exact = np.unique(points)
    with np.errstate(over="ignore", under="ignore"):
        single = exact.astype(np.float32)
        beside = [np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)]
        beside += [np.nextafter(single, np.float32(way)) for way in (np.inf, -np.inf)]
    return np.concatenate([exact, single, *beside])


def probes(booster: lgb.Booster, features: np.ndarray, dtype: type) -> np.ndarray:
    """Training rows, and rows in which every feature meets every border value in turn."""
    rng = np.random.default_rng(5)
    values = borders(booster)
    columns = [rng.permutation(values) for _ in range(features.shape[1])]
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate([features, np.stack(columns, axis=1)]).astype(dtype)


def assert_lightgbms_sums(
    raw: np.ndarray, booster: lgb.Booster, rows: np.ndarray, iterations: int | None = None
) -> None:
    """Raw scores are LightGBM's, but for the order in which a row's leaf values are added.

    Any order of `n` numbers is off by at most `(n - 1) · eps / 2` of the sum of their sizes (Higham, Accuracy and
    Stability of Numerical Algorithms, 4.2), so two orders differ by less than `n · eps` of it. What is not finite, as
    a linear leaf of an infinite value, is equal.
    """
    theirs = booster.predict(rows, num_iteration=iterations, raw_score=True)
    assert raw.shape == theirs.shape
    trees = booster.current_iteration()
    if iterations is not None and 0 < iterations < trees:
        trees = iterations
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.zeros(theirs.shape)
        for start in range(trees):
            sizes += np.abs(booster.predict(rows, start_iteration=start, num_iteration=1, raw_score=True))
        same = (raw == theirs) | (np.isnan(raw) & np.isnan(theirs))
        near = np.abs(raw - theirs) <= trees * np.finfo(np.float64).eps * sizes
    assert np.all(same | near), f"by {np.nanmax(np.abs(raw - theirs))} in {np.argwhere(~(same | near))[:5].tolist()}"


def nodes(booster: lgb.Booster) -> Iterator[dict[str, Any]]:
    """Every node as `Booster.dump_model` tells it."""

    def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "split_index" in node:
            yield node
            yield from below(node["left_child"])
            yield from below(node["right_child"])

    for tree in booster.dump_model()["tree_info"]:
        yield from below(tree["tree_structure"])


def leaf_counts(booster: lgb.Booster) -> list[int]:
    """How many leaves each tree has."""
    return [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]]
