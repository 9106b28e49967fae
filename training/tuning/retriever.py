"""The retriever's settings, searched by recall on the validation window.

A trial reads the events before the end of the validation window: what ranks, calibrates and judges later is not in the
process's memory.
"""

from datetime import datetime
from pathlib import Path

import optuna

from tastemaker.config import Config
from tastemaker.home import Home
from tastemaker.moments import as_of_slug
from tastemaker.steps import digest_files, digest_values
from training.datasets.files import items_file, requests_file
from training.retrieval.fit import RetrieverTraining
from training.splits import plan_windows
from training.tensorboard_run import TensorBoardRun
from training.tuning import space
from training.tuning.question import Question
from training.tuning.study import Study, Tell, Try, run_study


def study_folder(home: Home, config: Config, as_of: datetime) -> Path:
    """One folder for one question: the same data, windows, starting settings and choices go on with the same study."""
    asked = {
        "datasets": digest_files([requests_file(home, as_of), items_file(home, as_of)]),
        "split": config.split.model_dump(),
        "retriever": config.retriever.model_dump(),
        "space": [
            space.RETRIEVER,
            space.ENCODERS,
            space.DIMENSIONS,
            space.GRAPH_STEPS,
            space.LOSSES,
            space.TEMPERATURES,
            space.POPULARITIES,
            space.BATCH_SIZES,
            space.RETRIEVER_RATES,
        ],
    }
    return home.tuning / f"retriever-{as_of_slug(as_of)}-{digest_values(asked)[:8]}"


def tune_retriever(
    home: Home, config: Config, as_of: datetime, trials: int, *, resume: bool = True, tell: Tell = lambda trial: None
) -> Study:
    """See `run_study`; each trial is in `tensorboard/` too. Raises TastemakerError when there are no training sets."""
    folder = study_folder(home, config, as_of)
    question = Question(
        section="retriever",
        settings=config.retriever,
        keys=space.RETRIEVER,
        steps="epochs",
        measure="validation recall@20",
        read="Every trial was trained on the events before the validation window and judged on that window; no later "
        "event was read.",
    )

    def prepare() -> Try:
        until = plan_windows(config.split, as_of).validation.end
        training = RetrieverTraining(home, config, as_of, until=until)
        return lambda trial: _tried(training, trial, folder)

    return run_study(folder, question, prepare, trials, resume=resume, tell=tell)


def _tried(training: RetrieverTraining, trial: optuna.Trial, folder: Path) -> float:
    """One training with the trial's settings: its best validation recall@20."""
    now = training.settings
    one = training.varied(now.model_copy(update=space.retriever_settings(trial, now)))

    def after_epoch(epoch: int, recall: float) -> None:
        trial.report(recall, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    with TensorBoardRun(folder / "tensorboard" / f"trial {trial.number}, {one.run_name()}") as log:
        _, _, curve = one.fit_until_it_stops(log, after_epoch)
    return max(curve)
