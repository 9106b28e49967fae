"""What there is to tell of releases: the list, one of them, and how two differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.manifest import CHECKSUMS, read_manifest
from serving.model_status import ServerUnreachableError, version_states
from serving.releases.history import acts_of, taken_back
from serving.releases.labels import read_served
from serving.releases.quarantine import records
from serving.releases.versions import (
    is_sound,
    mebibytes,
    published_versions,
    require_published,
    version_folder,
)
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

_FIGURES = ("recall", "ndcg", "auc", "log_loss")  # a manifest's metrics that judge a model
_TELLING = ("ndcg@20", "recall@20", "validation_recall@20")  # those of them that a table has room for


@dataclass(frozen=True)
class Release:
    """One version. `published` is the journal's moment; `state` what holds of it, and the model server's word."""

    version: int
    labels: list[str]
    release: str
    as_of: str
    published: str
    mebibytes: float
    metrics: dict[str, float]
    state: str


def releases(home: Home, server: str | None = None) -> list[Release]:
    """Every published version, newest first, then those in quarantine; the model server is asked where it answers."""
    try:
        states = version_states(server, names.MODEL_NAME) if server else {}
        unknown = "not loaded" if server else "not asked"
    except ServerUnreachableError:
        states, unknown = {}, "server not reachable"
    found = [_release(home, version, states.get(version, unknown)) for version in published_versions(home)]
    for version, record in sorted(records(home).items(), reverse=True):
        found.append(_release(home, version, f"quarantine: {record['reason']}"))
    return found


def shown(home: Home, version: int, server: str | None = None) -> list[tuple[str, Any]]:
    """All there is to tell of one version, by name. Raises TastemakerError where there is none."""
    folder = _folder(home, version)
    try:
        manifest = read_manifest(folder)
    except TastemakerError as problem:
        manifest = {"damaged": str(problem), CHECKSUMS: {}}
    [state] = [one.state for one in releases(home, server) if one.version == version]
    rows: list[tuple[str, Any]] = [
        ("version", version),
        ("labels", read_served(home).labels_of(version)),
        ("state", state),
        ("files", "sound" if is_sound(home, folder) else "damaged"),
        ("mebibytes", mebibytes(folder)),
        *flattened({key: value for key, value in manifest.items() if key != CHECKSUMS}),
    ]
    for act in acts_of(home, version):
        more = "; ".join(f"{key} {value}" for key, value in act.items() if key in ("from", "reason"))
        rows.append((act["act"], f"{act['at']} by {act['who']}" + (f"; {more}" if more else "")))
    return rows


def differences(home: Home, one: int, other: int) -> list[tuple[str, Any, Any]]:
    """What two versions' manifests say otherwise: name, the one's value, the other's; files by checksum."""
    first, second = (dict(flattened(read_manifest(_folder(home, version)))) for version in (one, other))
    return [
        (name, first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]


def flattened(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under dotted names.

    >>> dict(flattened({"a": {"b": 1}, "c": [2]}))
    {'a.b': 1, 'c': [2]}
    """
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def describe(metrics: Mapping[str, float]) -> str:
    """The telling metrics in one cell of a table.

    >>> describe({"train_retriever.validation_recall@20": 0.25, "train_retriever.validation_recall@50": 0.5})
    'validation_recall@20 0.2500'
    """
    short = {name.rpartition(".")[2]: value for name, value in metrics.items()}
    return ", ".join(f"{name} {short[name]:.4f}" for name in _TELLING if name in short)


def _folder(home: Home, version: int) -> Any:
    away = home.quarantined_releases / str(version)
    return away if away.is_dir() else require_published(home, version)


def _release(home: Home, version: int, state: str) -> Release:
    folder = (
        _folder(home, version) if version_folder(home, version).exists() else home.quarantined_releases / str(version)
    )
    try:
        manifest = read_manifest(folder)
    except TastemakerError as problem:
        manifest, state = {}, f"{state}; {problem}"
    back = taken_back(home, version)
    published = [act["at"] for act in acts_of(home, version) if act["act"] == "publish"]
    return Release(
        version=version,
        labels=read_served(home).labels_of(version),
        release=str(manifest.get("release", "")),
        as_of=str(manifest.get("as_of", "")),
        published=published[-1] if published else "",
        mebibytes=mebibytes(folder),
        metrics=dict(_figures(manifest.get("metrics") or {})),
        state=state if back is None else f"{state}; rolled back at {back['at']}",
    )


def _figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in flattened(metrics):
        if isinstance(value, int | float) and any(word in name for word in _FIGURES):
            yield name, float(value)
