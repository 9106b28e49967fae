"""The release that serves: the version with the label `stable`, which a candidate is held against."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tastemaker import names
from tastemaker.home import Home
from tastemaker.release_labels import STABLE, labelled_version
from tastemaker.verdict import MANIFEST, read_verdict

# how a champion was compared (`training.evaluation.champion`)
REPLAYED: Final = "replayed"
AS_SERVED: Final = "as served"
INCOMPARABLE: Final = "incomparable"


@dataclass(frozen=True)
class Published:
    """A published version, its folder, and what its manifest says; None where that cannot be read."""

    version: int
    folder: Path
    manifest: dict[str, Any] | None

    @property
    def release(self) -> str | None:
        """The name it answers with."""
        return None if self.manifest is None else str(self.manifest["release"])


def current_champion(home: Home, as_of: datetime) -> Published | None:
    """Whom the candidate of `as_of` has to face; None where nothing serves.

    Where the candidate itself serves by now, that is the one it faced before: its verdict says which, so that a run
    that is repeated compares the same two.

    Raises TastemakerError when there is no candidate, or when the labels cannot be read.
    """
    version = labelled_version(home, STABLE)
    if version is None:
        return None
    stable = _published(home, version)
    if not _is_candidate(home, as_of, stable):
        return stable
    verdict = read_verdict(home, as_of)
    faced = verdict["champion"] if verdict else None
    return None if faced is None else _published(home, int(faced["version"]))


def _published(home: Home, version: int) -> Published:
    folder = home.models / names.MODEL_NAME / str(version)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        usable = isinstance(manifest, dict) and "release" in manifest
    except (OSError, ValueError):
        usable = False
    return Published(version, folder, manifest if usable else None)


def _is_candidate(home: Home, as_of: datetime, stable: Published) -> bool:
    candidate = home.candidate(as_of) / MANIFEST
    if stable.manifest is None or not candidate.exists():
        return False
    built = json.loads(candidate.read_text(encoding="utf-8"))
    return all(built.get(key) == stable.manifest.get(key) for key in ("release", "files"))
