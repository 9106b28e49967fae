"""Who runs, waits and is refused, with work that ends when the test says so."""

import threading
import time
from collections.abc import Callable

import pytest

from serving.server.admission import BURST_RETURNS_SECONDS, Admission
from serving.server.status import Code, ServingError


class Crowd:
    """Requests that hold their slot until they are let go, and what became of each."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.let_go = threading.Event()
        self.inside: list[int] = []
        self.outcomes: dict[int, str] = {}
        self.threads: list[threading.Thread] = []

    def come(self, name: int, seconds_left: float | None = None) -> None:
        thread = threading.Thread(target=self._ask, args=(name, seconds_left))
        self.threads.append(thread)
        before = self.settled()
        thread.start()
        wait_until(lambda: self.settled() > before)

    def settled(self) -> int:
        return len(self.inside) + len(self.admission._queue) + sum(v != "OK" for v in self.outcomes.values())

    def end(self) -> dict[int, str]:
        self.let_go.set()
        for thread in self.threads:
            thread.join(timeout=10)
        return self.outcomes

    def _ask(self, name: int, seconds_left: float | None) -> None:
        try:
            with self.admission.slot(seconds_left):
                self.inside.append(name)
                assert self.let_go.wait(10)
            self.outcomes[name] = "OK"
        except ServingError as problem:
            self.outcomes[name] = problem.code.name


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_as_many_run_as_there_are_slots_the_burst_waits_in_order_and_the_rest_is_refused():
    now = [0.0]
    crowd = Crowd(Admission(slots=2, places=5, clock=lambda: now[0]))
    for name in range(8):
        crowd.come(name)
    assert crowd.inside == [0, 1]
    assert crowd.outcomes == {7: "RESOURCE_EXHAUSTED"}
    assert crowd.end() == {name: "RESOURCE_EXHAUSTED" if name == 7 else "OK" for name in range(8)}
    assert crowd.admission._running == 0


def test_under_a_load_that_stays_only_as_many_wait_as_can_run():
    now = [0.0]
    admission = Admission(slots=1, places=3, clock=lambda: now[0])
    for crowd in (Crowd(admission), Crowd(admission)):
        for name in range(5):
            crowd.come(name)
        refused = [name for name, outcome in crowd.outcomes.items() if outcome == "RESOURCE_EXHAUSTED"]
        # The first crowd may have the burst of three, of which two are used; the second finds one left of it.
        assert refused == ([4] if now[0] == 0 else [3, 4])
        crowd.end()
        now[0] += 0.001
    now[0] += BURST_RETURNS_SECONDS
    again = Crowd(admission)
    for name in range(5):
        again.come(name)
    assert again.end() == {0: "OK", 1: "OK", 2: "OK", 3: "OK", 4: "RESOURCE_EXHAUSTED"}


def test_a_deadline_that_passes_in_the_queue_is_told_and_nothing_is_run():
    admission = Admission(slots=1, places=3)
    crowd = Crowd(admission)
    crowd.come(0)
    crowd.come(1, seconds_left=0.05)
    crowd.come(2, seconds_left=0.0)
    wait_until(lambda: crowd.outcomes == {1: "DEADLINE_EXCEEDED", 2: "DEADLINE_EXCEEDED"})
    assert crowd.inside == [0]
    crowd.end()
    with admission.slot():
        pass


def test_a_caller_that_has_gone_is_not_served_and_leaves_its_slot():
    admission = Admission(slots=1, places=1)
    for _ in range(3):
        with pytest.raises(ServingError) as caught, admission.slot(wanted=lambda: False):
            raise AssertionError("it must not be run")
        assert caught.value.code is Code.CANCELLED
    with admission.slot():
        pass
