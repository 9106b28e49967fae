"""TensorFlow says on stderr when it runs oneDNN's kernels, with which a release would not answer as it was judged."""

import os
import subprocess
import sys

import pytest

from tastemaker.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SAID = "oneDNN custom operations are on"
PROGRAMS = {
    "a step": "import tastemaker.cli, tensorflow",
    "a notebook": "from training.retrieval.two_tower import TwoTower",
    "a benchmark": "import benchmarks, tensorflow",
    "the model server": "from serving.server.tensorflow_c import quick; quick()",
}


def said(program: str, **variables: str) -> str:
    """What a process tells that finds of TensorFlow's variables those alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "0", **variables},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("who", PROGRAMS)
def test_nobody_runs_them_by_himself_and_who_asks_for_them_has_them(who: str) -> None:
    assert SAID not in said(PROGRAMS[who])
    assert SAID in said(PROGRAMS[who], TF_ENABLE_ONEDNN_OPTS="1")
