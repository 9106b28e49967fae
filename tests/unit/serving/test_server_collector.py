"""The garbage collector looks at no more than what requests make."""

import gc
import socket
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.server.flags import parse_flags
from serving.server.run import Server


@pytest.fixture
def unfrozen():
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_was_there_before_the_first_answer_is_not_looked_through_again(tmp_path, unfrozen):
    config = tmp_path / "models.txtpb"
    config.write_text("model_config_list {}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(parse_flags([f"--port={port}", "--bind_address=127.0.0.1", f"--model_config_file={config}"]))
    assert gc.get_freeze_count() == 0
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health, deadline = health_pb2_grpc.HealthStub(channel), time.monotonic() + 30
            while health.Check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True).status != 1:
                assert time.monotonic() < deadline, "the server does not become ready"
                time.sleep(0.05)
        assert gc.get_freeze_count() > 10_000
    finally:
        server.stop()
