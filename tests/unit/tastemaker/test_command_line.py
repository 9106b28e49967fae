"""The command line as a person meets it: help, tables, JSON, sentences instead of tracebacks."""

import errno
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from tastemaker import cli
from tastemaker.errors import TastemakerError
from tastemaker.moments import parse_as_of
from tastemaker.settings import Settings

TASTEMAKER = Path(sys.executable).parent / "tastemaker"


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    import os

    return subprocess.run(
        [str(TASTEMAKER), *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def test_help_tells_every_step() -> None:
    shown = run("--help").stdout
    for step in ("ingest", "check", "transform", "features", "dataset", "train", "release", "evaluate", "demo", "up"):
        assert f" {step} " in shown, step


def test_explain_config_speaks_json() -> None:
    rows = json.loads(run("explain-config", "--json").stdout)
    keys = {row["key"] for row in rows}
    assert {"split.test_days", "TASTEMAKER_HOME"} <= keys
    assert all(row["meaning"] for row in rows)


def test_a_secret_is_not_told() -> None:
    shown = run("explain-config", TASTEMAKER_FEATURE_SERVER_TOKEN="hunter2").stdout
    assert "hunter2" not in shown


def test_bad_input_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("check", "landing", "--as-of", "2011-12-10", TASTEMAKER_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("tastemaker: Nothing has landed in")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["yesterday", "2011-12-10T10:00", "2011-13-01"])
def test_a_moment_that_is_none(text: str) -> None:
    with pytest.raises(TastemakerError, match=text):
        parse_as_of(text)


def test_a_command_imports_nothing_heavy_before_it_is_asked() -> None:
    heavy = ("tensorflow", "feast", "great_expectations", "dbt", "pandas", "duckdb")
    probe = f"import sys, tastemaker.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def test_settings_survive_the_way_into_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        home=tmp_path,
        config=tmp_path / "c.yaml",
        path="s3://bucket/shop",
        airflow_port=1234,
        feature_server_token=SecretStr("hunter2"),
        schedule_until=datetime(2011, 12, 10, tzinfo=UTC),
    )
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_a_full_disk_is_a_sentence_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "models/journal.jsonl")

    monkeypatch.setattr(cli, "app", write)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("tastemaker: The disk is full at models/journal.jsonl; free some space")


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "app", write)
    with pytest.raises(OSError, match="Input/output"):
        cli.main()
