"""A circuit breaker: a server that failed again and again is left alone for a while, then asked by one caller."""

import threading
import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 2.0


class CircuitBreaker:
    """Thread-safe. Closed, everybody may call; open, nobody; half open, one call finds out (Nygard, "Release It!").

    >>> now = [0.0]
    >>> breaker = CircuitBreaker(failures=2, open_seconds=1.0, clock=lambda: now[0])
    >>> breaker.failed(), breaker.failed(), breaker.may_call()
    (None, None, False)
    >>> now[0] = 1.5
    >>> breaker.may_call(), breaker.may_call()
    (True, False)
    >>> breaker.succeeded(), breaker.may_call()
    (None, True)
    """

    def __init__(
        self,
        failures: int = FAILURES_TO_OPEN,
        open_seconds: float = OPEN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: `failures` in a row open it, for `open_seconds`."""
        self._limit = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._silent_until = 0.0

    def may_call(self) -> bool:
        """Whether to call now; the caller says afterwards how it went."""
        with self._lock:
            if self._failures < self._limit:
                return True
            now = self._clock()
            if now < self._silent_until:
                return False
            self._silent_until = now + self._open_seconds  # this caller finds out; the others wait for its word
            return True

    def succeeded(self) -> None:
        """The server answered, if only to refuse."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """The server did not answer, or not in time."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._limit:
                self._silent_until = self._clock() + self._open_seconds
