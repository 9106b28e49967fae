"""A walk that was stopped goes on: its figures by hour as JSON lines, and every few hours all that it has learnt."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from benchmarks.walk_forward.answers import Answers
from benchmarks.walk_forward.sessions import HOUR
from benchmarks.walk_forward.walk import Figures, Walk
from tastemaker.errors import TastemakerError
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import digest_files, write_atomically

EVERY = 12  # hours: 600 MB of the ranker's rows are written


class Kept:
    """One walk's folder: `hours.jsonl`, and `learnt/` as of the hour that it names.

    Args:
        folder: of this walk and no other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = folder / "hours.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def figures(self) -> dict[str, Figures]:
        """By hour, what has been found so far.

        A last line without its end is what a killed walk was writing: that hour is found again. Raises TastemakerError
        when any other line is not an hour's.
        """
        if not self._lines.exists():
            return {}
        *lines, _ = self._lines.read_text().split("\n")
        found: dict[str, Figures] = {}
        for number, line in enumerate(lines, start=1):
            try:
                told = json.loads(line)
                found[told["hour"]] = told["figures"]
            except (ValueError, TypeError, KeyError):
                raise TastemakerError(
                    f"Line {number} of {self._lines} is not an hour with its figures; remove the folder it is in, and "
                    "the walk begins anew."
                ) from None
        return found

    def add(self, hour: datetime, figures: Figures) -> None:
        """The figures of one more hour; after `go_on`, which puts a torn line away."""
        with self._lines.open("a") as file:
            file.write(_line(hour.isoformat(), figures))

    def save(self, walk: Walk, next_hour: datetime) -> None:
        """All that the walk has learnt before `next_hour`, in place of what was there."""
        beside, place = self._folder / ".learnt.part", self._folder / "learnt"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        tower: dict[str, Any] = walk.news.state()
        np.savez(beside / "tower.npz", **tower)
        for number, rows in enumerate(walk.rows):
            arrays: dict[str, Any] = {field.name: getattr(rows, field.name) for field in fields(rows)}
            np.savez(beside / f"rows-{number:03}.npz", **arrays)
        state = {
            "next_hour": next_hour.isoformat(),
            "rankers": {line: ranker.model_to_string() for line, ranker in walk.rankers.items()},
        }
        (beside / "state.json").write_text(json.dumps(state))
        before = self._folder / ".learnt.before"
        shutil.rmtree(before, ignore_errors=True)
        if place.exists():
            place.rename(before)
        beside.rename(place)
        shutil.rmtree(before, ignore_errors=True)

    def go_on(self, walk: Walk, first: datetime) -> datetime:
        """Gives the walk what was saved, and returns the hour to go on with; `first` where nothing was.

        Figures of hours after what was saved are dropped: they are found again, the same.
        """
        place = self._folder / "learnt"
        if not (place / "state.json").exists():
            self._keep_until(first)
            return first
        state = json.loads((place / "state.json").read_text())
        with np.load(place / "tower.npz") as tower:
            walk.news.go_on_from(tower)
        walk.rankers = {line: lgb.Booster(model_str=text) for line, text in state["rankers"].items()}
        walk.rows = []
        for file in sorted(place.glob("rows-*.npz")):
            with np.load(file) as arrays:
                walk.rows.append(Answers(**arrays))
        next_hour = datetime.fromisoformat(state["next_hour"])
        self._keep_until(next_hour)
        return next_hour

    def _keep_until(self, hour: datetime) -> None:
        """Whenever it is killed, the file holds all hours before this one."""
        kept = {moment: figures for moment, figures in self.figures().items() if datetime.fromisoformat(moment) < hour}
        write_atomically(self._lines, "".join(_line(moment, figures) for moment, figures in kept.items()))


def _line(hour: str, figures: Figures) -> str:
    return json.dumps({"hour": hour, "figures": figures}) + "\n"


def digest_of_code() -> str:
    """Of all that makes the figures: hours found by other code are not of the same walk.

    Left out is what only tells them: `__main__.py` and `table.py`.
    """
    here = Path(__file__)
    walking = [path for path in here.parent.glob("*.py") if path.name not in ("__main__.py", "table.py")]
    learning = (PROJECT_ROOT / "training").rglob("*.py")
    return digest_files([*walking, *learning, PROJECT_ROOT / "tastemaker" / "names.py"])


def walked(walk: Walk, kept: Kept, first: datetime, end: datetime, tell: Callable[[datetime, Figures], None]) -> None:
    """Walks to `end`, from where it was left."""
    hour = kept.go_on(walk, first)
    for done, figures in walk.hours(hour, end):
        kept.add(done, figures)
        tell(done, figures)
        after = done + HOUR
        if int(after.timestamp() // 3600) % EVERY == 0 or after == end:
            kept.save(walk, after)
