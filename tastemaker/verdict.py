"""Whether a built release may be published: the gate's verdict, and the word of a person who overrides it.

The verdict stands beside the release, `candidates/<as_of>.verdict.json`, and speaks of one manifest only: a candidate
that was built again has no verdict until the gate has judged it again.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tastemaker import journal
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import write_atomically

FORMAT: Final = 1
OVERRIDE: Final = "override"
MANIFEST: Final = "manifest.json"
# A release that is worse all round fails a dozen rules; the line that an operator reads last names the first.
_FIRST: Final = 5
LONGEST_OVERRIDE_HOURS: Final = 24 * 7


def candidate_digest(home: Home, as_of: datetime) -> str:
    """SHA-256 of the candidate's manifest, which has the checksum of every other file of it.

    Raises TastemakerError when there is no candidate.
    """
    manifest = home.candidate(as_of) / MANIFEST
    if not manifest.exists():
        raise TastemakerError(
            f"There is no release candidate at {home.candidate(as_of)}; build it with 'tastemaker release build'."
        )
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def read_verdict(home: Home, as_of: datetime) -> dict[str, Any] | None:
    """The verdict on the candidate as it is now; None where the gate has not judged it.

    Raises TastemakerError when there is no candidate, or when the file is no verdict.
    """
    path = home.verdict(as_of)
    digest = candidate_digest(home, as_of)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whose = found["candidate"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as problem:
        raise TastemakerError(
            f"{path} is no verdict of the gate ({problem!r}); run 'tastemaker release gate' again."
        ) from None
    return dict(found) if whose == digest else None


def write_verdict(home: Home, as_of: datetime, verdict: Mapping[str, Any]) -> None:
    """Puts the verdict beside the candidate."""
    text = json.dumps(verdict, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(home.verdict(as_of), text + "\n")


def require_passed(home: Home, as_of: datetime, now: datetime | None = None) -> dict[str, Any]:
    """The verdict, if the candidate may be published: it passed, or an override of it has not ended.

    Args:
        now: the moment that an override is held against, by default the wall clock's.

    Raises GateFailedError with the rules that failed, or when the candidate was not judged; TastemakerError when there
    is no candidate.
    """
    verdict = read_verdict(home, as_of)
    if verdict is None:
        raise GateFailedError(
            f"The candidate {home.candidate(as_of)} was not judged as it is now; "
            f"run 'tastemaker evaluate' and 'tastemaker release gate' for {as_of:%Y-%m-%dT%H:%MZ}."
        )
    if verdict["passed"]:
        return verdict
    override = verdict["override"]
    if override is None:
        raise GateFailedError(f"The release {verdict['release']} is blocked: {failed_rules(verdict, _FIRST)}")
    until = datetime.fromisoformat(override["until"])
    if (now or datetime.now(UTC)) >= until:
        raise GateFailedError(
            f"The release {verdict['release']} is blocked; the override by {override['who']} ended at "
            f"{until:%Y-%m-%d %H:%M} UTC: {failed_rules(verdict, _FIRST)}"
        )
    return verdict


def failed_rules(verdict: Mapping[str, Any], most: int | None = None) -> str:
    """The sentences of the rules that failed, in one line; of more than `most` the first, and how many there are."""
    sentences = [rule["sentence"] for rule in verdict["rules"] if not rule["passed"]]
    if most is None or len(sentences) <= most:
        return " ".join(sentences)
    told = " ".join(sentences[:most])
    return f"{told} {len(sentences) - most} more of {len(verdict['rules'])} rules failed; the report shows all."


def override_verdict(home: Home, as_of: datetime, *, who: str, why: str, hours: float) -> dict[str, Any]:
    """Lets a blocked candidate be published for a time: exactly this candidate, by somebody's name, for a reason.

    The journal is told first, so that nothing is let through unlogged. Returns the verdict with the override in it.

    Raises TastemakerError when there is no verdict to override, when it passed, or when a name, a reason or a sensible
    time is missing.
    """
    verdict = read_verdict(home, as_of)
    if verdict is None:
        raise TastemakerError(
            f"The gate has not judged the candidate {home.candidate(as_of)}, so there is nothing to override; "
            "run 'tastemaker release gate' first."
        )
    if verdict["passed"]:
        raise TastemakerError(f"The release {verdict['release']} passed the gate; it needs no override.")
    if not who.strip() or not why.strip():
        raise TastemakerError("An override names a person and a reason: give --who and --why, neither of them empty.")
    if not 0 < hours <= LONGEST_OVERRIDE_HOURS:
        raise TastemakerError(
            f"An override lasts more than 0 and at most {LONGEST_OVERRIDE_HOURS} hours, not {hours:g}; "
            "what is to last longer belongs under 'release_gate' in the config file."
        )
    now = datetime.now(UTC).replace(microsecond=0)
    override = {"who": who.strip(), "why": why.strip(), "until": (now + timedelta(hours=hours)).isoformat()}
    facts = {"at": now.isoformat(), "act": OVERRIDE, "release": verdict["release"], "candidate": verdict["candidate"]}
    journal.append(home, {**facts, **override, "failed": failed_rules(verdict)})
    verdict[OVERRIDE] = override
    write_verdict(home, as_of, verdict)
    return verdict
