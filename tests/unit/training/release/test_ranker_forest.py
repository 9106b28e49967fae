"""What the tree compiler refuses of a ranker's folder, a person reads as a sentence of the project's own."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from tastemaker.errors import TastemakerError
from training.ranking.features import FEATURE_NAMES, ITEM_ONLY, USER_ONLY
from training.ranking.fit import MODEL
from training.release.ranker_forest import ranker_forest


def ranker(folder: Path, names: list[str]) -> lgb.Booster:
    features = np.random.default_rng(0).normal(size=(80, len(names)))
    booster = lgb.train({"verbose": -1}, lgb.Dataset(features, features[:, 0], feature_name=names), 2)
    (folder / MODEL).write_text(booster.model_to_string())
    return booster


def test_both_forms_score_to_the_same_bits(tmp_path: Path) -> None:
    booster = ranker(tmp_path, list(FEATURE_NAMES))
    rows = np.random.default_rng(1).normal(size=(20, len(FEATURE_NAMES)))
    whole, split = ranker_forest(tmp_path), ranker_forest(tmp_path, split=True)
    assert (whole.item_features, whole.user_features) == ((), ())
    assert (set(split.item_features), set(split.user_features)) == (set(ITEM_ONLY), set(USER_ONLY))
    np.testing.assert_array_equal(whole.raw_scores(rows), split.raw_scores(rows))
    np.testing.assert_array_equal(whole.leaf_indices(rows), booster.predict(rows, pred_leaf=True))


def test_a_damaged_missing_or_foreign_model_is_a_sentence_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(TastemakerError, match=r"cannot be read as text.*'tastemaker train ranker'"):
        ranker_forest(tmp_path)
    ranker(tmp_path, list(FEATURE_NAMES))
    whole = (tmp_path / MODEL).read_text()
    (tmp_path / MODEL).write_text(whole[: whole.index("parameters:")])
    with pytest.raises(TastemakerError, match=r"cut short after its trees.*'tastemaker train ranker'"):
        ranker_forest(tmp_path)
    ranker(tmp_path, [*FEATURE_NAMES[:-1], "shoe_size"])
    with pytest.raises(TastemakerError, match=FEATURE_NAMES[-1]):
        ranker_forest(tmp_path)
