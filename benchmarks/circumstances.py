"""What every result says of its measurement: with which command, on which day, by which commit, on what machine.

The day is the caller's to say: nothing here asks the clock.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tastemaker.settings import PROJECT_ROOT


@dataclass(frozen=True)
class Beginning:
    """What is true when a measurement begins: the load, and the commit, of which the code is that runs."""

    load: float
    commit: str


def beginning() -> Beginning:
    """To be asked before anything is measured."""
    return Beginning(load(), commit())


def circumstances(command: str, date: str, before: Beginning, *libraries: str) -> dict[str, Any]:
    """`command`, `date`, `commit` and `machine`; with libraries also `versions`.

    Args:
        command: as somebody would type it again; no path of this machine.
        date: of the measurement.
        before: `beginning()`.
        libraries: distributions whose versions matter to the figures.
    """
    versions = {"versions": {library: version(library) for library in libraries}} if libraries else {}
    return {
        "command": command,
        "date": date,
        "commit": before.commit,
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "python": platform.python_version(),
            "load_before": before.load,
            "load_after": load(),
        },
        **versions,
    }


def typed(module: str, *places: Path | None) -> str:
    """The command line of this process; `places`, folders and files of this machine, as `…`."""
    own = {str(place) for place in places if place is not None}
    return " ".join(["python -m", module, *("…" if word in own else word for word in sys.argv[1:])])


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
