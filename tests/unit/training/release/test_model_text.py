"""Damaged, shortened and foreign model files: each refused in one sentence, none half read."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from training.release.trees import CompiledForest, ForestRefusedError
from training.release.trees.model_text import parse_model


@pytest.fixture(scope="module")
def text() -> str:
    rng = np.random.default_rng(0)
    features = np.stack([rng.normal(size=300), rng.integers(0, 40, 300)], axis=1)
    label = features[:, 0] + 5 * (features[:, 1] % 3)
    params = {"objective": "regression", "verbose": -1, "num_leaves": 7, "min_data_per_group": 1, "cat_smooth": 1}
    data = lgb.Dataset(features, label, categorical_feature=[1])
    return lgb.train(params, data, 3).model_to_string()


def test_a_file_cut_anywhere_before_its_end_of_trees_is_refused(text: str) -> None:
    end = text.index("end of trees")
    for stop in range(0, end, 37):
        with pytest.raises(ForestRefusedError, match=r"^model\.txt"):
            parse_model(text[:stop], "model.txt")
    assert len(parse_model(text, "model.txt").trees) == 3


@pytest.fixture(scope="module")
def of_a_data_frame() -> str:
    """Trained on a data frame's categories, which are the last line of its text."""
    colours = ["blue", "deep red", "green"]
    frame = pd.DataFrame({"colour": pd.Categorical(colours * 40, categories=colours), "size": np.arange(120.0)})
    params = {"verbose": -1, "min_data_in_leaf": 1, "min_data_per_group": 1, "num_leaves": 3}
    return lgb.train(params, lgb.Dataset(frame, (frame["colour"] == "green").astype(float)), 2).model_to_string()


def test_a_file_cut_at_any_line_or_inside_its_last_lines_is_refused(of_a_data_frame: str) -> None:
    """Importances, parameters and categories come after the trees: without them the codes mean nothing."""
    lines = of_a_data_frame.splitlines(keepends=True)
    assert lines[-1].startswith("pandas_categorical:[[")
    starts = np.cumsum([0, *(len(line) for line in lines)])
    whole = of_a_data_frame.rstrip("\n")  # the last line's end is all that may be lacking
    cuts = {*starts[:-1].tolist(), *range(of_a_data_frame.index("end of parameters"), len(whole))}
    for stop in sorted(cuts):
        with pytest.raises(ForestRefusedError, match=r"^model\.txt"):
            parse_model(of_a_data_frame[:stop], "model.txt")
    assert parse_model(of_a_data_frame, "model.txt").encoding == (("blue", "deep red", "green"),)
    assert parse_model(whole, "model.txt").encoding == (("blue", "deep red", "green"),)


@pytest.mark.parametrize(
    ("stop", "sentence"),
    [
        ("feature_importances:", "cut short after its trees: the line 'end of parameters' is missing"),
        ("end of parameters", "cut short after its trees: the line 'end of parameters' is missing"),
        ("pandas_categorical:", "cut short after its parameters: the line 'pandas_categorical:'"),
        ('green"]]', "has a line 'pandas_categorical:' that cannot be read"),
    ],
)
def test_a_file_cut_after_its_trees_is_told_where(of_a_data_frame: str, stop: str, sentence: str) -> None:
    with pytest.raises(ForestRefusedError, match=sentence):
        parse_model(of_a_data_frame[: of_a_data_frame.index(stop)], "model.txt")


@pytest.mark.parametrize("written", ['{"a": 1}', '"abc"', "3", '["a", "b"]'])
def test_categories_that_are_no_lists_are_refused(text: str, written: str) -> None:
    with pytest.raises(ForestRefusedError, match="no list of lists of categories"):
        parse_model(text.replace("pandas_categorical:null", f"pandas_categorical:{written}"), "model.txt")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version=v4", "version=v9", r"model version 'v9', but this reader knows v3 and v4"),
        ("version=v4\n", "", "model version 'none'"),
        ("tree\n", "pickle\n", "is no.* a LightGBM text model"),
        ("Tree=1\n", "", "promises 3 trees, 2 begin"),
        ("num_leaves=7", "num_leaves=9", "tree 0 has 7 values in 'leaf_value' where 9 are due"),
        ("threshold=", "threshold=x", "unreadable number in 'threshold'"),
        ("left_child=", "left_child=0 ", "where 6 are due"),
        ("cat_boundaries=0", "cat_borders=0", "lacks 'cat_boundaries'"),
        ("num_cat=", "num_cat=-", r"tree 0 has -\d sets of categories"),
        ("max_feature_idx=1", "max_feature_idx=7", "names 2 features where there are 8"),
        ("objective=regression", "objective=regresion", "objective 'regresion'.*Did you mean 'regression'"),
    ],
)
def test_a_changed_file_is_refused_by_name(tmp_path: Path, text: str, old: str, new: str, sentence: str) -> None:
    assert old in text
    (tmp_path / "model.txt").write_text(text.replace(old, new, 1))
    with pytest.raises(ForestRefusedError, match=sentence):
        CompiledForest(tmp_path / "model.txt")


