"""`tastemaker release list|show|diff|canary|verify|promote|rollback|quarantine|prune`: the life of a built release."""

from typing import Annotated

import typer

from tastemaker.cli.options import AsOf, JsonOutput, settings
from tastemaker.cli.tables import show_report, show_rows
from tastemaker.config import load_config
from tastemaker.errors import TastemakerError
from tastemaker.moments import parse_as_of

Version = Annotated[str, typer.Argument(help="A version, or the label of one: stable, canary.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, for the journal and for those who come after.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the sub-app `release`."""
    for name, command in (
        ("list", list_releases),
        ("show", show),
        ("diff", diff),
        ("canary", canary),
        ("verify", verify),
        ("promote", promote),
        ("rollback", rollback),
        ("quarantine", quarantine),
        ("prune", prune),
    ):
        app.command(name)(command)


def list_releases(as_json: JsonOutput = False) -> None:
    """Tell every version, newest first, its labels, and what the model server says of it."""
    from serving.releases.listing import describe, releases

    now = settings()
    columns = ["version", "labels", "as_of", "published", "mebibytes", "metrics", "state"]
    rows = [
        [
            one.version,
            one.labels,
            one.as_of,
            one.published,
            one.mebibytes,
            one.metrics if as_json else describe(one.metrics),
            one.state,
        ]
        for one in releases(now.paths, now.model_server)
    ]
    show_rows(columns, rows, as_json=as_json)


def show(version: Version, as_json: JsonOutput = False) -> None:
    """Tell all there is to know of one version: its manifest, and what was done with it."""
    from serving.releases.listing import shown

    now = settings()
    show_rows(["what", "value"], shown(now.paths, _version(version), now.model_server), as_json=as_json)


def diff(one: Version, other: Version = "stable", as_json: JsonOutput = False) -> None:
    """Tell in what the manifests of two versions differ."""
    from serving.releases.listing import differences

    first, second = _version(one), _version(other)
    show_rows(["what", str(first), str(second)], differences(settings().paths, first, second), as_json=as_json)


def canary(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Publish the release built for a moment, whole or not at all, and have the model server answer as `canary`."""
    from serving.releases.canary import canary as try_canary

    now = settings()
    show_report(try_canary(now.paths, as_of, now.model_server), as_json=as_json)


def verify(as_of: AsOf, as_json: JsonOutput = False) -> None:
    """Replay recorded requests to canary and stable; a canary that is worse goes to quarantine."""
    from serving.releases.verify import verify as verify_canary

    now = settings()
    show_report(verify_canary(now.paths, load_config(now.config), as_of, now.model_server), as_json=as_json)


def promote(
    version: Annotated[str | None, typer.Argument(help="A version to make stable by hand.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The moment whose verified canary becomes stable.")
    ] = None,
    reason: Reason = None,
    as_json: JsonOutput = False,
) -> None:
    """Make the verified canary of a moment stable, or any published version by hand."""
    from serving.releases.promote import make_stable
    from serving.releases.promote import promote as promote_canary

    now = settings()
    if (version is None) == (as_of is None):
        raise TastemakerError("Name either the version to promote, or with --as-of the moment it was built for.")
    if as_of is not None:
        show_report(promote_canary(now.paths, parse_as_of(as_of), now.model_server), as_json=as_json)
        return
    number = _version(str(version))
    word = make_stable(now.paths, number, now.model_server, reason=reason)
    show_rows(["stable", "model_server"], [[number, word]], as_json=as_json)


def rollback(
    to: Annotated[str | None, typer.Option("--to", help="The version to go back to; by default the last good.")] = None,
    reason: Reason = None,
    as_json: JsonOutput = False,
) -> None:
    """Undo the last promotion, in seconds, also while the newest version is broken; further back with --to."""
    from serving.releases.rollback import roll_back

    now = settings()
    done = roll_back(now.paths, now.model_server, to=None if to is None else _version(to), reason=reason)
    show_rows(["left", "stable", "since"], [[done.left, done.stable, done.at]], as_json=as_json)


def quarantine(
    version: Version,
    reason: Reason = None,
    lift: Annotated[bool, typer.Option("--lift", help="Take it out again.")] = False,
    as_json: JsonOutput = False,
) -> None:
    """Put a version away so that its bytes are never served again, or take it out."""
    from serving.releases.quarantine import lift as lift_version
    from serving.releases.quarantine import put_away

    home, number = settings().paths, _version(version)
    if lift:
        lift_version(home, number, reason)
    elif reason is None:
        raise TastemakerError("Say why with --reason; whoever meets the version again will want to know.")
    else:
        put_away(home, number, reason)
    show_rows(["version", "quarantined"], [[number, not lift]], as_json=as_json)


def prune(as_json: JsonOutput = False) -> None:
    """Remove versions that nobody needs: not served, not among the newest, and none that a rollback may go to."""
    from serving.releases.prune import prune as prune_versions

    now = settings()
    gone = prune_versions(now.paths, load_config(now.config).releases.keep)
    show_rows(["removed"], [[version] for version in gone], as_json=as_json)


def _version(text: str) -> int:
    from serving.releases.labels import read_served

    if text.isascii() and text.isdigit():
        return int(text)
    labels = read_served(settings().paths).labels
    if text not in labels:
        known = ", ".join(labels) or "none"
        raise TastemakerError(f"'{text}' is neither a version nor a label; the labels are: {known}.")
    return labels[text]
