"""How features get from the offline store into the online one: through Arrow and Python, each value as it was written.

Feast 0.67's own engine goes through numpy, where a bigint column with a null in it is doubles: beyond 2^53 a number
comes out as its neighbour, and NaN as null. `feature_store.yaml` names this engine, so
`feast materialize` takes it too.
"""

from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
from feast import FeatureView
from feast.data_source import DataSource
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value
from feast.types import Array, Bool, FeastType, Float64, Int64, String
from pydantic import Field

from tastemaker.errors import TastemakerError

Make = Callable[[Any], Value]

# by declared type: the types that `feature_repo.views` declares
VALUES: list[tuple[FeastType, Make]] = [
    (String, lambda value: Value(string_val=value)),
    (Int64, lambda value: Value(int64_val=value)),
    (Float64, lambda value: Value(double_val=value)),
    (Bool, lambda value: Value(bool_val=value)),
    (Array(String), lambda value: Value(string_list_val=StringList(val=value))),
    (Array(Int64), lambda value: Value(int64_list_val=Int64List(val=value))),
    (Array(Float64), lambda value: Value(double_list_val=DoubleList(val=value))),
]


class ExactComputeEngineConfig(LocalComputeEngineConfig):
    """As Feast's own; Feast finds the engine by the name of its config class."""

    type: Literal["feature_repo.exact_engine.ExactComputeEngine"] = Field(  # type: ignore[assignment]
        default="feature_repo.exact_engine.ExactComputeEngine"
    )


class ExactComputeEngine(LocalComputeEngine):
    """Writes the newest row of each key, of views as they are declared here: keys of text, no transformations."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        source = _source(view)
        newest = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=source,
            join_key_columns=view.join_keys,
            feature_name_columns=[field.name for field in view.features],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
            start_date=task.start_time,
            end_date=task.end_time,
        ).to_arrow()
        if newest.num_rows:
            self.online_store.online_write_batch(self.repo_config, view, online_rows(view, newest), lambda _: None)
        return LocalMaterializationJob(f"{view.name} {task.end_time}", MaterializationJobStatus.SUCCEEDED)


def online_rows(view: FeatureView, newest: pa.Table) -> list[tuple[EntityKey, dict[str, Value], Any, Any]]:
    """The rows as an online store takes them: key, features (a missing one is an empty Value), both stamps.

    Raises TastemakerError for a list with a missing element, which Feast can't hold.
    """
    join_keys, source = view.join_keys, _source(view)
    keys = zip(*(newest.column(key).to_pylist() for key in join_keys), strict=True)
    names = [field.name for field in view.features]
    columns = [_values(view.name, field.name, field.dtype, newest.column(field.name)) for field in view.features]
    stamps = (newest.column(column).to_pylist() for column in (source.timestamp_field, source.created_timestamp_column))
    return [
        (
            EntityKey(join_keys=join_keys, entity_values=[Value(string_val=part) for part in key]),
            dict(zip(names, features, strict=True)),
            stamped,
            created,
        )
        for key, features, stamped, created in zip(keys, zip(*columns, strict=True), *stamps, strict=True)
    ]


def _source(view: FeatureView) -> DataSource:
    if view.batch_source is None:
        raise TastemakerError(f"Feature view '{view.name}' has no batch source, so it has nothing to put online.")
    return view.batch_source


def _values(view: str, name: str, dtype: FeastType, column: pa.ChunkedArray) -> list[Value]:
    make = next(make for known, make in VALUES if known == dtype)
    try:
        return [Value() if value is None else make(value) for value in column.to_pylist()]
    except TypeError as problem:
        raise TastemakerError(
            f"{view}.{name} can't be put online ({problem}); a list must not have a missing element: "
            f"mend dbt_project/models/marts/features/{view}.sql."
        ) from None
