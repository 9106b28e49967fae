"""Requests that a server answers before anyone asks: TF-Serving replays them while it loads the release."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tastemaker import names
from training.release.inputs import SIGNATURE_INPUTS, input_defaults

BATCHES = (1, 8, 64)  # one user at a time, a page's worth, a nightly job's
SOME_ITEMS = 10


def write_warmup(folder: Path, popular_item_ids: list[str]) -> int:
    """Writes a TFRecord of PredictionLog records into a release: every signature × usual batch size.

    Args:
        folder: of the SavedModel.
        popular_item_ids: stand in for histories and for items to rank, so that every branch is run.

    Returns how many records there are; TF-Serving takes at most 1000.
    """
    path = folder / names.WARMUP_REQUESTS
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in SIGNATURE_INPUTS:
            for batch in BATCHES:
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=_request(signature, batch, popular_item_ids))
                )
                writer.write(log.SerializeToString(deterministic=True))
                count += 1
    return count


def _request(signature: str, batch: int, popular: list[str]) -> predict_pb2.PredictRequest:
    some = np.array(popular[:SOME_ITEMS], object)
    values = dict(input_defaults(signature))
    if "history_item_ids" in values:
        values["history_item_ids"] = some[None, :]
    if names.INPUT_ITEM_IDS in SIGNATURE_INPUTS[signature]:
        scalar = SIGNATURE_INPUTS[signature][names.INPUT_ITEM_IDS].shape.rank == 1
        values[names.INPUT_ITEM_IDS] = some[:1] if scalar else some[None, :]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = names.MODEL_NAME
    request.model_spec.signature_name = signature
    for name, value in values.items():
        rows = value if value.ndim == 0 else np.repeat(value, batch, axis=0)
        dtype = SIGNATURE_INPUTS[signature][name].dtype
        request.inputs[name].CopyFrom(tf.make_tensor_proto(rows, dtype))
    return request
