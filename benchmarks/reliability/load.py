"""A steady load from a process of its own: so many requests a second, whether or not the server keeps up.

Callers do not wait for one another (an open loop, Poisson arrivals, seeded): a slow server gets no pause from them, as
it would from callers that wait for their answer before they ask again.
"""

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from benchmarks.reliability.tiny_release import VERSIONS_APART
from serving.protocol import predict_pb2, prediction_service_pb2_grpc
from serving.tensors import from_proto

_NONE_LEFT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """One request. Moments and milliseconds are of the caller; `wrong` is an answer that mixes versions."""

    sent: float
    milliseconds: float
    code: str
    version: int
    wrong: bool


@dataclass(frozen=True)
class Seen:
    """What the callers saw, in the order of the answers."""

    answers: list[Answer]
    seconds: float

    @property
    def outcomes(self) -> dict[str, int]:
        """Requests by gRPC code."""
        return dict(Counter(answer.code for answer in self.answers))

    @property
    def wrong(self) -> int:
        """Answers that mix versions."""
        return sum(answer.wrong for answer in self.answers)

    @property
    def first_calls(self) -> "Seen":
        """The first request that each version has answered, but for the one that answered first of all."""
        first: dict[int, Answer] = {}
        for answer in sorted(self.answers, key=lambda one: one.sent):
            if answer.code == "OK":
                first.setdefault(answer.version, answer)
        return Seen(list(first.values())[1:], self.seconds)

    @property
    def per_second(self) -> float:
        """Requests sent, a second."""
        return len(self.answers) / self.seconds

    def percentile(self, q: float, code: str = "OK", after: float = 0.0) -> float:
        """Of the milliseconds of the requests that ended with `code` and were sent after a moment."""
        chosen = [one.milliseconds for one in self.answers if one.code == code and one.sent >= after]
        return float(np.percentile(chosen, q)) if chosen else float("nan")


@contextmanager
def steady_load(
    address: str,
    request: bytes,
    per_second: float,
    *,
    seed: int = 20111210,
    deadline_seconds: float = 5.0,
    version_output: str | None = None,
) -> Iterator[Callable[[], Seen]]:
    """Sends until the returned function is called, which ends the load and says what was seen.

    Args:
        request: a serialized PredictRequest.
        version_output: an output whose every element must be the last digit of the version that the answer says it is
            of.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_send, args=(there, address, request, per_second, seed, deadline_seconds, version_output), daemon=True
    )
    process.start()
    there.close()
    here.recv()  # the first request is on its way

    def end() -> Seen:
        here.send("end")
        seen: Seen = here.recv()
        return seen

    try:
        yield end
    finally:
        process.kill()
        process.join()


def loaded(address: str, request: bytes, per_second: float, seconds: float, **options: Any) -> Seen:
    """What is seen in so many seconds of a steady load."""
    with steady_load(address, request, per_second, **options) as end:
        time.sleep(seconds)
        return end()


def _send(
    pipe: Any, address: str, request: bytes, per_second: float, seed: int, deadline: float, output: str | None
) -> None:
    message = predict_pb2.PredictRequest.FromString(request)
    answers: list[Answer] = []
    open_calls = threading.Semaphore(0)
    with grpc.insecure_channel(address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        predict(message, timeout=30)
        draw = random.Random(seed)
        began = next_at = time.perf_counter()
        count = 0
        pipe.send("started")
        while not pipe.poll():
            pause = next_at - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            next_at += draw.expovariate(per_second)
            _ask(predict, message, deadline, output, answers, open_calls)
            count += 1
        seconds = time.perf_counter() - began
        for _ in range(count):
            if not open_calls.acquire(timeout=deadline + _NONE_LEFT_SECONDS):
                raise RuntimeError("a call ended neither with an answer nor at its deadline")
    pipe.send(Seen(answers, seconds))


def _ask(predict: Any, message: Any, deadline: float, output: str | None, answers: list[Answer], ended: Any) -> None:
    sent, moment = time.perf_counter(), time.time()

    def keep(call: Any) -> None:
        milliseconds = (time.perf_counter() - sent) * 1e3
        code = call.code().name
        version, wrong = 0, False
        if code == "OK":
            response = call.result()
            version = int(response.model_spec.version.value)
            wrong = output is not None and not (from_proto(response.outputs[output]) == version % VERSIONS_APART).all()
        answers.append(Answer(moment, milliseconds, code, version, wrong))
        ended.release()

    predict.future(message, timeout=deadline).add_done_callback(keep)
