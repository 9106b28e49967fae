"""Features as tensors: from Arrow columns to the arrays, and the signatures, that every model takes.

The rule is ARCHITECTURE.md's "Features as tensors", applied to the declarations of `tastemaker.feature_tables`:
scalars are `[batch]`, lists are padded at the end to `[batch, length]`. Missing is NaN, "" or an empty list; what a
missing value means to a model is its declared default (`with_defaults`).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import SERVICES, Feature, feature_tables, service_features

NUMERIC_TYPES = ("double", "bigint", "boolean")


@lru_cache(maxsize=1)
def user_features() -> tuple[Feature, ...]:
    """Every feature of `recommend_v1`: what a caller sends."""
    return service_features(names.RECOMMEND_V1)


@lru_cache(maxsize=1)
def item_features() -> tuple[Feature, ...]:
    """Every item feature of `rank_v1`: what the release's snapshot holds for each item."""
    tables = [feature_tables()[name] for name in SERVICES[names.RANK_V1]]
    return tuple(feature for table in tables if table.entity == "item" for feature in table.features)


def feature_tensors(table: pa.Table, features: Iterable[Feature], least: int = 1) -> dict[str, np.ndarray]:
    """The features of every row as arrays, under their own names.

    Args:
        table: one column per feature, of the declared type; null is missing.
        features: which of them.
        least: width of a list, however short the rows' are.

    Returns:
        Numbers float32 `[batch]` (missing NaN), text object `[batch]` (missing ""), lists `[batch, longest]` padded
        at the end: text "" (object), `bigint[]` int64 0, `double[]` float32 0. `longest` is at least `least`.

    Raises TastemakerError when a column is not there.
    """
    return {feature.name: feature_tensor(table, feature, least) for feature in features}


def feature_tensor(table: pa.Table, feature: Feature, least: int = 1) -> np.ndarray:
    """One feature of every row, as `feature_tensors` gives it."""
    column = column_of(table, feature.name)
    if feature.is_list:
        return padded(column, "" if feature.dtype == "varchar[]" else 0, _list_dtype(feature), least)
    if feature.dtype in NUMERIC_TYPES:
        numbers = column.cast(pa.float64()) if feature.dtype != "boolean" else column.cast(pa.int8()).cast(pa.float64())
        return numbers.fill_null(float("nan")).to_numpy(zero_copy_only=False).astype(np.float32)
    return column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False).astype(object)


def request_timestamps(table: pa.Table) -> np.ndarray:
    """The column `request_timestamp` as int64 `[batch]`, microseconds since 1970 UTC."""
    moments = column_of(table, names.REQUEST_TIMESTAMP).cast(pa.timestamp("us"))
    return moments.cast(pa.int64()).to_numpy(zero_copy_only=False)


def query_tensors(requests: pa.Table, least: int = 1) -> dict[str, np.ndarray]:
    """What a query tower or a `recommend` signature takes for each request: user features and `request_timestamp`.

    With `least` as long as any history may be, a row's tensors do not depend on which other requests there are: in its
    last bits a tower does depend on how wide they are.
    """
    tensors = feature_tensors(requests, user_features(), least)
    return {**tensors, names.REQUEST_TIMESTAMP: request_timestamps(requests)}


def item_tensors(items: pa.Table, features: Iterable[Feature] | None = None) -> dict[str, np.ndarray]:
    """What a candidate tower takes for each item: `item_id` and the item features named (by default every one)."""
    ids = column_of(items, names.ITEM_ID).cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
    return {names.ITEM_ID: ids.astype(object), **feature_tensors(items, features or item_features())}


def tensor_specs(features: Iterable[Feature]) -> dict[str, tf.TensorSpec]:
    """The signature of the same tensors: `[None]` for scalars, `[None, None]` for lists."""
    return {
        feature.name: tf.TensorSpec([None, None] if feature.is_list else [None], _tf_dtype(feature), feature.name)
        for feature in features
    }


def query_specs() -> dict[str, tf.TensorSpec]:
    """The signature of `query_tensors`."""
    moment = tf.TensorSpec([None], tf.int64, names.REQUEST_TIMESTAMP)
    return {**tensor_specs(user_features()), names.REQUEST_TIMESTAMP: moment}


def item_specs() -> dict[str, tf.TensorSpec]:
    """The signature of `item_tensors`."""
    return {names.ITEM_ID: tf.TensorSpec([None], tf.string, names.ITEM_ID), **tensor_specs(item_features())}


def missing_tensors(features: Iterable[Feature], batch: int) -> dict[str, np.ndarray]:
    """The tensors of `batch` rows of which nothing is known: NaN, "" and lists of one padding."""
    return {feature.name: _missing(feature, batch) for feature in features}


def with_defaults(tensors: Mapping[str, tf.Tensor], features: Iterable[Feature]) -> dict[str, tf.Tensor]:
    """In-graph: missing numbers become their declared default; NaN stays where the declared default is none.

    Infinite values count as missing. Text and lists pass as they are: their default is their padding.
    """
    numeric = [feature for feature in features if feature.dtype in NUMERIC_TYPES]
    if not numeric:
        return dict(tensors)
    values = tf.stack([tensors[feature.name] for feature in numeric])  # at once: two operations, not two for each
    defaults = [float("nan") if feature.default is None else float(feature.default) for feature in numeric]
    values = tf.where(tf.math.is_finite(values), values, tf.constant(defaults, values.dtype)[:, None])
    return {**tensors, **dict(zip((f.name for f in numeric), tf.unstack(values), strict=True))}


def padded(column: pa.Array, padding: Any, dtype: Any, least: int = 1) -> np.ndarray:
    """Lists as `[batch, max(longest, least)]`, padded at the end; a null list is empty, a null element is padding.

    >>> padded(pa.array([[1, 2], None, [3]]), 0, np.int64).tolist()
    [[1, 2], [0, 0], [3, 0]]
    """
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    width = max(least, int(lengths.max(initial=0)))
    result = np.full((len(column), width), padding, dtype=dtype)
    flat = column.flatten()  # skips the elements of null lists
    if flat.null_count:
        flat = flat.fill_null(padding)
    values = flat.to_numpy(zero_copy_only=False)
    result[np.arange(width) < lengths[:, None]] = values  # row-major, as the elements lie
    return result


def column_of(table: pa.Table, name: str) -> pa.Array:
    """One column as a single Arrow array. Raises TastemakerError when it is not there."""
    if name not in table.column_names:
        raise TastemakerError(
            f"The table has no column '{name}' (it has {', '.join(table.column_names)}); "
            "build the training sets again with 'tastemaker dataset'."
        )
    chunks = table[name].chunks or [pa.nulls(0, table[name].type)]  # what a filter leaves of no row has no chunk
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _missing(feature: Feature, batch: int) -> np.ndarray:
    if feature.is_list:
        return np.full((batch, 1), "" if feature.dtype == "varchar[]" else 0, dtype=_list_dtype(feature))
    if feature.dtype in NUMERIC_TYPES:
        return np.full(batch, np.nan, dtype=np.float32)
    return np.full(batch, "", dtype=object)


def _list_dtype(feature: Feature) -> Any:
    return {"varchar[]": object, "bigint[]": np.int64, "double[]": np.float32}[feature.dtype]


def _tf_dtype(feature: Feature) -> tf.DType:
    if feature.is_list:
        return {"varchar[]": tf.string, "bigint[]": tf.int64, "double[]": tf.float32}[feature.dtype]
    return tf.float32 if feature.dtype in NUMERIC_TYPES else tf.string
