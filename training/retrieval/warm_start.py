"""A warm start: the run begins with an earlier run's tower, and is taught only what has happened since.

The tower to begin with is an earlier `for_ranker`, not the served one: that one knows requests from which this run's
ranker is to learn, so its candidates would be better there than they ever are for a request to come.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tastemaker.home import Home
from tastemaker.moments import as_of_slug, microseconds
from training.retrieval.tower_shape import TowerConfig


@dataclass(frozen=True)
class WarmStart:
    """`folder` holds the tower to begin with, `run` is the as_of of the run that made it, as folders are named."""

    folder: Path
    run: str


def warm_start(
    home: Home, as_of: datetime, tower_in_run: Path, shape: TowerConfig, earliest: datetime, latest: datetime
) -> WarmStart | None:
    """The latest earlier run whose tower can be gone on with, or None: then the start is cold.

    Args:
        home: whose runs.
        as_of: of this run; only runs for an earlier moment are asked.
        tower_in_run: the tower's folder below `training/<as_of>/`.
        shape: what this run's tower looks like; another shape cannot be gone on with.
        earliest: requests since then will be learnt: a tower that knows less would miss some.
        latest: a tower that knows later requests knows too much.
    """
    runs = sorted(folder for folder in home.training(as_of).parent.glob("*") if folder.name < as_of_slug(as_of))
    for run in reversed(runs):
        folder = run / tower_in_run
        if not (folder / "tower.json").exists():
            continue
        saved: dict[str, Any] = json.loads((folder / "tower.json").read_text())
        known_until = saved["as_of"]
        if _shape(saved) == _shape(asdict(shape)) and microseconds(earliest) <= known_until <= microseconds(latest):
            return WarmStart(folder, run.name)
    return None


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """What `tower.json` says of a tower, but not of when it was made."""
    same: dict[str, Any] = json.loads(json.dumps(asdict(TowerConfig(**config))))  # with what is newer than the tower
    return {name: value for name, value in same.items() if name != "as_of"}
