"""How a compiled forest is called: the split form, batches, names of columns, and what it refuses in a sentence."""

import re
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from toys.forests import MODELS, assert_lightgbms_sums, train

from training.release.trees import CompiledForest, ForestRefusedError
from training.release.trees.row_blocks import ROWS as ROWS_A_BLOCK


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
    np.testing.assert_array_equal(whole, CompiledForest(booster).raw_scores(rows.reshape(-1, 6)))


def test_split_form_needs_no_feature_of_any_kind() -> None:
    booster, features = train({"objective": "binary"})
    names = booster.feature_name()
    forest = CompiledForest(booster, item_only=names[:5], user_only=names[5:])
    rows = features[:4]
    masks = tf.gather(forest.item_masks(rows[:, :5]), [[0], [1], [2], [3]])
    scores = forest.raw_scores_from_masks(masks, forest.user_masks(rows[:, 5:]), np.zeros((4, 1, 0), np.float32))
    assert_lightgbms_sums(scores[:, 0].numpy(), booster, rows)


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


def test_columns_may_come_in_another_order() -> None:
    booster, features = train({"objective": "regression", "linear_tree": True})
    order = [4, 2, 0, 5, 1, 3]
    forest = CompiledForest(booster, feature_names=[booster.feature_name()[column] for column in order])
    assert_lightgbms_sums(forest.raw_scores(features[:, order]).numpy(), booster, features)


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
    with pytest.raises(ForestRefusedError, match="linear leaves"):
        forest.raw_scores_from_masks(masks, forest.user_masks(features[:1, :0]), features[None, :1, 1:])


def test_wrong_tensors_are_refused_in_a_sentence_even_while_a_graph_is_built() -> None:
    booster, features = train({"objective": "binary"})
    forest = CompiledForest(booster)
    with pytest.raises(ForestRefusedError, match=r"^features has shape .*, expected .* 6 columns last: Column_0"):
        tf.function(forest.scores)(features[:, :5])
    with pytest.raises(ForestRefusedError, match="features has type int64, expected float32 or float64"):
        forest.leaf_indices(features.astype(np.int64) if not np.isnan(features).any() else np.zeros((2, 6), np.int64))


def test_tensors_of_another_rank_are_refused_in_a_sentence() -> None:
    """A cube once passed where a table was due, and was scored along the wrong axis."""
    booster, features = train({"objective": "binary"}, rounds=1)
    names = booster.feature_name()
    forest = CompiledForest(booster, item_only=names[:2], user_only=names[2:3])
    for call in (forest.raw_scores, forest.scores, forest.leaf_indices):
        with pytest.raises(ForestRefusedError, match=r"^features has shape \(1, 4, 6\), expected \[rows, 6\]"):
            call(features[None, :4])
        with pytest.raises(ForestRefusedError, match=r"^features has shape \(6,\), expected \[rows, 6\]"):
            call(features[0])
    with pytest.raises(ForestRefusedError, match=r"^item_features has shape \(1, 4, 2\), expected \[rows, 2\]"):
        forest.item_masks(features[None, :4, :2])
    with pytest.raises(ForestRefusedError, match=r"^user_features has shape \(1, 4, 1\), expected \[rows, 1\]"):
        forest.user_masks(features[None, :4, 2:3])
    masks = forest.item_masks(features[:4, :2])[None]
    with pytest.raises(ForestRefusedError, match=r"^pair_features has shape .* expected \[users, candidates, 3\]"):
        forest.raw_scores_from_masks(masks, forest.user_masks(features[:1, 2:3]), features[:4, 3:])


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
    with pytest.raises(ForestRefusedError, match=sentence):
        CompiledForest(booster, **arguments)


def test_codes_of_other_categories_than_it_was_trained_with_are_refused_by_name() -> None:
    colours = ["blue", "green", "red"]
    frame = pd.DataFrame({"colour": pd.Categorical([*colours] * 40, categories=colours), "size": np.arange(120.0)})
    label = (frame["colour"] == "green").astype(float)
    booster = lgb.train({"verbose": -1, "min_data_in_leaf": 1, "min_data_per_group": 1}, lgb.Dataset(frame, label), 3)
    with pytest.raises(ForestRefusedError, match="categories of 1 columns, 0 are given"):
        CompiledForest(booster)
    with pytest.raises(ForestRefusedError, match="'green', 'red' in categorical column 0, the codes are of 'green'"):
        CompiledForest(booster, encoding=[["green", "blue", "red"]])
    codes = np.stack([frame["colour"].cat.codes, frame["size"]], axis=1).astype(np.float64)
    ours = CompiledForest(booster, encoding=[colours]).raw_scores(codes)
    np.testing.assert_allclose(ours, booster.predict(frame, raw_score=True), rtol=0, atol=1e-12)
