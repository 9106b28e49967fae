"""A candidate that can hardly be called a model: a graph of one constant, and a manifest that lists the files."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from toys.bare_release import bare_model

from serving.manifest import SIGNATURE, file_digest
from serving.probe import verdict_file
from tastemaker.home import Home
from tastemaker.steps import write_atomically
from tastemaker.verdict import candidate_digest, write_verdict

AS_OF = datetime(2011, 12, 10, 3, 30, tzinfo=UTC)
FIRST = 2011_12_10_03_30_00
GRAPH = "saved_model.pb"
FILES = {"variables/variables.index": b"index", "assets.extra/golden_requests": b"requests"}


def build(home: Home, content: str = "graph", as_of: datetime = AS_OF) -> Path:
    """Puts a candidate of `as_of` into the home."""
    candidate = home.candidate(as_of)
    shutil.rmtree(candidate, ignore_errors=True)
    for name, data in {**FILES, GRAPH: bare_model(content).SerializeToString()}.items():
        (candidate / name).parent.mkdir(parents=True, exist_ok=True)
        (candidate / name).write_bytes(data)
    (candidate / "assets").mkdir()
    sums = {name: file_digest(candidate / name) for name in (*FILES, GRAPH)}
    manifest = {"release": content, "as_of": as_of.isoformat(), "metrics": {"ndcg@20": 0.25}, "files": sums}
    (candidate / "manifest.json").write_text(json.dumps(manifest))
    let_pass(home, as_of)
    return candidate


def let_pass(home: Home, as_of: datetime) -> None:
    """Writes what the gate and the probe write of a candidate that they let pass."""
    verdict = {"passed": True, "candidate": candidate_digest(home, as_of), "rules": []}
    write_verdict(home, as_of, verdict)
    write_atomically(verdict_file(home, as_of), json.dumps(verdict))


def says(folder: Path, content: str) -> bool:
    """Whether the graph in a folder is the one built with this content."""
    return (folder / GRAPH).read_bytes() == bare_model(content).SerializeToString()


def is_copy(published: Path, candidate: Path) -> bool:
    """Whether a version has the files of a candidate, byte for byte, and its signature besides."""
    files = {path.relative_to(published) for path in published.rglob("*") if path.is_file()}
    listed = {path.relative_to(candidate) for path in candidate.rglob("*") if path.is_file()}
    same = all((published / name).read_bytes() == (candidate / name).read_bytes() for name in listed)
    return same and files == listed | {Path(SIGNATURE)}


@contextmanager
def no_server(*_: object) -> Iterator[None]:
    """In place of a model server: none runs, and labels move without asking one."""
    yield None
