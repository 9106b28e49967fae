"""The same recorded requests to two labels of a running server, by turns: errors, seconds, and what was answered."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.channel import open_channel
from serving.protocol import predict_pb2, prediction_service_pb2_grpc
from serving.releases.tfrecords import predict_logs
from serving.tensors import from_proto
from tastemaker import names
from tastemaker.errors import TastemakerError

DEADLINE_SECONDS = 10.0


@dataclass
class Replay:
    """What one version has answered: an entry a request, `None` where it failed.

    `errors` is index → reason, `milliseconds` [answers], `answers` the outputs by name.
    """

    errors: dict[int, str] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    answers: list[dict[str, NDArray[Any]] | None] = field(default_factory=list)

    @property
    def p99_milliseconds(self) -> float:
        """The 99th percentile of the answers' latency; NaN without an answer."""
        return float(np.percentile(self.milliseconds, 99)) if self.milliseconds else float("nan")


def recorded_requests(folder: Path, most: int) -> list[Any]:
    """The requests recorded with a release, evenly thinned to at most `most`: the golden ones, else the warm-up's.

    Raises TastemakerError where it has none.
    """
    for name in (names.GOLDEN_REQUESTS, names.WARMUP_REQUESTS):
        if (folder / name).is_file():
            requests = [log.request for log in predict_logs(folder / name)]
            if requests:
                chosen = np.unique(np.linspace(0, len(requests) - 1, min(most, len(requests))).round().astype(int))
                return [requests[index] for index in chosen]
    raise TastemakerError(f"{folder} has no recorded requests to replay; build the release again.")


def replay(address: str, labels: Sequence[str], requests: Sequence[Any], rounds: int) -> dict[str, Replay]:
    """Puts every request to every label, `rounds` times over, by turns so that a busy moment hits all of them alike.

    One round more comes first and is not counted: the first request of a shape is slow. Answers are those of the last.
    """
    seen = {label: Replay() for label in labels}
    with open_channel(address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for turn in range(rounds + 1):
            for one in seen.values():
                one.answers = []
            for index, request in enumerate(requests):
                for label, one in seen.items():
                    _ask(predict, request, label, index, one, counted=turn > 0)
    return seen


def _ask(predict: Any, request: Any, label: str, index: int, seen: Replay, *, counted: bool) -> None:
    asked = predict_pb2.PredictRequest()
    asked.CopyFrom(request)
    asked.model_spec.name = names.MODEL_NAME
    asked.model_spec.version_label = label
    began = time.perf_counter()
    try:
        response = predict(asked, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as problem:
        seen.errors[index] = f"{problem.code().name}: {problem.details()}"
        seen.answers.append(None)
        return
    if counted:
        seen.milliseconds.append(1000 * (time.perf_counter() - began))
    outputs = {name: from_proto(tensor) for name, tensor in response.outputs.items()}
    scores = outputs.get(names.OUTPUT_SCORES)
    if scores is not None and not np.isfinite(scores[_listed(outputs, scores)]).all():
        seen.errors[index] = "a score is no finite number"
    seen.answers.append(outputs)


def _listed(outputs: dict[str, NDArray[Any]], scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Which scores belong to an item: a list shorter than k is filled up, and an item nobody knows has none."""
    items, known = outputs.get(names.OUTPUT_ITEM_IDS), outputs.get(names.OUTPUT_KNOWN)
    if items is not None and items.shape == scores.shape:
        return np.asarray(items != b"")
    if known is not None and known.shape == scores.shape:
        return known.astype(bool)
    return np.ones(scores.shape, bool)
