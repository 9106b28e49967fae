"""What a study leaves for people: a snippet for the config file, and one HTML page that needs no network."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from training.evaluation import plots
from training.tuning.question import Question

TEMPLATE = Path(__file__).with_name("study.html.j2")
STEPS = "steps"  # a trial's note of how long it learnt, in epochs or trees; else as often as it reported
WEIGHED = 4  # complete trials that it takes to say what mattered


def best_settings(best: FrozenTrial, question: Question) -> str:
    """The best trial's values as the lines of a config file; on top what they reached."""
    start = {key: getattr(question.settings, key) for key in best.params}
    return (
        f"# {question.measure} {best.value:.4f}, trial {best.number}; {_changed(start, best.params)}\n"
        + yaml.safe_dump({question.section: best.params}, sort_keys=False)
    )


def study_page(study: optuna.Study, finished: list[FrozenTrial], question: Question) -> str:
    """Best settings, the history, what mattered, every trial."""
    complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
    environment = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(TEMPLATE.name).render(
        question=question,
        best=study.best_trial,
        snippet=best_settings(study.best_trial, question),
        history=Markup(plots.svg(8, 3, lambda figure: _history(figure, finished, question.measure))),
        importances=Markup(_importances(study)) if len(complete) >= WEIGHED else None,
        weighed=WEIGHED,
        trials=[_row(trial) for trial in finished],
        keys=list(study.best_trial.params),
    )


def _history(figure: Figure, finished: list[FrozenTrial], measure: str) -> None:
    """What every trial reached in their order, given-up ones hollow, and the best so far."""
    axes = figure.subplots()
    reached = np.array([_reached(trial) for trial in finished])
    complete = np.array([trial.state is TrialState.COMPLETE for trial in finished])
    places = np.arange(1, len(finished) + 1)
    best = np.maximum.accumulate(np.where(complete, reached, -np.inf))
    axes.plot(places, best, color="#2f7de1", drawstyle="steps-post", label="best so far")
    axes.plot(places[complete], reached[complete], "o", color="#2f7de1", label="complete")
    axes.plot(places[~complete], reached[~complete], "o", color="#8a8f98", fillstyle="none", label="given up")
    axes.set_xlabel("trial")
    axes.set_title(measure)
    axes.grid(axis="y")
    axes.legend()


def _importances(study: optuna.Study) -> str:
    """How much of the difference between good and other trials each key accounts for (PED-ANOVA, Watanabe 2023)."""
    found = optuna.importance.get_param_importances(study)
    return plots.bars({key: 100 * share for key, share in found.items()}, "importance, %")


def _reached(trial: FrozenTrial) -> float:
    """The best by the trial's last step."""
    return max(trial.intermediate_values.values())


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "params": trial.params,
        "reached": _reached(trial),
        "steps": trial.user_attrs.get(STEPS, len(trial.intermediate_values)),
        "state": "complete" if trial.state is TrialState.COMPLETE else "given up",
    }


def _changed(start: dict[str, Any], found: dict[str, Any]) -> str:
    told = ", ".join(f"{key} was {start[key]}" for key in found if found[key] != start[key])
    return told or "the settings as they were"
