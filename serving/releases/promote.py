"""The step `promote`, and the same by hand: `stable` moves to a version that has proved itself."""

from datetime import datetime
from pathlib import Path
from typing import Any

from serving.releases.acts import new_act
from serving.releases.canary import WAIT_SECONDS, candidate_version, is_settled
from serving.releases.history import PROMOTE, refuse_taken_back
from serving.releases.labels import CANARY, STABLE, read_served
from serving.releases.moving import move_labels
from serving.releases.running import answers
from serving.releases.verify import read_verdict
from serving.releases.versions import require_published, settings_of
from serving.trust import Trust
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.steps import StepReport, run_step


def promote(home: Home, as_of: datetime, server: str | None, seconds: float = WAIT_SECONDS) -> StepReport:
    """Makes the version of a candidate stable, once `verify` has let it pass; an older one than the stable is left.

    Args:
        server: host:port of the model server; where none answers, it reads the labels when it starts.

    Raises TastemakerError where `verify` has not passed this version, or where the server does not follow;
    GateFailedError for a version that was rolled back.
    """
    version = candidate_version(home, as_of)

    def work() -> dict[str, Any]:
        before = read_served(home).stable
        if before is not None and version < before:
            return {"version": version, "stable": before, "promoted": f"no, version {before} is newer"}
        if before != version:
            refuse_taken_back(home, version)
        verdict = read_verdict(home, as_of)
        if before != version and (verdict is None or verdict["version"] != version or not verdict["passed"]):
            raise TastemakerError(
                f"Version {version} has not been compared with the stable one; run 'tastemaker release verify' first."
            )
        word = make_stable(home, version, server, seconds=seconds)
        return {"version": version, "stable": version, "before": before, "model_server": word}

    return run_step(
        home,
        as_of,
        "promote",
        work,
        inputs={"version": str(version)},
        outputs=[],
        code=[Path(__file__)],
        holds=lambda: is_settled(home, version),
    )


def make_stable(
    home: Home, version: int, server: str | None, *, reason: str | None = None, seconds: float = WAIT_SECONDS
) -> str:
    """Moves `stable`, and with it `canary`, to a published version; returns what the model server says of it.

    Raises TastemakerError for a version that is not there or is damaged, or where the server does not follow.
    """
    Trust.of(settings_of(home)).require(require_published(home, version))
    before = read_served(home).stable
    act = new_act(PROMOTE, version, reason=reason, **({"from": before} if before is not None else {}))
    running = server if answers(server) else None
    move_labels(home, (STABLE, CANARY), version, act, running, seconds)
    return "AVAILABLE" if running else f"none answers at {server}"
