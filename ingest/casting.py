"""How a raw column becomes its declared type: SQL that gives the value unchanged in meaning, or null where it cannot.

Nothing is rounded or guessed: '6.5' is no whole number, 'abc' no number, and a time of day without a zone no moment.
"""

from dataclasses import dataclass

from ingest.contract import Column, Source
from tastemaker.errors import TastemakerError

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_FLOATS = {"FLOAT", "DOUBLE"}
_NAIVE_TIMES = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"}
_TEXTS = {"VARCHAR", "UUID"}

# of the years 1 to 9999
_FIRST_MILLISECOND, _LAST_MILLISECOND = -62_135_596_800_000, 253_402_300_799_999

# DuckDB also reads 0x10 and 1_000 as numbers; a shop's file that has them means something else
_NUMBER = r"\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))\s*"
_ZONED = r"\d:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)\s*$"


@dataclass(frozen=True)
class Cast:
    """SQL of one column: `typed` is null where the value is null or cannot be cast; `no_zone` is true where a text
    names a moment without its zone."""

    typed: str
    no_zone: str | None = None


def cast_column(raw: str, raw_type: str, column: Column, source: Source, where: str) -> Cast:
    """The cast of the quoted raw column `raw` of DuckDB type `raw_type` to the declared type.

    `where` names the file and column in the sentence. Raises TastemakerError when the types have nothing in common.
    """
    kind = "DECIMAL" if raw_type.startswith("DECIMAL") else "ENUM" if raw_type.startswith("ENUM") else raw_type
    if kind == '"NULL"':  # a Parquet column of the null type: every row lacks it
        return Cast(f"CAST(NULL AS {column.dtype})")
    target = column.dtype
    if target == "VARCHAR" and kind in _TEXTS | _INTEGERS | {"ENUM"}:
        return Cast(f"CAST({raw} AS VARCHAR)")
    if target == "DOUBLE" and kind in _INTEGERS | _FLOATS | {"DECIMAL"}:
        return Cast(f"CAST({raw} AS DOUBLE)")
    if target == "DOUBLE" and kind == "VARCHAR":
        return Cast(_number(raw, "DOUBLE"))
    if target in ("INTEGER", "BIGINT") and kind in _INTEGERS:
        return Cast(f"TRY_CAST({raw} AS {target})")
    if target in ("INTEGER", "BIGINT") and kind in _FLOATS | {"DECIMAL"}:
        return Cast(f"CASE WHEN {raw} = trunc({raw}) THEN TRY_CAST({raw} AS {target}) END")
    if target in ("INTEGER", "BIGINT") and kind == "VARCHAR":
        whole = f"TRY_CAST({raw} AS DOUBLE) = trunc(TRY_CAST({raw} AS DOUBLE))"
        return Cast(f"CASE WHEN {whole} THEN {_number(raw, target)} END")
    if target == "BOOLEAN" and kind in {"BOOLEAN", "VARCHAR"}:
        return Cast(f"TRY_CAST({raw} AS BOOLEAN)")
    if column.epoch_milliseconds and kind in _INTEGERS | {"VARCHAR"}:
        return Cast(_epoch_milliseconds(raw, kind))
    if target == "TIMESTAMP":
        moment = _moment(raw, kind, source, where)
        if moment is not None:
            return moment
    if target.startswith("MAP"):
        if kind.startswith("MAP("):
            return Cast(f"TRY_CAST({raw} AS {target})")
        if kind.startswith("STRUCT("):
            return Cast(f"TRY_CAST(to_json({raw}) AS {target})")
        if kind == "VARCHAR":
            return Cast(f"TRY_CAST(TRY_CAST({raw} AS JSON) AS {target})")
    raise TastemakerError(
        f"{where} is of type {raw_type}, which cannot be read as {target}; cast it in the file, then ingest again. "
        "Nothing was landed."
    )


def _number(raw: str, target: str) -> str:
    return f"CASE WHEN regexp_full_match({raw}, '{_NUMBER}') THEN TRY_CAST({raw} AS {target}) END"


def _epoch_milliseconds(raw: str, kind: str) -> str:
    """Null for what no calendar holds; which years are taken is a rule's business."""
    whole = raw if kind in _INTEGERS else f"CASE WHEN regexp_full_match({raw}, '-?[0-9]{{1,15}}') THEN {raw} END"
    number = f"TRY_CAST({whole} AS BIGINT)"
    return f"CASE WHEN {number} BETWEEN {_FIRST_MILLISECOND} AND {_LAST_MILLISECOND} THEN epoch_ms({number}) END"


def _moment(raw: str, kind: str, source: Source, where: str) -> Cast | None:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return Cast(f"make_timestamp(epoch_us({raw}))")
    if kind in _NAIVE_TIMES:
        if source.zone_is_utc:
            return Cast(f"TRY_CAST({raw} AS TIMESTAMP)")
        raise TastemakerError(
            f"{where} holds times without a zone ({kind}); if they are UTC, declare it when you write the file "
            "(DuckDB: col AT TIME ZONE 'UTC', pandas: .dt.tz_localize('UTC')), then ingest again. Nothing was landed."
        )
    if kind != "VARCHAR":
        return None
    zoned = f"regexp_matches({raw}, '{_ZONED}')"
    moment = f"make_timestamp(epoch_us(TRY_CAST({raw} AS TIMESTAMPTZ)))"
    if not source.zone_is_utc:
        return Cast(
            f"CASE WHEN {zoned} THEN {moment} END", no_zone=f"NOT {zoned} AND TRY_CAST({raw} AS TIMESTAMP) IS NOT NULL"
        )
    naive = ", ".join(
        [f"TRY_CAST({raw} AS TIMESTAMP)", *(f"try_strptime({raw}, '{form}')" for form in source.time_formats)]
    )
    return Cast(f"CASE WHEN {zoned} THEN {moment} ELSE coalesce({naive}) END")
