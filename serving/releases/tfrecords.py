"""Recorded requests, read without TensorFlow: TFRecord is a length, its checksum, the bytes, their checksum.

Format: tensorflow/core/lib/io/record_writer.h. The checksums are not looked at: the manifest has one of the whole file.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.protocol import prediction_log_pb2
from tastemaker.errors import TastemakerError

_LENGTH = struct.Struct("<Q")
_CHECKSUM_BYTES = 4


def predict_logs(path: Path) -> Iterator[Any]:
    """The PredictLogs of a file of PredictionLog records. Raises as `prediction_logs` does."""
    return (log.predict_log for log in prediction_logs(path) if log.WhichOneof("log_type") == "predict_log")


def prediction_logs(path: Path) -> Iterator[Any]:
    """The PredictionLogs of a file. Raises TastemakerError for a file that ends within one."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        start = at + _LENGTH.size + _CHECKSUM_BYTES
        end = start + (_LENGTH.unpack_from(data, at)[0] if len(data) >= at + _LENGTH.size else 0)
        if len(data) < end + _CHECKSUM_BYTES or start > len(data):
            raise TastemakerError(f"{path} ends within a record; build the release again.")
        yield prediction_log_pb2.PredictionLog.FromString(data[start:end])
        at = end + _CHECKSUM_BYTES
