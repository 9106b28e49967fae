"""Measures what the server does when things go wrong, and writes it down.

    make bench-reliability

Prints each figure, writes `benchmarks/results/reliability.json` and the server's table in `benchmarks/reliability.md`.
Load and server share this machine's processors; about four minutes.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.reliability import scenarios
from benchmarks.reliability.page import write_table

HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    """Runs every scenario and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of ten times the load")
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--hang", type=float, default=20.0, help="seconds that the server hangs")
    parser.add_argument("--release", type=Path, help="the folder of a release, to swap copies of it, too")
    parser.add_argument(
        "--only", choices=["overload", "swaps", "hang", "release_swaps"], help="one scenario; nothing is written"
    )
    parser.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    chosen, before = parser.parse_args(), beginning()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        runs: dict[str, Callable[[], Any]] = {
            "overload": lambda: scenarios.overload(root / "overload" / "tiny", chosen.seconds),
            "swaps": lambda: scenarios.swaps(root / "swaps" / "tiny", chosen.swaps),
            "hang": lambda: scenarios.hang(root / "hang" / "tiny", chosen.hang),
        }
        if chosen.release is not None:
            runs["release_swaps"] = lambda: scenarios.release_swaps(chosen.release, root / "release" / "served")
        results: dict[str, Any] = {"benchmark": "reliability", "cpus": len(os.sched_getaffinity(0))}
        for name, run in runs.items():
            if chosen.only in (None, name):
                results[name] = asdict(run())
                print(json.dumps({name: results[name]}), flush=True)
    results |= circumstances(typed("benchmarks.reliability", chosen.release), chosen.date, before)
    if chosen.only is None:
        (HERE / "results" / "reliability.json").write_text(json.dumps(results, indent=2) + "\n")
        write_table(HERE / "reliability.md", results)


if __name__ == "__main__":
    main()
