"""A shop's days through the steps, and everything that its two stores then hold."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dbt_project.build import transform
from feature_repo.historical import historical_features
from feature_repo.lookup import online_features
from feature_repo.materialize import materialize
from ingest.land import ingest
from tastemaker import names
from tastemaker.config import Config
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home

USERS, ITEMS = ["ann", "bob", "cy"], ["ink", "nib", "pad", "pen"]


def run_day(home: Home, shop: Path, as_of: datetime) -> None:
    """The steps of a day, as the schedule runs them."""
    moment, config = as_of.replace(tzinfo=UTC), Config(version=1)
    ingest(home, "landing", str(shop), moment)
    transform(home, config, "landing", moment)
    materialize(home, config, moment)


def offline(home: Home) -> set[tuple[Any, ...]]:
    """Every row of every feature table: (table, key, stamp, known from, the features as text)."""
    rows: set[tuple[Any, ...]] = set()
    for name, table in feature_tables().items():
        columns = ", ".join(feature.name for feature in table.features)
        query = (
            f"select '{name}', {table.key}, event_timestamp, created_timestamp, row({columns})::varchar "
            f"from '{home.offline_store}/{name}.parquet'"
        )
        rows |= set(duckdb.sql(query).fetchall())
    return rows


def online(home: Home) -> dict[tuple[str, str], dict[str, Any]]:
    """Every feature of everybody and everything by (view, key)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for service, keys in ((names.RECOMMEND_V1, USERS), (names.ITEM_V1, ITEMS)):
        for key, features in zip(keys, online_features(home, service, keys), strict=True):
            for table in feature_tables().values():
                if table.features[0].name in features:
                    found[table.name, key] = {f.name: features[f.name].value for f in table.features}
    return found


def ann_on(home: Home, *moments: datetime) -> list[dict[str, Any]]:
    labels = pa.table({"user_id": ["ann"] * len(moments), "event_timestamp": pa.array(moments, pa.timestamp("us"))})
    return historical_features(home, names.RECOMMEND_V1, labels).to_pylist()
