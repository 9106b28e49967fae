"""The walk's command on a toy site: what it prints on the way, and what of it is kept as a result."""

import json
import re

import pytest
from toys import news_site as toy

from benchmarks.walk_forward import __main__ as command
from benchmarks.walk_forward.families import FAMILIES
from benchmarks.walk_forward.sessions import Site
from tastemaker.errors import TastemakerError

pytestmark = pytest.mark.integration

PROGRESS = re.compile(r"10-02 0\d:00 30 sessions, hr@20 [01]\.\d{4}, ndcg@20 [01]\.\d{4} \(\d+ s\)")


@pytest.fixture
def walk(tmp_path, monkeypatch, capsys):
    """Runs the command with some words; returns the lines that it prints."""
    monkeypatch.setattr(Site, "of", lambda home, config: toy.news_site(tmp_path))
    monkeypatch.setattr(command, "RESULT", tmp_path / "result.json")
    monkeypatch.setattr(toy, "HOURS", 4)  # of which two are answered

    def run(*words: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["walk_forward", "--home", str(tmp_path), "--date", "2026-11-22", *words])
        command.main()
        return capsys.readouterr().out.splitlines()

    return run


def test_a_quick_look_tells_each_hour_on_the_way_and_keeps_no_result(walk, tmp_path):
    told = walk("--windows", "1", "--half", "reported", "--families")
    assert [bool(PROGRESS.fullmatch(line)) for line in told] == [True] + [False] * (len(told) - 1)
    assert told[1] == "| system | NDCG@20 | HR@20 | |"
    assert all(f"| without {family} |" in "\n".join(told) for family in FAMILIES)
    assert not (tmp_path / "result.json").exists()


def test_only_the_reported_half_makes_a_result_and_only_with_every_hour(walk, tmp_path):
    result = tmp_path / "result.json"
    assert not any("without" in line for line in walk("--half", "tuning"))
    assert not result.exists()
    told = walk("--half", "reported")
    assert sum(bool(PROGRESS.fullmatch(line)) for line in told) == 2
    found = json.loads(result.read_text())
    assert found["hours"] == 2 and found["half"] == "reported" and found["seeds"] == [1]
    assert found["date"] == "2026-11-22" and found["command"].startswith("python -m benchmarks.walk_forward")
    assert found["commit"] and found["machine"]["cores"]
    [lines] = tmp_path.glob("*-reported-*/hours.jsonl")
    lines.write_text(lines.read_text().splitlines(keepends=True)[1])
    result.unlink()
    with pytest.raises(TastemakerError, match=r"1 of its 2 hours: 2017-10-02T04:00"):  # nothing is walked again
        walk("--half", "reported")
    assert not result.exists()
