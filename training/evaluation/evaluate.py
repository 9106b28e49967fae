"""The step `evaluate`: the candidate, as it will be served, against champion and baselines on the test window."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker import names
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_files, digest_values, read_reports, run_step, write_atomically
from tastemaker.verdict import candidate_digest
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import snapshot_of
from training.evaluation.answers import Answers, ask_everyone, purchases_before
from training.evaluation.as_served import release_of, require_finite, require_same_answers
from training.evaluation.baselines import baselines
from training.evaluation.champion import contender
from training.evaluation.current_champion import Published, current_champion
from training.evaluation.examples import examples_of
from training.evaluation.files import METRICS, PAGE, PER_REQUEST, evaluation_folder
from training.evaluation.judgement import judge, per_request_table, quality_table, verdict
from training.evaluation.pictures import pictures_of
from training.ranking.calibration import Calibration
from training.ranking.fit import CALIBRATION, IMPORTANCES, ranker_folder, thinned
from training.release import ranker_forest
from training.release.build import fused_recommender
from training.retrieval.fit import retriever_folder
from training.sources.trained import sources_folder
from training.splits import plan_windows

MAX_REQUESTS = 4_000  # a window's requests are thinned to this many: 5 ms each for the trees


def evaluate(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `evaluation/`: the figures, each request's, and what the report is to show.

    The facts hold `quality`, a table with one row a system, and `verdict`, a sentence.
    Raises TastemakerError when the candidate, or what it was made of, is not there, when it has weights that are no
    numbers, when it answers differently from what is judged, or when the test window has no request; BusyError when the
    home is in use.
    """
    folder = evaluation_folder(home, as_of)
    champion = current_champion(home, as_of)
    inputs = {
        "requests": [requests_file(home, as_of)],
        "items": [items_file(home, as_of)],
        "retriever": [retriever_folder(home, as_of)],
        "sources": [sources_folder(home, as_of)],
        "ranker": [ranker_folder(home, as_of)],
        "candidate": [home.candidate(as_of)],
    }
    return run_step(
        home,
        as_of,
        "evaluate",
        lambda: _evaluate(home, config, as_of, champion),
        inputs={name: digest_files(paths) for name, paths in inputs.items()}
        | {"config": digest_values(config.until_judged()), "as_of": as_of.isoformat()}
        | {"champion": _digest_of(home, champion)},
        outputs=[folder],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def _digest_of(home: Home, champion: Published | None) -> str:
    """Of the version that serves, and of the models it was made of where they still are."""
    if champion is None:
        return "none"
    folders = [champion.folder]
    if champion.manifest is not None and "as_of" in champion.manifest:
        trained = datetime.fromisoformat(champion.manifest["as_of"])
        folders += [retriever_folder(home, trained), sources_folder(home, trained), ranker_folder(home, trained)]
    return f"{champion.version} {digest_files(folders)}"


def _evaluate(home: Home, config: Config, as_of: datetime, champion: Published | None) -> Mapping[str, Any]:
    release = release_of(home.candidate(as_of))
    require_finite(home.candidate(as_of))
    everything = read_dataset(requests_file(home, as_of))
    test = plan_windows(config.split, as_of).test
    requests = thinned(test.select(everything), MAX_REQUESTS, config.evaluation.seed)
    if not len(requests):
        raise TastemakerError(
            f"The test window from {test.start:%Y-%m-%d} to {test.end:%Y-%m-%d} has no request, so nothing can be "
            "judged; choose an earlier as_of, or widen split.test_days in the config file."
        )
    graph = fused_recommender(home, config, as_of, release)
    compared = require_same_answers(graph, home.candidate(as_of), requests, config.evaluation.k)
    past = purchases_before(everything, test, graph.universe)
    others = baselines(config.evaluation.seed)
    for other in others:
        other.fit(past)
    items = read_dataset(items_file(home, as_of))
    rival = contender(home, champion, graph.universe, requests, items, config.evaluation.k) if champion else None
    answers = ask_everyone(
        graph,
        ranker_forest.ranker_forest(ranker_folder(home, as_of)),
        Calibration.load(ranker_folder(home, as_of) / CALIBRATION),
        others,
        requests,
        items,
        config.evaluation.k,
        config.evaluation.seed,
        rival.champion if rival else None,
    )
    if not np.isfinite(answers.pairs.probabilities).all():
        raise TastemakerError(
            f"The candidate {home.candidate(as_of)} gives probabilities that are no numbers; train the ranker again."
        )
    figures, found = judge(answers, config.evaluation)
    figures |= {
        "release": release,
        "candidate": candidate_digest(home, as_of),
        "champion": None
        if champion is None or rival is None
        else {
            "version": champion.version,
            "release": champion.release,
            "how": rival.how,
            "why": rival.why,
            "requests": 0 if answers.asked is None else int(answers.asked.sum()),
        },
        "compared_with_saved_model": compared,
        "requests_in_window": len(test.select(everything)),
        "verdict": verdict(figures),
        "quality": quality_table(figures),
    }
    newest = snapshot_of(items, as_of)
    titles = dict(zip(newest[names.ITEM_ID].to_pylist(), newest["item_title"].to_pylist(), strict=True))
    _write(home, as_of, figures, answers, per_request_table(answers, found), titles)
    probabilities = figures["probabilities"]
    return {
        "verdict": figures["verdict"],
        "quality": figures["quality"],
        "requests": figures["requests"],
        "users": figures["users"],
        "rows_from": rows_from(answers),
        "positives": probabilities["positives"],
        "positives_among_rows": probabilities["reachable"],
        **{name: probabilities.get(name) for name in ("auc", "auc_within_requests", "log_loss", "calibration_error")},
        "answers_compared_with_the_saved_model": compared,
    }


def _write(
    home: Home,
    as_of: datetime,
    figures: dict[str, Any],
    answers: Answers,
    each: pa.Table,
    titles: dict[str, str],
) -> None:
    folder = evaluation_folder(home, as_of)
    shutil.rmtree(folder, ignore_errors=True)
    write_atomically(folder / METRICS, json.dumps(figures, indent=1, sort_keys=True, allow_nan=False) + "\n")
    pq.write_table(each, folder / PER_REQUEST, compression="zstd")
    trained = read_reports(home, as_of).get("train_retriever")
    learnt = {
        name.removesuffix("_by_epoch"): values
        for name, values in (trained.facts if trained else {}).items()
        if name.endswith("_by_epoch") and values
    }
    importances = json.loads((ranker_folder(home, as_of) / IMPORTANCES).read_text())
    page = {
        "pictures": pictures_of(figures, answers, importances, learnt),
        "examples": [asdict(one) for one in examples_of(answers, titles)],
        "rows_from": rows_from(answers),
    }
    write_atomically(folder / PAGE, json.dumps(page, indent=1, sort_keys=True, allow_nan=False) + "\n")


def rows_from(answers: Answers) -> str:
    """Whose pairs the probabilities are judged on."""
    shown, requests = answers.pairs.shown, len(answers.requests)
    if not shown:
        return "candidates of the retriever"
    return "impressions" if shown == requests else f"impressions ({shown} requests) and candidates of the retriever"
