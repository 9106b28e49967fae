"""Features as of each row's own moment: the one way a training set gets them."""

import warnings
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FileSource

from feature_repo.known_names import service_keys, service_tables
from feature_repo.materialization_state import materialized
from feature_repo.store import open_store
from tastemaker import names
from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

ROW = "tastemaker_row"


def historical_features(home: Home, service: str, entity_rows: pa.Table) -> pa.Table:
    """Joins a service's features to rows, each as they were known at the row's `event_timestamp`.

    A feature row counts when its `event_timestamp` and its `created_timestamp` are not after the row's moment (`<=`)
    and its TTL has not ended by then; of these the latest stamp wins, then the latest `created_timestamp`.

    Args:
        home: whose offline store is asked.
        service: a feature service's name.
        entity_rows: the service's keys (string), `event_timestamp` (UTC, with or without a zone), any further columns.

    Returns the same rows in the same order, each exactly once, with one more column per feature, in the order of the
    service; null where there is none.

    Raises TastemakerError for an unknown service, a missing key column, a column that has a feature's name, a null
    moment, or one after the offline store's `as_of`, where later features could not be known to exist.
    """
    features = [feature for table in service_tables(service) for feature in table.features]
    keys = service_keys(service)
    _check_columns(entity_rows, service, keys, {feature.name for feature in features})
    moments = _utc(entity_rows)
    _check_moments(moments, materialized(home).offline_as_of)

    empty = pa.schema([(feature.name, ARROW_TYPES[feature.dtype]) for feature in features]).empty_table()
    joined = empty if entity_rows.num_rows == 0 else _ask_feast(home, service, keys, entity_rows, moments)
    for feature in features:
        column = joined.column(feature.name).cast(ARROW_TYPES[feature.dtype]).combine_chunks()
        entity_rows = entity_rows.append_column(feature.name, column)
    return entity_rows


def _ask_feast(
    home: Home, service: str, keys: tuple[str, ...], entity_rows: pa.Table, moments: pa.ChunkedArray
) -> pa.Table:
    """Feast's answer, one row for each row asked, in their order: Feast's stores promise neither."""
    # only what the join needs; Feast takes the table as it is, for the store does (feature_repo.point_in_time.labels)
    asked = pa.table(
        {
            ROW: pa.array(range(entity_rows.num_rows), pa.int64()),
            **{key: entity_rows.column(key).cast(pa.string()) for key in keys},
            names.EVENT_TIMESTAMP: moments,
        }
    )
    store = open_store(home)
    _require_own_files(home, store)
    with warnings.catch_warnings():
        # Ibis calls a DuckDB method that DuckDB 1.5 has renamed
        warnings.simplefilter("ignore", DeprecationWarning)
        job = store.get_historical_features(
            entity_df=asked,
            features=store.get_feature_service(service),
            # without it a backfilled value leaks into the past (feast#6615)
            filter_by_created_timestamp=True,
        )
        answer = job.to_arrow().sort_by(ROW)
    if not answer.column(ROW).combine_chunks().equals(asked.column(ROW).combine_chunks()):
        raise AssertionError(f"Feast returned {answer.num_rows} rows for {asked.num_rows} asked, or others than asked.")
    return answer


def _require_own_files(home: Home, store: FeatureStore) -> None:
    """A home that was copied would be answered with the files of the one it was copied from."""
    for view in store.list_feature_views():
        assert isinstance(view.batch_source, FileSource), view.name
        registered = Path(view.batch_source.path)
        if registered.parent.resolve() != home.offline_store.resolve():
            raise TastemakerError(
                f"The feature registry of {home.root} names {registered}, a file of another home: this one was copied "
                "or moved. Run 'tastemaker features materialize' in it."
            )


def _check_columns(entity_rows: pa.Table, service: str, keys: tuple[str, ...], features: set[str]) -> None:
    for column in (*keys, names.EVENT_TIMESTAMP):
        if column not in entity_rows.column_names:
            raise TastemakerError(
                f"The rows to join {service} to have no column '{column}', only: {', '.join(entity_rows.column_names)}."
            )
    for column in entity_rows.column_names:
        if column in features or column == ROW:
            raise TastemakerError(f"The rows to join {service} to already have a column '{column}'; rename it.")


def _utc(entity_rows: pa.Table) -> pa.ChunkedArray:
    column = entity_rows.column(names.EVENT_TIMESTAMP)
    if not pa.types.is_timestamp(column.type):
        raise TastemakerError(f"{names.EVENT_TIMESTAMP} of the rows to join is {column.type}, not a timestamp.")
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise TastemakerError(f"Row {row + 1} of the rows to join has no {names.EVENT_TIMESTAMP}.")
    if column.type.tz is None:
        return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    return column.cast(pa.timestamp("us", "UTC"))


def _check_moments(moments: pa.ChunkedArray, as_of: datetime) -> None:
    latest = pc.max(moments).as_py()
    if latest is not None and latest > as_of:
        raise TastemakerError(
            f"The rows to join ask for features as of {latest.astimezone(UTC).isoformat()}, but the offline store "
            f"is as of {as_of.isoformat()}; run 'tastemaker features materialize' for a later moment."
        )
