"""The step `train ranker`: LightGBM on requests as they happened, stopped early and calibrated on later ones."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker.config import Config, RankerConfig
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_files, digest_values, run_step, write_atomically
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import DAY
from training.ranking.calibration import Calibration, fit_calibration, log_loss, reliability
from training.ranking.features import FEATURE_NAMES
from training.ranking.rows import RankerRows, ranker_rows
from training.ranking.tree_curves import TreeCurves, called, run_name
from training.release.candidate_graph import CandidateGraph
from training.release.sample_users import sample_users
from training.retrieval.fit import for_ranker_folder
from training.retrieval.two_tower import TwoTower
from training.sources import trained
from training.splits import Window, plan_windows
from training.tensorboard_run import TensorBoardRun

MODEL = "model.txt"
CALIBRATION = "calibration.json"
IMPORTANCES = "importances.json"

MAX_REQUESTS = 4_000  # a window's requests are thinned to this many: 4,000 × 250 pairs × 60 features is 240 MB
STOPPING_SHARE = 0.1  # of the ranker's window, its end, which says how many trees and is not learnt from
THREADS = 1  # 360 trees on 370,000 rows: 22 s of one core; two threads that wait for a busy core took 84 s of both

STOPPING_K = 20
OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary", "metric": "binary_logloss"},
    # pairs with neither item in the first 30 places teach nothing: ten past the last that is judged
    "lambdarank": {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [STOPPING_K],
        "lambdarank_truncation_level": STOPPING_K + 10,
    },
}


def ranker_folder(home: Home, as_of: datetime) -> Path:
    """Where the ranker of one `as_of` lies: `model.txt`, `calibration.json`, `importances.json`."""
    return home.training(as_of) / "ranker"


def train_ranker(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `ranker/`: the trees as LightGBM's own text, the calibration, the features' gains.

    Raises TastemakerError when the training sets or the retriever are not there, or the ranker's window has no request
    with a positive and a negative item; BusyError when the home is in use.
    """
    folder = ranker_folder(home, as_of)
    return run_step(
        home,
        as_of,
        "train_ranker",
        lambda: _train(home, config, as_of),
        inputs={
            "requests": digest_files([requests_file(home, as_of)]),
            "items": digest_files([items_file(home, as_of)]),
            "retriever": digest_files([for_ranker_folder(home, as_of)]),
            "sources": digest_files([trained.for_ranker_folder(home, as_of)]),
            "config": digest_values(
                [part.model_dump() for part in (config.ranker, config.candidates, config.features, config.split)]
            ),
            "as_of": as_of.isoformat(),
        },
        outputs=[folder],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def _train(home: Home, config: Config, as_of: datetime) -> Mapping[str, Any]:
    windows = plan_windows(config.split, as_of)
    rows_of = window_rows(home, config, as_of)
    learned = rows_of(windows.ranker)
    curves = TreeCurves()
    booster, facts = fit_trees(learned, config.ranker, [curves])
    with TensorBoardRun(home.training(as_of) / "tensorboard" / run_name(config.ranker, as_of)) as log:
        curves.show(log, config.ranker)
    later = rows_of(windows.calibration)
    raw = _raw(booster, later.features)
    calibration, losses = fit_calibration(raw, later.labels)
    _save(ranker_folder(home, as_of), booster, calibration)
    return {
        "rows_from": "impressions" if learned.shown == learned.requests else "candidates of the retriever",
        "requests_with_impressions": learned.shown,
        **_counts("ranker", learned),
        **_counts("calibration", later),
        "features": len(FEATURE_NAMES),
        **facts,
        "calibration": calibration.method,
        "calibration_choice_log_loss": losses,
        **_judged(calibration, raw, later.labels),
    }


def window_rows(
    home: Home, config: Config, as_of: datetime, until: datetime | None = None
) -> Callable[[Window], RankerRows]:
    """What makes the rows of a window's requests, with models that know nothing from the ranker's window on.

    Args:
        until: requests and item snapshots from then on are put aside; by default none is.

    Raises TastemakerError when the training sets or the retriever are not there.
    """
    requests = read_dataset(requests_file(home, as_of))
    items = read_dataset(items_file(home, as_of))
    if until is not None:
        known = Window("known", None, until)
        requests, items = known.select(requests), known.select(items, DAY)
    graph = CandidateGraph(
        TwoTower.load(for_ranker_folder(home, as_of)),
        items,
        config.candidates,
        config.features.history_length,
        config.features.neighbours,
        sample_users(home, config, as_of),
        trained.TrainedSources.load(trained.for_ranker_folder(home, as_of)),
    )

    def rows_of(window: Window) -> RankerRows:
        chosen = thinned(window.select(requests), MAX_REQUESTS, config.ranker.seed)
        return ranker_rows(graph, chosen, items)

    return rows_of


def thinned(requests: pa.Table, at_most: int, seed: int) -> pa.Table:
    """A random `at_most` of the requests, in their order: whole requests, so that the share of positives stays."""
    if len(requests) <= at_most:
        return requests
    chosen = np.random.default_rng(seed).choice(len(requests), at_most, replace=False)
    return requests.take(np.sort(chosen))


def fit_trees(
    rows: RankerRows, config: RankerConfig, callbacks: Sequence[Callable[..., None]] = ()
) -> tuple[lgb.Booster, dict[str, Any]]:
    """Trees for `config.objective`; the window's end, of which nothing is learnt, decides how many.

    `binary` is for the log-loss of `labels` and stops by it; `lambdarank` (Burges, "From RankNet to LambdaRank to
    LambdaMART", 2010) for the NDCG@20 of each request's items, and stops by that.

    Learning all of the window again, with as many trees, costs as much once more and gains nothing that can be told
    from chance (`benchmarks/LOG.md`).

    `callbacks` are LightGBM's, called after every tree. Returns the booster and the facts of the fit. No class weights:
    they would spoil the probability. Raises TastemakerError when there is nothing to tell apart.
    """
    end = round(rows.requests * (1 - STOPPING_SHARE))
    first, last = rows.between(0, end), rows.between(end, rows.requests)
    if not all(0 < labels.sum() < len(labels) for _, labels in (first, last)):
        raise TastemakerError(
            f"The ranker has {rows.requests} requests with {rows.positives} positive items, {rows.reachable} of them "
            "among the candidates: too few, on one side of its early-stopping split, to tell taken from left; "
            "widen split.ranker_days, or raise candidates.two_tower, in the config file."
        )
    parameters = {
        **OBJECTIVES[config.objective],
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "min_data_in_leaf": config.min_rows_in_leaf,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": THREADS,
        "verbosity": -1,
    }
    names = list(FEATURE_NAMES)
    groups: list[np.ndarray | None] = [None, None]
    if config.objective == "lambdarank":
        both = np.split(rows.request, [len(first[1])])
        groups = [np.unique(requests, return_counts=True)[1] for requests in both]
    training = lgb.Dataset(first[0], first[1], group=groups[0], feature_name=names)
    stopping = lgb.Dataset(last[0], last[1], group=groups[1], reference=training)
    stop = lgb.early_stopping(config.patience, verbose=False)
    # LightGBM itself cuts off the trees that it tried past the best
    booster = lgb.train(parameters, training, config.max_trees, valid_sets=[stopping], callbacks=[*callbacks, stop])
    [[metric, found]] = booster.best_score["valid_0"].items()
    facts = {"trees": booster.num_trees(), f"stopping_{called(metric)}": found}
    if config.objective == "binary":
        facts["stopping_base_log_loss"] = log_loss(last[1], np.full(len(last[1]), first[1].mean()))
    return booster, facts


def _raw(booster: lgb.Booster, features: np.ndarray) -> np.ndarray:
    if not len(features):
        return np.empty(0)
    return np.asarray(booster.predict(features, raw_score=True, num_threads=THREADS), np.float64)


def _save(folder: Path, booster: lgb.Booster, calibration: Calibration) -> None:
    gains = dict(zip(booster.feature_name(), booster.feature_importance("gain").tolist(), strict=True))
    write_atomically(folder / MODEL, booster.model_to_string())
    calibration.save(folder / CALIBRATION)
    ranked = dict(sorted(gains.items(), key=lambda pair: (-pair[1], pair[0])))
    write_atomically(folder / IMPORTANCES, json.dumps(ranked, indent=1) + "\n")


def _counts(window: str, rows: RankerRows) -> dict[str, Any]:
    return {
        f"{window}_requests": rows.requests,
        f"{window}_rows": len(rows.labels),
        f"{window}_positives": rows.positives,
        f"{window}_positives_among_rows": rows.reachable,
    }


def _judged(calibration: Calibration, raw: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How the calibrated probability fits the window it was fitted on: a check, not a test."""
    if not len(raw):
        return {}
    probabilities = np.asarray(calibration.probabilities(tf.constant(raw)))
    uncalibrated = np.asarray(Calibration("platt").probabilities(tf.constant(raw)))
    return {
        "calibration_log_loss": log_loss(labels, probabilities),
        "calibration_log_loss_before": log_loss(labels, uncalibrated),
        "calibration_base_log_loss": log_loss(labels, np.full(len(labels), labels.mean())),
        "reliability": reliability(labels, probabilities),
    }
