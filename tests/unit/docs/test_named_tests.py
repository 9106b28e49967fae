"""A test that a page names is there, and every fault of the reliability page has a figure and such a test."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from test_links import pages

from tastemaker.settings import PROJECT_ROOT

NAMED = re.compile(r"`([\w./]*\btest_\w+\.py)::(test_\w+)`")
RELIABILITY = PROJECT_ROOT / "benchmarks" / "reliability.md"


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def missing(text: str) -> list[str]:
    named = NAMED.findall(text)
    return [f"{file}::{name}" for file, name in named if name not in functions_of(PROJECT_ROOT / "tests" / file)]


@pytest.mark.parametrize(
    "page", [page for page in pages() if NAMED.search(page.read_text())], ids=lambda page: page.name
)
def test_every_test_that_is_named_exists(page: Path) -> None:
    assert missing(page.read_text()) == []


def test_every_fault_says_what_is_seen_in_figures_and_names_its_tests() -> None:
    section = RELIABILITY.read_text().split("\n## Every fault and its test")[1]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 18
    for row in rows:
        fault, how, seen, tests = row
        assert fault and how
        assert re.search(r"\d", seen), fault
        assert NAMED.search(tests), fault


def test_a_name_that_is_gone_is_seen() -> None:
    here = "unit/docs/test_named_tests.py"
    text = f"`{here}::test_a_name_that_is_gone_is_seen` `{here}::test_gone` `unit/test_nowhere.py::test_x`"
    assert missing(text) == [f"{here}::test_gone", "unit/test_nowhere.py::test_x"]
