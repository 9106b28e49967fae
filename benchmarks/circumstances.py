"""What every result says of its measurement: with which command, on which day, by which commit, on what machine.

The day is the caller's to say: nothing here asks the clock.
"""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tastemaker.settings import PROJECT_ROOT


def circumstances(command: str, date: str, load_before: float) -> dict[str, Any]:
    """`command`, `date`, `commit` and `machine`.

    Args:
        command: as somebody would type it again; no path of this machine.
        date: of the measurement.
        load_before: `load()` before it began.
    """
    return {
        "command": command,
        "date": date,
        "commit": commit(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "python": platform.python_version(),
            "load_before": load_before,
            "load_after": load(),
        },
    }


def load() -> float:
    """Processes that ran or waited to, a mean over the last minute."""
    return round(os.getloadavg()[0], 1)


def commit() -> str:
    """The checkout's, short; with `+` where files that git follows differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
