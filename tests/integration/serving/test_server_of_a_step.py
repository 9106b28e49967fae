"""A model server that a step starts for itself is gone when the step is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestration.services import accepts_connections

pytestmark = pytest.mark.integration

STEP = """
import sys, time
from pathlib import Path
from serving.server_process import server_process
with server_process(["--model_base_path=" + sys.argv[1]], Path(sys.argv[2])) as server:
    print(server.process.pid, server.address, flush=True)
    time.sleep(600)
"""


def test_a_step_that_is_killed_leaves_no_server(tmp_path: Path):
    step = subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path), str(tmp_path / "log")], stdout=subprocess.PIPE)
    try:
        pid, address = step.stdout.readline().decode().split()
        server, deadline = psutil.Process(int(pid)), time.monotonic() + 60
        while not accepts_connections(address):
            assert server.is_running() and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        step.kill()
        step.wait()
    psutil.wait_procs([server], timeout=30)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
    assert not accepts_connections(address)


def test_a_server_whose_step_was_gone_before_it_began_says_so_and_ends(tmp_path: Path):
    flags = ["--port=1", f"--model_base_path={tmp_path}", f"--end_with_parent={os.getppid()}"]
    done = subprocess.run([sys.executable, "-m", "serving.server", *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"serving: Process {os.getppid()}, which this server was to end with, is not its parent any more."
    )
