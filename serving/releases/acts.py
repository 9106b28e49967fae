"""What is done to the releases of a home: one act at a time, each a line of the journal, none lost by a kill.

An act is committed by one rename: that of the model config, whose first line says which act it is, or that of a
quarantine record. The journal's line follows. Whoever acts next first ends what a killed act has begun.
"""

import fcntl
import getpass
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from serving.releases.labels import read_served
from tastemaker import journal
from tastemaker.errors import BusyError
from tastemaker.home import Home

LOCK_SECONDS = 30.0
_POLL_SECONDS = 0.05


def new_act(name: str, version: int, **facts: Any) -> dict[str, Any]:
    """An act with its id, its moment (the wall clock's: it says when somebody did it) and who did it."""
    return {
        "id": uuid.uuid4().hex,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _who(),
        "act": name,
        "version": version,
        **{key: value for key, value in facts.items() if value is not None},
    }


@contextmanager
def one_at_a_time(home: Home) -> Iterator[None]:
    """Holds the releases' own lock, not the home's: a rollback does not wait for a training to end.

    Raises BusyError when another act has held it for `LOCK_SECONDS`; each takes a moment, copies and loads are outside.
    """
    home.models.mkdir(parents=True, exist_ok=True)
    path = home.models / ".acts.lock"
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(f"Another act on the releases in {home.models} has not ended; try again.") from None
                time.sleep(_POLL_SECONDS)
        for left in [*home.models.glob(".*.part"), *home.quarantined_releases.glob(".*.part")]:
            left.unlink()  # half a file of a process that was killed
        act = read_served(home).act
        if act is not None:
            record(home, act)
        yield


def record(home: Home, act: Mapping[str, Any]) -> None:
    """Appends an act to the journal, unless it is there."""
    if not any(line.get("id") == act["id"] for line in journal.read(home)):
        journal.append(home, act)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
