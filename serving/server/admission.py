"""Who may run now, who waits, who is refused: the bound on the work inside the server.

At most `slots` requests run at once; more of them than processors only slow one another down. As many may wait for
their turn: an admitted request then waits about as long as one runs, whatever the load. A burst may go beyond that, up
to `places`; but each request that does costs one of the burst's places, and those come back over ten seconds. So a
moment's crowd is served, a little late, while under more load than the server can carry everybody past the short queue
is refused at once, and nobody is answered late. (A queue that stands for longer is no burst and helps nobody: Nichols
and Jacobson, "Controlling Queue Delay", 2012; Maurer, "Fail at Scale", 2015.)
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.server.status import Code, ServingError

BURST_RETURNS_SECONDS = 10.0


class _Waiting:
    def __init__(self, until: float | None) -> None:
        self.until = until
        self.decided = threading.Event()
        self.too_late = False


class Admission:
    """Thread-safe."""

    def __init__(self, slots: int, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: `slots`: how many run at once; `places`: how many may wait in a burst."""
        self._slots = slots
        self._places = places
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._running = 0
        self._burst = float(places)
        self._burst_counted = clock()

    @contextmanager
    def slot(self, seconds_left: float | None = None, wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Holds a slot, after waiting for one.

        Args:
            seconds_left: until the caller's deadline.
            wanted: asked when the slot is there; False when the caller has gone.

        Raises ServingError RESOURCE_EXHAUSTED when too many wait, DEADLINE_EXCEEDED when the deadline passes before the
        turn comes, CANCELLED when nobody wants the answer any more.
        """
        self._enter(seconds_left)
        try:
            if not wanted():
                raise ServingError(Code.CANCELLED, "The caller went before the request was run")
            yield
        finally:
            self._leave()

    def _enter(self, seconds_left: float | None) -> None:
        if seconds_left is not None and seconds_left <= 0:
            raise _too_late()
        with self._lock:
            if self._running < self._slots:  # then nobody waits: who leaves hands the slot on
                self._running += 1
                return
            if not self._may_wait():
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The server is full: {self._running} requests run and {len(self._queue)} wait; ask again later",
                )
            mine = _Waiting(None if seconds_left is None else self._clock() + seconds_left)
            self._queue.append(mine)
        if not mine.decided.wait(seconds_left):
            with self._lock:
                if not mine.decided.is_set():
                    self._queue.remove(mine)
                    raise _too_late()
        if mine.too_late:
            raise _too_late()

    def _leave(self) -> None:
        with self._lock:
            now = self._clock()
            while self._queue:
                first = self._queue.popleft()
                first.too_late = first.until is not None and now >= first.until
                first.decided.set()
                if not first.too_late:
                    return  # the slot is handed on
            self._running -= 1

    def _may_wait(self) -> bool:
        if len(self._queue) >= self._places:
            return False
        if len(self._queue) < self._slots:
            return True
        now = self._clock()
        returned = (now - self._burst_counted) * self._places / BURST_RETURNS_SECONDS
        self._burst, self._burst_counted = min(float(self._places), self._burst + returned), now
        if self._burst < 1:
            return False
        self._burst -= 1
        return True


def _too_late() -> ServingError:
    return ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the request was run")
