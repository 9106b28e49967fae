"""Warm-up: the requests recorded beside a model run before anyone is served by it.

The first call of a signature builds and optimizes its graph; without warm-up the first clients pay for that.
File, record type and limit are TF-Serving's (servables/tensorflow/saved_model_warmup_util.cc).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving.releases.tfrecords import prediction_logs
from serving.server import examples
from serving.server.predict import Runnable, predict
from serving.server.status import Code, ServingError, invalid_argument
from tastemaker import names
from tastemaker.errors import TastemakerError

MAX_RECORDS = 1000


def warm_up(model: Runnable, folder: Path, iterations: int = 1) -> int:
    """Runs every recorded request `iterations` times; returns the number of records, 0 without a file.

    Raises ServingError when a record cannot be read or its request fails: such a model must not serve.
    """
    path = folder / names.WARMUP_REQUESTS
    if not path.is_file():
        return 0
    count = 0
    for record in _records(path):
        count += 1
        if count > MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
        for _ in range(max(1, iterations)):
            _run(model, record)
    return count


def _records(path: Path) -> Iterator[Any]:
    try:
        yield from prediction_logs(path)
    except TastemakerError as problem:
        raise ServingError(
            Code.DATA_LOSS, f"{problem}. Please verify your warmup data is in TFRecord format."
        ) from problem
    except DecodeError as problem:
        raise invalid_argument(f"Failed to parse warmup record: {problem} from {path}") from problem


def _run(model: Runnable, record: Any) -> None:
    kind = record.WhichOneof("log_type")
    runs: dict[str, Callable[[Any], None]] = {
        "predict_log": lambda log: predict(model, None, log.request, log.response),
        "classify_log": lambda log: examples.classify(model, None, log.request, log.response),
        "regress_log": lambda log: examples.regress(model, None, log.request, log.response),
        "multi_inference_log": lambda log: examples.multi_inference(model, None, log.request, log.response),
    }
    if kind is None:
        return
    if kind not in runs:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    runs[kind](getattr(record, kind))
