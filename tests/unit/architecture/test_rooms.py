"""Who may call whom: the arrows of ARCHITECTURE.md, read from the imports themselves."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tastemaker.settings import PROJECT_ROOT

# room → rooms it may import; the command line stands apart from the rest of `tastemaker`
ALLOWED = {
    "tastemaker": set(),
    "tastemaker.cli": {
        "tastemaker", "ingest", "dbt_project", "quality", "feature_repo", "training", "serving", "orchestration",
    },
    "ingest": {"tastemaker"},
    "dbt_project": {"tastemaker", "ingest"},
    "quality": {"tastemaker", "ingest"},
    "feature_repo": {"tastemaker"},
    "training": {"tastemaker", "feature_repo"},
    "serving": {"tastemaker", "feature_repo"},
    "orchestration": {"tastemaker", "tastemaker.cli", "ingest", "serving"},
    "dags": {"tastemaker"},
}  # fmt: skip
ROOMS = {name.split(".")[0] for name in ALLOWED}
TREES = "training/release/trees"
STANDS_ON = ("training.release.trees.", "tastemaker.names.")


def room_of(path: Path) -> str:
    parts = path.relative_to(PROJECT_ROOT).parts
    return "tastemaker.cli" if parts[:2] == ("tastemaker", "cli") else parts[0]


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            here = path.relative_to(PROJECT_ROOT).parts[: -node.level]
            yield ".".join([*here, *([node.module] if node.module else [])])
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources() -> list[Path]:
    return sorted(p for room in ROOMS for p in (PROJECT_ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PROJECT_ROOT)))
def test_no_import_goes_where_it_may_not(path: Path) -> None:
    room = room_of(path)
    for module in imports(path):
        target = "tastemaker.cli" if module.startswith("tastemaker.cli") else module.split(".")[0]
        if target in ALLOWED and target != room:
            assert target in ALLOWED[room], f"{path.relative_to(PROJECT_ROOT)} imports {module}"


def test_the_tree_compiler_stands_alone() -> None:
    """It could be published as it is: what it needs of ours is at most a name, not even the way in which we err."""
    files = sorted((PROJECT_ROOT / TREES).rglob("*.py"))
    assert files
    outside = {module for path in files for module in imports(path) if not f"{module}.".startswith(STANDS_ON)}
    assert {module for module in outside if module.split(".")[0] in ROOMS} == set()
    assert {module.split(".")[0] for module in outside} - sys.stdlib_module_names == {"numpy", "tensorflow"}


HEAVY = ("tensorflow", "feast", "great_expectations", "dbt", "pandas", "lightgbm", "duckdb", "tensorflow_recommenders")


@pytest.mark.parametrize(
    "path",
    sorted([*(PROJECT_ROOT / "tastemaker").rglob("*.py"), *(PROJECT_ROOT / "dags").rglob("*.py")]),
    ids=lambda p: str(p.relative_to(PROJECT_ROOT)),
)
def test_nothing_heavy_at_the_top_of_a_command_or_a_dag(path: Path) -> None:
    for module in imports(path, top_level=True):
        assert module.split(".")[0] not in HEAVY, module
