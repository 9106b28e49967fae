"""A SavedModel of a few kilobytes whose every output carries its version, and which works as long as it is told.

What it carries is the last digit of its version, so that ten of them, copied, make any number of versions of which no
two in a row are alike. Like every release it brings the requests that warm it up: without them the first caller of each
version waits for what TensorFlow does at a first call, 30 ms and more.
"""

from pathlib import Path
from typing import Any

import numpy as np

from serving.protocol import predict_pb2, prediction_log_pb2
from serving.tensors import to_proto
from tastemaker import names

MODEL = "tiny"
ROWS = 8
VERSIONS_APART = 10


def write_tiny(folder: Path, version: int) -> Path:
    """Writes it beside and renames it, as a publisher does."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    digit = version % VERSIONS_APART

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.version = tf.Variable(tf.fill([ROWS], tf.constant(digit, tf.int64)))

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "rounds")])
        def __call__(self, rounds: Any) -> dict[str, Any]:
            def body(i: Any, m: Any) -> tuple[Any, Any]:
                return i + 1, tf.matmul(m, m) * 0.01

            _, m = tf.while_loop(lambda i, _: i < rounds, body, (0, tf.ones([96, 96])), parallel_iterations=1)
            # One part is a variable that is read and one is in the graph: both must be of the same version.
            in_graph = tf.fill([ROWS], tf.constant(digit, tf.int64))
            return {"version": tf.concat([self.version, in_graph], axis=0), "total": tf.reduce_sum(m)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "k")])
        def recommend(self, k: Any) -> dict[str, Any]:
            scores = tf.cast(tf.range(k, 0, -1), tf.float32)[None, :]
            return {"item_ids": tf.strings.as_string(scores), "scores": scores, "release": tf.constant([str(version)])}

    tiny = Tiny()
    beside = folder / f".{version}.part"
    tf.saved_model.save(tiny, str(beside), signatures={"serving_default": tiny.__call__, "recommend": tiny.recommend})
    warmup = beside / names.WARMUP_REQUESTS
    warmup.parent.mkdir()
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for request in (_request("rounds", 1), _request("k", 1, names.SIGNATURE_RECOMMEND)):
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    final = folder / str(version)
    beside.rename(final)
    return final


def tiny_request(rounds: int) -> bytes:
    """A serialized PredictRequest of so much work: 1000 rounds are about 40 ms of one processor of 2026."""
    return bytes(_request("rounds", rounds).SerializeToString())


def _request(argument: str, value: int, signature: str = "") -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    request.inputs[argument].CopyFrom(to_proto(np.array(value, np.int32)))
    return request
