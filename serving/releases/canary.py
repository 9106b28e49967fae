"""The step `canary`: a candidate becomes a version, whole or not at all, and callers may ask for it as `canary`."""

from datetime import datetime
from pathlib import Path
from typing import Any

from serving.manifest import verify_files
from serving.probe import require_probed
from serving.releases.acts import new_act, record
from serving.releases.history import CANARY_ACT, PUBLISH, acts_of, refuse_taken_back
from serving.releases.labels import CANARY, read_served
from serving.releases.moving import move_labels
from serving.releases.quarantine import acting, put_away, refuse_quarantined
from serving.releases.running import LoadFailedError, model_server
from serving.releases.versions import content_of, is_sound, mebibytes, place, version_folder, version_of
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import StepReport, run_step
from tastemaker.verdict import require_passed

WAIT_SECONDS = 120.0


def canary(home: Home, as_of: datetime, server: str | None, seconds: float = WAIT_SECONDS) -> StepReport:
    """Publishes the candidate that the gate has let pass, has it loaded, and moves the label `canary` to it.

    The same candidate again is the same version: nothing is copied twice. A version that is older than the stable one
    (a past day that was run again) is published and not tried.

    Args:
        server: host:port of the model server; where none answers, one of our own loads the version meanwhile.
        seconds: how long the load may take.

    Raises TastemakerError for a missing or damaged candidate, a full disk, or a server that does not follow;
    GateFailedError for a candidate that gate or probe has blocked or not judged, one in quarantine, one that was rolled
    back, and one that the server cannot load, which is put into quarantine.
    """
    manifest = verify_files(home.candidate(as_of))
    with acting(home):
        refuse_quarantined(home, manifest)
        version = version_of(home, as_of, manifest)
    target = version_folder(home, version)

    def work() -> dict[str, Any]:
        require_passed(home, as_of)
        require_probed(home, as_of)
        _publish(home.candidate(as_of), home, version, manifest)
        facts = {"version": version, "mebibytes": mebibytes(target)}
        stable = read_served(home).stable
        if stable is not None and version < stable:
            return {**facts, "label": f"none, version {stable} is newer and stable"}
        refuse_taken_back(home, version)
        if stable != version:
            _try(home, version, server, seconds)
        return {**facts, "label": ", ".join(read_served(home).labels_of(version))}

    return run_step(
        home,
        as_of,
        "canary",
        work,
        inputs={"version": str(version), "files": content_of(manifest)},
        outputs=[target],
        code=[Path(__file__)],
        holds=lambda: is_settled(home, version) or read_served(home).canary == version,
    )


def candidate_version(home: Home, as_of: datetime) -> int:
    """The version that the step `canary` has made of a candidate. Raises TastemakerError where it has made none."""
    manifest = verify_files(home.candidate(as_of))
    with acting(home):
        refuse_quarantined(home, manifest)
        version = version_of(home, as_of, manifest)
    if not version_folder(home, version).exists():
        raise TastemakerError(
            f"The candidate {home.candidate(as_of)} is no published version yet; run 'tastemaker release canary' first."
        )
    return version


def is_settled(home: Home, version: int) -> bool:
    """Whether nothing is left to try: the version is stable, or a newer one is."""
    stable = read_served(home).stable
    return stable is not None and version <= stable


def _publish(candidate: Path, home: Home, version: int, manifest: dict[str, Any]) -> None:
    folder = version_folder(home, version)
    if not (folder.exists() and is_sound(home, folder)):
        place(home, candidate, version)
    with acting(home):
        if not any(act["act"] == PUBLISH for act in acts_of(home, version)):
            record(home, new_act(PUBLISH, version, release=manifest.get("release"), content=content_of(manifest)))


def _try(home: Home, version: int, server: str | None, seconds: float) -> None:
    try:
        with model_server(home, server) as address:
            move_labels(home, (CANARY,), version, new_act(CANARY_ACT, version), address, seconds)
    except LoadFailedError as problem:
        put_away(home, version, str(problem))
        raise GateFailedError(
            f"{problem} It is in quarantine in {home.quarantined_releases}, and 'stable' stays where it was."
        ) from None
