"""The step `verify`: the canary answers recorded requests beside the stable version, and is put away if it is worse."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from serving.releases.acts import new_act, record
from serving.releases.canary import WAIT_SECONDS, candidate_version, is_settled
from serving.releases.comparison import Rule, compare
from serving.releases.history import VERIFY, acts_of
from serving.releases.labels import CANARY, STABLE, read_served
from serving.releases.quarantine import acting, put_away
from serving.releases.replay import recorded_requests, replay
from serving.releases.running import model_server, wait_for_label
from serving.releases.versions import version_folder
from tastemaker.config import Config
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import StepReport, digest_values, run_step, write_atomically


def verify(home: Home, config: Config, as_of: datetime, server: str | None) -> StepReport:
    """Replays recorded requests to `canary` and `stable`, compares errors, latency, scores and lists.

    The first version is held to the bounds that need no other. One that breaks a bound goes to quarantine, and `stable`
    stays where it is.

    Args:
        server: host:port of the model server; where none answers, one of our own serves both meanwhile.

    Raises GateFailedError with the bounds that were broken; TastemakerError where the version is not the canary.
    """
    version = candidate_version(home, as_of)
    verdict_file = _verdict_file(home, as_of)

    def work() -> dict[str, Any]:
        served = read_served(home)
        if is_settled(home, version):
            _write(verdict_file, version, served.stable, [], passed=served.stable == version)
            return {"version": version, "compared": f"not, version {served.stable} is stable"}
        if served.canary != version:
            raise TastemakerError(f"Version {version} is not the canary; run 'tastemaker release canary' first.")
        requests = recorded_requests(version_folder(home, version), config.canary.requests)
        rules = _rules(home, config, version, served.stable, requests, server)
        broken = " ".join(rule.sentence for rule in rules if not rule.passed)
        _write(verdict_file, version, served.stable, rules, passed=not broken)
        if broken:
            put_away(home, version, broken)
            raise GateFailedError(
                f"Version {version} may not become stable: {broken} It is in quarantine in "
                f"{home.quarantined_releases}, and 'stable' stays at {served.stable or 'none'}."
            )
        with acting(home):
            if acts_of(home, version)[-1]["act"] != VERIFY:
                record(home, new_act(VERIFY, version, **({"from": served.stable} if served.stable else {})))
        return {
            "version": version,
            "compared": f"with version {served.stable}" if served.stable else "not, it is the first",
            "requests": len(requests),
            **{rule.rule: rule.sentence for rule in rules},
        }

    return run_step(
        home,
        as_of,
        "verify",
        work,
        inputs={"version": str(version), "bounds": digest_values(config.canary.model_dump())},
        outputs=[verdict_file],
        code=[Path(__file__), Path(__file__).with_name("comparison.py"), Path(__file__).with_name("replay.py")],
        holds=lambda: is_settled(home, version) or _still_compared(home, as_of, version),
    )


def read_verdict(home: Home, as_of: datetime) -> dict[str, Any] | None:
    """What `verify` found: `version`, `stable`, `passed`, `rules`; None where it has not run."""
    path = _verdict_file(home, as_of)
    return dict(json.loads(path.read_text())) if path.exists() else None


def _rules(
    home: Home, config: Config, version: int, stable: int | None, requests: list[Any], server: str | None
) -> list[Rule]:
    labels = {CANARY: version} | ({STABLE: stable} if stable is not None else {})
    with model_server(home, server) as address:
        for label, number in labels.items():
            wait_for_label(address, label, number, WAIT_SECONDS)
        seen = replay(address, list(labels), requests, config.canary.rounds)
    compared = seen.get(STABLE)
    # A stable version that refuses every request was made for other inputs: nothing of it can be compared.
    if compared is not None and len(compared.errors) == len(requests) and len(seen[CANARY].errors) < len(requests):
        compared = None
    return compare(seen[CANARY], compared, config.canary)


def _still_compared(home: Home, as_of: datetime, version: int) -> bool:
    verdict, served = read_verdict(home, as_of), read_served(home)
    return verdict is not None and served.canary == version and verdict["stable"] == served.stable


def _verdict_file(home: Home, as_of: datetime) -> Path:
    return home.run(as_of) / "verdicts" / "canary.json"


def _write(path: Path, version: int, stable: int | None, rules: list[Rule], *, passed: bool) -> None:
    verdict = {"version": version, "stable": stable, "passed": passed, "rules": [rule.to_json() for rule in rules]}
    write_atomically(path, json.dumps(verdict, indent=2, sort_keys=True) + "\n")
