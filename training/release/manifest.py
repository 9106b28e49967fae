"""What a release says of itself: `manifest.json`, beside the SavedModel."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker import names
from tastemaker.config import CandidatesConfig
from tastemaker.feature_tables import service_features
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import digest_values, write_atomically
from training.release.inputs import SIGNATURE_INPUTS, input_defaults
from training.splits import Windows

FILE = "manifest.json"
PACKAGES = ("tensorflow", "tensorflow-recommenders", "lightgbm", "numpy")
OUTPUTS = {
    names.SIGNATURE_RECOMMEND: (
        names.OUTPUT_ITEM_IDS,
        names.OUTPUT_SCORES,
        names.OUTPUT_SOURCES,
        names.OUTPUT_RELEASE,
        names.OUTPUT_ITEMS_FRESH_UNTIL,
    ),
    names.SIGNATURE_RETRIEVE: (names.OUTPUT_ITEM_IDS, names.OUTPUT_SCORES),
    names.SIGNATURE_RANK: (names.OUTPUT_SCORES, names.OUTPUT_KNOWN),
    names.SIGNATURE_SIMILAR_ITEMS: (names.OUTPUT_ITEM_IDS, names.OUTPUT_SCORES),
}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Adds `files` (path → SHA-256 of every file below `folder`) to the content, and writes it there."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILE
    }
    text = json.dumps({**content, "files": files}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / FILE, text + "\n")


def described_items(as_of: datetime, sources: CandidatesConfig) -> dict[str, str]:
    """The moment of the items, and until when they count as fresh: the bound that every answer carries too."""
    until = as_of + timedelta(hours=sources.item_fresh_hours)
    return {"item_snapshot": as_of.isoformat(), names.OUTPUT_ITEMS_FRESH_UNTIL: until.isoformat()}


def described_windows(windows: Windows) -> dict[str, dict[str, str | None]]:
    """Each window's start and end, ISO 8601 in UTC; no start is null."""
    parts = (windows.retriever_train, windows.validation, windows.ranker, windows.calibration, windows.test)
    return {
        window.name: {"start": window.start.isoformat() if window.start else None, "end": window.end.isoformat()}
        for window in parts
    }


def described_service(service: str) -> dict[str, Any]:
    """A feature service's name, its features with type, unit and default, and a hash over their names and types."""
    features = service_features(service)
    return {
        "name": service,
        "schema_hash": digest_values([[feature.name, feature.dtype] for feature in features]),
        "features": {
            feature.name: {"dtype": feature.dtype, "unit": feature.unit, "default": feature.default}
            for feature in features
        },
    }


def described_signatures() -> dict[str, Any]:
    """Of each signature its outputs, and each input's dtype, shape (null is any) and default (null is NaN)."""
    described: dict[str, Any] = {}
    for signature, specs in SIGNATURE_INPUTS.items():
        defaults = input_defaults(signature)
        described[signature] = {
            "outputs": list(OUTPUTS[signature]),
            "inputs": {
                name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
                | ({"default": _plain(defaults[name])} if name in defaults else {"required": True})
                for name, spec in specs.items()
            },
        }
    return described


def described_code() -> dict[str, Any]:
    """The git commit, null outside a repository, and the versions of what computes."""
    try:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
        )
        commit = told.stdout.strip() if told.returncode == 0 else None
    except FileNotFoundError:  # no git on this machine
        commit = None
    return {"git_commit": commit, "packages": {name: version(name) for name in PACKAGES}}


def _plain(value: np.ndarray) -> Any:
    plain = value.tolist()
    return [None if number != number else number for number in plain] if isinstance(plain, list) else plain
