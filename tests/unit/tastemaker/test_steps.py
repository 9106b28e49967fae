"""The step rim: reuse, staleness, one writer at a time, nothing half-written."""

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tastemaker.errors import BusyError
from tastemaker.home import Home
from tastemaker.steps import StepReport, digest_files, exclusive, read_reports, run_step, write_atomically

AS_OF = datetime(2024, 1, 2, tzinfo=UTC)


class Step:
    """A step that counts how often it worked."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.runs = 0
        self.output = home.root / "out"
        self.code = home.root / "code.py"
        home.root.mkdir(parents=True, exist_ok=True)
        self.code.write_text("version = 1")

    def __call__(self, **inputs: str) -> StepReport:
        def work() -> dict[str, int]:
            self.runs += 1
            self.output.mkdir(exist_ok=True)
            (self.output / "part").write_text("made")
            return {"rows": 3}

        return run_step(self.home, AS_OF, "toy", work, inputs=inputs, outputs=[self.output], code=[self.code])


@pytest.fixture
def step(home: Home) -> Step:
    return Step(home)


def test_same_inputs_are_not_worked_twice_and_leave_the_same_report(step: Step) -> None:
    first = step(rows="a")
    report = (step.home.run(AS_OF) / "toy.json").read_bytes()
    second = step(rows="a")
    assert (step.runs, first.reused, second.reused) == (1, False, True)
    assert (step.home.run(AS_OF) / "toy.json").read_bytes() == report
    assert read_reports(step.home, AS_OF)["toy"].facts == {"rows": 3}


@pytest.mark.parametrize("change", ["input", "code", "output changed", "output gone"])
def test_whatever_changes_makes_the_result_stale(step: Step, change: str) -> None:
    step(rows="a")
    if change == "code":
        step.code.write_text("version = 2")
    elif change == "output changed":
        (step.output / "part").write_text("tampered")
    elif change == "output gone":
        (step.output / "part").unlink()
        step.output.rmdir()
    again = step(rows="b" if change == "input" else "a")
    assert not again.reused
    assert step.runs == 2


def test_a_result_stands_only_while_what_it_brought_about_still_holds(home: Home) -> None:
    label = home.root / "label"  # not an output: others move it, too

    def run() -> StepReport:
        def work() -> dict[str, int]:
            return {"label": label.write_text("moved")}

        return run_step(home, AS_OF, "toy", work, inputs={}, outputs=[], holds=lambda: label.read_text() == "moved")

    assert [run().reused, run().reused] == [False, True]
    label.write_text("moved away")
    assert [run().reused, run().reused] == [False, True]


def test_work_that_fails_leaves_no_report(home: Home) -> None:
    def work() -> dict[str, int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_step(home, AS_OF, "toy", work, inputs={}, outputs=[])
    assert read_reports(home, AS_OF) == {}


def _hold(root: Path, ready: object, done: object) -> None:
    with exclusive(Home(root), "slow"):
        ready.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_two_runs_at_once_one_is_told_who_holds_the_home(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(home.root, ready, done))
    other.start()
    try:
        assert ready.wait(30)
        sentence = rf"step slow, process {other.pid}.*TASTEMAKER_HOME"
        with pytest.raises(BusyError, match=sentence), exclusive(home, "mine"):
            pytest.fail("two writers at once")
    finally:
        done.set()
        other.join(30)
    with exclusive(home, "mine"):
        pass


def test_a_step_waits_for_the_other_when_told_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTEMAKER_LOCK_WAIT_SECONDS", "30")
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(home.root, ready, done))
    other.start()
    assert ready.wait(30)
    done.set()
    with exclusive(home, "mine"):
        other.join(30)
    assert other.exitcode == 0


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state.json"
    write_atomically(target, "old")

    def refuse(self: Path, other: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_digest_tells_names_from_contents(tmp_path: Path) -> None:
    for name, files in {"a": {"x": "1", "y": ""}, "b": {"x": "", "y": "1"}, "c": {"x": "1", "y": ""}}.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert digest_files([tmp_path / "a"]) != digest_files([tmp_path / "b"])
    assert digest_files([tmp_path / "a"]) == digest_files([tmp_path / "c"])
    assert digest_files([tmp_path / "gone"]) != digest_files([tmp_path / "c"])
