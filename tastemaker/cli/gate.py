"""`tastemaker release gate|override`: whether a built release may be published, and who lets it pass all the same."""

import sys
from typing import Annotated

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.release import release_app
from tastemaker.cli.tables import show_report, show_rows
from tastemaker.config import load_config
from tastemaker.errors import GateFailedError
from tastemaker.verdict import override_verdict, read_verdict


def register(app: typer.Typer) -> None:
    """Adds the commands to the sub-app `release`, which `app` already has."""
    release_app.command("gate")(gate)
    release_app.command("override")(override)


def gate(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Holds the release's figures against the rules of the config file; a release that fails one is blocked."""
    from training.gate.judge import gate as judge

    now = settings()
    try:
        show_report(judge(now.paths, load_config(now.config), as_of), as_json=as_json)
    except GateFailedError:
        verdict = read_verdict(now.paths, as_of)
        rules = verdict["rules"] if verdict else []
        columns = ["rule", "subject", "observed", "bound", "passed"]
        show_rows(columns, [[rule[name] for name in columns] for rule in rules], as_json=as_json)
        sys.stdout.flush()  # the reason, on stderr, is the last line of a task's log
        raise


def override(
    as_of: AsOf,
    who: Annotated[str, typer.Option("--who", help="Who answers for it.")],
    why: Annotated[str, typer.Option("--why", help="For what reason.")],
    hours: Annotated[float, typer.Option("--hours", help="How long it may be published: at most 168.")],
    as_json: JsonOutput = False,
) -> None:
    """Lets a blocked release be published for a time; told to the journal. A release built anew is blocked again."""
    verdict = override_verdict(settings().paths, as_of, who=who, why=why, hours=hours)
    facts = {"release": verdict["release"], "candidate": verdict["candidate"], **verdict["override"]}
    show_rows(["what", "value"], [[name, value] for name, value in facts.items()], as_json=as_json)