@pytest.mark.parametrize(
    ("key", "number", "sentence"),
    [
        ("decision_type", "12", "tree 0 has the decision type 12 in node 0, where 0 to 11 are known"),
        ("decision_type", "13", "the decision type 13 in node 0"),
        ("decision_type", "16", "the decision type 16 in node 0"),
        ("decision_type", "258", "the decision type 258 in node 0"),
        ("decision_type", "-1", "the decision type -1 in node 0"),
        ("threshold", "0.5", "categorical split without categories: node 0 names set 0.5 of"),
        ("threshold", "-1", "categorical split without categories: node 0 names set -1 of"),
        ("threshold", "99", "categorical split without categories: node 0 names set 99 of"),
        ("threshold", "nan", "categorical split without categories: node 0 names set nan of"),
        ("cat_boundaries", "1", "values in 'cat_boundaries' that do not begin at 0 and rise"),
        ("cat_threshold", "4294967296", "tree 0 has 4294967296 in 'cat_threshold', which is no word of 32 bits"),
        ("cat_threshold", "-1", "tree 0 has -1 in 'cat_threshold', which is no word of 32 bits"),
    ],
)
def test_a_node_that_lightgbm_never_wrote_is_refused_by_name(text: str, key: str, number: str, sentence: str) -> None:
    with pytest.raises(ForestRefusedError, match=sentence):
        parse_model(with_first(text, key, number), "model.txt")


def test_sets_of_categories_that_fall_are_refused(text: str) -> None:
    said = numbers_of(text, "cat_boundaries")
    first, *rest, last = said.split()
    fallen = " ".join([first, last, *rest])
    assert fallen != said
    with pytest.raises(ForestRefusedError, match="do not begin at 0 and rise"):
        parse_model(text.replace(f"cat_boundaries={said}", f"cat_boundaries={fallen}", 1), "model.txt")


def test_a_split_on_categories_that_are_not_there_is_refused(text: str) -> None:
    count = numbers_of(text, "num_cat")
    with pytest.raises(ForestRefusedError, match="categorical split without categories: node 0 names set 0 of 0"):
        parse_model(text.replace(f"num_cat={count}", "num_cat=0", 1), "model.txt")


def test_a_threshold_that_is_no_number_is_refused() -> None:
    booster = lgb.train({"verbose": -1, "num_leaves": 2}, lgb.Dataset(np.arange(60.0)[:, None], np.arange(60.0)), 1)
    with pytest.raises(ForestRefusedError, match="tree 0 has no number for a threshold in node 0"):
        parse_model(with_first(booster.model_to_string(), "threshold", "nan"), "model.txt")


def test_a_sigmoid_that_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.txt").write_text(text.replace("objective=regression", "objective=binary sigmoid:wide"))
    with pytest.raises(ForestRefusedError, match="sigmoid 'wide' in its objective, expected a number"):
        CompiledForest(tmp_path / "model.txt")


@pytest.mark.parametrize("space", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_a_feature_may_have_any_letter_in_its_name(space: str, tmp_path: Path) -> None:
    """What Python counts as the end of a line is none to LightGBM."""
    names = [f"price{space}Tree=in euros", "size"]
    features = np.random.default_rng(0).normal(size=(100, 2))
    booster = lgb.train({"verbose": -1}, lgb.Dataset(features, features[:, 0], feature_name=names), 2)
    booster.save_model(tmp_path / "model.txt")
    assert list(CompiledForest(tmp_path / "model.txt").feature_names) == booster.feature_name()


def numbers_of(text: str, key: str) -> str:
    """What the first line of a key says."""
    start = text.index(f"{key}=") + len(key) + 1
    return text[start : text.index("\n", start)]


def with_first(text: str, key: str, number: str) -> str:
    """The text with another first number in the first line of a key."""
    said = numbers_of(text, key)
    return text.replace(f"{key}={said}", f"{key}={' '.join([number, *said.split()[1:]])}", 1)


def test_children_that_make_no_tree_are_refused(text: str) -> None:
    start = text.index("left_child=")
    line = text[start : text.index("\n", start)]
    with pytest.raises(ForestRefusedError, match="has children that make no tree"):
        parse_model(text.replace(line, "left_child=" + " ".join(["-1"] * 6), 1), "model.txt")


def test_a_missing_file_and_a_stranger_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ForestRefusedError, match="cannot be read as text"):
        CompiledForest(tmp_path / "nowhere.txt")
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00tree")
    with pytest.raises(ForestRefusedError, match="cannot be read as text"):
        CompiledForest(tmp_path / "model.bin")
    with pytest.raises(ForestRefusedError, match="got dict; of a scikit-learn estimator give booster_"):
        CompiledForest({"tree": 1})


def test_doubles_survive_the_text(text: str) -> None:
    booster = lgb.Booster(model_str=text)
    values = [leaf for tree in parse_model(text, "model.txt").trees for leaf in tree.leaf_value]
    assert values == [booster.get_leaf_output(tree, leaf) for tree in range(3) for leaf in range(7)]
