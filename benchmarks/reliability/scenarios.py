"""The faults of a server, each injected and measured. Every scenario returns the figures it is to be judged by."""

import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.load import Seen, loaded, steady_load
from benchmarks.reliability.server_process import ServerProcess, server_process
from benchmarks.reliability.tiny_release import MODEL, VERSIONS_APART, tiny_request, write_tiny
from serving.channel import Access
from serving.client import Recommender
from serving.fallback import PopularItems
from serving.releases.tfrecords import predict_logs
from tastemaker import names

ROUNDS = 300  # about as long as one recommend of a real release: 6 to 9 ms
# Without a pause there would be ten swaps a second, and what is measured is a server that does nothing but load.
_BETWEEN_SWAPS_SECONDS = 0.3
POPULAR = PopularItems("the last one seen", ("a", "b", "c"))


@dataclass(frozen=True)
class Overload:
    """Latencies in milliseconds, as callers see them; the first second of the load is the burst, told apart."""

    capacity_per_second: float
    rest_per_second: float
    rest_p50_ms: float
    rest_p99_ms: float
    load_per_second: float
    admitted: int
    refused: int
    other: int
    wrong: int
    admitted_per_second: float
    admitted_p50_ms: float
    admitted_p99_ms: float
    admitted_p99_ms_with_burst: float
    refused_p99_ms: float

    @property
    def ratio(self) -> float:
        """Admitted p99 under load to p99 at rest."""
        return round(self.admitted_p99_ms / self.rest_p99_ms, 2)


def overload(folder: Path, seconds: float, rest_seconds: float = 15.0) -> Overload:
    """Rest is half of what the server can carry; then ten times that, for so many seconds.

    Server and callers have half of the CPUs each.
    """
    request = tiny_request(ROUNDS)
    with _apart(), _tiny_server(folder) as server:
        _callers_side()
        loaded(server.address, request, 20, 2)
        found = _outcome(server, request, 1000, 3)
        capacity = found.outcomes["OK"] / found.seconds
        rest = _outcome(server, request, capacity / 2, rest_seconds)
        seen = _outcome(server, request, capacity * 5, seconds)
    outcomes = dict(seen.outcomes)
    settled = min(answer.sent for answer in seen.answers) + 1.0
    admitted, refused = outcomes.pop("OK", 0), outcomes.pop("RESOURCE_EXHAUSTED", 0)
    return Overload(
        capacity_per_second=round(capacity, 1),
        rest_per_second=round(rest.per_second, 1),
        rest_p50_ms=round(rest.percentile(50), 1),
        rest_p99_ms=round(rest.percentile(99), 1),
        load_per_second=round(seen.per_second, 1),
        admitted=admitted,
        refused=refused,
        other=sum(outcomes.values()),
        wrong=seen.wrong + rest.wrong,
        admitted_per_second=round(admitted / seen.seconds, 1),
        admitted_p50_ms=round(seen.percentile(50, after=settled), 1),
        admitted_p99_ms=round(seen.percentile(99, after=settled), 1),
        admitted_p99_ms_with_burst=round(seen.percentile(99), 1),
        refused_p99_ms=round(seen.percentile(99, "RESOURCE_EXHAUSTED"), 1),
    )


@dataclass(frozen=True)
class Swaps:
    """Every swap is a new version loaded and served and the old one gone, under a constant load."""

    swaps: int
    seconds_a_swap: float
    requests: int
    failed: int
    wrong: int
    versions_that_answered: int
    rest_p99_ms: float
    swapping_p99_ms: float
    first_calls_p99_ms: float


