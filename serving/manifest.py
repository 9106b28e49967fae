"""The manifest of a release: what its files must be, byte for byte."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tastemaker.errors import TastemakerError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
CHECKSUMS = "files"


class UntrustedError(TastemakerError):
    """A release that is whole, yet may not be loaded: nobody we trust signed it, or it could do harm."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a release folder. Raises TastemakerError when there is none or it is broken."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TastemakerError(f"{folder} has no {MANIFEST}, so it is no finished release; build it again.") from None
    except ValueError as problem:
        raise TastemakerError(f"{path} is not JSON ({problem}); build the release again.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get(CHECKSUMS), dict):
        raise TastemakerError(f"{path} lists no '{CHECKSUMS}' of the release's files; build the release again.")
    return manifest


def verify_files(folder: Path) -> dict[str, Any]:
    """Checks every file of a release against its manifest, and returns the manifest.

    A link is refused too: what it leads to may change after it was looked at.
    Raises TastemakerError for the first file that is missing, changed, or there without being listed.
    """
    manifest = read_manifest(folder)
    listed: dict[str, str] = manifest[CHECKSUMS]
    paths = list(folder.rglob("*"))
    for link in sorted(path for path in paths if path.is_symlink()):
        raise TastemakerError(f"{link} is a link; a release holds files and folders only, publish it again.")
    present = {path.relative_to(folder).as_posix() for path in paths if path.is_file()} - {MANIFEST, SIGNATURE}
    for name in sorted(listed):
        if name not in present:
            raise TastemakerError(f"{folder / name} is missing though {MANIFEST} lists it; publish the release again.")
        found = file_digest(folder / name)
        if found != listed[name].removeprefix("sha256:"):
            raise TastemakerError(
                f"{folder / name} has SHA-256 {found[:12]}… where {MANIFEST} says {listed[name][:19]}…: "
                f"the file was damaged or changed; publish the release again."
            )
    for name in sorted(present - set(listed)):
        raise TastemakerError(f"{folder / name} is not listed in {MANIFEST}; publish the release again.")
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
