"""Copies the feature tables that passed their gate from the warehouse to Feast's offline store, as of a moment."""

import os
from datetime import datetime
from pathlib import Path

import duckdb

from feature_repo.sources import offline_file
from tastemaker import names
from tastemaker.errors import TastemakerError, nearest
from tastemaker.feature_tables import FeatureTable
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp


def open_warehouse(home: Home) -> duckdb.DuckDBPyConnection:
    """The home's warehouse, read-only. Raises TastemakerError when it is missing, being written, or no DuckDB file."""
    if not home.warehouse.exists():
        raise TastemakerError(f"There is no warehouse at {home.warehouse}; run 'tastemaker transform' first.")
    try:
        return duckdb.connect(str(home.warehouse), read_only=True)
    except duckdb.Error as problem:
        raise TastemakerError(
            f"{home.warehouse} can't be read ({_first_line(problem)}); wait for the step that writes it, "
            "or run 'tastemaker transform' again."
        ) from None


def export_table(warehouse: duckdb.DuckDBPyConnection, home: Home, table: FeatureTable, as_of: datetime) -> int:
    """Writes one table's rows that existed at `as_of`, sorted, so that the same rows are the same bytes.

    Returns the number of rows. `require_declared` is asked before, for all tables.
    """
    path = offline_file(home, table.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    columns = [table.key, names.EVENT_TIMESTAMP, names.CREATED_TIMESTAMP, *(f.name for f in table.features)]
    try:
        warehouse.execute(
            f"""
            copy (
                select {", ".join(columns)}
                from {table.name}
                where {names.EVENT_TIMESTAMP} <= {sql_timestamp(as_of)}
                    and {names.CREATED_TIMESTAMP} <= {sql_timestamp(as_of)}
                order by {table.key}, {names.EVENT_TIMESTAMP}, {names.CREATED_TIMESTAMP}
            ) to '{_quoted(beside)}' (format parquet, compression zstd)
            """
        )
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    counted = duckdb.sql(f"select count(*) from read_parquet('{_quoted(path)}')").fetchone()
    assert counted is not None
    return int(counted[0])


def require_declared(warehouse: duckdb.DuckDBPyConnection, home: Home, table: FeatureTable) -> None:
    """Raises TastemakerError when the warehouse lacks the table or a declared column, or a column has another type."""
    found = dict(
        warehouse.execute(
            "select column_name, lower(data_type) from information_schema.columns where table_name = ?", [table.name]
        ).fetchall()
    )
    if not found:
        tables = [row[0] for row in warehouse.execute("select table_name from information_schema.tables").fetchall()]
        raise TastemakerError(
            f"{home.warehouse} has no table '{table.name}'.{nearest(table.name, tables)} Run 'tastemaker transform'."
        )
    declared = {
        table.key: "varchar",
        names.EVENT_TIMESTAMP: "timestamp",
        names.CREATED_TIMESTAMP: "timestamp",
        **{feature.name: feature.dtype for feature in table.features},
    }
    for column, dtype in declared.items():
        if found.get(column) != dtype:
            raise TastemakerError(
                f"{home.warehouse}: {table.name}.{column} is {found.get(column, 'missing')}, declared is {dtype}; "
                "run 'tastemaker transform' again, or mend the declaration "
                f"dbt_project/models/marts/features/{table.name}.yml."
            )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0].rstrip(".")
