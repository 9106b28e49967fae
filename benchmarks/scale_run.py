"""The platform's scale run: G1's three million clicks through ingest, dbt, the gates and the feature store, in one go.

    python -m benchmarks.scale_run --home HOME --clicks clicks.parquet --date 2026-11-28

Every step is the command line's own, in a process of its own, hour by hour as `benchmarks/globo.yaml` says. Its seconds
and its peak memory are those of its report; a step that has already run in this home is not run again, and its report
stands. Writes `benchmarks/results/globo_scale.json`. A walk (`benchmarks.walk_forward`) begins with this home.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.circumstances import beginning, circumstances
from tastemaker.home import Home
from tastemaker.moments import parse_as_of
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import read_reports, write_atomically

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "globo_scale.json"
CONFIG = PROJECT_ROOT / "benchmarks" / "globo.yaml"
AS_OF = "2017-10-17"
STEPS = ("check landing", "transform", "check features", "features materialize")
REPORTS = ("ingest", "check_landing", "transform", "check_features", "materialize")


def main() -> None:
    """Runs the steps, prints and writes what they took."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--home", type=Path, required=True, help="a new home, 4 GB; it stays, for a walk")
    options.add_argument("--clicks", type=Path, required=True, help="G1's clicks, one Parquet file")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--out", type=Path, default=RESULT, help="where the result goes")
    given = options.parse_args()
    before = beginning()
    run_steps(given.home, given.clicks)
    command = "python -m benchmarks.scale_run --home … --clicks …"
    result = {**circumstances(command, given.date, before), **figures(Home(given.home))}
    write_atomically(given.out, json.dumps(result, indent=1) + "\n")
    print(table(result["steps"]))


def run_steps(home: Path, clicks: Path) -> None:
    """The command line, step by step; a step that fails ends the run with its own words."""
    environment = {**os.environ, "TASTEMAKER_HOME": str(home), "TASTEMAKER_CONFIG": str(CONFIG)}
    environment |= {"TASTEMAKER_SOURCE": "globo"}
    command = [str(Path(sys.executable).parent / "tastemaker")]
    for step in (f"ingest --source globo --path {clicks}", *STEPS):
        subprocess.run([*command, *step.split(), "--as-of", AS_OF], env=environment, check=True)


def figures(home: Home) -> dict[str, Any]:
    """By step seconds (with importing) and peak MiB, their sum and maximum, and the rows of the warehouse's tables."""
    reports = read_reports(home, parse_as_of(AS_OF))
    steps = {
        step: {
            "seconds": round(reports[step].seconds + reports[step].import_seconds, 1),
            "peak_memory_mib": round(reports[step].peak_memory_mib),
        }
        for step in REPORTS
    }
    return {
        "as_of": AS_OF,
        "seconds": round(sum(step["seconds"] for step in steps.values()), 1),
        "peak_memory_mib": max(step["peak_memory_mib"] for step in steps.values()),
        "steps": steps,
        "rows": {
            fact.removeprefix("rows of "): value
            for fact, value in reports["transform"].facts.items()
            if fact.startswith("rows of ")
        },
    }


def table(steps: dict[str, dict[str, float]]) -> str:
    """As Markdown.

    >>> print(table({"ingest": {"seconds": 4.9, "peak_memory_mib": 1064}}))
    | step | seconds | peak MiB |
    |---|---|---|
    | ingest | 4.9 | 1064 |
    """
    rows = [f"| {step} | {of['seconds']} | {of['peak_memory_mib']} |" for step, of in steps.items()]
    return "\n".join(["| step | seconds | peak MiB |", "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
