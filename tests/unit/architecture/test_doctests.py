"""Every example in a docstring is true."""

import doctest
import importlib

import pytest

from tastemaker.settings import PROJECT_ROOT

ROOMS = ("tastemaker", "ingest", "quality", "feature_repo", "training", "serving", "orchestration", "benchmarks")


def modules_with_examples() -> list[str]:
    files = (p for room in ROOMS for p in (PROJECT_ROOT / room).rglob("*.py"))
    found = (p.relative_to(PROJECT_ROOT).with_suffix("") for p in files if ">>>" in p.read_text())
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
