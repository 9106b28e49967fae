"""Which source files a step depends on: those that its module imports, directly or through others.

Read from the text, nothing is run, so that the list is the same wherever it is made and cannot be forgotten to be kept.
"""

import ast
from functools import lru_cache
from pathlib import Path

from tastemaker.settings import PROJECT_ROOT


def code_of(module: str, root: Path = PROJECT_ROOT) -> list[Path]:
    """The files of a module and of all that it imports below `root`, also inside functions, sorted.

    What lies elsewhere is left out: a library's version is no part of a step's code. Raises ValueError where there is
    no such module.
    """
    start = _file_of(module, root)
    if start is None:
        raise ValueError(f"There is no module {module} below {root}.")
    found, waiting = set[Path](), [start]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [imported for name in _imported(file) if (imported := _file_of(name, root))]
    return sorted(found)


def _file_of(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@lru_cache(maxsize=1024)
def _imported(file: Path) -> frozenset[str]:
    """Names of modules; `from a import b` may mean the module `a.b`, and runs `a` in any case."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in named:
            parts = name.split(".")
            names.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return frozenset(names)
