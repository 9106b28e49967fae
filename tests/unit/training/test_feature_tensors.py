"""Arrow columns to tensors, against a plain loop over Python values."""

import math

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import Feature
from training.feature_tensors import (
    feature_tensors,
    item_features,
    item_specs,
    missing_tensors,
    query_specs,
    query_tensors,
    user_features,
    with_defaults,
)

ROWS = {
    "varchar": ["a", None, "", "ü"],
    "bigint": [3, None, 0, -7],
    "double": [0.1, None, float("nan"), -2.5],
    "boolean": [True, None, False, True],
    "varchar[]": [["a", "b"], None, [], ["c", None, "d"]],
    "bigint[]": [[1, 2], None, [], [2**60, None, 3]],
    "double[]": [[0.5], None, [], [1.5, 2.5, 3.5]],
}
FEATURES = [Feature(f"f_{dtype}", dtype, "", "", None) for dtype in ARROW_TYPES]
TABLE = pa.table({f.name: pa.array(ROWS[f.dtype], ARROW_TYPES[f.dtype]) for f in FEATURES})


def oracle(dtype):
    if dtype.endswith("[]"):
        empty = "" if dtype == "varchar[]" else 0
        width = max(len(row or []) for row in ROWS[dtype])
        filled = [[empty if v is None else v for v in row or []] for row in ROWS[dtype]]
        return [row + [empty] * (width - len(row)) for row in filled]
    if dtype == "varchar":
        return [v or "" for v in ROWS[dtype]]
    return [math.nan if v is None else float(np.float32(v)) for v in ROWS[dtype]]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.dtype)
def test_every_type_becomes_what_the_oracle_says(feature):
    found = feature_tensors(TABLE, [feature])[feature.name]
    np.testing.assert_array_equal(found.tolist(), oracle(feature.dtype))


def test_chunked_and_sliced_columns_are_read_right():
    twice = pa.concat_tables([TABLE, TABLE]).slice(3, 2)  # the last row, then the first
    assert feature_tensors(twice, FEATURES)["f_bigint[]"].tolist() == [[2**60, 0, 3], [1, 2, 0]]


@pytest.mark.parametrize("features", [user_features(), item_features()], ids=["user", "item"])
def test_an_empty_table_has_tensors_of_no_rows(features):
    empty = pa.table({f.name: pa.array([], ARROW_TYPES[f.dtype]) for f in features})
    for name, tensor in feature_tensors(empty, features).items():
        assert tensor.shape[0] == 0, name


def test_tensors_fit_their_signature():
    requests = pa.table(
        {
            **{f.name: pa.array([None, None], ARROW_TYPES[f.dtype]) for f in user_features()},
            "request_timestamp": pa.array([1, 2], pa.timestamp("us")),
        }
    )
    tensors = query_tensors(requests)
    specs = query_specs()
    assert set(tensors) == set(specs)
    for name, tensor in tensors.items():
        assert specs[name].is_compatible_with(tf.convert_to_tensor(tensor)), name
    assert tensors["request_timestamp"].tolist() == [1, 2]
    for name, tensor in missing_tensors(item_features(), 2).items():
        assert item_specs()[name].is_compatible_with(tf.convert_to_tensor(tensor)), name


def test_a_row_of_nulls_is_a_row_of_missing_tensors():
    nothing = pa.table({f.name: pa.array([None], ARROW_TYPES[f.dtype]) for f in user_features()})
    for name, tensor in missing_tensors(user_features(), 1).items():
        np.testing.assert_array_equal(feature_tensors(nothing, user_features())[name].tolist(), tensor.tolist(), name)


def test_missing_and_infinite_numbers_get_the_declared_default_and_text_stays():
    features = [Feature("count", "bigint", "", "", 0), Feature("price", "double", "", "", None)]
    given = {
        "count": tf.constant([5.0, math.nan, math.inf]),
        "price": tf.constant([1.0, math.nan, -math.inf]),
        "name": tf.constant(["a", "", "c"]),
    }
    filled = with_defaults(given, features)
    assert filled["count"].numpy().tolist() == [5.0, 0.0, 0.0]
    np.testing.assert_array_equal(filled["price"].numpy(), [1.0, math.nan, math.nan])
    assert filled["name"] is given["name"]


def test_a_missing_column_is_named():
    with pytest.raises(TastemakerError, match="f_double"):
        feature_tensors(TABLE.drop_columns(["f_double"]), FEATURES)
