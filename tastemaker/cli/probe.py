"""`tastemaker release probe`: a built release, loaded by a server of its own, is held to its recorded answers."""

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.release import release_app
from tastemaker.cli.tables import show_report
from tastemaker.config import load_config


def register(app: typer.Typer) -> None:
    """Adds the command to the sub-app `release`, which `app` already has."""
    release_app.command("probe")(probe)


def probe(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Loads the release built for a moment in a process of its own: it must answer as recorded, within its bounds."""
    from serving.probe import probe as probe_release

    now = settings()
    show_report(probe_release(now.paths, load_config(now.config), as_of), as_json=as_json)
