"""What was done to the releases of a home, one JSON object a line in `models/journal.jsonl`, oldest first.

Only ever appended to. A kill may leave half a line at the end: it is read as no line, and the next act begins anew.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from tastemaker.home import Home


def append(home: Home, act: Mapping[str, Any]) -> None:
    """Adds a line, synced to the disk."""
    home.journal.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(act, sort_keys=True, ensure_ascii=False) + "\n"
    with home.journal.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(home: Home) -> list[dict[str, Any]]:
    """Every act, oldest first; none where nothing was done yet."""
    try:
        text = home.journal.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [act for line in text.splitlines() if (act := _act(line)) is not None]


def _act(line: str) -> dict[str, Any] | None:
    try:
        act = json.loads(line)
    except ValueError:
        return None
    return act if isinstance(act, dict) else None
