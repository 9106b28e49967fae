"""Rollback: `stable` goes back to the version that had it before. Takes seconds, also while the newest is broken."""

from dataclasses import dataclass

from serving.releases.acts import new_act
from serving.releases.canary import WAIT_SECONDS
from serving.releases.history import ROLLBACK, last_move, stable_before
from serving.releases.labels import CANARY, STABLE, read_served
from serving.releases.moving import follow, move_labels
from serving.releases.quarantine import acting
from serving.releases.running import answers
from serving.releases.versions import is_sound, require_published, version_folder
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


@dataclass(frozen=True)
class RolledBack:
    """The version that was left, the one that is stable now, and since when."""

    left: int
    stable: int
    at: str


def roll_back(
    home: Home,
    server: str | None,
    *,
    to: int | None = None,
    reason: str | None = None,
    seconds: float = WAIT_SECONDS,
) -> RolledBack:
    """Undoes the last promotion: `stable`, and with it `canary`, goes back to the version that was stable before.

    Waits for no step that is running. Twice is once: where the last promotion is undone already, and what answers is
    sound, only `to` goes further back, so a rollback that was killed can be run again.

    Args:
        to: the version to go back to; by default the latest that was stable before and whose files are sound.
        server: host:port of the model server; where none answers, it reads the labels when it starts.
        reason: for the journal, and for those who meet the version again.

    Raises TastemakerError when there is no such version, or when the server cannot load it; the labels then stay.
    """
    with acting(home):
        stable = read_served(home).stable
    if stable is None:
        raise TastemakerError(f"Nothing is stable in {home.models} yet, so there is nothing to roll back.")
    running = server if answers(server) else None
    last = last_move(home)
    undone = last is not None and last["act"] == ROLLBACK and last["version"] == stable and to in (None, stable)
    if undone and last is not None and is_sound(home, version_folder(home, stable)):
        follow(home, (STABLE, CANARY), stable, running, seconds)
        return RolledBack(last["from"], stable, last["at"])
    target = to if to is not None else _last_good(home, stable)
    folder = require_published(home, target)
    if target == stable:
        raise TastemakerError(f"Version {target} is stable already; there is nothing to roll back.")
    if not is_sound(home, folder):
        raise TastemakerError(f"Version {target} is damaged, so 'stable' stays at {stable}; name another one.")
    act = new_act(ROLLBACK, target, reason=reason, **{"from": stable})
    move_labels(home, (STABLE, CANARY), target, act, running, seconds)
    return RolledBack(stable, target, act["at"])


def leave_damaged(home: Home) -> RolledBack | None:
    """Before a server starts: goes back to the last good version where the stable one is damaged; None where it is not.

    Without that the server would load nothing, and nobody would be answered until somebody comes.
    """
    stable = read_served(home).stable
    if stable is None or is_sound(home, version_folder(home, stable)):
        return None
    return roll_back(home, None, reason=f"version {stable} was damaged when the model server started")


def _last_good(home: Home, stable: int) -> int:
    for version in stable_before(home):
        if is_sound(home, version_folder(home, version)):
            return version
    raise TastemakerError(
        f"No sound version was stable before {stable}; name one with --to ('tastemaker release list' tells them)."
    )
