"""What a warm start keeps, day after day: `make bench-warm`, on a home with features; it makes its training runs anew.

Each day the towers are trained twice by the step `train retriever`, from nothing and from the day before's warm run.
So an error that warm starts add up would show by the last day. Both served towers are then judged in the test window,
which no training reads. A day's start that is done is not done again: its figures lie in the home, so that the command
may be stopped and run again. Writes `benchmarks/results/warm_start.json`.
"""

import argparse
import json
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.deviation import deviation
from benchmarks.encoders import figures
from tastemaker.config import Config, load_config
from tastemaker.home import Home
from tastemaker.moments import as_of_slug, parse_as_of
from tastemaker.settings import PROJECT_ROOT, Settings
from tastemaker.steps import write_atomically
from training.datasets.build import build_datasets
from training.retrieval.fit import RetrieverTraining, retriever_folder, train_retriever
from training.retrieval.two_tower import TwoTower

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "warm_start.json"
STARTS = ("cold", "warm")  # in this order, so that the day after finds the warm run's towers in the home
SHOWN = ("ranker_recall@20", "ranker_recall@150", "test_recall@20", "test_recall@150", "test_ndcg@20", "cpu_seconds")


def main() -> None:
    """Trains what has not been trained yet, and prints and writes the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--as-of", default="2011-12-10", help="the last day")
    options.add_argument("--days", type=int, default=7, help="of warm starts; the day before them begins cold")
    options.add_argument("--out", type=Path, default=RESULT, help="where the result goes")
    given = options.parse_args()
    now = Settings()
    home, config, last = now.paths, load_config(now.config), parse_as_of(given.as_of)
    before = beginning()
    days = {}
    for ago in range(given.days, -1, -1):
        day = last - timedelta(days=ago)
        days[f"{day:%Y-%m-%d}"] = day_of(home, config, day, STARTS if ago < given.days else STARTS[:1])
    result = {
        **circumstances(typed("benchmarks.warm_start", given.out), given.date, before, "tensorflow"),
        "settings": config.retriever.model_dump(exclude={"warm_start"}),
        "days": days,
        "means": means(days),
    }
    write_atomically(given.out, json.dumps(result, indent=1) + "\n")
    print(table(result["means"]))


def day_of(home: Home, config: Config, day: datetime, starts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The figures of one day by start; the training sets are made where they are not there.

    Raises RuntimeError when a warm start does not begin with the towers of the day before.
    """
    found = {}
    for start in starts:
        file = home.root / "benchmarks" / "warm_start" / f"{as_of_slug(day)}-{start}.json"
        if not file.exists():
            build_datasets(home, config, day)
            write_atomically(file, json.dumps(trained(home, config, day, start == "warm")) + "\n")
        found[start] = json.loads(file.read_text())
        print(f"{day:%Y-%m-%d}", start, found[start], flush=True)
    return found


def trained(home: Home, config: Config, day: datetime, warm: bool) -> dict[str, Any]:
    """One run of the step, and its served tower in the test window."""
    chosen = config.model_copy(update={"retriever": config.retriever.model_copy(update={"warm_start": warm})})
    shutil.rmtree(retriever_folder(home, day), ignore_errors=True)  # a run that stands would be reused, in no time
    cpu = time.process_time()
    facts = train_retriever(home, chosen, day).facts
    cpu = time.process_time() - cpu
    begun, yesterday = facts.get("warm_start_from"), as_of_slug(day - timedelta(days=1))
    if begun != (yesterday if warm else None):
        raise RuntimeError(f"The run of {day:%Y-%m-%d} began with {begun}, not with {yesterday}; remove its figures.")
    judge = RetrieverTraining(home, config, day, until=day)
    return {
        "cpu_seconds": round(cpu, 1),
        "epochs": facts["epochs"],
        **{name: facts[name] for name in SHOWN if name in facts},
        **figures(judge, judge.windows.test, TwoTower.load(retriever_folder(home, day))),
    }


def means(days: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Over the days that have both starts: either's mean, and the mean and standard error of warm less cold."""
    both = [day for day in days.values() if "warm" in day]
    found: dict[str, Any] = {"days": len(both)}
    for name in SHOWN:
        cold, warm = (np.array([day[start][name] for day in both]) for start in STARTS)
        error = deviation((warm - cold).tolist()) / len(both) ** 0.5
        apart = {"difference": float((warm - cold).mean()), "standard_error": error}
        found[name] = {"cold": float(cold.mean()), "warm": float(warm.mean()), **apart}
    return found


def table(told: dict[str, Any]) -> str:
    """The means as a Markdown table, a row a figure."""
    lines = [f"| mean of {told['days']} days | cold | warm | warm less cold |", "|---|---|---|---|"]
    for name in SHOWN:
        one = told[name]
        apart = f"{one['difference']:+.4f} ± {one['standard_error']:.4f}"
        lines.append(f"| {name} | {one['cold']:.4g} | {one['warm']:.4g} | {apart} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
