"""The ranker's settings, searched by NDCG on the end of the ranker's window.

A trial learns from the window's first four fifths, of which `fit_trees` keeps an end to stop by, and is judged on the
last fifth. What calibrates and judges later is put aside. (Where the catalogue is so large that it has an inverted
file, that is chosen by who asks in the calibration window, as the release's is; what they took is not asked.)
"""

from datetime import datetime
from pathlib import Path

import numpy as np
import optuna

from tastemaker.config import Config, RankerConfig
from tastemaker.home import Home
from tastemaker.moments import as_of_slug
from tastemaker.steps import digest_files, digest_values
from training.datasets.files import items_file, requests_file
from training.evaluation.metrics import ndcg
from training.evaluation.order import hits_of_pairs
from training.ranking.fit import THREADS, fit_trees, window_rows
from training.ranking.rows import RankerRows
from training.ranking.tree_curves import TreeCurves, run_name
from training.retrieval.fit import for_ranker_folder
from training.sources import trained
from training.splits import plan_windows
from training.tensorboard_run import TensorBoardRun
from training.tuning import space
from training.tuning.page import STEPS
from training.tuning.question import Question
from training.tuning.study import Study, Tell, Try, run_study

JUDGED_SHARE = 0.2  # of the ranker's window, its end


def study_folder(home: Home, config: Config, as_of: datetime) -> Path:
    """One folder for one question: the same rows, starting settings and choices go on with the same study."""
    asked = {
        "datasets": digest_files([requests_file(home, as_of), items_file(home, as_of)]),
        "models": digest_files([for_ranker_folder(home, as_of), trained.for_ranker_folder(home, as_of)]),
        "config": [part.model_dump() for part in (config.split, config.candidates, config.features, config.ranker)],
        "k": config.evaluation.k,
        "space": [
            space.RANKER,
            space.OBJECTIVES,
            space.LEAVES,
            space.RANKER_RATES,
            space.FRACTIONS,
            space.ROWS_IN_LEAF,
        ],
    }
    return home.tuning / f"ranker-{as_of_slug(as_of)}-{digest_values(asked)[:8]}"


def tune_ranker(
    home: Home, config: Config, as_of: datetime, trials: int, *, resume: bool = True, tell: Tell = lambda trial: None
) -> Study:
    """See `run_study`; each trial is in `tensorboard/` too.

    Raises TastemakerError when there are no training sets, or no retriever, yet.
    """
    folder = study_folder(home, config, as_of)
    k, now = config.evaluation.k, config.ranker
    question = Question(
        section="ranker",
        settings=now,
        keys=space.RANKER,
        steps="trees",
        measure=f"NDCG@{k} of the ranker's last requests",
        read="Every trial learnt from the first four fifths of the ranker's window and was judged on its last fifth, "
        "by how it orders the same candidates. No later event was read.",
    )

    def prepare() -> Try:
        window = plan_windows(config.split, as_of).ranker
        rows = window_rows(home, config, as_of, until=window.end)(window)
        end = round(rows.requests * (1 - JUDGED_SHARE))
        learnt, judged = _part(rows, 0, end), _part(rows, end, rows.requests)
        return lambda trial: _tried(learnt, judged, trial, now, k, folder / "tensorboard", as_of)

    return run_study(folder, question, prepare, trials, resume=resume, tell=tell)


def _part(rows: RankerRows, first: int, end: int) -> RankerRows:
    """The rows of the requests with `first <= index < end`, which are numbered from 0 again."""
    chosen = (rows.request >= first) & (rows.request < end)
    labels = rows.labels[chosen]
    reachable = int(labels.sum())
    request = rows.request[chosen] - first
    return RankerRows(
        rows.features[chosen], labels, rows.items[chosen], request, end - first, reachable, reachable, rows.shown
    )


def _tried(
    learnt: RankerRows,
    judged: RankerRows,
    trial: optuna.Trial,
    now: RankerConfig,
    k: int,
    runs: Path,
    as_of: datetime,
) -> float:
    """One training with the trial's settings, a run in TensorBoard: mean NDCG@k of the judged requests."""
    settings, curves = now.model_copy(update=space.ranker_settings(trial, now)), TreeCurves()
    booster, facts = fit_trees(learnt, settings, [curves])
    trial.set_user_attr(STEPS, facts["trees"])
    scores = np.asarray(booster.predict(judged.features, raw_score=True, num_threads=THREADS))
    found = ordered_ndcg(judged, scores, k, now.seed)
    with TensorBoardRun(runs / f"trial {trial.number}, {run_name(settings, as_of)}") as log:
        curves.show(log, settings)
        log.scalars({f"judged/ndcg@{k}": found}, facts["trees"])
    trial.report(found, 1)
    return found


def ordered_ndcg(rows: RankerRows, scores: np.ndarray, k: int, seed: int) -> float:
    """Mean NDCG@k of the requests' rows in the order of their scores, ties at random; of requests with a positive row.

    >>> rows = RankerRows(np.zeros((4, 1)), np.array([0, 1, 1, 0]), np.zeros(4), np.array([0, 0, 2, 2]), 3, 2, 2, 0)
    >>> round(ordered_ndcg(rows, np.array([2.0, 1.0, 5.0, 4.0]), 2, 1), 4)  # (1 / log2(3) + 1) / 2
    0.8155
    """
    random = np.random.default_rng(seed)
    hits = hits_of_pairs(rows.request, rows.labels, scores, rows.requests, k, random)
    return float(np.nanmean(ndcg(hits, np.bincount(rows.request, rows.labels, rows.requests).astype(int))))
