"""`tastemaker tune`: a search for better settings of a model, to be stopped and gone on with at will."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_rows
from tastemaker.config import load_config

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Model = Annotated[Literal["retriever", "ranker"], typer.Argument(help="Whose settings are searched.")]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Finished trials that the study is to have in the end.")]
Resume = Annotated[bool, typer.Option("--resume/--anew", help="Go on with the study that is there, or begin anew.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to the app."""
    app.command("tune")(tune)


def tune(
    as_of: AsOf, model: Model = "retriever", trials: Trials = 20, resume: Resume = True, as_json: JsonOutput = False
) -> None:
    """Searches a model's settings on the windows before calibration and test; leaves a snippet and a page."""
    from training.tuning.ranker import tune_ranker
    from training.tuning.retriever import tune_retriever

    now = settings()

    def tell(trial: "FrozenTrial") -> None:
        reached = max(trial.intermediate_values.values())
        print(f"tune: trial {trial.number} {trial.state.name.lower()}: {reached:.4f}, {trial.params}", file=sys.stderr)

    search = {"retriever": tune_retriever, "ranker": tune_ranker}[model]
    study = search(now.paths, load_config(now.config), as_of, trials, resume=resume, tell=tell)
    facts = {
        "finished_trials": len(study.finished),
        "best_trial": study.best.number,
        study.question.measure: study.best.value,
        **study.best.params,
        "snippet": str(study.folder / "best.yaml"),
        "page": str(study.folder / "study.html"),
    }
    show_rows(["fact", "value"], [[name, value] for name, value in facts.items()], as_json=as_json)
