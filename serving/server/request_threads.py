"""A thread of TensorFlow's own for each request that runs: no request hands its operations from thread to thread.

A release is some 1,400 operations of a few microseconds. TensorFlow spreads them over as many threads as there are
processors, which wake one another 120 times a request: on 2 processors 8.3 ms of CPU time instead of 5.4. With one
thread in all two requests would share it. So there are several pools of one thread, and a request takes a pool that is
free. The pools have names, by which every session of the process finds the same ones: two versions side by side have no
more threads than one, and all were made by the first load, before loading was made nicer than answering.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from serving.protocol import config_pb2
from serving.server.tensorflow_c import quick


class RequestThreads:
    """Thread-safe; see `request_threads`."""

    def __init__(self, count: int) -> None:
        # The first pool belongs to the session: it is where TensorFlow loads, and where a request runs that finds no
        # other free.
        self.pools = [config_pb2.ThreadPoolOptionProto()]
        self._free: deque[Any] = deque()
        for number in range(1, count + 1):
            name = f"tastemaker-request-{number}-of-{count}"
            self.pools.append(config_pb2.ThreadPoolOptionProto(num_threads=1, global_name=name))
            options = config_pb2.RunOptions(inter_op_thread_pool=number).SerializeToString()
            self._free.append(quick().TF_NewBufferFromString(options, len(options)))

    @contextmanager
    def one(self) -> Iterator[Any]:
        """The RunOptions, a TF_Buffer, of a run on a thread that is free, the last used first; None where none is."""
        try:
            options = self._free.pop()
        except IndexError:
            yield None
            return
        try:
            yield options
        finally:
            self._free.append(options)


@cache
def request_threads(count: int) -> RequestThreads:
    """The process's threads for `count` requests at once; with 0 TensorFlow's usual ones."""
    return RequestThreads(count)
