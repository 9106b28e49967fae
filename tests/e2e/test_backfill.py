"""Seven days that Airflow fills in at once are the seven days that were run one by one."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from e2e.small_shop import environment, free_ports

from dbt_project.build import transform
from feature_repo.materialize import materialize
from ingest.land import ingest
from ingest.simulated_shop import simulate
from orchestration.airflow_api import AirflowApi
from orchestration.airflow_local import airflow_environment, airflow_service
from orchestration.watch import FEATURES_DAG
from tastemaker.config import load_config
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.settings import Settings
from tastemaker.steps import digest_files

pytestmark = pytest.mark.e2e

AIRFLOW = str(Path(sys.executable).parent / "airflow")
DAYS = 7
BACKFILL_SECONDS = 900


def test_a_backfill_of_seven_days_leaves_what_seven_daily_runs_leave(tmp_path: Path) -> None:
    shop = simulate(users=120, items=60, days=60)
    shop.write(tmp_path / "files")
    settings = Settings(
        home=tmp_path / "backfilled",
        source="landing",
        path=str(tmp_path / "files"),
        schedule_until=shop.as_of,
        **free_ports(),  # type: ignore[arg-type]
    )
    first, last = shop.as_of - timedelta(days=DAYS), shop.as_of - timedelta(days=1)  # starts of the data intervals

    airflow = airflow_service(settings, {})
    airflow.start()
    try:
        airflow.wait_until_ready(180)
        api = AirflowApi(f"http://127.0.0.1:{settings.airflow_port}")
        while not api.knows(FEATURES_DAG):
            time.sleep(0.5)
        api.unpause(FEATURES_DAG)
        days = ["--from-date", f"{first:%Y-%m-%d}", "--to-date", f"{last:%Y-%m-%d}"]
        created = subprocess.run(
            [AIRFLOW, "backfill", "create", "--dag-id", FEATURES_DAG, "--max-active-runs", "1", *days],
            env={**environment(settings), **airflow_environment(settings)},
            capture_output=True,
            text=True,
        )
        assert created.returncode == 0, created.stderr[-3000:]
        deadline = time.monotonic() + BACKFILL_SECONDS
        while (states := [run["state"] for run in api.runs(FEATURES_DAG)]) != ["success"] * DAYS:
            assert "failed" not in states, states
            assert time.monotonic() < deadline, states
            time.sleep(2)
        assert {run["run_type"] for run in api.runs(FEATURES_DAG)} == {"backfill"}
    finally:
        airflow.stop()

    daily, config = Home(tmp_path / "daily"), load_config(settings.config)
    for day in range(DAYS):
        as_of = first + timedelta(days=day + 1)
        ingest(daily, "landing", str(tmp_path / "files"), as_of)
        transform(daily, config, "landing", as_of)
        materialize(daily, config, as_of)

    for table in feature_tables():
        backfilled = rows_of(settings.paths, table)
        assert len(backfilled) > 0
        assert backfilled.equals(rows_of(daily, table))
        name = f"{table}.parquet"
        assert digest_files([daily.offline_store / name]) == digest_files([settings.paths.offline_store / name])
    online = "online_store.db"
    assert digest_files([daily.feast / online]) == digest_files([settings.paths.feast / online])


def rows_of(home: Home, table: str) -> pa.Table:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.execute(f"from {table} order by all").to_arrow_table()
