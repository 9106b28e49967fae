"""A candidate that is no model: any files with a manifest that lists them, which is all that publishing looks at."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from serving.manifest import file_digest
from tastemaker.home import Home

AS_OF = datetime(2011, 12, 10, 3, 30, tzinfo=UTC)
FIRST = 2011_12_10_03_30_00
FILES = {"saved_model.pb": "graph", "variables/variables.index": "index", "assets.extra/golden_requests": "requests"}


def build(home: Home, content: str = "graph", as_of: datetime = AS_OF) -> Path:
    """Puts a candidate of `as_of` into the home."""
    candidate = home.candidate(as_of)
    shutil.rmtree(candidate, ignore_errors=True)
    for name, text in {**FILES, "saved_model.pb": content}.items():
        (candidate / name).parent.mkdir(parents=True, exist_ok=True)
        (candidate / name).write_text(text)
    (candidate / "assets").mkdir()
    sums = {name: file_digest(candidate / name) for name in FILES}
    manifest = {"release": content, "as_of": as_of.isoformat(), "metrics": {"ndcg@20": 0.25}, "files": sums}
    (candidate / "manifest.json").write_text(json.dumps(manifest))
    return candidate


@contextmanager
def no_server(*_: object) -> Iterator[None]:
    """In place of a model server: none runs, and labels move without asking one."""
    yield None
