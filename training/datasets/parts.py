"""Training sets in parts: no more of three million rows is in memory than a part, and the file is one."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def runs_of(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Consecutive runs [first, end) of things with sizes: each as long as its sizes sum to at most `most`.

    A thing that is larger has a run of its own.

    >>> runs_of([3, 4, 9, 1, 2], 8)
    [(0, 2), (2, 3), (3, 5)]
    """
    runs, first, total = [], 0, 0
    for at, size in enumerate(sizes):
        if at > first and total + size > most:
            runs.append((first, at))
            first, total = at, 0
        total += size
    return [*runs, (first, len(sizes))] if sizes else runs


def write_parts(parts: Iterable[pa.Table], path: Path) -> None:
    """Writes at least one table, each with the columns of the first, beside and renames the file: no reader ever meets
    half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    tables = iter(parts)
    first = next(tables)
    try:
        with pq.ParquetWriter(beside, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            del first
            for table in tables:
                writer.write_table(table)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
