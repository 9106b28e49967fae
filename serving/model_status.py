"""What a model server says of its versions, over `ModelService.GetModelStatus`."""

import time

import grpc

from serving.channel import open_channel
from serving.protocol import get_model_status_pb2, model_service_pb2_grpc
from tastemaker.errors import TastemakerError

_CALL_SECONDS = 2.0
_POLL_SECONDS = 0.2
_AVAILABLE = "AVAILABLE"


class ServerUnreachableError(TastemakerError):
    """No model server answers at the address."""


def version_states(address: str, model: str) -> dict[int, str]:
    """Version → state, with its error where it has one; empty while the server knows no version of the model.

    Raises ServerUnreachableError when nobody answers, TastemakerError for another failure.
    """
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    with open_channel(address) as channel:
        try:
            answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as problem:
            if problem.code() == grpc.StatusCode.NOT_FOUND:
                return {}
            if problem.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ServerUnreachableError(
                    f"No model server answers at {address}; start it with 'tastemaker serve', or name its address "
                    "with TASTEMAKER_MODEL_SERVER."
                ) from None
            raise TastemakerError(
                f"The model server at {address} does not tell its versions: {problem.code().name}, {problem.details()}."
            ) from None
    names = get_model_status_pb2.ModelVersionStatus.State
    return {
        entry.version: names.Name(entry.state) + (f": {entry.status.error_message}" if entry.status.error_code else "")
        for entry in answer.model_version_status
    }


def wait_until_available(address: str, model: str, version: int, seconds: float) -> None:
    """Returns when the server serves the version.

    Raises ServerUnreachableError when nobody answers, TastemakerError when the load fails or time is up.
    """
    deadline = time.monotonic() + seconds
    while True:
        state = version_states(address, model).get(version, "not seen yet")
        if state == _AVAILABLE:
            return
        if state.startswith("END: "):
            raise TastemakerError(
                f"The model server at {address} cannot load version {version} of '{model}' "
                f"({state.removeprefix('END: ')}); the version before it goes on serving."
            )
        if time.monotonic() > deadline:
            raise TastemakerError(
                f"The model server at {address} does not serve version {version} of '{model}' after {seconds:.0f} s "
                f"(state: {state}); check that it watches this home's models folder."
            )
        time.sleep(_POLL_SECONDS)
