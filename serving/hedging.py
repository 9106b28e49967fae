"""A second try for a slow read, and the budget that keeps second tries from becoming a storm.

A call that is not answered by the time 95 in 100 are is sent once more, and the first good answer is taken (Dean and
Barroso, "The Tail at Scale", 2013). Only reads: asking twice must do no harm. The budget pays one second try for every
ten calls, so that a server in trouble is asked for at most a tenth more than it was, never for twice as much.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc

RETRIES_PER_CALL = 0.1
_MOST_SAVED = 10.0
_KEPT_LATENCIES = 256
_ENOUGH_LATENCIES = 20
_SHORTEST_DELAY_SECONDS = 0.005
_GRACE_SECONDS = 1.0  # past the deadline, for gRPC to say so


class RetryBudget:
    """Thread-safe. Every call pays in a part of a retry, every retry takes a whole one out.

    >>> budget = RetryBudget(0.5)
    >>> [budget.called() for _ in range(2)], budget.take(), budget.take()
    ([None, None], True, False)
    """

    def __init__(self, per_call: float = RETRIES_PER_CALL) -> None:
        self._per_call = per_call
        self._saved = 0.0
        self._lock = threading.Lock()

    def called(self) -> None:
        """A call was made that is no retry."""
        with self._lock:
            self._saved = min(_MOST_SAVED, self._saved + self._per_call)

    def take(self) -> bool:
        """Takes a retry out; False when there is none."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True


class UsualLatency:
    """Thread-safe: what 95 in 100 of the latest good answers took, in seconds."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._lock = threading.Lock()

    def took(self, seconds: float) -> None:
        """A good answer."""
        with self._lock:
            self._kept.append(seconds)

    def p95(self, otherwise: float) -> float:
        """The 95th percentile; `otherwise` while too few answers are known."""
        with self._lock:
            known = sorted(self._kept)
        if len(known) < _ENOUGH_LATENCIES:
            return otherwise
        return max(_SHORTEST_DELAY_SECONDS, known[int(0.95 * len(known))])


def hedged(send: Callable[[float], Any], seconds: float, delay: float, may_send_again: Callable[[], bool]) -> Any:
    """The ended call that is to be taken: the first good one, else the last one that failed.

    Args:
        send: starts the call with a timeout in seconds and returns its gRPC future; called once or twice.
        seconds: until the deadline of both tries together.
        delay: after which a call that has not ended is sent once more; one that met no server is so at once.
        may_send_again: asked before that.
    """
    deadline = time.monotonic() + seconds
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def start(timeout: float) -> Any:
        call = send(timeout)
        call.add_done_callback(ended.put)
        return call

    calls = [start(seconds)]
    try:
        taken = _next(ended, min(delay, seconds))
        slow_or_gone = taken is None or taken.code() is grpc.StatusCode.UNAVAILABLE
        if slow_or_gone and deadline > time.monotonic() and may_send_again():
            calls.append(start(deadline - time.monotonic()))
        for _ in range(len(calls) - (taken is not None)):
            if taken is not None and taken.code() is grpc.StatusCode.OK:
                break
            taken = _next(ended, max(0.0, deadline - time.monotonic()) + _GRACE_SECONDS) or taken
    finally:
        for call in calls:
            call.cancel()
    return taken if taken is not None else calls[0]  # cancelled: gRPC itself did not keep the deadline


def _next(ended: "queue.SimpleQueue[Any]", seconds: float) -> Any:
    try:
        return ended.get(timeout=seconds)
    except queue.Empty:
        return None
