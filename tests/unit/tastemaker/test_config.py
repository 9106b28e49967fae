"""The config file: strict, and its errors name the nearest known key."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from tastemaker.config import Config, RankerConfig, ReleaseGateConfig, load_config
from tastemaker.errors import TastemakerError
from tastemaker.settings import PROJECT_ROOT


def load(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "tastemaker.yaml"
    file.write_text(text)
    return load_config(file)


def test_the_repositorys_own_file_is_all_defaults() -> None:
    assert load_config(PROJECT_ROOT / "tastemaker.yaml") == Config(version=1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 1\nretreiver: {}", "unknown key 'retreiver'. Did you mean 'retriever'?"),
        ("version: 1\nranker: {leafs: 3}", "unknown key 'ranker.leafs'. Did you mean 'leaves'?"),
        ("version: 1\nranker: {leaves: 1}", "ranker.leaves = 1: Input should be greater than or equal to 2"),
        ("version: 2", "version = 2"),
        ("{}", "version"),
        ("- 1", "must hold keys and values"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(TastemakerError) as problem:
        load(tmp_path, text)
    assert sentence in str(problem.value)
    assert str(tmp_path / "tastemaker.yaml") in str(problem.value)


def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(TastemakerError, match="TASTEMAKER_CONFIG"):
        load_config(tmp_path / "none.yaml")


def test_every_key_is_described() -> None:
    for section in Config.model_fields:
        model = getattr(Config(version=1), section)
        if isinstance(model, BaseModel):
            for key, field in type(model).model_fields.items():
                assert field.description, f"{section}.{key}"


def test_another_bound_for_a_gate_needs_no_other_release():
    plain = Config(version=1)
    stricter = Config(version=1, release_gate=ReleaseGateConfig(slice_margin=0.01))
    assert stricter.until_judged() == plain.until_judged()
    assert Config(version=1, ranker=RankerConfig(leaves=7)).until_judged() != plain.until_judged()
