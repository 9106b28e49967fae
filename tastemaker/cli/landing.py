"""`tastemaker ingest` and `tastemaker simulate`: how rows come into the house."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_rows
from tastemaker.moments import parse_as_of


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to the app."""
    app.command("ingest")(ingest)
    app.command("simulate")(simulate)


def ingest(
    as_of: AsOf,
    source: Annotated[str | None, typer.Option(help="Which source's tables the files hold.")] = None,
    path: Annotated[str | None, typer.Option(help="Folder, file or URL of the source's files.")] = None,
    as_json: JsonOutput = False,
) -> None:
    """Lands the source's files: rows that break the contract go to quarantine, and read = passed + quarantined."""
    import json

    from ingest.land import ingest as land
    from ingest.resolving import resolve

    now = settings()
    found = resolve(source or now.source, path or now.path, now.named_files, now.paths)
    if found.is_simulated and not as_json:
        print(found.sentence)
    report = land(now.paths, found.source, found.path, as_of, is_simulated=found.is_simulated)
    facts = report.facts
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    if not found.is_simulated:
        print(found.sentence)
    print("Nothing new: the last result stands." if report.reused else f"Landed in {report.seconds:.1f} s.")
    show_rows(["table", "file", "read", "passed", "quarantined"], _counts(facts), as_json=False)
    for file in facts["files"]:
        for reason, rows in file["reasons"].items():
            print(f"quarantined from {file['file']}: {rows} rows, {reason}")
    for note in facts["notes"]:
        print(note)
    visible = ", ".join(f"{rows} {table}" for table, rows in facts["visible"].items())
    print(f"Visible as of {as_of:%Y-%m-%d %H:%M:%S} UTC: {visible}.")


def simulate(
    to: Annotated[Path, typer.Option(help="Folder for events.parquet, items.parquet and users.parquet.")],
    seed: Annotated[
        int | None, typer.Option(help="Of everything that is drawn; the same seed, the same bytes.")
    ] = None,
    users: Annotated[int, typer.Option(help="Customers.")] = 800,
    items: Annotated[int, typer.Option(help="Items.")] = 400,
    days: Annotated[int, typer.Option(help="Days from the start to the last event.")] = 120,
    start: Annotated[
        datetime, typer.Option(parser=parse_as_of, metavar="TIME", help="The shop's first midnight, UTC.")
    ] = "2024-01-01",  # type: ignore[assignment]  # Typer parses a default as it parses an option
) -> None:
    """Writes a simulated shop in the landing contract: hidden tastes, logged lists, clicks, purchases."""
    from ingest import simulated_shop

    chosen = simulated_shop.SEED if seed is None else seed
    shop = simulated_shop.simulate(seed=chosen, users=users, items=items, days=days, start=start)
    shop.write(to)
    print(f"SIMULATED DATA: {shop.events.num_rows} events of {users} customers and {items} items in {to}.")
    print(f"Take it through: tastemaker demo --source landing --path {to} --as-of {shop.as_of:%Y-%m-%d}")


def _counts(facts: dict[str, Any]) -> list[list[Any]]:
    rows = [[f["table"], f["file"], f["read"], f["passed"], f["quarantined"]] for f in facts["files"]]
    return [*rows, ["all", "", facts["read"], facts["passed"], facts["quarantined"]]]
