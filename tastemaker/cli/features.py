"""`tastemaker features …`: materialize them, look them up, compare the stores, browse them, serve them."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_report, show_rows
from tastemaker.config import load_config
from tastemaker.errors import TastemakerError
from tastemaker.moments import parse_as_of
from tastemaker.steps import write_atomically

features = typer.Typer(name="features", help="The feature store: Feast, offline and online.", no_args_is_help=True)

At = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        parser=parse_as_of,
        metavar="TIME",
        help="Hold TTLs against this moment, UTC; by default that of the last materialization.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to the app."""
    app.add_typer(features)


@features.command()
def materialize(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Brings the offline and the online store to a moment."""
    from feature_repo.materialize import materialize as step

    now = settings()
    show_report(step(now.paths, load_config(now.config), as_of), as_json=as_json)


@features.command()
def get(
    service: Annotated[str, typer.Argument(help="A feature service: recommend_v1, rank_v1, profile_v1, item_v1.")],
    key: Annotated[
        list[str],
        typer.Argument(help="The user's id, for item_v1 the item's; for rank_v1 both."),
    ],
    at: At = None,
    as_json: JsonOutput = False,
) -> None:
    """Looks one key's features up online."""
    from feature_repo.lookup import online_features

    [found] = online_features(settings().paths, service, [tuple(key)], at)
    rows = [
        [name, value.value, value.feature.unit, value.stamped and value.stamped.isoformat(), value.status]
        for name, value in found.items()
    ]
    show_rows(["feature", "value", "unit", "stamped", "status"], rows, as_json=as_json)


@features.command()
def parity(
    sample: Annotated[int, typer.Option(min=1, help="Users and items to compare.")] = 200,
    as_json: JsonOutput = False,
) -> None:
    """Fails when online and offline tell different things of a seeded sample of keys."""
    from feature_repo.parity import check_parity

    agreed = check_parity(settings().paths, sample)
    rows = [[column, count] for column, count in agreed.keys.items()]
    show_rows(["keys", "compared"], [*rows, ["values that agree", agreed.values]], as_json=as_json)


@features.command()
def catalog(
    out: Annotated[Path | None, typer.Option(help="Write a self-contained HTML page of this home's features.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the declarations alone as Markdown: docs/features.md.")
    ] = None,
) -> None:
    """Writes the catalogue of features, with or without what this home's data look like."""
    if (out is None) == (markdown is None):
        raise TastemakerError("Name one of --out FILE.html and --markdown FILE.md.")
    if markdown is not None:
        from feature_repo.catalog_markdown import catalog_markdown

        write_atomically(markdown, catalog_markdown())
        print(markdown)
    elif out is not None:
        from feature_repo.catalog import catalog_page

        write_atomically(out, catalog_page(settings().paths))
        print(out)


@features.command()
def serve() -> None:
    """Runs Feast's feature server until it is told to stop."""
    from feature_repo.feature_server import serve_features

    serve_features(
        settings().paths,
        settings(),
        ready=lambda address: print(f"Feature server on {address}; POST {address}/get-online-features.", flush=True),
    )
