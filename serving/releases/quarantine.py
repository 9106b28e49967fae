"""Releases that must not be served: put away with the reason, and the same bytes refused from then on.

`models/quarantine/<version>/` holds the files and `<version>.json` beside it the record: version, reason, a digest of
the files, the act. The record comes first and is what counts; `acting` ends what a kill has left half done.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.manifest import read_manifest
from serving.releases.acts import new_act, one_at_a_time, record
from serving.releases.labels import CANARY, STABLE, Served, read_served, write_served
from serving.releases.versions import content_of, move_folder, require_published, sync_folder, version_folder
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import write_atomically

QUARANTINE = "quarantine"
LIFT = "lift"


@contextmanager
def acting(home: Home) -> Iterator[None]:
    """Holds the releases for one act, after ending what a killed one has begun. Raises BusyError."""
    with one_at_a_time(home):
        _settle(home)
        yield


def put_away(home: Home, version: int, reason: str) -> None:
    """Takes a version out of service and moves its files to quarantine; `stable` stays where it is.

    Raises TastemakerError for the stable version: it must be rolled back first, so that somebody is answered.
    """
    with acting(home):
        if version in records(home):
            return
        folder = require_published(home, version)
        if read_served(home).stable == version:
            raise TastemakerError(
                f"Version {version} is stable and answers everybody; 'tastemaker release rollback' first."
            )
        act = new_act(QUARANTINE, version, reason=reason)
        _write(home, {"version": version, "reason": reason, "content": _content(folder), "act": act})
        _settle(home)


def lift(home: Home, version: int, reason: str | None = None) -> None:
    """Takes a version back out of quarantine: it is published again, without a label. Raises TastemakerError."""
    begun = "lifted" in records(home).get(version, {})
    with acting(home):
        if begun:
            return  # a killed call had begun it, and now it is done
        found = records(home).get(version)
        if found is None:
            known = ", ".join(map(str, records(home))) or "none"
            raise TastemakerError(f"Version {version} is not in {home.quarantined_releases}; there are: {known}.")
        _write(home, {**found, "lifted": new_act(LIFT, version, reason=reason)})
        _settle(home)


def records(home: Home) -> dict[int, dict[str, Any]]:
    """The record of every version in quarantine, in ascending order."""
    found = [json.loads(path.read_text()) for path in home.quarantined_releases.glob("*.json")]
    return {one["version"]: one for one in sorted(found, key=lambda one: one["version"])}


def refuse_quarantined(home: Home, manifest: dict[str, Any]) -> None:
    """Raises GateFailedError for a release whose very files are in quarantine."""
    for version, found in records(home).items():
        if found["content"] == content_of(manifest):
            raise GateFailedError(
                f"These very files are in quarantine as version {version} since {found['act']['at']}: "
                f"{found['reason']} Build another release, or take it out with "
                f"'tastemaker release quarantine {version} --lift'."
            )


def _settle(home: Home) -> None:
    """Brings every record's files, labels and journal line to what the record says. Called with the releases held."""
    for version, found in records(home).items():
        away, published = home.quarantined_releases / str(version), version_folder(home, version)
        if "lifted" in found:
            move_folder(away, published)
            record(home, found["lifted"])
            _path(home, version).unlink()
            sync_folder(home.quarantined_releases)
        elif published.exists():
            served = read_served(home)
            if version in served.versions:
                write_served(home, _without(served, version, found["act"]))
            move_folder(published, away)
            record(home, found["act"])
        else:
            record(home, found["act"])


def _without(served: Served, version: int, act: dict[str, Any]) -> Served:
    """What is served without a version: who asks for the canary is answered by the stable version again."""
    labels = {label: number for label, number in served.labels.items() if number != version}
    if CANARY in served.labels and STABLE in labels:
        labels[CANARY] = labels.get(CANARY, labels[STABLE])
    return Served(labels, served.loading - {version}, act)


def _content(folder: Path) -> str | None:
    try:
        return content_of(read_manifest(folder))
    except TastemakerError:
        return None  # it has no manifest to know it by again


def _path(home: Home, version: int) -> Path:
    return home.quarantined_releases / f"{version}.json"


def _write(home: Home, content: dict[str, Any]) -> None:
    write_atomically(_path(home, content["version"]), json.dumps(content, indent=2, sort_keys=True) + "\n")
    sync_folder(home.quarantined_releases)
