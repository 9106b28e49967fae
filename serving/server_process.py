"""The embedded model server in a process of its own, for as long as a step needs one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tastemaker.errors import TastemakerError

_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class ServerProcess:
    """A server that was started: its gRPC host:port, its process, its log."""

    address: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def require_alive(self) -> None:
        """Raises TastemakerError when the process is no longer there."""
        code = self.process.poll()
        if code is not None:
            raise self.ended(f"ended with exit code {code}")

    def ended(self, how: str) -> TastemakerError:
        """What to tell when the server is of no use any more: the last line of its log."""
        said = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
        return TastemakerError(f"The model server of this step {how}; its log is {self.log} and ends with: {said}")

    def peak_memory_mib(self) -> float:
        """The largest resident size that the process has had, in MiB, as the kernel counts it (VmHWM)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        self.require_alive()
        raise self.ended("tells no memory")


@contextmanager
def server_process(flags: Sequence[str], log: Path) -> Iterator[ServerProcess]:
    """Starts `python -m serving.server` on a free local port and ends it again; it may not answer yet.

    Where the step is killed, its server goes too; by a flag, for with a `preexec_fn` Python forks in earnest, and where
    gRPC has been used before, its threads are not there in the child: it aborted before it was a server, now and then.
    """
    port = _free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "serving.server", f"--port={port}", "--bind_address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, f"--end_with_parent={os.getpid()}", *flags],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield ServerProcess(f"127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
