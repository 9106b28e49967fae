"""Every sentence in the troubleshooting tables is one that the code says, and the schedule is that of the DAGs."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tastemaker.names import STEPS
from tastemaker.settings import PROJECT_ROOT

ROOMS = ("tastemaker", "ingest", "dbt_project", "quality", "feature_repo", "training", "serving", "orchestration")
ANY = "…"


def text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or ANY for part in node.values)
    return None


@cache
def sentences_in_the_code() -> tuple[str, ...]:
    files = (path for room in ROOMS for path in (PROJECT_ROOT / room).rglob("*.py"))
    found = (text_of(node) for path in files for node in ast.walk(ast.parse(path.read_text())))
    return tuple({text for text in found if text})


def sentences_on_the_page() -> Iterator[str]:
    section = (PROJECT_ROOT / "docs" / "operations.md").read_text().split("\n## Troubleshooting")[1]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| the sentence"):
            yield line.split(" | ")[0].removeprefix("| ")


@pytest.mark.parametrize("sentence", sentences_on_the_page(), ids=lambda sentence: sentence[:60])
def test_the_code_says_this_sentence(sentence: str) -> None:
    fragments = [fragment.strip() for fragment in sentence.split(ANY) if len(fragment.strip()) > 1]
    assert fragments
    pattern = re.compile(".*".join(map(re.escape, fragments)), re.DOTALL)
    assert any(pattern.search(text) for text in sentences_in_the_code())


def test_the_dags_page_tells_each_task_with_its_command_and_limit() -> None:
    page = (PROJECT_ROOT / "dags" / "README.md").read_text()
    units = {"minutes": "min", "hours": "h"}
    for file in ("features", "train_and_release", "refresh_items", "publishing"):
        source = (PROJECT_ROOT / "dags" / f"{file}.py").read_text()
        steps = re.findall(
            r'task_id="(\w+)",\s+command=\[(.*?), "--as-of", AS_OF\],\s+execution_timeout=timedelta\((\w+)=(\d+)\)',
            source,
        )
        assert len(steps) == source.count("StepOperator(")
        for task, command, unit, number in steps:
            words = " ".join(re.findall(r'"([^"]+)"', command))
            assert f"| `{task}` | `tastemaker {words}` | {number} {units[unit]} |" in page


def test_the_steps_by_hand_are_all_the_steps_in_their_order():
    page = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    block = page.partition("Everything by hand, in this order")[2].split("```")[1]
    left = [line[:52] for line in block.splitlines()]
    right = [line[52:] for line in block.splitlines()]
    commands = [
        re.findall(r"tastemaker ([a-z ]+) --as-of", part)[0].split() for part in (*left, *right) if part.strip()
    ]
    assert len(commands) == len(STEPS)
    for command, step in zip(commands, STEPS, strict=True):
        assert step in ("_".join(command), command[-1])
