"""Both benchmarks of the feature store on a few hundred rows: every side runs, every ratio has both its sides."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tastemaker.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration


def both_sides_stand_there(medians: dict[str, float], ratios: dict[str, float]) -> None:
    assert ratios
    for pair, ratio in ratios.items():
        above, below = pair.split("/")
        assert ratio == round(medians[above] / medians[below], 2)


def test_the_join_beside_feasts_and_a_bare_query() -> None:
    small = "--date 2026-11-22 --labels 300 --rows 4000 --runs 1 --scale-labels 500 --shapes daily"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.point_in_time", *small.split()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT_ROOT)
    [line] = done.stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert told["date"] == "2026-11-22" and told["commit"] and told["machine"]["cores"] and told["versions"]["duckdb"]
    daily = told["compare"]["daily"]
    assert daily["labels_answered_differently"] == {"bare": 0, "feast": 0}
    for figures in (daily["seconds"], daily["cpu_seconds"]):
        assert figures["ratios"].keys() == {"feast/ours", "ours/bare", "late/bare"}
        assert figures["median"].keys() == {"ours", "bare", "late", "feast"}
    [point] = told["scale"]["daily"]
    assert point["labels"] == 500
    assert point["peak_memory_mib"] > 0


def test_the_memory_told_is_the_processs_own_not_its_parents() -> None:
    held = bytearray(os.urandom(1)) * (1 << 30)
    command = "from benchmarks.point_in_time import peak_memory_mib; print(peak_memory_mib())"
    done = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert 50 < float(done.stdout) < len(held) / 2**20


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_lookups_beside_feasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PROJECT_ROOT)
    from benchmarks import lookup

    found = lookup.compare(tmp_path, seed=1, rounds=1, calls={1: 2, 20: 2})
    for store in ("sqlite", "redis"):
        for told in found[store].values():
            both_sides_stand_there(told["p50_ms"], told["p50_ratios"])
            assert told["p99_ms"].keys() == told["p50_ms"].keys()
    assert found["redis"]["20"]["p50_ratios"].keys() == {
        "feast/ours",
        "feast_values/ours_values",
        "feast_precomputed/ours_values",
    }
