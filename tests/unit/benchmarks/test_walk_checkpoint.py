"""What a walk has found outlives a kill at any moment, and is not mixed with what other code finds."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.walk_forward import checkpoint
from benchmarks.walk_forward.__main__ import every_hour
from benchmarks.walk_forward.checkpoint import Kept, digest_of_code
from benchmarks.walk_forward.sessions import HOUR
from tastemaker.errors import TastemakerError

NOON = datetime(2017, 10, 3, 12, tzinfo=UTC)
HOURS = [NOON + n * HOUR for n in range(4)]
NO_WALK: Any = None  # nothing was learnt, so none is asked


def figures(hour: datetime) -> dict[str, dict[str, float]]:
    return {"blend": {"hr@20": hour.hour / 100}}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path)
    for hour in HOURS:
        found.add(hour, figures(hour))
    return found


def told(hours: list[datetime]) -> dict[str, dict[str, dict[str, float]]]:
    return {hour.isoformat(): figures(hour) for hour in hours}


def test_hours_that_were_learnt_from_stay_and_later_ones_go(kept):
    kept.go_on(NO_WALK, HOURS[2])
    assert kept.figures() == told(HOURS[:2])


def test_killed_while_later_hours_are_dropped_it_loses_none_before(kept, monkeypatch):
    dumps, calls = json.dumps, []

    def dumps_once(value):
        calls.append(value)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return dumps(value)

    monkeypatch.setattr(checkpoint.json, "dumps", dumps_once)
    with contextlib.suppress(KeyboardInterrupt):
        kept.go_on(NO_WALK, HOURS[3])
    monkeypatch.undo()
    assert set(kept.figures()) >= set(told(HOURS[:3]))


@pytest.mark.parametrize("bytes_written", [1, 20, 62])
def test_a_torn_last_line_is_found_again(kept, tmp_path, bytes_written):
    torn = json.dumps({"hour": (NOON + 4 * HOUR).isoformat(), "figures": figures(NOON + 4 * HOUR)})[:bytes_written]
    with (tmp_path / "hours.jsonl").open("a") as file:
        file.write(torn)
    assert kept.figures() == told(HOURS)
    kept.go_on(NO_WALK, NOON + 4 * HOUR)
    kept.add(NOON + 4 * HOUR, figures(NOON + 4 * HOUR))
    assert kept.figures() == told([*HOURS, NOON + 4 * HOUR])


def test_any_other_line_that_is_no_hour_is_told(kept, tmp_path):
    lines = (tmp_path / "hours.jsonl").read_text().splitlines()
    lines[1] = lines[1][:30]
    (tmp_path / "hours.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(TastemakerError, match=r"Line 2 of .*hours\.jsonl is not an hour"):
        kept.figures()


def test_hours_that_are_not_there_are_named():
    end = HOURS[-1] + HOUR
    assert every_hour(told([*HOURS, end]), NOON, end) == told(HOURS)
    lacking = told([HOURS[0], HOURS[3]])
    with pytest.raises(TastemakerError, match=r"2 of its 4 hours: 2017-10-03T13.*, 2017-10-03T14.*; remove"):
        every_hour(lacking, NOON, end)


@pytest.mark.parametrize("changed", ["training/ranking/trees.py", "training/new.py", "tastemaker/names.py"])
def test_other_code_is_another_walk(tmp_path, monkeypatch, changed):
    for file in ("training/ranking/trees.py", "tastemaker/names.py", "tastemaker/errors.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1\n")
    monkeypatch.setattr(checkpoint, "PROJECT_ROOT", tmp_path)
    before = digest_of_code()
    (tmp_path / "training" / "ranking" / "trees.cpython-311.pyc").write_text("compiled")
    (tmp_path / "tastemaker" / "errors.py").write_text("2\n")
    assert digest_of_code() == before
    (tmp_path / changed).write_text("2\n")
    assert digest_of_code() != before
