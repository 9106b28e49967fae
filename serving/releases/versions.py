"""Published versions: folders named by integers, which appear whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.manifest import CHECKSUMS, read_manifest
from serving.trust import Trust, sign_release
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import Settings
from tastemaker.steps import digest_values

_LAST_REVISION = 99
_COPY_BYTES = 1 << 20


def releases_folder(home: Home) -> Path:
    """What the model server watches."""
    return home.models / names.MODEL_NAME


def version_folder(home: Home, version: int) -> Path:
    """Where a published version lies."""
    return releases_folder(home) / str(version)


def published_versions(home: Home) -> list[int]:
    """Every version that is there, newest first."""
    folder = releases_folder(home)
    return sorted((int(p.name) for p in folder.glob("*") if p.name.isdigit() and p.is_dir()), reverse=True)


def require_published(home: Home, version: int) -> Path:
    """The folder of a version. Raises TastemakerError where there is none."""
    folder = version_folder(home, version)
    if not folder.is_dir():
        known = ", ".join(map(str, published_versions(home))) or "none"
        raise TastemakerError(f"There is no version {version} in {folder.parent}; there are: {known}.")
    return folder


def content_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over the names and checksums of a release's files: the same for the same bytes."""
    return digest_values(manifest[CHECKSUMS])


def version_of(home: Home, as_of: datetime, manifest: Mapping[str, Any]) -> int:
    """The version of a candidate: `YYYYMMDDHHMM` of `as_of`, UTC, and a two-digit revision.

    The revision with the same files if there is one, else the first that no version has or had in quarantine.
    Raises TastemakerError when all hundred are taken.
    """
    stem = as_of.astimezone(UTC).strftime("%Y%m%d%H%M")
    for revision in range(_LAST_REVISION + 1):
        version = int(f"{stem}{revision:02d}")
        folder = version_folder(home, version)
        if folder.exists():
            if _content_there(folder) == content_of(manifest):
                return version
        elif not (home.quarantined_releases / f"{version}.json").exists():
            return version
    raise TastemakerError(
        f"{releases_folder(home)} already holds {_LAST_REVISION + 1} revisions of {stem}; "
        "remove those that nobody needs with 'tastemaker release prune'."
    )


def is_sound(home: Home, folder: Path) -> bool:
    """Whether a model server of this home may load a version: signed, every file as its manifest says, harmless."""
    try:
        Trust.of(settings_of(home)).require(folder)
    except TastemakerError:
        return False
    return True


def settings_of(home: Home) -> Settings:
    """The settings of this process, for this home."""
    return Settings(home=home.root)


def place(home: Home, candidate: Path, version: int) -> None:
    """Copies a candidate, byte for byte, and signs it, so that the version is there whole or not at all.

    Written under a name that is no version, checked against its manifest, signed, synced, renamed. A damaged version
    that stands in its place goes; a server that has loaded it does not notice.
    Raises TastemakerError for a full disk, UntrustedError for a graph that may do harm.
    """
    target = version_folder(home, version)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".*.part"):
        shutil.rmtree(left)  # of a publisher that was killed; the home's lock says that none is at work
    beside = target.with_name(f".{target.name}.part")
    with _sentence_for_full_disk(target):
        try:
            _copy_tree(candidate, beside)
            sign_release(beside, settings_of(home))
            sync_folder(beside)
            if target.exists():
                target.rename(target.with_name(f".{target.name}.damaged.part"))
            beside.rename(target)
            sync_folder(target.parent)
        finally:
            for left in target.parent.glob(f".{target.name}.*part"):
                shutil.rmtree(left, ignore_errors=True)


def move_folder(source: Path, target: Path) -> None:
    """Renames a folder on the same disk, synced on both sides; nothing where it has been moved already."""
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    sync_folder(source.parent)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Has the kernel write a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mebibytes(folder: Path) -> float:
    """Size of all files of a folder, in MiB."""
    return round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20, 1)


def _content_there(folder: Path) -> str | None:
    try:
        return content_of(read_manifest(folder))
    except TastemakerError:
        return None  # a version without a manifest is nobody's revision


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
            continue
        with path.open("rb") as given, copy.open("wb") as written:
            shutil.copyfileobj(given, written, _COPY_BYTES)
            written.flush()
            os.fsync(written.fileno())
    for folder in [*(p for p in target.rglob("*") if p.is_dir()), target]:
        sync_folder(folder)


@contextmanager
def _sentence_for_full_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TastemakerError(
            f"The disk is full: {target} was not published and nothing of it is left; free some space and try again."
        ) from problem
