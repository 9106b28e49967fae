"""The model server that an act talks to: the one at the address, or one of our own for as long as the act takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.channel import Access, open_channel
from serving.model_status import ServerUnreachableError, version_states
from serving.protocol import get_model_metadata_pb2, prediction_service_pb2_grpc
from serving.releases.labels import ensure_model_config
from serving.releases.versions import settings_of
from serving.server_process import server_process
from serving.trust import trust_flags
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

CONFIG_POLL_SECONDS = 1
# An error from before the server has read the config again is no answer to what the config asks for now.
_STALE_SECONDS = 3.0 * CONFIG_POLL_SECONDS
_START_SECONDS = 60.0
_CALL_SECONDS = 5.0
_POLL_SECONDS = 0.1


def answers(address: str | None) -> bool:
    """Whether a model server answers at host:port."""
    if address is None:
        return False
    try:
        version_states(address, names.MODEL_NAME)
    except ServerUnreachableError:
        return False
    return True


def config_flags(home: Home) -> list[str]:
    """The flags by which a server serves what a home's model config says, now and whenever it changes.

    It loads what was signed with this home's key, or with those that the settings name.
    """
    return [
        f"--model_config_file={home.model_config}",
        f"--model_config_file_poll_wait_seconds={CONFIG_POLL_SECONDS}",
        # At a start nothing has loaded yet, and no label could name anything.
        "--allow_version_labels_for_unavailable_models=true",
        *trust_flags(settings_of(home)),
    ]


@contextmanager
def model_server(home: Home, address: str | None) -> Iterator[str]:
    """host:port of a model server of this home: the one that answers at `address`, else an embedded one meanwhile.

    Raises TastemakerError when the embedded one does not start, and where callers are to speak TLS, which it does not.
    """
    if address is not None and answers(address):
        yield address
        return
    if Access.of(settings_of(home)).ca is not None:
        raise TastemakerError(
            f"No model server answers over TLS at {address}; start it first: one for this step alone would be plain."
        )
    ensure_model_config(home)
    with server_process(config_flags(home), home.root / "logs" / "model_server_of_a_step.log") as server:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(server.address):
            server.require_alive()
            if time.monotonic() > deadline:
                raise server.ended(f"does not answer after {_START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        yield server.address


class LoadFailedError(TastemakerError):
    """The model server has tried to load a version and cannot."""


def wait_until_available(address: str, version: int, seconds: float) -> None:
    """Returns when the server has loaded the version.

    Raises LoadFailedError with the server's reason, TastemakerError when time is up or the server is gone.
    """
    began = time.monotonic()
    while True:
        state = _state(address, version)
        if state == "AVAILABLE":
            return
        waited = time.monotonic() - began
        if state.startswith("END: ") and waited > _STALE_SECONDS:
            raise LoadFailedError(
                f"The model server at {address} cannot load version {version} "
                f"({' '.join(state.removeprefix('END: ').split())})."  # TensorFlow's reasons have several lines
            )
        if waited > seconds:
            raise TastemakerError(
                f"The model server at {address} does not serve version {version} after {seconds:.0f} s (state: "
                f"{state}); check that it polls {names.MODEL_NAME}'s config in this home."
            )
        time.sleep(_POLL_SECONDS)


def _state(address: str, version: int) -> str:
    try:
        return version_states(address, names.MODEL_NAME).get(version, "not seen yet")
    except ServerUnreachableError:
        return "no answer"  # while it loads, a busy machine may keep it from answering in time


def wait_for_label(address: str, label: str, version: int, seconds: float) -> None:
    """Returns when the label means the version to the server. Raises TastemakerError when time is up."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = names.MODEL_NAME
    request.model_spec.version_label = label
    deadline = time.monotonic() + seconds
    with open_channel(address) as channel:
        ask = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata
        while True:
            try:
                now = str(ask(request, timeout=_CALL_SECONDS).model_spec.version.value)
            except grpc.RpcError as problem:
                now = f"no answer, {problem.code().name}"
            if now == str(version):
                return
            if time.monotonic() > deadline:
                raise TastemakerError(
                    f"The label '{label}' is moved to version {version}, but the model server at {address} does not "
                    f"follow after {seconds:.0f} s ({now}); check that it polls this home's model config."
                )
            time.sleep(_POLL_SECONDS)
