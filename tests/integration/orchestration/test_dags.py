"""The DAG files as Airflow reads them: wiring only, documented, bounded, every task a command that exists."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tastemaker.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

READ = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print("DAGS:" + json.dumps({
    "errors": bag.import_errors,
    "dags": {
        dag.dag_id: {
            "doc": dag.doc_md, "max_active_runs": dag.max_active_runs, "catchup": dag.catchup,
            "tasks": [
                {"id": t.task_id, "type": t.task_type, "owner": t.owner, "retries": t.retries, "doc": t.doc_md,
                 "timeout": t.execution_timeout.total_seconds() if t.execution_timeout else None,
                 "command": getattr(t, "command", None), "downstream": sorted(t.downstream_task_ids),
                 "trigger_rule": t.trigger_rule.value}
                for t in dag.topological_sort()
            ],
        } for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(PROJECT_ROOT / "dags"),
    }
    command = [sys.executable, "-c", READ, str(PROJECT_ROOT / "dags")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("DAGS:")] or pytest.fail(done.stderr)
    return dict(json.loads(line.removeprefix("DAGS:")))


def test_the_dags_are_read_without_an_error(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    assert sorted(bag["dags"]) == ["features", "refresh_items", "train_and_release"]


def test_the_order_of_the_steps(bag: dict[str, Any]) -> None:
    chains = {dag_id: [task["id"] for task in dag["tasks"]] for dag_id, dag in bag["dags"].items()}
    assert chains == {
        "features": ["ingest", "check_landing", "transform", "check_features", "materialize", "announce"],
        "refresh_items": ["release_refresh", "gate", "probe", "canary", "verify", "promote"],
        "train_and_release": [
            "dataset", "train_retriever", "train_sources", "train_ranker", "release_build", "evaluate", "gate", "probe",
            "canary", "verify", "promote", "report", "finished",
        ],
    }  # fmt: skip


def test_a_page_written_after_a_refusal_does_not_make_the_run_a_success(bag: dict[str, Any]) -> None:
    """Airflow judges a run by the tasks that nothing follows: it must be one that needs all the others."""
    tasks = {task["id"]: task for task in bag["dags"]["train_and_release"]["tasks"]}
    assert [name for name, task in tasks.items() if not task["downstream"]] == ["finished"]
    before = [name for name, task in tasks.items() if "finished" in task["downstream"]]
    assert sorted(before) == ["promote", "report"]
    assert tasks["report"]["trigger_rule"] == "all_done"
    assert {task["trigger_rule"] for name, task in tasks.items() if name != "report"} == {"all_success"}


def test_one_run_at_a_time_with_owners_retries_timeouts_and_words(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert dag["max_active_runs"] == 1
        assert dag["catchup"] is False
        assert "as_of" in dag["doc"]
        for task in dag["tasks"]:
            assert task["owner"] == "recommendations"
            assert task["retries"] >= 1
            assert task["doc"]
            assert task["type"] != "StepOperator" or task["timeout"] > 0


def test_every_step_is_a_command_that_takes_as_of(bag: dict[str, Any]) -> None:
    tastemaker = Path(sys.executable).parent / "tastemaker"
    steps = [task for dag in bag["dags"].values() for task in dag["tasks"] if task["type"] == "StepOperator"]
    assert len(steps) == 23
    for task in steps:
        words = [word for word in task["command"] if not word.startswith(("--", "{{"))]
        done = subprocess.run([str(tastemaker), *words, "--help"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        assert "--as-of" in done.stdout
