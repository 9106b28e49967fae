"""A study: trials of the retriever's settings, kept in a database so that a killed one goes on where it was.

Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Akiba et al., KDD 2019) proposes; what is
behind the median of the trials before it at the same epoch is given up. A trial reads the events before the end of the
validation window: what ranks, calibrates and judges later is not in the process's memory.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tastemaker.config import Config
from tastemaker.home import Home
from tastemaker.moments import as_of_slug
from tastemaker.steps import digest_files, digest_values, exclusive, write_atomically
from training.datasets.build import items_file, requests_file
from training.retrieval.fit import RetrieverTraining
from training.splits import plan_windows
from training.tensorboard_run import TensorBoardRun
from training.tuning import space
from training.tuning.page import best_settings, study_page

STARTING_TRIALS = 5  # drawn at random, and not given up, before there is anything to learn from
PATIENT_EPOCHS = 2  # of a trial before it may be given up
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Tell = Callable[[FrozenTrial], None]


@dataclass(frozen=True)
class Study:
    """What a study has come to: its folder, with `study.db`, `best.yaml`, `study.html` and `tensorboard/`."""

    folder: Path
    finished: list[FrozenTrial]
    best: FrozenTrial


def study_folder(home: Home, config: Config, as_of: datetime) -> Path:
    """One folder for one question: the same data, windows, starting settings and choices go on with the same study."""
    asked = {
        "datasets": digest_files([requests_file(home, as_of), items_file(home, as_of)]),
        "split": config.split.model_dump(),
        "retriever": config.retriever.model_dump(),
        "space": [space.DIMENSIONS, space.BATCH_SIZES, space.LEARNING_RATES, space.TUNED],
    }
    return home.tuning / f"retriever-{as_of_slug(as_of)}-{digest_values(asked)[:8]}"


def tune_retriever(
    home: Home, config: Config, as_of: datetime, trials: int, *, resume: bool = True, tell: Tell = lambda trial: None
) -> Study:
    """Goes on until the study has `trials` finished ones; the first is the config as it is.

    The same trials come out whether it was stopped on the way or not: what is proposed depends on the seed and on the
    trials that have finished. A trial that was cut off is tried again.

    Args:
        resume: whether trials that were made before count; else the study begins anew.
        tell: called with each trial that has finished.

    Raises TastemakerError when there are no training sets; BusyError when the study is running already.
    """
    folder = study_folder(home, config, as_of)
    with exclusive(Home(folder), "tune"):
        if not resume:
            _forget(folder)
        study = _opened(folder, config)
        windows = plan_windows(config.split, as_of)
        training: RetrieverTraining | None = None
        while len(_finished(study)) < trials:
            training = training or RetrieverTraining(home, config, as_of, until=windows.validation.end)
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTING_TRIALS, seed=config.retriever.seed + len(_finished(study))
            )
            trial = study.ask()
            study.tell(trial, *_tried(training, trial, folder))
            tell(study.trials[trial.number])
            _write(folder, study, config)
        _write(folder, study, config)
        return Study(folder, _finished(study), study.best_trial)


def _opened(folder: Path, config: Config) -> optuna.Study:
    """The study in the folder, made if it is not there, with what was cut off put aside."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTING_TRIALS, n_warmup_steps=PATIENT_EPOCHS)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}",
        study_name="retriever",
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    if not _finished(study) and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial({key: getattr(config.retriever, key) for key in space.TUNED})
    return study


def _tried(training: RetrieverTraining, trial: optuna.Trial, folder: Path) -> tuple[float | None, TrialState]:
    """One training with the trial's settings: its best validation recall@20, or that it was given up."""
    now = training.settings
    one = training.varied(now.model_copy(update=space.suggested(trial, now)))

    def after_epoch(epoch: int, recall: float) -> None:
        trial.report(recall, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    with TensorBoardRun(folder / "tensorboard" / f"trial {trial.number}, {one.run_name()}") as log:
        try:
            _, epochs, curve = one.fit_until_it_stops(log, after_epoch)
        except optuna.TrialPruned:
            return None, TrialState.PRUNED
    trial.set_user_attr("epochs", epochs)
    return max(curve), TrialState.COMPLETE


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=FINISHED)


def _write(folder: Path, study: optuna.Study, config: Config) -> None:
    """The snippet for the config file, and the page."""
    write_atomically(folder / "best.yaml", best_settings(study.best_trial, config))
    write_atomically(folder / "study.html", study_page(study, _finished(study), config))


def _forget(folder: Path) -> None:
    (folder / "study.db").unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
