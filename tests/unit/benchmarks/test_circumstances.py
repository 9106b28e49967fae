"""Every result says command, day, commit and machine in one way, and no benchmark asks the clock what day it is."""

import re
import sys
from pathlib import Path

import pytest

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.reliability.page import BEGIN, END, write_table
from tastemaker.settings import PROJECT_ROOT

# What they measure stands within the result of another benchmark, which says the circumstances.
PARTS = {"nearest.py", "serve_baseline.py", "trees.py"}
OWN_ACCOUNT = re.compile(r"getloadavg|platform\.platform|\bgit\b|today\(|datetime\.now|uname")


def programs() -> list[Path]:
    files = (PROJECT_ROOT / "benchmarks").rglob("*.py")
    return sorted(file for file in files if "\ndef main(" in file.read_text() and file.name not in PARTS)


def test_the_programs_are_found():
    names = {path.parent.name if path.name == "__main__.py" else path.stem for path in programs()}
    assert names == {
        "encoders",
        "gowalla",
        "item_index",
        "lookup",
        "main_job",
        "point_in_time",
        "reliability",
        "rival",
        "rivals",
        "scale_run",
        "serve",
        "training_speed",
        "walk_forward",
        "warm_start",
    }


@pytest.mark.parametrize("program", programs(), ids=str)
def test_a_benchmark_says_its_circumstances_by_the_one_function_and_is_told_the_day(program):
    source = program.read_text()
    assert "from benchmarks.circumstances import beginning, circumstances" in source
    assert source.count("circumstances(") == 1 and source.count("beginning()") == 1
    assert re.search(r'add_argument\("--date", required=True', source)
    assert not OWN_ACCOUNT.search(source)


def test_the_circumstances_are_those_of_when_it_began(monkeypatch):
    before = beginning()
    monkeypatch.setattr("benchmarks.circumstances.commit", lambda: "another")
    told = circumstances("make bench", "2026-11-22", before, "numpy")
    assert told["commit"] == before.commit and re.fullmatch(r"[0-9a-f]{7,}\+?", told["commit"])
    assert (told["command"], told["date"]) == ("make bench", "2026-11-22")
    assert set(told["machine"]) >= {"system", "processor", "cores", "memory_gib", "python", "load_before", "load_after"}
    assert set(told["versions"]) == {"numpy"}
    assert "versions" not in circumstances("make bench", "2026-11-22", before)


def test_the_command_names_no_place_of_this_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gowalla.py", "--data", "/home/me/gowalla", "--seeds", "1", "2"])
    assert typed("benchmarks.gowalla", Path("/home/me/gowalla"), None) == (
        "python -m benchmarks.gowalla --data … --seeds 1 2"
    )


def test_the_page_on_reliability_says_them_too(tmp_path):
    results = {
        "overload": dict.fromkeys(
            (
                "rest_per_second",
                "capacity_per_second",
                "load_per_second",
                "admitted",
                "refused",
                "refused_p99_ms",
                "other",
                "wrong",
                "rest_p99_ms",
                "admitted_p99_ms",
                "admitted_p99_ms_with_burst",
            ),
            2.0,
        ),
        "swaps": dict.fromkeys(
            (
                "swaps",
                "requests",
                "seconds_a_swap",
                "failed",
                "wrong",
                "versions_that_answered",
                "rest_p99_ms",
                "swapping_p99_ms",
                "first_calls_p99_ms",
            ),
            3.0,
        ),
        "hang": dict.fromkeys(
            (
                "clients",
                "deadline_seconds",
                "asked",
                "degraded",
                "raised",
                "slowest_answer_seconds",
                "median_answer_ms_with_open_circuit",
                "sent_to_server",
                "seconds_until_well_again",
            ),
            4.0,
        ),
        "cpus": 2,
        **circumstances("python -m benchmarks.reliability", "2026-11-22", beginning()),
    }
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n{BEGIN}\nold\n{END}\nafter\n")
    write_table(page, results)
    told = page.read_text()
    assert f"2026-11-22, commit {results['commit']}, 2 CPUs ({results['machine']['processor']})" in told
    assert "old" not in told and told.startswith("# Page\n") and told.endswith("after\n")
