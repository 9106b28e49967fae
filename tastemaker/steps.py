"""How a step runs: alone in its home, timed, and not twice for the same inputs.

A step is a plain function; `run_step` is the rim around it. It leaves `runs/<as_of>/<step>.json`, from which the
report's table of seconds and peak memory is made, and by which the next call knows that the result still stands.
"""

import fcntl
import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

from tastemaker.errors import BusyError
from tastemaker.home import Home
from tastemaker.settings import Settings

LOCK_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class StepReport:
    """What a step did. `facts` is the step's own account: row counts, metrics, paths below the home.

    `import_seconds` is how long the process had lived before the work began: starting Python and importing.
    """

    step: str
    fingerprint: str
    seconds: float
    import_seconds: float
    peak_memory_mib: float
    outputs: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    reused: bool = False


def run_step(
    home: Home,
    as_of: datetime,
    step: str,
    work: Callable[[], Mapping[str, Any]],
    *,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    code: Sequence[Path] = (),
    holds: Callable[[], bool] = lambda: True,
) -> StepReport:
    """Runs `work` unless its last result still stands; returns the report either way.

    Args:
        work: makes `outputs` and returns the step's facts (JSON values). Called with the home locked.
        inputs: name → digest of everything the result depends on (`digest_files`, `digest_values`).
        outputs: files or folders under the home that the step makes. A result stands while each still has its digest.
        code: source folders or files whose change makes the result stale.
        holds: whether what the step has brought about beside its outputs is still so (a label that it has moved).

    Raises BusyError when another step writes to the same home.
    """
    report_path = home.run(as_of) / f"{step}.json"
    fingerprint = digest_values({"step": step, "inputs": dict(inputs), "code": digest_files(_sources(code))})
    with exclusive(home, step):
        last = _read(report_path)
        if last is not None and last.fingerprint == fingerprint and _stands(last, outputs, home) and holds():
            return StepReport(**{**asdict(last), "reused": True})
        import_seconds = time.time() - psutil.Process().create_time()
        began = time.monotonic()
        facts = dict(work())
        report = StepReport(
            step=step,
            fingerprint=fingerprint,
            seconds=round(time.monotonic() - began, 3),
            import_seconds=round(import_seconds, 3),
            peak_memory_mib=round(peak_memory_mib(), 1),
            outputs={str(p.relative_to(home.root)): digest_files([p]) for p in outputs},
            facts=facts,
        )
        write_atomically(report_path, json.dumps(asdict(report), indent=2, sort_keys=True) + "\n")
    return report


def read_reports(home: Home, as_of: datetime) -> dict[str, StepReport]:
    """The reports of every step that ran for `as_of`, by step name."""
    found = (_read(path) for path in sorted(home.run(as_of).glob("*.json")))
    return {report.step: report for report in found if report is not None}


@contextmanager
def exclusive(home: Home, holder: str) -> Iterator[None]:
    """Holds the home's write lock, which the kernel frees when the process dies.

    Raises BusyError when it is still taken after the setting `lock_wait_seconds`.
    """
    home.root.mkdir(parents=True, exist_ok=True)
    lock_path = home.root / "write.lock"
    with lock_path.open("a+") as lock:
        if not _acquired(lock, Settings().lock_wait_seconds):
            lock.seek(0)
            raise BusyError(
                f"Another run is writing to {home.root} ({lock.read().strip() or 'its step is unknown'}); "
                f"wait for it, or use another folder with TASTEMAKER_HOME."
            )
        lock.truncate(0)
        lock.write(f"step {holder}, process {os.getpid()}\n")
        lock.flush()
        yield


def _acquired(lock: IO[str], wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return True


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes beside, syncs, renames: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the relative names and bytes of files and folders; a missing path has a digest of its own."""
    total = hashlib.sha256()
    for path in sorted(paths):
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            name = member.relative_to(path).as_posix() if member != path else path.name
            total.update(f"{len(name)}:{name}:".encode())
            if member.is_file():
                with member.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            else:
                total.update(b"missing")
    return total.hexdigest()


def digest_values(values: Any) -> str:
    """SHA-256 of JSON values, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def peak_memory_mib() -> float:
    """Largest resident size, in MiB, that this process or one of its finished children has had."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, children) / 1024


def _sources(code: Sequence[Path]) -> list[Path]:
    suffixes = {".py", ".sql", ".yml", ".yaml"}
    found: list[Path] = []
    for root in code:
        found += [p for p in root.rglob("*") if p.suffix in suffixes] if root.is_dir() else [root]
    return found


def _stands(report: StepReport, outputs: Sequence[Path], home: Home) -> bool:
    return report.outputs == {str(p.relative_to(home.root)): digest_files([p]) for p in outputs} and all(
        p.exists() for p in outputs
    )


def _read(path: Path) -> StepReport | None:
    if not path.exists():
        return None
    return StepReport(**json.loads(path.read_text()))
