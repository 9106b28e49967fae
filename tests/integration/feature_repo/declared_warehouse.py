"""Rows and tables in the shape of the feature declarations, for tests that run Feast on a tiny warehouse."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.feature_tables import FeatureTable

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
WriteWarehouse = Callable[[Rows], None]

FIRST_DAY = datetime(2011, 12, 1)


def day(number: float) -> datetime:
    """Midnight of a day of December 2011, naive UTC as in the warehouse."""
    return FIRST_DAY + timedelta(days=number - 1)


def moment(number: float) -> datetime:
    """The same as an as_of."""
    return day(number).replace(tzinfo=UTC)


def feature_row(key: str, stamp: float, created: float | None = None, **features: Any) -> dict[str, Any]:
    """A row stamped on a day and known from a day; features that are not named are null."""
    return {
        "user_id": key,
        "item_id": key,
        "event_timestamp": day(stamp),
        "created_timestamp": day(stamp if created is None else created),
        **features,
    }


def declared_table(table: FeatureTable, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows with every column that is declared."""
    fields = [
        (table.key, pa.string()),
        ("event_timestamp", pa.timestamp("us")),
        ("created_timestamp", pa.timestamp("us")),
        *((feature.name, ARROW_TYPES[feature.dtype]) for feature in table.features),
    ]
    return pa.table({name: pa.array([row.get(name) for row in rows], dtype) for name, dtype in fields})
