"""The step `gate`: the rules held against what `evaluate` found; the verdict stands beside the release."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tastemaker import verdict as verdicts
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_files, digest_values, run_step
from training.evaluation.current_champion import Published, current_champion
from training.evaluation.files import METRICS, evaluation_folder
from training.gate.refreshed import is_refreshed, refresh_rulings
from training.gate.rules import Ruling, rulings


def gate(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Writes `candidates/<as_of>.verdict.json`, then stops a candidate that may not be published.

    An override of the same candidate stays in the verdict, and lets it pass until it ends.

    Raises GateFailedError with the rules that failed; TastemakerError when there is no candidate, when `evaluate` has
    not judged it as it is now, or against another champion than the one that serves; BusyError when the home is in use.
    """
    digest = verdicts.candidate_digest(home, as_of)
    manifest = json.loads((home.candidate(as_of) / verdicts.MANIFEST).read_text(encoding="utf-8"))
    champion = current_champion(home, as_of)
    if is_refreshed(manifest):
        figures = None
        judged = digest_values(None if champion is None else champion.manifest)
        told = _against(champion)
    else:
        figures = _figures(home, as_of, digest, champion)
        judged = digest_files([evaluation_folder(home, as_of) / METRICS])
        told = figures["champion"]

    def work() -> Mapping[str, Any]:
        if figures is None:
            found = refresh_rulings(manifest, champion.manifest if champion else None, config.release_gate)
        else:
            found = rulings(figures, config.release_gate)
        last = verdicts.read_verdict(home, as_of)
        verdict = verdict_of(str(manifest["release"]), digest, told, found, last["override"] if last else None)
        verdicts.write_verdict(home, as_of, verdict)
        return {
            "verdict": summary(verdict),
            "rules": len(found),
            "failed": [one.sentence for one in found if not one.passed],
        }

    report = run_step(
        home,
        as_of,
        "gate",
        work,
        inputs={
            "candidate": digest,
            "judged": judged,
            "champion": digest_values(told),
            "rules": digest_values(config.release_gate.model_dump()),
        },
        outputs=[home.verdict(as_of)],
        code=code_of(__name__),
    )
    verdicts.require_passed(home, as_of)
    return report


def verdict_of(
    release: str,
    candidate: str,
    champion: Mapping[str, Any] | None,
    found: Sequence[Ruling],
    override: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The verdict as JSON values.

    Args:
        candidate: SHA-256 of the candidate's manifest.
        champion: whom it was held against, with its `version`; None for a first release.
        override: what somebody has said of this candidate before.
    """
    passed = all(one.passed for one in found)
    return {
        "format": verdicts.FORMAT,
        "release": release,
        "candidate": candidate,
        "passed": passed,
        "first_release": champion is None,
        "champion": None if champion is None else dict(champion),
        "rules": [asdict(one) for one in found],
        "override": None if passed or override is None else dict(override),
    }


def summary(verdict: Mapping[str, Any]) -> str:
    """One sentence: what was decided, against whom, by how many rules."""
    champion, rules = verdict["champion"], verdict["rules"]
    facing = "as a first release" if champion is None else f"against version {champion['version']}"
    if verdict["passed"]:
        return f"The release {verdict['release']} passed all {len(rules)} rules, {facing}."
    failed = [rule for rule in rules if not rule["passed"]]
    told = f"The release {verdict['release']} is blocked, {facing}: {len(failed)} of {len(rules)} rules failed."
    override = verdict["override"]
    if override is not None:
        told += f" {override['who']} lets it pass until {override['until']}: {override['why']}"
    return told


def _figures(home: Home, as_of: datetime, digest: str, champion: Published | None) -> dict[str, Any]:
    again = f"run 'tastemaker evaluate --as-of {as_of:%Y-%m-%dT%H:%MZ}'"
    path = evaluation_folder(home, as_of) / METRICS
    if not path.exists():
        raise TastemakerError(f"Nothing was judged for {as_of:%Y-%m-%d %H:%M} UTC; {again} first.")
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if figures.get("candidate") != digest:
        raise TastemakerError(f"The figures in {path} are not those of the candidate as it is now; {again} again.")
    judged, now = (None if one is None else one["version"] for one in (figures["champion"], _against(champion)))
    if judged != now:
        raise TastemakerError(
            f"The candidate was compared with {_version(judged)}, but {_version(now)} has the label 'stable' now; "
            f"{again} again."
        )
    return figures


def _against(champion: Published | None) -> dict[str, Any] | None:
    return None if champion is None else {"version": champion.version, "release": champion.release}


def _version(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
