"""A thread makes the next batches while the step on this one runs: neither core waits for the other."""

from collections.abc import Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2  # batches; more only cost memory


def prepared_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order, made on a thread of their own, at most AHEAD before they are asked for.

    What the maker raises is raised here. A caller who stops early stops the thread.
    """
    ready: Queue[tuple[str, T | None, BaseException | None]] = Queue(AHEAD)
    stopped = Event()

    def make() -> None:
        try:
            for item in items:
                ready.put(("item", item, None))
                if stopped.is_set():
                    return
            ready.put(("end", None, None))
        except BaseException as error:  # handed over, raised below
            ready.put(("error", None, error))

    thread = Thread(target=make, name="prepared_ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, item, error = ready.get()
            if kind == "end":
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        while thread.is_alive():  # a full queue would keep it
            while not ready.empty():
                ready.get()
            thread.join(0.01)
