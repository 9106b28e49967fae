"""Airflow on one machine: standalone, SQLite, the project's DAGs, no example DAGs, no telemetry."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from orchestration.airflow_sqlite import write_local_settings
from orchestration.services import Service
from tastemaker.settings import PROJECT_ROOT, Settings

# A finished task holds its worker for about 5 s more (measured), so with few slots the next tasks wait.
EXECUTOR_SLOTS = 8


def airflow_environment(settings: Settings) -> dict[str, str]:
    """What turns a stock `airflow` into the project's: its home, DAGs and port."""
    address = f"http://127.0.0.1:{settings.airflow_port}"
    return {
        **settings.environment(),
        "AIRFLOW_HOME": str(settings.paths.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(EXECUTOR_SLOTS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        # Tasks report to this address; without it every task fails on any port but 8080.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def airflow_service(settings: Settings, extra: Mapping[str, str]) -> Service:
    """`airflow standalone`, ready when its scheduler, DAG processor and API server are."""
    write_local_settings(settings.paths.airflow)
    return Service(
        name="Airflow",
        command=[str(Path(sys.executable).parent / "airflow"), "standalone"],
        environment={**airflow_environment(settings), **extra},
        log=settings.paths.airflow / "standalone.log",
        ready=lambda: _healthy(settings.airflow_port),
    )


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=5) as answer:
            health = json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))
