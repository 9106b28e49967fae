"""`tastemaker release …`: build a release; what is done with it afterwards is added to the same sub-app."""

import typer

from tastemaker.cli import release_acts
from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_report
from tastemaker.config import load_config

release_app = typer.Typer(help="Build and publish what is served.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the sub-app to the app."""
    release_acts.register(release_app)
    app.add_typer(release_app, name="release")


@release_app.command("build")
def build(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Fuses the retriever, the ranker and the items as of a moment into one SavedModel, not yet published."""
    from training.release.build import build_release

    now = settings()
    show_report(build_release(now.paths, load_config(now.config), as_of), as_json=as_json)


@release_app.command("refresh")
def refresh(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Fuses the models of the newest published release with the items as of a later moment; trains nothing."""
    from training.release.refresh import refresh_release

    show_report(refresh_release(settings().paths, as_of), as_json=as_json)
