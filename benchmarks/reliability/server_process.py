"""A model server of ours as a process, for those who hurt it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.channel import open_channel
from serving.model_status import ServerUnreachableError, version_states
from serving.protocol import model_management_pb2, model_service_pb2_grpc

START_SECONDS = 120.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server of one model."""

    address: str
    rest_address: str
    model: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def wait_for(self, version: int, state: str = "AVAILABLE", seconds: float = START_SECONDS) -> None:
        """Returns when the version is in that state; raises TimeoutError with the server's log where it never is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if version_states(self.address, self.model).get(version, "").startswith(state):
                    return
            except ServerUnreachableError:
                pass  # it is still starting
            time.sleep(0.05)
        raise TimeoutError(f"version {version} is not {state}:\n{self.log.read_text()[-3000:]}")

    def look_now(self, folder: Path) -> None:
        """Has it look at its folder at once, by a reload of the same config, rather than at the next second."""
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(
            name=self.model, base_path=str(folder.absolute()), model_platform="tensorflow"
        )
        with open_channel(self.address) as channel:
            model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)

    def freeze(self) -> None:
        """Stops it where it stands (SIGSTOP): its port is open and it never answers.

        Returns once its last thread stands: on a busy machine one of them had answered after the signal.
        """
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Lets it go on (SIGCONT)."""
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def server_process(folder: Path, model: str, log: Path, *flags: str) -> Iterator[ServerProcess]:
    """A server of `folder` as `model` on ports of its own; killed at the end."""
    port, rest_port = free_port(), free_port()
    chosen = {
        "port": port,
        "rest_api_port": rest_port,
        "bind_address": "127.0.0.1",
        "model_name": model,
        "model_base_path": folder,
    }
    command = [sys.executable, "-m", "serving.server", *(f"--{k}={v}" for k, v in chosen.items()), *flags]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield ServerProcess(f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}", model, log, process)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
