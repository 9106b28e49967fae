"""Golden requests put to a server: are its answers the recorded ones, to the bit?

They lie in the release, as TF-Serving records requests: a TFRecord of PredictionLog, here with the answers.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol import prediction_service_pb2_grpc
from serving.releases.tfrecords import prediction_logs
from serving.tensors import dtype_name, from_proto
from tastemaker import names
from tastemaker.errors import TastemakerError

ROUNDS = 2
DEADLINE_SECONDS = 30.0
DRAWN = "drawn"  # what the log of a usual request is named; the others are strange
MOST_TOLD = 10  # after so many wrong answers nobody needs more of them


@dataclass(frozen=True)
class GoldenRequest:
    """A request, what it is about, and the outputs that belong to it: TensorProto by name."""

    about: str
    request: Any
    expected: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """What tells it from the others, for a person."""
        return f"{self.request.model_spec.signature_name} ({self.about})"


@dataclass
class Asked:
    """What a server made of golden requests.

    `milliseconds` has an entry for each drawn one: the faster of its calls, as the slower one tells of the machine.
    """

    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Of the latencies in milliseconds; 0 without any."""
        return float(np.percentile(self.milliseconds, share)) if self.milliseconds else 0.0


def golden_requests(folder: Path) -> list[GoldenRequest]:
    """Those of a release. Raises TastemakerError where there is none, or one without an answer."""
    path = folder / names.GOLDEN_REQUESTS
    if not path.is_file():
        raise TastemakerError(f"{folder} has no golden requests ({path.name}); build the release again.")
    found = [
        GoldenRequest(log.log_metadata.request_origin, log.predict_log.request, log.predict_log.response.outputs)
        for log in prediction_logs(path)
    ]
    if not found or not all(golden.expected for golden in found):
        raise TastemakerError(f"{path} has no request, or one without its answer; build the release again.")
    return found


def ask(address: str, golden: Sequence[GoldenRequest]) -> Asked:
    """Puts every request, one after the other, to the newest version at host:port; all of them twice."""
    asked = Asked(requests=len(golden))
    fastest: dict[int, float] = {}
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for index, one in [*enumerate(golden)] * ROUNDS:
            began = time.perf_counter()
            try:
                outputs = predict(one.request, timeout=DEADLINE_SECONDS).outputs
            except grpc.RpcError as problem:
                wrong: str | None = f"was refused, {problem.code().name}: {problem.details()}"
            else:
                fastest[index] = min(fastest.get(index, float("inf")), 1000 * (time.perf_counter() - began))
                wrong = difference(one.expected, outputs)
            if wrong is not None:
                asked.wrong.append(f"{one.sentence} {wrong}")
            if len(asked.wrong) == MOST_TOLD:
                break
    asked.milliseconds = [fastest[index] for index, one in enumerate(golden) if one.about == DRAWN and index in fastest]
    return asked


def difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Where two answers first differ, in words; None where they have the same outputs, bit for bit.

    Args: outputs, TensorProto by name.
    """
    if set(expected) != set(found):
        return f"has the outputs {', '.join(sorted(found))} where {', '.join(sorted(expected))} were recorded"
    for name in sorted(expected):
        one, other = from_proto(expected[name]), from_proto(found[name])
        if one.shape != other.shape or one.dtype != other.dtype:
            kinds = [f"{dtype_name(proto.dtype)} {list(array.shape)}" for proto, array in
                     ((found[name], other), (expected[name], one))]  # fmt: skip
            return f"has {name} {kinds[0]} where {kinds[1]} was recorded"
        for place in np.argwhere(~_same(one, other)):
            at = tuple(place.tolist())
            return f"has {name}{list(at)} {_told(other[at])} where {_told(one[at])} was recorded"
    return None


def _same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Elementwise, whether two arrays of one shape and type have the same bits: NaN is itself, -0 is not 0."""
    if one.dtype.kind != "f":
        return np.asarray(one == other, bool)
    bits = f"u{one.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(one).view(bits) == np.ascontiguousarray(other).view(bits), bool)


def _told(value: Any) -> str:
    return repr(value.decode(errors="replace")) if isinstance(value, bytes) else str(value)
