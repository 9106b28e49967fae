"""`tastemaker dataset` and `tastemaker train …`: from features to models."""

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_report
from tastemaker.config import load_config

train_app = typer.Typer(help="Train the models of a release.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to the app."""
    app.command("dataset")(dataset)
    app.add_typer(train_app, name="train")


def dataset(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Builds the training sets: requests and item snapshots, each row as of its own moment."""
    from training.datasets.build import build_datasets

    now = settings()
    show_report(build_datasets(now.paths, load_config(now.config), as_of), as_json=as_json)


@train_app.command("retriever")
def retriever(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Trains the two-tower retriever; early stopping on validation recall@20, curves in TensorBoard."""
    from training.retrieval.fit import train_retriever

    now = settings()
    show_report(train_retriever(now.paths, load_config(now.config), as_of), as_json=as_json)


@train_app.command("sources")
def sources(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Trains what candidate sources learn offline, and tunes the blend of them all."""
    from training.sources.fit import train_sources

    now = settings()
    show_report(train_sources(now.paths, load_config(now.config), as_of), as_json=as_json)
