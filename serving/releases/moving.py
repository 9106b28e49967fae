"""Moving a label: the version is loaded first, the label moves when it is available, and never otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving.releases.labels import Served, read_served, write_served
from serving.releases.quarantine import acting
from serving.releases.running import wait_for_label, wait_until_available
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


def move_labels(
    home: Home, labels: tuple[str, ...], version: int, act: Mapping[str, Any], server: str | None, seconds: float
) -> None:
    """Has the server load the version, then moves all the labels to it in one act.

    What had one of these labels and keeps none is unloaded. Run again after a kill it ends what was begun.

    Args:
        server: host:port of the running model server, or None where none runs: it will read the labels as it starts.
        seconds: how long the load, and then the move, may take.

    Raises LoadFailedError or TastemakerError, with every label where it was.
    """
    if server is not None:
        load(home, version, server, seconds)
    with acting(home):
        served = read_served(home)
        moved = {**served.labels, **dict.fromkeys(labels, version)}
        if moved != served.labels:
            write_served(home, Served(moved, act=act))
        elif served.loading:
            write_served(home, replace(served, loading=frozenset()))
    follow(home, labels, version, server, seconds)


def follow(home: Home, labels: tuple[str, ...], version: int, server: str | None, seconds: float) -> None:
    """Waits until the labels mean the version to the server too; then the act that moved them is over, and recorded.

    Not before: an act that is not in the journal is one that a kill has cut short.
    """
    try:
        for label in labels if server is not None else ():
            wait_for_label(str(server), label, version, seconds)
    finally:
        with acting(home):
            pass  # who holds the releases has first recorded the act before


def load(home: Home, version: int, server: str, seconds: float) -> None:
    """Returns when the server has loaded a version, for which it needs no label. Raises as `move_labels` does."""
    with acting(home):
        served = read_served(home)
        if version not in served.versions:
            write_served(home, replace(served, loading=frozenset({version})))
    try:
        wait_until_available(server, version, seconds)
    except TastemakerError:
        with acting(home):
            served = read_served(home)
            write_served(home, replace(served, loading=served.loading - {version}))
        raise
