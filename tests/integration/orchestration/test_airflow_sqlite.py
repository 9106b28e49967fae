"""Airflow's SQLite file beside a scheduler that writes: a savepoint is not refused for having read first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.airflow_sqlite import write_local_settings

pytestmark = pytest.mark.integration

# What `airflow backfill create` does for a run, while another process would write between its SELECT and its INSERT.
READ_THEN_WRITE = """
import sqlite3
from airflow import settings
from sqlalchemy import text

other = sqlite3.connect(settings.engine.url.database, timeout=0)
other.execute("create table runs (day text)")
with settings.Session() as session:
    with session.begin_nested():
        assert session.execute(text("select day from runs")).all() == []
        try:
            other.execute("insert into runs values ('theirs')")
            other.commit()
        except sqlite3.OperationalError as refused:
            print("the other writer waits:", refused)
        session.execute(text("insert into runs values ('ours')"))
    session.commit()
other.execute("insert into runs values ('theirs, later')")
other.commit()
print(other.execute("select day from runs order by day").fetchall())
"""


def run_in(airflow_home: Path) -> subprocess.CompletedProcess[str]:
    airflow_home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", READ_THEN_WRITE],
        env={**os.environ, "AIRFLOW_HOME": str(airflow_home)},
        capture_output=True,
        text=True,
    )


def test_a_savepoint_that_has_read_may_write(tmp_path: Path) -> None:
    write_local_settings(tmp_path / "airflow")
    done = run_in(tmp_path / "airflow")
    assert done.returncode == 0, done.stderr
    assert "the other writer waits: database is locked" in done.stdout
    assert "[('ours',), ('theirs, later',)]" in done.stdout


def test_airflow_alone_refuses_it_at_once(tmp_path: Path) -> None:
    # When this one turns red, Airflow or Python has mended it, and orchestration/airflow_sqlite.py may go.
    done = run_in(tmp_path / "airflow")
    assert done.returncode != 0
    assert "database is locked" in done.stderr
