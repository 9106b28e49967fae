"""The step `probe`: the candidate, loaded by the server that will serve it, must give the answers that were recorded.

Not "it answered": the same item ids and the same bits of every score, for every golden request, each asked twice.
"""

import json
import shutil
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from serving import golden
from serving.golden import Asked, ask, golden_requests
from serving.manifest import UntrustedError, verify_files
from serving.model_status import ServerUnreachableError, version_states
from serving.releases.comparison import Rule
from serving.releases.versions import settings_of
from serving.server_process import ServerProcess, server_process
from serving.trust import sign_release, trust_flags
from tastemaker import names
from tastemaker.config import Config, ProbeConfig
from tastemaker.errors import GateFailedError
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_values, run_step, write_atomically
from tastemaker.verdict import candidate_digest, failed_rules

LOAD_SECONDS = 180.0
_POLL_SECONDS = 0.1
_VERSION = 1


def probe(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Loads the candidate of `as_of` in a server of its own and holds it to its golden requests.

    Leaves the verdict `runs/<as_of>/verdicts/probe.json`, of a candidate that fails, too.

    Raises GateFailedError with what is wrong: an operation that is not allowed, a load that fails, another answer than
    the recorded one, more time or memory than the config allows. TastemakerError for a candidate that is missing or
    damaged; BusyError when the home is in use.
    """
    candidate = home.candidate(as_of)
    manifest = verify_files(candidate)
    verdict = verdict_file(home, as_of)

    def work() -> Mapping[str, Any]:
        rules, facts = _probed(home, candidate, config.probe)
        told = {
            "format": 1,
            "release": manifest.get("release"),
            "candidate": candidate_digest(home, as_of),
            "passed": all(rule.passed for rule in rules),
            "rules": [rule.to_json() for rule in rules],
            **facts,
        }
        write_atomically(verdict, json.dumps(told, indent=2, sort_keys=True, allow_nan=False) + "\n")
        if not told["passed"]:
            require_probed(home, as_of)
        return facts

    return run_step(
        home,
        as_of,
        "probe",
        work,
        inputs={
            "candidate": candidate_digest(home, as_of),
            "bounds": digest_values(config.probe.model_dump()),
        },
        outputs=[verdict],
        code=[*code_of(__name__), Path(__file__).parent / "server"],  # which is started, not imported
    )


def verdict_file(home: Home, as_of: datetime) -> Path:
    """Where the probe of one `as_of` leaves its verdict."""
    return home.run(as_of) / "verdicts" / "probe.json"


def require_probed(home: Home, as_of: datetime) -> None:
    """Raises GateFailedError unless the probe has let pass the candidate as it is now."""
    path = verdict_file(home, as_of)
    verdict = json.loads(path.read_text()) if path.exists() else {}
    if verdict.get("candidate") != candidate_digest(home, as_of):
        raise GateFailedError(
            f"The candidate {home.candidate(as_of)} was not probed as it is now; run 'tastemaker release probe' for "
            f"{as_of:%Y-%m-%dT%H:%MZ}."
        )
    if not verdict["passed"]:
        raise GateFailedError(f"The release {verdict['release']} may not be served: {failed_rules(verdict)}")


def _probed(home: Home, candidate: Path, bounds: ProbeConfig) -> tuple[list[Rule], dict[str, Any]]:
    """The rules, up to the first that nothing can follow, and the facts. The candidate itself is left as it is."""
    recorded = golden_requests(candidate)
    settings = settings_of(home)
    alone = candidate.with_name(f".{candidate.name}.probe")
    shutil.rmtree(alone, ignore_errors=True)  # of a probe that was killed; the home's lock says none is at work
    try:
        shutil.copytree(candidate, alone / str(_VERSION))
        try:
            sign_release(alone / str(_VERSION), settings)
        except UntrustedError as problem:
            return [_loads(str(problem))], {}
        flags = [f"--model_name={names.MODEL_NAME}", f"--model_base_path={alone}", "--max_num_load_retries=0"]
        with server_process([*flags, *trust_flags(settings)], home.root / "logs" / "probe.log") as server:
            began = time.monotonic()
            refused = _load_problem(server)
            if refused:
                return [_loads(refused)], {}
            loaded = time.monotonic() - began
            asked = ask(server.address, recorded)
            server.require_alive()
            memory = server.peak_memory_mib()
    finally:
        shutil.rmtree(alone, ignore_errors=True)
    facts = {
        "requests": asked.requests,
        "signatures": sorted({one.request.model_spec.signature_name for one in recorded}),
        "p50_milliseconds": round(asked.percentile(50), 2),
        "p99_milliseconds": round(asked.percentile(99), 2),
        "peak_memory_mib": round(memory, 1),
        "start_seconds": round(loaded, 1),
    }
    return [_loads(""), *_rules(asked, memory, bounds)], facts


def _load_problem(server: ServerProcess) -> str:
    """Waits for the load; returns why it failed, "" when it has not. Raises TastemakerError where it is gone."""
    deadline = time.monotonic() + LOAD_SECONDS
    while True:
        server.require_alive()
        try:
            state = version_states(server.address, names.MODEL_NAME).get(_VERSION, "")
        except ServerUnreachableError:
            state = ""
        if state == "AVAILABLE":
            return ""
        if state.startswith("END: "):
            return state.removeprefix("END: ")
        if time.monotonic() > deadline:
            return f"it did not load within {LOAD_SECONDS:.0f} s"
        time.sleep(_POLL_SECONDS)


def _loads(problem: str) -> Rule:
    sentence = f"It cannot be loaded: {problem}." if problem else "It loads."
    return Rule("loads", float(not problem), 1.0, not problem, sentence.replace("..", "."))


def _rules(asked: Asked, memory: float, bounds: ProbeConfig) -> list[Rule]:
    p99 = asked.percentile(99)
    wrong = len(asked.wrong)
    differs = f", {asked.wrong[0]}" if wrong else ""
    return [
        Rule(
            "answers",
            float(wrong),
            0.0,
            not wrong,
            f"{'At least ' if wrong == golden.MOST_TOLD else ''}{wrong} answers to {asked.requests} golden requests, "
            f"each asked {golden.ROUNDS} times, differ from what was recorded{differs}.",
        ),
        Rule(
            "latency",
            round(p99, 2),
            bounds.p99_milliseconds,
            p99 <= bounds.p99_milliseconds,
            f"The p99 of usual requests is {p99:.0f} ms, allowed are {bounds.p99_milliseconds:.0f}.",
        ),
        Rule(
            "memory",
            round(memory, 1),
            bounds.max_memory_mib,
            memory <= bounds.max_memory_mib,
            f"The server took {memory:.0f} MiB at its peak, allowed are {bounds.max_memory_mib:.0f}.",
        ),
    ]
