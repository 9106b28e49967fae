"""Finds a source's files: a folder, a single file, or an fsspec URL, which is copied to the cache first."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import urlopen

from ingest.contract import Source, Table
from tastemaker.errors import TastemakerError

NETWORK_SECONDS = 5  # without a network a person should learn so at once


@dataclass(frozen=True)
class Found:
    """Where a source's files are. `source` is 'landing' when the data is simulated; `sentence` tells a person."""

    source: str
    path: str
    is_simulated: bool
    sentence: str


@dataclass(frozen=True)
class SourceFile:
    """One file to land: `name` is relative to the source's path and stands in `_file`; `digest` is its SHA-256."""

    table: str
    path: Path
    name: str
    digest: str


def find_files(source: Source, path: str, cache: Path) -> list[SourceFile]:
    """Every file of the source below `path`, sorted by table and name.

    A source of several tables keeps each as `<table>.<suffix>` or `<table>/*.<suffix>`; a source of one table may be
    any file, or a folder of any files. Raises TastemakerError when the path or a required table is not there.
    """
    root = _fetched(path, cache) if "://" in path else Path(path).expanduser()
    if not root.exists():
        raise TastemakerError(f"There is nothing at {path}; name the files of source '{source.name}' with --path.")
    found: list[SourceFile] = []
    for table in source.tables:
        members = _members(source, table, root)
        if not members and table.required:
            raise TastemakerError(f"{path} has no {_expected(source, table)}; source '{source.name}' needs one.")
        base = root.parent if root.is_file() else root
        found += [SourceFile(table.name, m, m.relative_to(base).as_posix(), _digest(m)) for m in members]
    return found


def _members(source: Source, table: Table, root: Path) -> list[Path]:
    single = len(source.tables) == 1
    if root.is_file():
        fits = single or _stem(source, root) == table.name
        return [root] if fits and _stem(source, root) is not None else []
    candidates = sorted(root.iterdir()) if single else sorted(p for p in root.iterdir() if p.is_file())
    chosen = [p for p in candidates if p.is_file() and (_stem(source, p) if single else _stem(source, p) == table.name)]
    folder = root / table.name
    if folder.is_dir():
        chosen += sorted(p for p in folder.iterdir() if p.is_file() and _stem(source, p))
    return chosen


def _stem(source: Source, path: Path) -> str | None:
    """The file's name without a suffix the source knows; None for other files and hidden ones."""
    if path.name.startswith("."):
        return None
    for suffix in source.suffixes:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return None


def _expected(source: Source, table: Table) -> str:
    stem = "file" if len(source.tables) == 1 else f"{table.name} file"
    return f"{stem} ({', '.join(source.suffixes)})"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetched(url: str, cache: Path) -> Path:
    """A copy of a remote file or folder: read anew each time, since a name may get new content."""
    target = cache / "remote" / hashlib.sha256(url.encode()).hexdigest()[:16]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        if url.startswith(("http://", "https://")):
            local = target / url.rstrip("/").rsplit("/", 1)[-1].split("?")[0]
            with closing(urlopen(url, timeout=NETWORK_SECONDS)) as remote:
                _copy(remote, local)
            return local
        return _fetched_with_fsspec(url, target)
    except (URLError, OSError, ImportError, ValueError) as problem:
        raise TastemakerError(f"{url} could not be fetched: {problem}. Nothing was landed.") from None


def _fetched_with_fsspec(url: str, target: Path) -> Path:
    from fsspec.core import url_to_fs

    filesystem, root = url_to_fs(url)
    if filesystem.isfile(root):
        local = target / Path(root).name
        with filesystem.open(root, "rb") as remote:
            _copy(remote, local)
        return local
    for member in _remote_members(filesystem, root):
        local = target / Path(member).relative_to(root)
        local.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open(member, "rb") as remote:
            _copy(remote, local)
    return target


def _remote_members(filesystem: Any, root: str) -> Iterator[str]:
    members = sorted(filesystem.find(root, maxdepth=2))
    if not members:
        raise FileNotFoundError(f"there is nothing at {root}")
    yield from members


def _copy(remote: IO[bytes], local: Path) -> None:
    with local.open("wb") as file:
        shutil.copyfileobj(remote, file)
