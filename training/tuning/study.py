"""A study: trials of one model's settings, kept in a database so that a killed one goes on where it was.

Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Akiba et al., KDD 2019) proposes; what is
behind the median of the trials before it at the same step is given up.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tastemaker.home import Home
from tastemaker.steps import exclusive, write_atomically
from training.tuning.page import best_settings, study_page
from training.tuning.question import Question

STARTING_TRIALS = 5  # drawn at random, and not given up, before there is anything to learn from
PATIENT_STEPS = 2  # of a trial before it may be given up
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Tell = Callable[[FrozenTrial], None]
Try = Callable[[optuna.Trial], float]  # what a trial's settings reach; reports on the way, may raise TrialPruned


@dataclass(frozen=True)
class Study:
    """What a study has come to: its folder, with `study.db`, `best.yaml` and `study.html`, and its trials."""

    folder: Path
    question: Question
    finished: list[FrozenTrial]
    best: FrozenTrial


def run_study(
    folder: Path, question: Question, prepare: Callable[[], Try], trials: int, *, resume: bool, tell: Tell
) -> Study:
    """Goes on until the study has `trials` finished ones; the first is the config as it is.

    The same trials come out whether it was stopped on the way or not: what is proposed depends on the seed and on the
    trials that have finished. A trial that was cut off is tried again.

    Args:
        folder: of this question alone.
        prepare: makes what tries settings; called once, and only if there is a trial to be made.
        resume: whether trials that were made before count; else the study begins anew.
        tell: called with each trial that has finished.

    Raises BusyError when the study is running already.
    """
    with exclusive(Home(folder), "tune"):
        if not resume:
            _forget(folder)
        study = _opened(folder, question)
        attempt: Try | None = None
        while len(_finished(study)) < trials:
            attempt = attempt or prepare()
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTING_TRIALS, seed=question.settings.seed + len(_finished(study))
            )
            trial = study.ask()
            study.tell(trial, *_outcome(attempt, trial))
            tell(study.trials[trial.number])
            _write(folder, study, question)
        _write(folder, study, question)
        return Study(folder, question, _finished(study), study.best_trial)


def _outcome(attempt: Try, trial: optuna.Trial) -> tuple[float | None, TrialState]:
    try:
        return attempt(trial), TrialState.COMPLETE
    except optuna.TrialPruned:
        return None, TrialState.PRUNED


def _opened(folder: Path, question: Question) -> optuna.Study:
    """The study in the folder, made if it is not there, with what was cut off put aside."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTING_TRIALS, n_warmup_steps=PATIENT_STEPS)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}",
        study_name=question.section,
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    if not _finished(study) and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial({key: getattr(question.settings, key) for key in question.keys})
    return study


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=FINISHED)


def _write(folder: Path, study: optuna.Study, question: Question) -> None:
    """The snippet for the config file, and the page."""
    write_atomically(folder / "best.yaml", best_settings(study.best_trial, question))
    write_atomically(folder / "study.html", study_page(study, _finished(study), question))


def _forget(folder: Path) -> None:
    (folder / "study.db").unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
