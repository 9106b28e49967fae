"""Which encoder of a history wins on Online Retail: `make bench-encoders`, on a home that holds the training sets.

Every encoder is trained with the same settings and the same rule: until validation recall@20 has not risen for
`retriever.patience` epochs. Then the tower is brought up to the ranker's window and judged on it, as `train retriever`
does; windows that are judged later are not read. A training that is done is not done again: its figures lie in the
home, so that the command may be stopped and run again. Writes `benchmarks/results/encoders.json`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.circumstances import beginning, circumstances
from benchmarks.deviation import deviation
from tastemaker.config import EncoderName, RetrieverConfig, load_config
from tastemaker.moments import parse_as_of
from tastemaker.settings import PROJECT_ROOT, Settings
from tastemaker.steps import write_atomically
from training.evaluation import metrics
from training.retrieval.encoders import ENCODERS
from training.retrieval.fit import STOPPING_K, RetrieverTraining
from training.retrieval.two_tower import TwoTower
from training.retrieval.window_judge import RECALLS
from training.splits import Window
from training.tensorboard_run import TensorBoardRun

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "encoders.json"


def main() -> None:
    """Trains what has not been trained yet, and prints and writes the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--as-of", default="2011-12-10", help="of the training sets in the home")
    options.add_argument("--seeds", type=int, default=3, help="how many trainings of each encoder")
    options.add_argument("--out", type=Path, default=RESULT, help="where the result goes")
    given = options.parse_args()
    now = Settings()
    as_of, config = parse_as_of(given.as_of), load_config(now.config)
    training = RetrieverTraining(now.paths, config, as_of)
    done = now.paths.root / "benchmarks" / "encoders"
    before = beginning()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENCODERS}
    for seed in range(config.retriever.seed, config.retriever.seed + given.seeds):
        for encoder in ENCODERS:
            settings = config.retriever.model_copy(update={"encoder": encoder, "seed": seed})
            file = done / f"{encoder}-{seed}.json"
            if not file.exists():
                write_atomically(file, json.dumps(measure(training, settings, done)) + "\n")
            found[encoder].append(json.loads(file.read_text()))
            print(encoder, seed, found[encoder][-1], flush=True)
    result = {
        **circumstances("make bench-encoders", given.date, before, "tensorflow"),
        "as_of": given.as_of,
        "settings": config.retriever.model_dump(exclude={"encoder", "seed"}),
        "encoders": {encoder: summary(runs) for encoder, runs in found.items()},
    }
    write_atomically(given.out, json.dumps(result, indent=2) + "\n")
    print(table(result["encoders"]))


def measure(training: RetrieverTraining, settings: RetrieverConfig, folder: Path) -> dict[str, Any]:
    """One training from nothing, judged on the validation window, refreshed, and judged on the ranker's."""
    one = training.varied(settings)
    ends: list[float] = [time.monotonic()]
    with TensorBoardRun(folder / "tensorboard" / one.run_name()) as log:
        tower, epochs, curve = one.fit_until_it_stops(log, lambda epoch, recall: ends.append(time.monotonic()))
        later = one.refreshed(tower, one.windows.ranker.start, log)
    return {
        "seed": settings.seed,
        "epochs": epochs,
        "seconds_an_epoch": round(float(np.median(np.diff(ends))), 2),
        "weights": int(sum(np.prod(weight.shape) for weight in tower.weights.values())),
        "validation_recall@20_by_epoch": [round(value, 4) for value in curve],
        **figures(one, one.windows.validation, tower),
        **figures(one, one.windows.ranker, later),
    }


def figures(training: RetrieverTraining, window: Window, tower: TwoTower) -> dict[str, float]:
    """Recall and NDCG of a window by full ranking, means over requests with a positive."""
    judged = list(training.ranked(window, tower, max(RECALLS)))
    hits = np.array([np.isin(best, wanted) for best, wanted in judged])
    wanted = np.array([len(ranking.positives) for ranking in judged])
    found = {f"recall@{k}": metrics.recall(hits[:, :k], wanted) for k in RECALLS}
    found[f"ndcg@{STOPPING_K}"] = metrics.ndcg(hits[:, :STOPPING_K], wanted)
    return {f"{window.name}_{name}": round(float(values.mean()), 4) for name, values in found.items()}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of every figure, and the runs."""
    figured = [name for name, value in runs[0].items() if isinstance(value, int | float) and name != "seed"]
    values = {name: np.array([run[name] for run in runs], np.float64) for name in figured}
    return {
        "mean": {name: round(float(found.mean()), 4) for name, found in values.items()},
        "deviation": {name: round(deviation(found.tolist()), 4) for name, found in values.items() if len(found) > 1},
        "runs": runs,
    }


def table(encoders: dict[EncoderName, dict[str, Any]]) -> str:
    """The means as a Markdown table, a row an encoder."""
    shown = {
        "validation recall@20": "validation_recall@20",
        "validation NDCG@20": "validation_ndcg@20",
        "ranker's window recall@20": "ranker_recall@20",
        "ranker's window recall@150": "ranker_recall@150",
        "epochs": "epochs",
        "seconds an epoch": "seconds_an_epoch",
    }
    lines = [f"| encoder | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for encoder, found in encoders.items():
        cells = [
            f"{found['mean'][key]:.4g}" + (f" ± {found['deviation'][key]:.2g}" if key in found["deviation"] else "")
            for key in shown.values()
        ]
        lines.append(f"| `{encoder}` | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
