"""What the home remembers of its last materializations: `feast/materialized.json`.

Two moments, because they part when a day is run again after a later one: the offline store is always as of the last
run, the online store as of the latest moment it was ever brought to.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import parse_as_of
from tastemaker.steps import write_atomically


@dataclass(frozen=True)
class MaterializationState:
    """`past` is, for each view, the digest of the rows that existed at `online_as_of`."""

    offline_as_of: datetime
    online_as_of: datetime
    online_store: str
    past: dict[str, str]


def state_file(home: Home) -> Path:
    """Where the state lies."""
    return home.feast / "materialized.json"


def write_state(home: Home, state: MaterializationState) -> None:
    """Replaces the state."""
    text = json.dumps(asdict(state), indent=2, sort_keys=True, default=lambda moment: moment.isoformat())
    write_atomically(state_file(home), text + "\n")


def read_state(home: Home) -> MaterializationState | None:
    """The state, or None when nothing was ever materialized here."""
    path = state_file(home)
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return _state_in(path, (found.st_ino, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=4)
def _state_in(path: Path, identity: tuple[int, int, int]) -> MaterializationState:
    """Kept while the file is the same one, which is only ever replaced: reading it takes as long as one key's rows."""
    try:
        raw = json.loads(path.read_text())
        return MaterializationState(
            offline_as_of=parse_as_of(raw["offline_as_of"]),
            online_as_of=parse_as_of(raw["online_as_of"]),
            online_store=raw["online_store"],
            past=raw["past"],
        )
    except (ValueError, KeyError) as problem:
        raise TastemakerError(
            f"{path} is damaged ({problem}); remove {path.parent} and run 'tastemaker features materialize' again."
        ) from None


def materialized(home: Home) -> MaterializationState:
    """The state of a home that must have one. Raises TastemakerError, naming the command, when it has none."""
    state = read_state(home)
    if state is None:
        raise TastemakerError(
            f"No features were materialized in {home.root} yet; run 'tastemaker features materialize --as-of TIME'."
        )
    return state
