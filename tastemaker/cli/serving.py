"""`tastemaker serve` and `tastemaker recommend`: the model server, and one question to it."""

from typing import Annotated

import typer

from tastemaker.cli.options import JsonOutput, settings
from tastemaker.cli.tables import show_rows
from tastemaker.moments import parse_as_of


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to the app."""
    app.command("serve", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(serve)
    app.command("recommend")(recommend)


def serve(context: typer.Context) -> None:
    """Serve the published releases over gRPC and REST until SIGTERM; takes TF-Serving's flags too (--port=8500 …)."""
    from serving.server.embedded import serve_home

    now = settings()
    token = now.model_server_token.get_secret_value() if now.model_server_token is not None else None
    serve_home(now.paths, now.model_server, now.model_server_rest_port, context.args, token)


def recommend(
    user_id: Annotated[str, typer.Argument(help="Whose items; an unknown user gets what suits one.")],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    at: Annotated[str | None, typer.Option(help="The request's time; by default the release's as_of.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="An item that must not come; may be repeated.")] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Say which candidate sources proposed each item.")] = False,
    as_json: JsonOutput = False,
) -> None:
    """Ask the model server for a user's items, best first, with titles; popular items, said so, when none answers."""
    from serving.client import Recommender
    from serving.titles import titles

    now = settings()
    with Recommender.of_home(now.paths, now.model_server) as recommender:
        found = recommender.recommend(user_id, k, parse_as_of(at) if at else None, exclude or ())
    named = titles(now.paths, [one.item_id for one in found])
    degraded = found[0].degraded if found else ""
    if degraded:
        typer.echo(f"DEGRADED: {degraded}\nThese are popular items of {found[0].release}, the same for all.", err=True)
    fresh_until = found[0].items_fresh_until if found else None
    if at and fresh_until is not None and parse_as_of(at) > fresh_until:
        typer.echo(
            f"STALE ITEMS: the item features of {found[0].release} count as fresh until {fresh_until.isoformat()}; "
            "renew them with 'tastemaker release refresh' and what publishes it (the DAG refresh_items).",
            err=True,
        )
    rows = [
        [one.rank, one.item_id, named.get(one.item_id), None if one.degraded else one.probability, bool(one.degraded)]
        for one in found
    ]
    columns = ["rank", "item_id", "title", "probability", "degraded"]
    if sources:
        columns.append("sources")
        rows = [[*row, ", ".join(one.sources)] for row, one in zip(rows, found, strict=True)]
    show_rows(columns, rows, as_json=as_json)
