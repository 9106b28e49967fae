"""Pruning: old versions go; what is served, the newest few and what a rollback needs stay."""

import shutil

from serving.releases.acts import new_act, record
from serving.releases.history import PRUNE, acts_of, stable_before
from serving.releases.labels import read_served
from serving.releases.quarantine import acting
from serving.releases.versions import is_sound, move_folder, published_versions, releases_folder, version_folder
from tastemaker.home import Home


def removable(home: Home, keep: int) -> list[int]:
    """The versions that nobody needs, oldest first.

    Kept are those that have a label or are being loaded, the newest `keep`, and the last `keep` sound ones that were
    stable before, to which a rollback may go.
    """
    everything = published_versions(home)
    back = [version for version in stable_before(home) if is_sound(home, version_folder(home, version))]
    kept = {*read_served(home).versions, *everything[:keep], *back[:keep]}
    return [version for version in reversed(everything) if version not in kept]


def prune(home: Home, keep: int) -> list[int]:
    """Removes what nobody needs; returns it. A version is out of sight before its first file goes."""
    with acting(home):
        _remove_put_aside(home)  # by a prune that was killed
        gone = removable(home, keep)
        for version in gone:
            move_folder(version_folder(home, version), releases_folder(home) / f".{version}.pruned")
        _remove_put_aside(home)
    return gone


def _remove_put_aside(home: Home) -> None:
    for aside in sorted(releases_folder(home).glob(".*.pruned")):
        version = int(aside.name.split(".")[1])
        if [act["act"] for act in acts_of(home, version)][-1:] != [PRUNE]:
            record(home, new_act(PRUNE, version))
        shutil.rmtree(aside)
