"""What a source promises: its tables, their columns, types and bounds. `ingest.sources` fills these in."""

from dataclasses import dataclass
from typing import Literal

from tastemaker.errors import TastemakerError, nearest

ColumnType = Literal["VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "MAP(VARCHAR, VARCHAR)"]

MAX_ID_BYTES = 512
MAX_TEXT_BYTES = 64 * 1024
FIRST_YEAR, END_YEAR = 1990, 2100  # a time outside [FIRST_YEAR, END_YEAR) is a unit mistaken, or an overflow's 1677


@dataclass(frozen=True)
class Column:
    """One column of a table as it is landed.

    Args:
        name: the landed name.
        dtype: the landed DuckDB type; TIMESTAMP is UTC without a zone, microseconds.
        nullable: whether a row may leave it empty.
        optional: whether a file may lack the whole column; it is landed as nulls then.
        is_id: a key: never the empty text, at most MAX_ID_BYTES long.
        raw: the name in the source's files, where it differs; `name` is accepted too.
        low, high: inclusive bounds; `above` an exclusive lower one.
        known: the only values allowed.
        epoch_milliseconds: whether whole numbers in a column of moments count milliseconds since 1970 UTC.
    """

    name: str
    dtype: ColumnType
    nullable: bool = True
    optional: bool = False
    is_id: bool = False
    raw: str | None = None
    low: float | None = None
    above: float | None = None
    high: float | None = None
    known: tuple[str, ...] = ()
    epoch_milliseconds: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names a file may give it, the preferred one first."""
        return (self.raw, self.name) if self.raw else (self.name,)


@dataclass(frozen=True)
class Check:
    """A rule about several columns of one row: `broken` is SQL over the landed names that is true where it breaks.

    `column` is the one that the quarantine names.
    """

    name: str
    column: str
    broken: str
    reason: str


@dataclass(frozen=True)
class Table:
    """One table of a source.

    Args:
        time_column: when a row happened or holds from; a step at `as_of` sees rows strictly before it.
        created_column: when a row became known, if the source tells.
        unique: the key that no two landed rows share, across files.
        required: whether the source is nothing without it.
    """

    name: str
    columns: tuple[Column, ...]
    time_column: str
    created_column: str | None = None
    unique: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class LogColumns:
    """What the landing gate measures in the table of what happened: SQL over its landed names.

    `amount` is currency, or whatever a source's events carry; null where an event has none.
    """

    user_id: str
    item_id: str
    amount: str


@dataclass(frozen=True)
class Source:
    """Somebody's raw tables.

    Args:
        zone_is_utc: whether times written without a zone are UTC by the source's own word.
        time_formats: further ways in which its text files write a time (strptime).
        suffixes: kinds of file it may come in.
    """

    name: str
    tables: tuple[Table, ...]
    log_columns: LogColumns
    suffixes: tuple[str, ...] = (".parquet", ".csv", ".csv.gz")
    zone_is_utc: bool = False
    time_formats: tuple[str, ...] = ()

    @property
    def log(self) -> Table:
        """The table of what happened: the first one."""
        return self.tables[0]

    def table(self, name: str) -> Table:
        """The table of that name; raises TastemakerError naming the nearest."""
        for table in self.tables:
            if table.name == name:
                return table
        known = [table.name for table in self.tables]
        raise TastemakerError(f"Source '{self.name}' has no table '{name}'.{nearest(name, known)}")
