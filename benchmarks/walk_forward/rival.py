"""The walk's session k-NN alone, in minutes: the line that a whole walk has of it, with settings to be chosen.

    python -m benchmarks.walk_forward.rival --home home --date 2026-11-29 --windows 96 --half-life 2 18 --fading .5 .8

Every way of the settings is judged on the tuning half and printed, best NDCG last. With `--half reported` one way is
judged with each seed, over every hour, and `benchmarks/results/globo_session_knn.json` written.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.walk_forward.answers import session_items, sessions_so_far
from benchmarks.walk_forward.days import Days
from benchmarks.walk_forward.session_knn import KnnSettings, session_knn
from benchmarks.walk_forward.sessions import (
    ASKED,
    CONFIG,
    HOUR,
    REPORTED,
    Site,
    latest_of_sessions,
    midnight,
    of_hour,
    wanted,
)
from benchmarks.walk_forward.table import summary
from benchmarks.walk_forward.walk import (
    ANSWERED,
    KNN,
    KNN_HOURS,
    TAKEN,
    TIES_OF_KNN,
    Figures,
    K,
    hours_since,
    judged,
    random_of,
)
from tastemaker import names
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import write_atomically
from training.datasets.item_snapshots import DAY
from training.release.item_universe import ItemUniverse

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "globo_session_knn.json"


def walk_of_the_rival(
    site: Site, first: datetime, end: datetime, reported: bool, seeds: list[int], ways: list[KnnSettings]
) -> Iterator[tuple[datetime, dict[tuple[int, KnnSettings], Figures]]]:
    """Each hour of `[first, end)` with the figures of each seed and way; of an hour that nobody asks in, none."""
    days = Days(site)
    for place in range((end - first) // HOUR):
        hour = first + place * HOUR
        requests, items = days.of(midnight(hour))
        begun = of_hour(requests, hour)
        asked = begun.filter(pc.and_(begun[ASKED], pc.equal(begun[REPORTED], reported)))
        if not len(asked) or not len(of_hour(items, hour, DAY)):
            yield hour, {}
            continue
        known = latest_of_sessions(days.past(hour, KNN_HOURS, TAKEN))
        universe = ItemUniverse.of(pc.unique(items[names.ITEM_ID]).to_pylist())
        sessions, since = sessions_so_far(known, universe), hours_since(known, hour)
        asking, taken = session_items(asked, universe), universe.indices(wanted(asked))
        found: dict[tuple[int, KnnSettings], Figures] = {}
        for seed, way in product(seeds, ways):
            random = random_of(seed, (hour - days.begin) // HOUR, TIES_OF_KNN)
            lists = session_knn(sessions, since, asking, universe.rows, K, random, way)
            found[seed, way] = {KNN: judged(lists, taken), "sessions": {ANSWERED: float(len(asked))}}
        yield hour, found


def main() -> None:
    """Judges as asked, prints a JSON line for each way, and keeps the result of the whole reported half."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--home", type=Path, required=True, help="a home at hourly grain")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--windows", type=int, help="hours, after the first; all without it")
    options.add_argument("--seeds", type=int, nargs="+", default=[1], help="of ties")
    options.add_argument("--half", choices=("tuning", "reported"), default="tuning", help="sessions that are answered")
    chosen = KnnSettings()
    options.add_argument("--half-life", type=float, nargs="+", default=[chosen.half_life_hours], help="hours")
    options.add_argument("--fading", type=float, nargs="+", default=[chosen.fading])
    options.add_argument("--neighbours", type=int, nargs="+", default=[chosen.neighbours])
    given, before = options.parse_args(), beginning()
    ways = [KnnSettings(*way) for way in product(given.half_life, given.fading, given.neighbours)]
    if given.half == "reported" and len(ways) > 1:
        options.error("the reported half is judged with one way; choose it on the tuning half")
    site = Site.of(Home(given.home), CONFIG)
    first = site.first_hour() + HOUR
    end = site.last_hour() if given.windows is None else min(first + given.windows * HOUR, site.last_hour())
    walks: dict[tuple[int, KnnSettings], dict[str, Figures]] = {key: {} for key in product(given.seeds, ways)}
    for hour, found in walk_of_the_rival(site, first, end, given.half == "reported", given.seeds, ways):
        for key, walk in walks.items():
            walk[hour.isoformat()] = found.get(key, {})
    results = [(way, summary([walks[seed, way] for seed in given.seeds])) for way in ways]
    for way, result in sorted(results, key=lambda one: float(one[1]["lines"][KNN]["ndcg@20"])):
        print(json.dumps({**vars(way), "hours": result["hours"], **result["lines"][KNN]}))
    if given.half == "reported" and given.windows is None:
        [(way, result)] = results
        result |= circumstances(typed("benchmarks.walk_forward.rival", given.home), given.date, before)
        result |= {"half": given.half, "seeds": given.seeds, "settings": vars(way)}
        write_atomically(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
