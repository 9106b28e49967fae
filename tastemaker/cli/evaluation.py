"""`tastemaker evaluate` and `tastemaker report`: figures, and the page that shows them."""

from dataclasses import replace

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_report, show_rows
from tastemaker.config import load_config


def register(app: typer.Typer) -> None:
    """Adds the commands to the app."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Judges the built release on the test window, beside baselines."""
    from training.evaluation.evaluate import evaluate as evaluate_release

    now = settings()
    report = evaluate_release(now.paths, load_config(now.config), as_of)
    if as_json:
        show_report(report, as_json=True)
        return
    quality, verdict = report.facts["quality"], report.facts["verdict"]
    rest = {name: value for name, value in report.facts.items() if name not in ("quality", "verdict")}
    show_report(replace(report, facts=rest), as_json=False)
    print()
    show_rows(quality["columns"], quality["rows"], as_json=False)
    print(f"\n{verdict}")


def report(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Writes the HTML report of a run from what its steps have left: figures, pictures, seconds and memory."""
    from training.evaluation.report import write_report

    show_report(write_report(settings().paths, as_of), as_json=as_json)
