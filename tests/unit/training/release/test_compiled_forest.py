"""The compiled forest against LightGBM itself: the same leaf for every tree and row, the same raw scores."""

import lightgbm as lgb
import numpy as np
import pytest
from toys.forests import MODELS, assert_lightgbms_sums, leaf_counts, nodes, probes, train, trained

from training.release.trees import CompiledForest


def assert_lightgbms(
    forest: CompiledForest, booster: lgb.Booster, features: np.ndarray, iterations: int | None = None
) -> None:
    """The same leaves, and raw scores but for the order of a sum, in both types of number; then the transform."""
    for dtype in (np.float64, np.float32):
        rows = probes(booster, features, dtype)
        wide = rows.astype(np.float64)  # LightGBM decides on the double that a float stands for
        leaves = booster.predict(wide, num_iteration=iterations, pred_leaf=True).reshape(len(rows), -1)
        np.testing.assert_array_equal(forest.leaf_indices(rows), leaves)
        assert_lightgbms_sums(forest.raw_scores(rows).numpy(), booster, wide, iterations)
        scores = booster.predict(wide, num_iteration=iterations)
        np.testing.assert_allclose(forest.scores(rows), scores, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_same_leaf_and_same_score_as_lightgbm_at_and_around_every_threshold(model: str) -> None:
    booster, features = trained(model)
    assert_lightgbms(CompiledForest(booster), booster, features)


@pytest.mark.parametrize("model", ["random forest", "dart", "linear leaves", "a class that nobody has", "categorical"])
def test_iterations_are_those_booster_predict_takes(model: str) -> None:
    booster, features = train(MODELS[model], rounds=6)
    for asked in (1, 4, 99, -1):
        forest = CompiledForest(booster, num_iteration=asked)
        assert_lightgbms(forest, booster, features[:50], asked)
    booster.best_iteration = 2
    assert_lightgbms_sums(CompiledForest(booster).raw_scores(features).numpy(), booster, features, 2)
    assert CompiledForest(booster).trees == 2 * booster.num_model_per_iteration()


@pytest.mark.parametrize("objective", ["regression", "regression_l1", "poisson"])
def test_labels_of_millions_differ_by_no_more_than_the_order_of_a_sum(objective: str) -> None:
    """An ulp of such a score is above 1e-10, so that the bound has to grow with the leaves' values."""
    booster, features = train({"objective": objective}, rounds=60, unit=1e6)
    raw = CompiledForest(booster).raw_scores(features).numpy()
    assert_lightgbms_sums(raw, booster, features)
    with pytest.raises(AssertionError):  # what leaves rounded to float32 would do
        assert_lightgbms_sums(raw * (1 + 1e-10), booster, features)


def test_the_models_have_what_their_names_say() -> None:
    """Without default-left nodes, or sets of categories, the comparison above would prove nothing about them."""
    of = {model: list(nodes(trained(model)[0])) for model in MODELS}
    ways = {
        kind: {(node["missing_type"], node["default_left"]) for node in of[kind] if node["decision_type"] == "<="}
        for kind in MODELS
    }
    assert {("NaN", True), ("NaN", False)} <= ways["binary"]
    assert {("Zero", True), ("Zero", False)} <= ways["zero as missing"]
    assert {missing for missing, _ in ways["binary without missing values"]} == {"None"}

    sets = {kind: [n["threshold"].split("||") for n in of[kind] if n["decision_type"] == "=="] for kind in MODELS}
    assert max(len(chosen) for chosen in sets["categorical"]) > 4
    assert {len(chosen) for chosen in sets["categorical one-hot"]} == {1}
    assert max(len(chosen) for chosen in sets["linear leaves, categorical"]) > 1

    leaves = {kind: leaf_counts(trained(kind)[0]) for kind in MODELS}
    assert max(leaves["65 leaves"]) == 65
    assert max(leaves["150 leaves"]) == 150
    assert set(leaves["single leaves"]) == {1}
    assert min(leaves["a class that nobody has"]) == 1
    assert max(leaves["a class that nobody has"]) > 64
    assert [kind for kind, counts in leaves.items() if not counts] == [kind for kind in MODELS if "empty" in kind]
    assert "leaf_coeff" in trained("linear leaves of classes")[0].model_to_string()
    assert "average_output" in trained("empty random forest")[0].model_to_string()
