"""The benchmark's own client ends with the benchmark, whatever it is doing."""

import multiprocessing
import os
import signal

from benchmarks import client_process
from benchmarks.client_process import ClientProcess


def test_a_client_that_hangs_is_ended(home, monkeypatch):
    monkeypatch.setattr(client_process, "DEADLINE_SECONDS", 0.1)
    with ClientProcess(home, "127.0.0.1:1", 5):
        (client,) = multiprocessing.active_children()
        assert client.pid is not None
        os.kill(client.pid, signal.SIGSTOP)
    assert client.exitcode == -signal.SIGKILL
