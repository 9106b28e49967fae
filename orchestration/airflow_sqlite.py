"""Airflow's own engine for its SQLite file, with savepoints that wait their turn instead of failing.

Python's `sqlite3` begins a transaction before the first write, but not at a SAVEPOINT: there SQLite begins one that
only reads. When another process writes between its first SELECT and its first INSERT, the snapshot is old, and SQLite
refuses the INSERT at once (`SQLITE_BUSY_SNAPSHOT`, told as "database is locked"), however long it was allowed to wait
(https://www.sqlite.org/isolation.html). `airflow backfill create` makes each run in a savepoint, beside a scheduler
that writes. So a savepoint that would begin a transaction here begins one that may write, which waits for the writer
before it.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from tastemaker.steps import write_atomically

# SQLite's own 5 s are short beside a scheduler that starts tasks on two busy cores.
BUSY_SECONDS = 60.0


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]
) -> Engine:
    """What Airflow calls instead of its function of this name, when `airflow_local_settings` has it.

    Another database than SQLite, named in the environment, gets the engine that Airflow would have made.
    """
    if not sql_alchemy_conn.startswith("sqlite"):
        return create_engine(sql_alchemy_conn, connect_args=connect_args, **engine_args)
    engine = create_engine(sql_alchemy_conn, connect_args={**connect_args, "timeout": BUSY_SECONDS}, **engine_args)
    event.listen(engine, "savepoint", _begin_to_write)
    return engine


def _begin_to_write(connection: Connection, name: str | None) -> None:
    if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def write_local_settings(airflow_home: Path) -> None:
    """Puts this module where every `airflow` of that home looks for local settings, one typed by hand included."""
    line = f"from {__name__} import create_metadata_engine as create_metadata_engine\n"
    write_atomically(airflow_home / "config" / "airflow_local_settings.py", line)
