"""What a caller may leave out or send once: every input has a default, and one row stands for the whole batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tastemaker import names
from tastemaker.feature_tables import Feature
from training.feature_tensors import NUMERIC_TYPES, query_specs, user_features

DEFAULT_K = 20

EXCLUDED = tf.TensorSpec([None, None], tf.string, names.INPUT_EXCLUDE_ITEM_IDS)
K = tf.TensorSpec([], tf.int32, names.INPUT_K)
RANKED_ITEM_IDS = tf.TensorSpec([None, None], tf.string, names.INPUT_ITEM_IDS)
SIMILAR_ITEM_IDS = tf.TensorSpec([None], tf.string, names.INPUT_ITEM_IDS)

SIGNATURE_INPUTS: dict[str, dict[str, tf.TensorSpec]] = {
    names.SIGNATURE_RECOMMEND: {**query_specs(), EXCLUDED.name: EXCLUDED, K.name: K},
    names.SIGNATURE_RETRIEVE: {**query_specs(), K.name: K},
    names.SIGNATURE_RANK: {**query_specs(), RANKED_ITEM_IDS.name: RANKED_ITEM_IDS},
    names.SIGNATURE_SIMILAR_ITEMS: {SIMILAR_ITEM_IDS.name: SIMILAR_ITEM_IDS, K.name: K},
}


def input_defaults(signature: str) -> dict[str, np.ndarray]:
    """What stands in for each input that a request leaves out, one row each; `item_ids` has none.

    Written into the SavedModel's `SignatureDef.defaults`, which TF-Serving honours, and into the manifest.
    """
    defaults: dict[str, np.ndarray] = {feature.name: _default(feature) for feature in user_features()}
    defaults[names.REQUEST_TIMESTAMP] = np.zeros(1, np.int64)
    defaults[names.INPUT_EXCLUDE_ITEM_IDS] = np.full((1, 1), "", object)
    defaults[names.INPUT_K] = np.array(DEFAULT_K, np.int32)
    return {name: defaults[name] for name in SIGNATURE_INPUTS[signature] if name in defaults}


def aligned(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The inputs `[B or 1, …]` as `[B, …]`: an input of one row is the same for every row.

    In-graph error (InvalidArgument), by the input's name, when one has no row, or neither one nor as many as others.
    """
    # What is of one kind is handled at once: one by one, 21 inputs were a seventh of a request's operations.
    kinds: dict[tuple[tf.DType, int], list[str]] = {}
    for name, tensor in inputs.items():
        kinds.setdefault((tensor.dtype, tensor.shape.rank), []).append(name)
    order = [name for of_kind in kinds.values() for name in of_kind]
    rows_of = [tf.stack(tf.shape_n([inputs[name] for name in of_kind]))[:, 0] for of_kind in kinds.values()]
    rows = tf.concat(rows_of, axis=0)
    batch = tf.reduce_max(rows)
    fits = (rows == 1) | ((rows == batch) & (batch > 0))
    first = tf.argmin(tf.cast(fits, tf.int32))
    said = [f"Input {name} must have one row, or as many as the other inputs; it has" for name in order]
    checked = tf.debugging.Assert(
        tf.reduce_all(fits), [tf.gather(said, first), tf.gather(rows, first), "of", batch], name="rows_of_inputs"
    )
    with tf.control_dependencies([checked] if checked is not None else []):
        at = tf.minimum(tf.range(batch)[None, :], rows[:, None] - 1)
    found: dict[str, tf.Tensor] = {}
    for ((_, rank), of_kind), own_rows, own in zip(
        kinds.items(), rows_of, tf.split(at, [len(of_kind) for of_kind in kinds.values()]), strict=True
    ):
        if rank == 1:  # end to end, and all rows taken at once
            ends = tf.cumsum(own_rows, exclusive=True)[:, None] + own
            taken = tf.gather(tf.concat([inputs[name] for name in of_kind], axis=0), ends)
            found.update(zip(of_kind, tf.unstack(taken, len(of_kind)), strict=True))
        else:
            for name, places in zip(of_kind, tf.unstack(own, len(of_kind)), strict=True):
                found[name] = tf.gather(inputs[name], places)
    return {name: found[name] for name in inputs}


def require_k(k: tf.Tensor) -> tf.Tensor:
    """`k` itself. In-graph error (InvalidArgument) when it is below 1."""
    positive = tf.debugging.Assert(k >= 1, ["Input k must be at least 1; it is", k], name="k_is_positive")
    with tf.control_dependencies([positive] if positive is not None else []):
        return tf.identity(k)


def to_length(lists: tf.Tensor, length: int, padding: Any) -> tf.Tensor:
    """Lists `[B, any]` cut or padded at the end to `[B, length]`, so that no sum depends on a neighbour's padding."""
    padded = tf.pad(lists, [[0, 0], [0, length]], constant_values=padding)
    return tf.ensure_shape(padded[:, :length], [None, length])


def _default(feature: Feature) -> np.ndarray:
    if feature.dtype in NUMERIC_TYPES:
        return np.array([np.nan if feature.default is None else feature.default], np.float32)
    if feature.is_list:
        kind: Any = {"varchar[]": object, "bigint[]": np.int64, "double[]": np.float32}[feature.dtype]
        return np.full((1, 1), "" if feature.dtype == "varchar[]" else 0, kind)
    return np.array([feature.default or ""], object)
