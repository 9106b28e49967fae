"""What the journal tells of the past: which versions were stable, one after another, and which were taken back."""

from typing import Any

from serving.releases.labels import read_served
from serving.releases.versions import published_versions
from tastemaker import journal
from tastemaker.errors import GateFailedError
from tastemaker.home import Home

PUBLISH = "publish"
CANARY_ACT = "canary"
VERIFY = "verify"
PROMOTE = "promote"
ROLLBACK = "rollback"
PRUNE = "prune"


def acts_of(home: Home, version: int) -> list[dict[str, Any]]:
    """The journal's lines about a version, oldest first."""
    return [act for act in journal.read(home) if version in (act.get("version"), act.get("from"))]


def last_move(home: Home) -> dict[str, Any] | None:
    """The act that last moved `stable`; None where nothing was promoted yet."""
    moves = [act for act in journal.read(home) if act.get("act") in (PROMOTE, ROLLBACK)]
    return moves[-1] if moves else None


def stable_before(home: Home) -> list[int]:
    """The versions that a rollback may go to, latest first: those that were stable before the one that is.

    A version that was itself taken back is none, and neither is one that is no longer published.
    """
    stack: list[int] = []
    for act in journal.read(home):
        if act.get("act") == PROMOTE:
            stack = [one for one in stack if one != act["version"]] + [act["version"]]
        elif act.get("act") == ROLLBACK:
            to = act["version"]  # what was stable between is passed over for good
            stack = [*stack[: stack.index(to)], to] if to in stack else [*stack, to]
    there = set(published_versions(home)) - {read_served(home).stable}
    return [version for version in reversed(stack) if version in there]


def taken_back(home: Home, version: int) -> dict[str, Any] | None:
    """The rollback that took a version back, where nobody has promoted it since."""
    last = None
    for act in journal.read(home):
        if act.get("act") == ROLLBACK and act["from"] == version:
            last = act
        elif act.get("act") in (PROMOTE, ROLLBACK) and act["version"] == version:
            last = None
    return last


def refuse_taken_back(home: Home, version: int) -> None:
    """Raises GateFailedError for a version that was rolled back: no step may undo what somebody has done by hand."""
    act = taken_back(home, version)
    if act is not None:
        raise GateFailedError(
            f"Version {version} was rolled back at {act['at']} ({act.get('reason', 'no reason given')}); "
            f"'tastemaker release promote {version}' makes it stable again."
        )