def swaps(folder: Path, count: int, per_second: float = 40.0, rest_seconds: float = 10.0) -> Swaps:
    """So many versions, one after the other, each served before the next is published."""
    request = tiny_request(ROUNDS // 3)
    templates = [write_tiny(folder.parent / "templates", number) for number in range(VERSIONS_APART)]
    with _tiny_server(folder) as server:
        loaded(server.address, request, 20, 1)
        rest = _outcome(server, request, per_second, rest_seconds)
        began = time.monotonic()
        with steady_load(server.address, request, per_second, version_output="version") as end:
            for version in range(2, count + 2):
                _publish(templates[version % VERSIONS_APART], folder, version)
                server.look_now(folder)
                server.wait_for(version)
                time.sleep(_BETWEEN_SWAPS_SECONDS)
                if version > 2:
                    shutil.rmtree(folder / str(version - 2))
            took = time.monotonic() - began
            seen = end()
    return Swaps(
        swaps=count,
        seconds_a_swap=round(took / count, 2),
        requests=len(seen.answers),
        failed=len(seen.answers) - seen.outcomes.get("OK", 0),
        wrong=seen.wrong,
        versions_that_answered=len({answer.version for answer in seen.answers if answer.code == "OK"}),
        rest_p99_ms=round(rest.percentile(99), 1),
        swapping_p99_ms=round(seen.percentile(99), 1),
        first_calls_p99_ms=round(seen.first_calls.percentile(99), 1),
    )


@dataclass(frozen=True)
class ReleaseSwaps:
    """A real release is loaded beside the one that serves, and warmed up; latencies in milliseconds."""

    swaps: int
    megabytes: float
    per_second: float
    requests: int
    failed: int
    rest_p99_ms: float
    swapping_p99_ms: float
    swapping_max_ms: float


def release_swaps(release: Path, folder: Path, count: int = 3, per_second: float = 30.0) -> ReleaseSwaps:
    """Copies of a release, one after the other, each served before the next is published.

    The request is the first `recommend` that the release was warmed up with. Requests count as swapping from the
    moment a version is published until the one before is gone.
    """
    logs = predict_logs(release / names.WARMUP_REQUESTS)
    asked = next(log.request for log in logs if log.request.model_spec.signature_name == "recommend")
    asked.model_spec.name = MODEL
    asked.ClearField("output_filter")
    request = asked.SerializeToString()
    folder.mkdir(parents=True)
    _publish(release, folder, 1)
    spans = []
    with server_process(folder, MODEL, folder.parent / "server.log") as server:
        server.wait_for(1)
        loaded(server.address, request, 20, 2)
        rest = loaded(server.address, request, per_second, 10)
        with steady_load(server.address, request, per_second) as end:
            time.sleep(2)
            for version in range(2, count + 2):
                began = time.time()
                _publish(release, folder, version)
                server.wait_for(version)
                server.wait_for(version - 1, "END")
                spans.append((began, time.time()))
                time.sleep(1)
            seen = end()
    swapping = Seen([a for a in seen.answers if any(began <= a.sent <= ended for began, ended in spans)], seen.seconds)
    return ReleaseSwaps(
        swaps=count,
        megabytes=round(sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) / 1e6, 1),
        per_second=per_second,
        requests=len(swapping.answers),
        failed=len(seen.answers) - seen.outcomes.get("OK", 0),
        rest_p99_ms=round(rest.percentile(99), 1),
        swapping_p99_ms=round(swapping.percentile(99), 1),
        swapping_max_ms=round(swapping.percentile(100), 1),
    )


@dataclass(frozen=True)
class Hang:
    """A server that is stopped where it stands while clients ask: what they wait, and what they send."""

    clients: int
    deadline_seconds: float
    asked: int
    degraded: int
    raised: int
    slowest_answer_seconds: float
    median_answer_ms_with_open_circuit: float
    sent_to_server: int
    seconds_until_well_again: float


def hang(folder: Path, seconds: float, clients: int = 4, deadline_seconds: float = 0.5) -> Hang:
    """Clients with a fallback ask without pause; the server hangs for so many seconds, then goes on."""
    sent, took, degraded, raised = [0], [], [0], [0]
    lock, ended = threading.Lock(), threading.Event()

    with _tiny_server(folder) as server:
        recommender = Recommender(
            server.address,
            lambda _user, _at: {},
            model=MODEL,
            deadline_seconds=deadline_seconds,
            fallback=lambda _version: POPULAR,
            access=Access(),
        )

        def ask_on() -> None:
            while not ended.is_set():
                began = time.perf_counter()
                try:
                    found = recommender.recommend("anybody", k=3)
                except Exception:
                    with lock:
                        raised[0] += 1
                    raise
                with lock:
                    took.append(time.perf_counter() - began)
                    degraded[0] += bool(found[0].degraded)
                time.sleep(0.005)

        with recommender:
            for _ in range(50):
                assert not recommender.recommend("anybody", k=3)[0].degraded
            server.freeze()
            sent[0] = recommender.calls_sent
            threads = [threading.Thread(target=ask_on) for _ in range(clients)]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            ended.set()
            for thread in threads:
                thread.join()
            sent[0] = recommender.calls_sent - sent[0]
            server.thaw()
            began = time.monotonic()
            while recommender.recommend("anybody", k=3)[0].degraded:
                time.sleep(0.02)
            well = time.monotonic() - began
    return Hang(
        clients=clients,
        deadline_seconds=deadline_seconds,
        asked=len(took) + raised[0],
        degraded=degraded[0],
        raised=raised[0],
        slowest_answer_seconds=round(max(took), 3),
        median_answer_ms_with_open_circuit=round(statistics.median(took) * 1e3, 2),
        sent_to_server=sent[0],
        seconds_until_well_again=round(well, 2),
    )


_CPUS = sorted(os.sched_getaffinity(0))


@contextmanager
def _apart() -> Iterator[None]:
    """What starts inside has the first half of the CPUs, and the callers the other: they stand for other machines."""
    try:
        os.sched_setaffinity(0, _CPUS[: max(1, len(_CPUS) // 2)])
        yield
    finally:
        os.sched_setaffinity(0, _CPUS)


def _callers_side() -> None:
    os.sched_setaffinity(0, _CPUS[len(_CPUS) // 2 :])


@contextmanager
def _tiny_server(folder: Path) -> Iterator[ServerProcess]:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "1").exists():
        write_tiny(folder, 1)
    with server_process(folder, MODEL, folder.parent / "server.log") as server:
        server.wait_for(1)
        yield server


def _outcome(server: ServerProcess, request: bytes, per_second: float, seconds: float) -> Seen:
    return loaded(server.address, request, per_second, seconds, version_output="version")


def _publish(template: Path, folder: Path, version: int) -> None:
    beside = folder / f".{version}.part"
    shutil.copytree(template, beside)
    beside.rename(folder / str(version))
