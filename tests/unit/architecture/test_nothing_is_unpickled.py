"""What is read from a file is data: no module of ours can run what a file says."""

import ast
from collections.abc import Iterator

import pytest

from tastemaker.settings import PROJECT_ROOT

ROOMS = (
    "tastemaker",
    "ingest",
    "dbt_project",
    "quality",
    "feature_repo",
    "training",
    "serving",
    "orchestration",
    "dags",
)
READERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"read_pickle", "unsafe_load", "full_load"}


def unpickles(source: str) -> Iterator[str]:
    """What in a module could run a file's content."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in READERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in READERS:
            yield str(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE_CALLS:
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not _is_false(node.value):
            yield "allow_pickle"


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_unpickles(room: str) -> None:
    files = sorted((PROJECT_ROOT / room).rglob("*.py"))
    assert files
    found = {path.name: list(unpickles(path.read_text())) for path in files}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import numpy as np; np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
        "yaml.unsafe_load(f)",
    ],
)
def test_what_would_unpickle_is_seen(line: str) -> None:
    assert list(unpickles(line))
    assert not list(unpickles("import json; np.load(f, allow_pickle=False); yaml.safe_load(f)"))
