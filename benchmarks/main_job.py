"""The main job timed in a fresh home, then one `recommend` over gRPC at 1 and 8 clients: `make bench`.

Writes `benchmarks/results/main_job.json` and prints the same as one JSON line. The date is an argument: nothing here
asks the clock what day it is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.circumstances import beginning, circumstances
from tastemaker import names
from tastemaker.settings import PROJECT_ROOT

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "main_job.json"
BIN = Path(sys.executable).parent


def main() -> None:
    """Runs the job once and measures what it serves."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--seconds", default="10", help="how long each number of clients asks")
    given = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="tastemaker-bench-"))
    try:
        result = measure(home, given.date, given.seconds)
    finally:
        shutil.rmtree(home)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def measure(home: Path, date: str, seconds: str) -> dict[str, Any]:
    """The job's seconds in all and by step, and the served answer's milliseconds."""
    environment = {**os.environ, "TASTEMAKER_HOME": str(home)}
    before, began = beginning(), time.monotonic()
    subprocess.run([str(BIN / "tastemaker"), "demo"], env=environment, check=True)
    whole = time.monotonic() - began
    [run] = (home / "runs").iterdir()
    reports = {path.stem: json.loads(path.read_text()) for path in run.glob("*.json")}
    served = subprocess.run(
        [sys.executable, "-m", "benchmarks.serve_baseline", "--home", str(home), "--seconds", seconds],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    steps = [reports[step] for step in names.STEPS]
    importing = sum(step["import_seconds"] for step in steps)
    return {
        **circumstances("make bench", date, before),
        "seconds": round(whole, 1),
        "importing_seconds": round(importing, 1),
        "importing_share": round(importing / whole, 3),
        "peak_memory_mib": max(step["peak_memory_mib"] for step in steps),
        "steps": {step["step"]: {k: step[k] for k in _FIGURES} for step in steps},
        "quality": reports["evaluate"]["facts"]["quality"],
        "recommend": json.loads(served.strip().splitlines()[-1]),
    }


_FIGURES = ("seconds", "import_seconds", "peak_memory_mib")


if __name__ == "__main__":
    main()
