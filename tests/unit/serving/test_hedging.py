"""Second tries: when there is one, what is taken, what is cancelled, and that there is never a storm."""

import grpc
import pytest

from serving.hedging import RetryBudget, UsualLatency, hedged

OK, GONE, FULL = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


class Call:
    """A call that ends at once with a code, or not at all."""

    def __init__(self, code: grpc.StatusCode | None) -> None:
        self._code = code
        self.cancelled = False

    def add_done_callback(self, told) -> None:
        if self._code is not None:
            told(self)

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def cancel(self) -> None:
        self.cancelled = True


def run(*codes: grpc.StatusCode | None, budget: bool = True) -> tuple[grpc.StatusCode | None, list[Call]]:
    calls = [Call(code) for code in codes]
    waiting = iter(calls)
    made: list[Call] = []

    def send(seconds: float) -> Call:
        assert seconds > 0
        made.append(next(waiting))
        return made[-1]

    return hedged(send, 0.2, 0.01, lambda: budget).code(), made


@pytest.mark.parametrize(
    ("codes", "taken", "sent"),
    [
        ([OK, OK], OK, 1),
        ([None, OK], OK, 2),
        ([GONE, OK], OK, 2),
        ([GONE, GONE], GONE, 2),
        ([FULL, OK], FULL, 1),
    ],
)
def test_a_second_try_only_for_what_is_slow_or_gone(codes, taken, sent):
    found, calls = run(*codes)
    assert (found, len(calls)) == (taken, sent)
    assert all(call.cancelled for call in calls if call.code() is None)


def test_no_second_try_without_a_budget():
    assert len(run(GONE, OK, budget=False)[1]) == 1


def test_a_server_in_trouble_is_asked_a_tenth_more_and_no_storm():
    budget = RetryBudget()
    retries = 0
    for _ in range(1000):
        budget.called()
        retries += budget.take()
    assert 90 <= retries <= 100


def test_the_usual_latency_is_of_what_was_seen():
    latency = UsualLatency()
    assert latency.p95(otherwise=0.5) == 0.5
    for milliseconds in range(100):
        latency.took(milliseconds / 1000)
    assert latency.p95(otherwise=0.5) == pytest.approx(0.095)
