"""One SavedModel in memory, loaded and run by TensorFlow's C++ loader and session, the ones that TF-Serving has.

The Python package of TensorFlow is not imported: its loader would keep every request waiting (see `tensorflow_c`).
`inter_op_parallelism=-1` (operations run in the caller's thread) makes a toy faster, 53 µs a call where it takes 86,
and the real release slower, 12 ms where it takes 9 (both on a busy machine), so it is not the default; a thread for
each request is (`request_threads`).
"""

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.protocol import config_pb2, meta_graph_pb2
from serving.server.request_threads import RequestThreads, request_threads
from serving.server.status import Code, ServingError, not_found
from serving.server.tensorflow_c import (
    Output,
    array_of,
    checked_status,
    new_tensor,
    operation_output,
    pointers,
    quick,
    slow,
)
from serving.tensors import TensorError

# TensorFlow keeps a pruned graph for each set of inputs and outputs that was asked for, as long as the session lives. A
# signature has a handful of output filters in practice; past this many the set is asked for by an attacker.
_MAX_WAYS = 256

_INITIALIZER = "__saved_model_init_op"  # TF2's, dressed as a signature


@dataclass(frozen=True)
class SessionOptions:
    """How TensorFlow may use the machine: threads within and between operations; 0 leaves it to TensorFlow.

    `request_threads`: so many requests have a thread each at once, whatever `inter_op_parallelism` is; 0 is none.
    """

    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    tags: tuple[str, ...] = ("serve",)
    request_threads: int = 0


@dataclass(frozen=True)
class _Way:
    """One way through the graph: the names of tensors that go in and come out, sorted, and where they are."""

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    inputs: Any
    outputs: Any


@dataclass
class Aside:
    """A loaded model as those see it who are in no hurry."""

    signatures: dict[str, Any]
    run: Callable[[Mapping[str, NDArray[Any]], Sequence[str]], list[NDArray[Any]]]


class SavedModel:
    """A loaded SavedModel. `signatures` maps names to SignatureDefs, as `GetModelMetadata` shows them."""

    def __init__(self, folder: Path, options: SessionOptions) -> None:
        """Loads the model; raises ServingError with TensorFlow's code and message where that fails."""
        if not (folder / "saved_model.pb").is_file() and not (folder / "saved_model.pbtxt").is_file():
            raise not_found(f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}")
        self._ways: dict[tuple[tuple[str, ...], tuple[str, ...]], _Way] = {}
        self._finding = threading.Lock()
        self._session: Any = None
        self._threads = request_threads(options.request_threads)
        self._graph = quick().TF_NewGraph()
        meta_graph = quick().TF_NewBuffer()
        try:
            self._session = _load(folder, options, self._threads, self._graph, meta_graph)
            self.signatures: dict[str, Any] = _signatures(meta_graph.contents)
        except Exception:
            self.close()
            raise
        finally:
            quick().TF_DeleteBuffer(meta_graph)

    def run(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Runs the graph: tensor name → array in, arrays of `fetches` out. Raises ServingError."""
        with self._threads.one() as run_options:
            return self._run(feeds, fetches, run_options)

    @property
    def aside(self) -> "Aside":
        """The same model, run on the threads that its load has made: as nice as the load, and no request's."""
        return Aside(self.signatures, lambda feeds, fetches: self._run(feeds, fetches, None))

    def _run(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str], run_options: Any) -> list[NDArray[Any]]:
        way = self._way(tuple(sorted(feeds)), tuple(sorted(set(fetches))))
        found = pointers([None] * len(way.fetches))
        given: list[Any] = []
        try:
            for name in way.feeds:
                given.append(new_tensor(feeds[name]))
            with checked_status() as status:
                slow().TF_SessionRun(
                    self._session,
                    run_options,
                    way.inputs,
                    pointers(given),
                    len(given),
                    way.outputs,
                    found,
                    len(found),
                    None,
                    0,
                    None,
                    status,
                )
            places = {name: place for place, name in enumerate(way.fetches)}
            return [array_of(found[places[name]]) for name in fetches]
        except TensorError as problem:
            raise ServingError(Code.INTERNAL, f"{type(problem).__name__}: {problem}") from problem
        finally:
            for tensor in [*given, *filter(None, found)]:
                quick().TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Frees the model's memory; nothing may run any more."""
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        self._ways.clear()
        if session is not None:
            for end in (slow().TF_CloseSession, slow().TF_DeleteSession):
                with checked_status() as status:
                    end(session, status)
        if graph is not None:
            slow().TF_DeleteGraph(graph)

    def _way(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> _Way:
        way = self._ways.get((feeds, fetches))
        if way is not None:
            return way
        with self._finding:
            if self._graph is None:
                raise ServingError(Code.UNAVAILABLE, "The model was unloaded")
            if len(self._ways) >= _MAX_WAYS:
                for known in self._ways.values():
                    if known.feeds == feeds and set(fetches) <= set(known.fetches):
                        return known
                raise ServingError(Code.RESOURCE_EXHAUSTED, f"More than {_MAX_WAYS} sets of outputs were asked for")
            inputs = [operation_output(self._graph, name) for name in feeds]
            outputs = [operation_output(self._graph, name) for name in fetches]
            way = _Way(feeds, fetches, (Output * len(inputs))(*inputs), (Output * len(outputs))(*outputs))
            self._ways[feeds, fetches] = way
            return way


def _load(folder: Path, options: SessionOptions, threads: RequestThreads, graph: Any, meta_graph: Any) -> Any:
    """The TF_Session."""
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=options.intra_op_parallelism,
        inter_op_parallelism_threads=options.inter_op_parallelism,
        session_inter_op_thread_pool=threads.pools if options.request_threads else [],
    ).SerializeToString()
    tags = (ctypes.c_char_p * len(options.tags))(*(tag.encode() for tag in options.tags))
    chosen = quick().TF_NewSessionOptions()
    try:
        with checked_status() as status:
            quick().TF_SetConfig(chosen, config, len(config), status)
        with checked_status() as status:
            return slow().TF_LoadSessionFromSavedModel(
                chosen, None, bytes(folder), tags, len(tags), graph, meta_graph, status
            )
    finally:
        quick().TF_DeleteSessionOptions(chosen)


def _signatures(meta_graph: Any) -> dict[str, Any]:
    """The SignatureDefs of a serialized MetaGraphDef, without its megabytes of graph: those take 30 ms to parse.

    Every field of a MetaGraphDef is a length-delimited one.
    """
    data = memoryview((ctypes.c_ubyte * meta_graph.length).from_address(meta_graph.data)).cast("B")
    kept, at = b"", 0
    while at < len(data):
        key, size_at = _varint(data, at)
        size, start = _varint(data, size_at)
        if key >> 3 == meta_graph_pb2.MetaGraphDef.SIGNATURE_DEF_FIELD_NUMBER:
            kept += data[at : start + size]
        at = start + size
    found = meta_graph_pb2.MetaGraphDef.FromString(kept).signature_def
    return {name: signature for name, signature in found.items() if name != _INITIALIZER}


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a position, and where it ends (protobuf's base 128, lowest first)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
