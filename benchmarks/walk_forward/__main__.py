"""G1's clicks hour by hour: `make bench-globo`, or for a quick look `python -m benchmarks.walk_forward --windows 24 …`.

The home was built by `tastemaker ingest`, `transform` and `features materialize` with `benchmarks/globo.yaml`. What was
walked lies in the home and is not walked again, as long as neither the config nor the code is another; only a walk over
every hour that answers the reported half writes `benchmarks/results/globo.json`.
"""

import argparse
import json
import time
from datetime import datetime
from pathlib import Path

from benchmarks.circumstances import beginning, circumstances
from benchmarks.walk_forward.checkpoint import Kept, digest_of_code, walked
from benchmarks.walk_forward.families import FAMILIES
from benchmarks.walk_forward.sessions import CONFIG, HOUR, Site
from benchmarks.walk_forward.table import summary, table
from benchmarks.walk_forward.walk import RANKED, Figures, Walk
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import digest_files, write_atomically

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "globo.json"
NAMED = 5  # hours that an error names


def main() -> None:
    """Walks as far as asked, and prints the table of what has been walked."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--home", type=Path, required=True, help="a home at hourly grain")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--windows", type=int, help="hours, after the first; all without it")
    options.add_argument("--first", type=int, default=1, help="hour to begin with; what was before is not learnt")
    options.add_argument("--seeds", type=int, nargs="+", default=[1], help="one walk each")
    options.add_argument("--half", choices=("tuning", "reported"), default="tuning", help="sessions that are answered")
    options.add_argument("--families", action="store_true", help="also rankers that lack a family of features each")
    options.add_argument("--config", type=Path, default=CONFIG)
    given, before = options.parse_args(), beginning()
    site = Site.of(Home(given.home), given.config)
    first = site.first_hour() + given.first * HOUR
    end = site.last_hour() if given.windows is None else min(first + given.windows * HOUR, site.last_hour())
    figures = [_walk(site, seed, given, first, end) for seed in given.seeds]
    result = summary(figures)
    print(table(result["lines"]))
    if given.half == "reported" and given.windows is None and given.first == 1:
        result |= circumstances(_command(given), given.date, before)
        result |= {"half": given.half, "seeds": given.seeds}
        write_atomically(RESULT, json.dumps(result, indent=1) + "\n")


def _walk(site: Site, seed: int, given: argparse.Namespace, first: datetime, end: datetime) -> dict[str, Figures]:
    families = tuple(FAMILIES) if given.families else ()
    walk = Walk(site, seed, given.half == "reported", families)
    told_apart = f"{digest_files([given.config])[:8]}-{digest_of_code()[:8]}"
    name = f"{told_apart}-{given.half}-from-{given.first}-seed-{seed}"
    kept = Kept(site.kept / (f"{name}-families" if families else name))
    began = time.monotonic()

    def tell(hour: datetime, figures: Figures) -> None:
        best = figures.get(RANKED, {})
        told = ", ".join(f"{metric} {value:.4f}" for metric, value in best.items())
        sessions = int(figures.get("sessions", {}).get("answered", 0))
        print(f"{hour:%m-%d %H}:00 {sessions} sessions, {told} ({time.monotonic() - began:.0f} s)", flush=True)

    walked(walk, kept, first, end, tell)
    return every_hour(kept.figures(), first, end)


def every_hour(figures: dict[str, Figures], first: datetime, end: datetime) -> dict[str, Figures]:
    """The figures of `[first, end)`. Raises TastemakerError, which names them, when some hours are not there."""
    hours = [(first + n * HOUR).isoformat() for n in range((end - first) // HOUR)]
    lost = [hour for hour in hours if hour not in figures]
    if lost:
        named = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
        raise TastemakerError(
            f"The walk has no figures of {len(lost)} of its {len(hours)} hours: {named}; remove its folder below "
            "benchmarks/walk_forward in the home, and walk again."
        )
    return {hour: figures[hour] for hour in hours}


def _command(given: argparse.Namespace) -> str:
    seeds = " ".join(str(seed) for seed in given.seeds)
    families = " --families" if given.families else ""
    return f"python -m benchmarks.walk_forward --home … --half {given.half} --seeds {seeds}{families}"


if __name__ == "__main__":
    main()
