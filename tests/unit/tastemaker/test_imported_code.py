"""The files of a step are those that it imports, read from the text."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tastemaker.config import Config
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.settings import PROJECT_ROOT
from training.datasets import build

STEPS = (
    "training.datasets.build",
    "training.retrieval.fit",
    "training.sources.fit",
    "training.ranking.fit",
    "training.release.build",
    "training.release.refresh",
    "training.evaluation.evaluate",
    "training.gate.judge",
    "serving.probe",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "shop/__init__.py": "",
        "shop/step.py": "import json\nimport shop.direct\nfrom shop import through_package\n\nNOT_CODE = 1\n",
        "shop/direct.py": "def later():\n    from shop.lazily import thing\n    return thing\n",
        "shop/lazily.py": "from shop.step import NOT_CODE\n",
        "shop/through_package.py": "from basket.inner import name_in_it\n",
        "shop/unasked.py": "import shop.step\n",
        "basket/inner/__init__.py": "name_in_it = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_direct_lazy_circular_and_package_imports_count_and_others_do_not(project: Path) -> None:
    found = [str(file.relative_to(project)) for file in code_of("shop.step", project)]
    assert found == [
        "basket/inner/__init__.py",
        "shop/__init__.py",
        "shop/direct.py",
        "shop/lazily.py",
        "shop/step.py",
        "shop/through_package.py",
    ]


def test_a_module_that_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(ValueError, match=r"no module shop\.stop below"):
        code_of("shop.stop", project)


def test_what_is_fused_into_a_release_is_its_code() -> None:
    found = {str(file.relative_to(PROJECT_ROOT)) for file in code_of("training.release.build")}
    assert {"training/release/block_top_k.py", "training/sources/user_knn.py", "tastemaker/names.py"} <= found


def test_the_store_that_the_training_sets_are_joined_from_is_code_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Sequence[Path]] = {}
    monkeypatch.setattr(build, "run_step", lambda *_, **given: asked.update(code=given["code"]))
    home = Home(tmp_path)
    for folder in (home.warehouse, home.offline_store):
        folder.mkdir(parents=True)
    build.build_datasets(home, Config(version=1), datetime(2026, 3, 1, tzinfo=UTC))
    assert any((PROJECT_ROOT / "feature_repo" / "feature_store.yaml").is_relative_to(path) for path in asked["code"])


@pytest.mark.integration
def test_every_file_that_importing_the_steps_runs_is_found() -> None:
    """The interpreter as the oracle, the steps in one process: what it has loaded must have been read."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {', '.join(STEPS)}, sys\n"
            "print(*{m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)}, sep='\\n')",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    loaded = {Path(line) for line in told.stdout.splitlines()}
    own = {file for file in loaded if file.is_relative_to(PROJECT_ROOT) and ".venv" not in file.parts}
    assert len(own) > 100
    assert own <= {file for step in STEPS for file in code_of(step)}
