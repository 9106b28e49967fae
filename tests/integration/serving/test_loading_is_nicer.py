"""What a load costs falls on threads that are nicer than those that answer: its restore, and its warm-up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability.tiny_release import tiny_request, write_tiny
from serving.releases.tfrecords import prediction_logs
from tastemaker import names

pytestmark = pytest.mark.integration

NICER = 5
ROUNDS = 20_000  # of the warm-up: a second of one processor
CODE = f"""
import json, os, sys, threading
from pathlib import Path
from serving.server.flags import Flags
from serving.server.loading import load_version

def spent():
    found = {{}}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks, nice = int(fields[11]) + int(fields[12]), int(fields[16])
        found[nice] = found.get(nice, 0) + ticks
    return found

def load_twice():
    flags = Flags(model_base_path=sys.argv[1])
    kept = [load_version("tiny", Path(sys.argv[1]) / "1", flags)]
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + {NICER})
    before = spent()
    kept.append(load_version("tiny", Path(sys.argv[1]) / "2", flags))
    after = spent()
    print(json.dumps([after.get(at, 0) - before.get(at, 0) for at in (nice, nice + {NICER})]))

thread = threading.Thread(target=load_twice)
thread.start()
thread.join()
"""


def test_a_second_load_and_its_warm_up_run_on_nicer_threads(tmp_path: Path) -> None:
    for version in (1, 2):
        warmup = write_tiny(tmp_path, version) / names.WARMUP_REQUESTS
        [first, *_] = prediction_logs(warmup)
        first.predict_log.request.ParseFromString(tiny_request(ROUNDS))
        data = first.SerializeToString()
        warmup.write_bytes(len(data).to_bytes(8, "little") + bytes(4) + data + bytes(4))
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    as_answering, nicer = json.loads(done.stdout.splitlines()[-1])
    assert nicer > 20  # hundredths of a second
    assert as_answering < nicer / 10
