"""A request through the server, whichever way it came in: admit it, find the version, run, count."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving.protocol import get_model_metadata_pb2, get_model_status_pb2
from serving.server.admission import Admission
from serving.server.metrics import Metrics
from serving.server.models import Models
from serving.server.predict import DEFAULT_SIGNATURE
from serving.server.status import Code, ServingError, invalid_argument

SIGNATURE_DEF = "signature_def"

log = logging.getLogger("tastemaker.serving")


@dataclass(frozen=True)
class Call:
    """How a request came in. `seconds_left` until its deadline; `wanted` is False once its caller has gone."""

    api: str
    entrypoint: str
    seconds_left: float | None = None
    wanted: Callable[[], bool] = lambda: True


class Answering:
    """What both interfaces answer requests by."""

    def __init__(self, models: Models, metrics: Metrics, admission: Admission) -> None:
        self.models = models
        self._metrics = metrics
        self._admission = admission

    def answer(
        self, call: Call, work: Callable[[Any, int | None, Any, Any], None], spec: Any, request: Any, response: Any
    ) -> None:
        """Runs `work(model, version, request, response)` on the version that `spec` names. Raises ServingError."""
        began = time.perf_counter()
        status, number = Code.OK, None
        try:
            # The slot comes first: a request that waits must not keep a version from being unloaded.
            with self._admission.slot(call.seconds_left, call.wanted), self.models.acquire(spec) as version:
                number = version.number
                work(version.model, number, request, response)
        except ServingError as problem:
            status = problem.code
            raise
        except Exception as problem:
            log.exception("%s failed", call.api)
            status = Code.INTERNAL
            raise ServingError(status, f"{type(problem).__name__}: {problem}") from problem
        finally:
            microseconds = (time.perf_counter() - began) * 1e6
            # Names that nobody here knows are the clients': labels must not grow with them.
            known = number is not None or self.models.has(spec.name)
            signature = (spec.signature_name or DEFAULT_SIGNATURE) if number is not None else ""
            if status is Code.FAILED_PRECONDITION:
                signature = ""  # no such signature
            self._metrics.record(
                spec.name if known else "", number, signature, call.api, call.entrypoint, status.name, microseconds
            )


def model_metadata(models: Models, request: Any) -> Any:
    """The GetModelMetadataResponse: every signature of the version. Raises ServingError."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with models.acquire(request.model_spec) as version:
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version.number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def model_status(models: Models, request: Any) -> Any:
    """The GetModelStatusResponse: each version's state and last error. Raises ServingError."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state, error in models.states(request.model_spec):
        entry = response.model_version_status.add(version=number, state=int(state))
        entry.status.error_code = int(error.code) if error else 0
        entry.status.error_message = error.message if error else ""
    return response
