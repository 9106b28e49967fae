"""A product backend of its own process, which asks for the users it is told and says what each answer took."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from serving.client import Recommender
from tastemaker.home import Home

START_SECONDS = 300
DEADLINE_SECONDS = 30.0


class ClientProcess:
    """Use it in `with`: the process ends there."""

    def __init__(self, home: Home, address: str, k: int) -> None:
        """Starts the process; `address`: gRPC host:port, `k`: how many items each answer must have."""
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_answer, args=(home, address, k, other_end))
        self._process.start()
        other_end.close()

    def ask(self, users: Sequence[str]) -> list[float]:
        """Milliseconds of one recommendation for each user, one after the other.

        Raises RuntimeError when the process ended, its traceback being on stderr, or says nothing for long.
        """
        self._connection.send(list(users))
        try:
            if self._connection.poll(START_SECONDS):
                return list(self._connection.recv())
        except EOFError:
            raise RuntimeError("The benchmark's client process failed; its traceback is above.") from None
        raise RuntimeError(f"The benchmark's client process said nothing for {START_SECONDS} s; is the machine busy?")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()
        self._process.join(DEADLINE_SECONDS)  # a client that still waits for an answer has none by then
        self._process.kill()
        self._process.join()


def timed(recommend: Callable[[str], object], users: Sequence[str]) -> list[float]:
    """Milliseconds of each call."""
    spent = []
    for user in users:
        began = time.perf_counter()
        recommend(user)
        spent.append((time.perf_counter() - began) * 1e3)
    return spent


def _answer(home: Home, address: str, k: int, connection: Connection) -> None:
    def recommend(user: str) -> None:
        answered = recommender.recommend(user, k)
        if len(answered) != k or answered[0].degraded:
            raise RuntimeError(f"User {user} got {len(answered)} items of {k}, degraded: {answered[:1]}.")

    with Recommender.of_home(home, address, deadline_seconds=DEADLINE_SECONDS) as recommender:
        while True:
            try:
                users = connection.recv()
            except EOFError:
                return
            connection.send(timed(recommend, users))
