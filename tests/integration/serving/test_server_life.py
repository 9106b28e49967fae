"""How a server of ours starts, is full, and ends."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol import predict_pb2, prediction_service_pb2_grpc

pytestmark = pytest.mark.integration

ROUNDS = 20_000  # of 200 x 200 products: seconds of work, so that a call is in flight when the signal comes


def test_a_taken_port_is_one_sentence(toy_server, tmp_path: Path):
    if toy_server.process is None:
        pytest.skip("the port of a foreign server may be on another machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = str(probe.getsockname()[1])
    for taken, flag in ((toy_server.grpc_address, "port"), (toy_server.rest_address, "rest_api_port")):
        port = taken.rpartition(":")[2]
        chosen = {"port": free, "rest_api_port": "0", flag: port}
        arguments = [f"--{name}={value}" for name, value in chosen.items()]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "serving.server",
                *arguments,
                f"--model_base_path={tmp_path}",
                "--bind_address=127.0.0.1",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 4
        assert done.stderr.strip().splitlines()[-1].startswith(f"serving: Port {port} is taken; ")
        assert "Traceback" not in done.stderr


def test_a_call_in_flight_ends_well_after_sigterm_and_new_ones_are_refused(
    server_in: Callable,
    toy_versions: dict[str, Path],
    predict_request: Callable,
    place_version: Callable,
    tmp_path: Path,
):
    folder = tmp_path / "toy"
    folder.mkdir()
    server = server_in(folder, "--grpc_max_threads=2", "--max_queued_requests=1")
    health = health_pb2_grpc.HealthStub(server.channel)

    def serving() -> bool:
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    wait_until(serving)  # an empty folder is no reason not to answer
    with pytest.raises(grpc.RpcError) as nothing:
        server.prediction.Predict(predict_request(), timeout=10)
    assert nothing.value.code() is grpc.StatusCode.NOT_FOUND
    place_version(toy_versions["one"], folder, 1)
    server.wait_for_state(1, "AVAILABLE")

    slow = predict_request("slow", rounds=np.array(ROUNDS, np.int32))
    calls = [server.prediction.Predict.future(slow, timeout=120) for _ in range(3)]

    def full() -> bool:
        """Two run and one waits; a quick call that came before the third of them had taken its place for a moment."""
        for place, call in enumerate(calls):
            if call.done():
                calls[place] = server.prediction.Predict.future(slow, timeout=120)
        return refused_as_full(server, predict_request()) and not any(call.done() for call in calls)

    wait_until(full)

    stopped: list[int] = []
    ending = threading.Thread(target=lambda: stopped.append(server.stop()))
    ending.start()
    wait_until(lambda: "Stopping" in server.text())
    fresh = grpc.insecure_channel(server.grpc_address)
    with pytest.raises(grpc.RpcError) as late:
        prediction_service_pb2_grpc.PredictionServiceStub(fresh).Predict(predict_pb2.PredictRequest(), timeout=5)
    # gRPC cancels a call that comes in the very moment in which it closes the door
    assert late.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert [call.result().model_spec.version.value for call in calls] == [1, 1, 1]
    ending.join(timeout=60)
    assert stopped == [0]


def refused_as_full(server, request) -> bool:
    try:
        server.prediction.Predict(request, timeout=0.5)
    except grpc.RpcError as problem:
        return problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
