"""The step `gate`: a verdict beside the candidate, for this candidate and this champion only, twice the same bytes."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from toys.judged_answers import CONFIG, answers

from tastemaker import journal
from tastemaker.config import Config, ReleaseGateConfig
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT
from tastemaker.verdict import candidate_digest, override_verdict, require_passed
from training.evaluation.files import METRICS, evaluation_folder
from training.evaluation.judgement import judge
from training.gate.judge import gate

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
LENIENT = Config(version=1, release_gate=ReleaseGateConfig(min_users=5, max_calibration_error=1))
STRICT = Config(version=1, release_gate=ReleaseGateConfig(min_users=5, max_calibration_error=0.001))


def write_manifest(folder: Path, **content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made_of = {"retriever": "a", "ranker": "b"}
    manifest = {"release": "r1", "as_of": AS_OF.isoformat(), "item_snapshot": AS_OF.isoformat(), "made_of": made_of}
    text = json.dumps({**manifest, "items": {"available": 40}, "files": {"saved_model.pb": "0"}, **content})
    (folder / "manifest.json").write_text(text)


def serve(home: Home, version: int, **content) -> None:
    write_manifest(home.models / "recommender" / str(version), **content)
    label = f'version_labels {{ key: "stable" value: {version} }}'
    home.model_config.write_text(f'model_config_list {{ config {{ name: "recommender" {label} }} }}')


def judged(home: Home, champion: int | None = None) -> Home:
    """A home whose candidate `evaluate` has judged."""
    write_manifest(home.candidate(AS_OF))
    figures, _ = judge(answers(release=0.9, retriever_alone=0.5, popularity=0.1, champion=0.9), CONFIG)
    facing = {"version": champion, "release": "r0", "how": "replayed", "why": "", "requests": 96}
    figures |= {"candidate": candidate_digest(home, AS_OF), "champion": None if champion is None else facing}
    evaluation_folder(home, AS_OF).mkdir(parents=True, exist_ok=True)
    (evaluation_folder(home, AS_OF) / METRICS).write_text(json.dumps(figures))
    return home


def test_a_candidate_that_passes_has_a_verdict(home):
    report = gate(judged(home), LENIENT, AS_OF)
    verdict = require_passed(home, AS_OF)
    assert report.facts["verdict"] == f"The release r1 passed all {len(verdict['rules'])} rules, as a first release."
    assert set(verdict) == {
        "format", "release", "candidate", "passed", "first_release", "champion", "rules", "override",
    }  # fmt: skip
    assert verdict["first_release"] and verdict["champion"] is None and verdict["override"] is None
    assert {"rule", "subject", "observed", "bound", "passed", "sentence"} <= set(verdict["rules"][0])


def test_judging_again_leaves_the_same_bytes(home):
    gate(judged(home), LENIENT, AS_OF)
    before = home.verdict(AS_OF).read_bytes()
    assert gate(home, LENIENT, AS_OF).reused
    (home.run(AS_OF) / "gate.json").unlink()
    assert not gate(home, LENIENT, AS_OF).reused
    assert home.verdict(AS_OF).read_bytes() == before


def test_a_blocked_candidate_stops_the_step_every_time_with_the_rule(home):
    judged(home)
    for _ in range(2):
        with pytest.raises(GateFailedError, match=r"^The release r1 is blocked: Calibration error .* not at most"):
            gate(home, STRICT, AS_OF)
    assert not json.loads(home.verdict(AS_OF).read_text())["passed"]


def test_an_override_lets_the_step_pass_until_it_ends(home):
    judged(home)
    with pytest.raises(GateFailedError):
        gate(home, STRICT, AS_OF)
    override_verdict(home, AS_OF, who="ada", why="a sale begins today", hours=1)
    overridden = home.verdict(AS_OF).read_bytes()
    assert "ada lets it pass until" in gate(home, STRICT, AS_OF).facts["verdict"]
    assert home.verdict(AS_OF).read_bytes() == overridden
    assert [line["act"] for line in journal.read(home)] == ["override"]
    ended = json.loads(overridden)
    ended["override"]["until"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    home.verdict(AS_OF).write_text(json.dumps(ended))
    with pytest.raises(GateFailedError, match="the override by ada ended at"):
        gate(home, STRICT, AS_OF)


def test_an_override_does_not_outlive_its_candidate(home):
    judged(home)
    with pytest.raises(GateFailedError):
        gate(home, STRICT, AS_OF)
    override_verdict(home, AS_OF, who="ada", why="a sale begins today", hours=1)
    write_manifest(home.candidate(AS_OF), release="r2")
    with pytest.raises(TastemakerError, match="not those of the candidate as it is now"):
        gate(home, STRICT, AS_OF)
    figures = json.loads((evaluation_folder(home, AS_OF) / METRICS).read_text())
    figures["candidate"] = candidate_digest(home, AS_OF)
    (evaluation_folder(home, AS_OF) / METRICS).write_text(json.dumps(figures))
    with pytest.raises(GateFailedError, match="The release r2 is blocked: Calibration"):
        gate(home, STRICT, AS_OF)


def test_nothing_judged_is_a_sentence(home):
    with pytest.raises(TastemakerError, match="release build"):
        gate(home, LENIENT, AS_OF)
    write_manifest(home.candidate(AS_OF))
    with pytest.raises(TastemakerError, match="Nothing was judged for 2026-03-01 00:00 UTC"):
        gate(home, LENIENT, AS_OF)


def test_another_champion_asks_for_another_comparison(home):
    judged(home)
    serve(home, 8, release="r0", files={"saved_model.pb": "1"})
    with pytest.raises(TastemakerError, match="compared with no version, but version 8 has the label 'stable' now"):
        gate(home, LENIENT, AS_OF)
    gate(judged(home, champion=8), LENIENT, AS_OF)
    assert require_passed(home, AS_OF)["champion"]["version"] == 8


def test_a_candidate_that_serves_by_now_is_judged_as_before(home):
    serve(home, 8, release="r0", files={"saved_model.pb": "1"})
    gate(judged(home, champion=8), LENIENT, AS_OF)
    before = home.verdict(AS_OF).read_bytes()
    serve(home, 9)  # the candidate's own manifest
    assert gate(home, LENIENT, AS_OF).reused
    (home.run(AS_OF) / "gate.json").unlink()
    gate(home, LENIENT, AS_OF)
    assert home.verdict(AS_OF).read_bytes() == before


def test_refreshed_items_need_no_figures_but_the_models_that_serve(home):
    later = (AS_OF + timedelta(days=1)).isoformat()
    write_manifest(home.candidate(AS_OF), release="r1+items", item_snapshot=later)
    with pytest.raises(GateFailedError, match="Nothing serves yet"):
        gate(home, LENIENT, AS_OF)
    serve(home, 8)
    assert "passed all 2 rules, against version 8" in gate(home, LENIENT, AS_OF).facts["verdict"]
    write_manifest(home.candidate(AS_OF), release="r1+few", item_snapshot=later, items={"available": 3})
    with pytest.raises(GateFailedError, match=r"3 items are available, fewer than 50 % of the 40 of r1\."):
        gate(home, LENIENT, AS_OF)
    write_manifest(home.candidate(AS_OF), release="r3+items", item_snapshot=later, made_of={"retriever": "c"})
    with pytest.raises(GateFailedError, match="not those of r1, which serves"):
        gate(home, LENIENT, AS_OF)


def test_the_command_shows_every_rule_and_ends_with_the_reason(home, tmp_path):
    judged(home)
    (tmp_path / "strict.yaml").write_text("version: 1\nrelease_gate: {min_users: 5, max_calibration_error: 0.001}\n")
    settings = {"TASTEMAKER_HOME": str(home.root), "TASTEMAKER_CONFIG": str(tmp_path / "strict.yaml")}

    def tell(*words: str) -> tuple[int, list[str]]:
        command = [str(Path(sys.executable).parent / "tastemaker"), "release", *words, "--as-of", "2026-03-01"]
        told = subprocess.PIPE, subprocess.STDOUT  # as a task's log has them
        done = subprocess.run(command, stdout=told[0], stderr=told[1], text=True, env={**os.environ, **settings})
        return done.returncode, done.stdout.splitlines()

    code, lines = tell("gate")
    assert code == 3
    assert lines[-1].startswith("tastemaker: The release r1 is blocked: Calibration error")
    assert len([line for line in lines if line.startswith("no metric worse")]) == 3  # two of lists, one of log-loss
    code, lines = tell("override", "--who", "ada", "--why", "a sale", "--hours", "2")
    assert code == 0 and any(line.split() == ["who", "ada"] for line in lines)
    code, lines = tell("gate")
    assert code == 0 and "ada lets it pass until" in "\n".join(lines)


def test_the_step_imports_no_tensorflow():
    code = "import sys, training.gate.judge, tastemaker.cli.gate; assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
