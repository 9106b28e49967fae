"""TensorFlow's C API (tensorflow/c/c_api.h, tf_tensor.h, tf_tstring.h), as far as a server needs it, through ctypes.

TensorFlow's Python loader keeps the interpreter's lock for 140 to 340 ms at a time while it imports a graph, and no
request starts or ends meanwhile. A call through `slow` gives the lock away until it returns; one through `quick` keeps
it, as it takes microseconds and getting the lock back may take a thread's whole turn.
"""

import ctypes
import importlib.util
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol import types_pb2
from serving.server.status import Code, ServingError
from serving.tensors import dtype_number, numpy_dtype

# A tstring (tensorflow/core/platform/ctstring_internal.h) takes 24 bytes. Up to 22 characters stand in it, after a byte
# with their number and, in its low two bits, 0; others are elsewhere.
_STRING_BYTES = 24
_SHORT = 22
_TSTRING = struct.Struct(f"B{_STRING_BYTES - 1}s").pack
_EMPTY = bytes(_STRING_BYTES)


class Output(Structure):
    """TF_Output: one output of an operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(Structure):
    """TF_Buffer: bytes that TensorFlow has made."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


_DEALLOCATOR = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
_QUICK: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_NewBufferFromString": (POINTER(Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_NewTensor": (
        c_void_p,
        [c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, _DEALLOCATOR, c_void_p],
    ),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}
_SLOW: dict[str, tuple[Any, list[Any]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(Buffer), c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [c_void_p, c_void_p] + [POINTER(Output), POINTER(c_void_p), c_int] * 2 + [c_void_p, c_int, c_void_p, c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteGraph": (None, [c_void_p]),
}


@cache
def quick() -> Any:
    """The functions that return at once."""
    return _declared(ctypes.PyDLL(_library()), _QUICK)


@cache
def slow() -> Any:
    """The functions that may take long, during which other threads of Python run."""
    return _declared(ctypes.CDLL(_library()), _SLOW)


def _library() -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when the library is loaded
    found = importlib.util.find_spec("tensorflow")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("The model server needs the package tensorflow; install it.")
    return str(Path(next(iter(found.submodule_search_locations))) / "libtensorflow_cc.so.2")


def _declared(library: Any, functions: dict[str, tuple[Any, list[Any]]]) -> Any:
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@contextmanager
def checked_status() -> Iterator[Any]:
    """A TF_Status for one call. Raises ServingError with its code and message unless it is OK afterwards."""
    status = quick().TF_NewStatus()
    try:
        yield status
        code = quick().TF_GetCode(status)
        if code:
            raise ServingError(Code(code), quick().TF_Message(status).decode(errors="replace"))
    finally:
        quick().TF_DeleteStatus(status)


def new_tensor(array: NDArray[Any]) -> Any:
    """A TF_Tensor with a copy of an array; strings are bytes or str. Raises TensorError for a type that has none."""
    number = dtype_number(array.dtype)
    dims = (c_int64 * array.ndim)(*array.shape)
    if number == types_pb2.DT_STRING:
        return _new_strings(array, dims)
    values = array.tobytes()  # in C's order; a pointer to an array's own takes longer to get than most are to copy
    tensor = quick().TF_AllocateTensor(number, dims, array.ndim, len(values))
    ctypes.memmove(quick().TF_TensorData(tensor), values, len(values))
    return tensor


def array_of(tensor: Any) -> NDArray[Any]:
    """A copy of a TF_Tensor; strings as bytes. Raises TensorError for a type that no TensorProto can tell."""
    number = quick().TF_TensorType(tensor)
    shape = tuple(quick().TF_Dim(tensor, axis) for axis in range(quick().TF_NumDims(tensor)))
    dtype = numpy_dtype(number)
    data = quick().TF_TensorData(tensor)
    if number == types_pb2.DT_STRING:
        array = np.empty(math.prod(shape), dtype)
        array[:] = _strings(data, array.size)
        return array.reshape(shape)
    array = np.empty(shape, dtype)
    ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array


# The strings that fed tensors own, and which of them are long, by address, until TensorFlow has no more use for them:
# it may keep a tensor after the call, in a variable.
_held: dict[int, tuple[Any, list[int]]] = {}


@_DEALLOCATOR
def _free_strings(data: int, length: int, _: int) -> None:
    for position in _held[data][1]:  # what is short has nothing elsewhere
        quick().TF_StringDealloc(data + position * _STRING_BYTES)
    del _held[data]


def _new_strings(array: NDArray[Any], dims: Any) -> Any:
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel().tolist()]
    long = [position for position, text in enumerate(texts) if len(text) > _SHORT]
    raw = ctypes.create_string_buffer(
        b"".join([_TSTRING(len(text) << 2, text) if len(text) <= _SHORT else _EMPTY for text in texts]),
        max(1, len(texts)) * _STRING_BYTES,
    )
    address = ctypes.addressof(raw)
    for position in long:
        quick().TF_StringCopy(address + position * _STRING_BYTES, texts[position], len(texts[position]))
    _held[address] = raw, long
    return quick().TF_NewTensor(
        types_pb2.DT_STRING, dims, array.ndim, address, len(texts) * _STRING_BYTES, _free_strings, None
    )


def _strings(data: int, count: int) -> list[bytes]:
    raw = ctypes.string_at(data, count * _STRING_BYTES) if count else b""
    texts: list[bytes] = []
    for at in range(0, len(raw), _STRING_BYTES):
        first = raw[at]
        if first & 3 == 0:
            texts.append(raw[at + 1 : at + 1 + (first >> 2)])
        else:
            text, size = quick().TF_StringGetDataPointer(data + at), quick().TF_StringGetSize(data + at)
            texts.append(ctypes.string_at(text, size))
    return texts


def operation_output(graph: Any, tensor: str) -> Output:
    """The TF_Output of a tensor's name, `operation:index`. Raises ServingError where the graph has no such output."""
    name, _, index = tensor.partition(":")
    operation = quick().TF_GraphOperationByName(graph, name.encode())
    number = int(index) if index.isdigit() else 0
    if operation is None or number >= quick().TF_OperationNumOutputs(operation):
        raise ServingError(Code.NOT_FOUND, f"Tensor {tensor} was not found in the Graph")
    return Output(operation, number)


def pointers(values: Sequence[Any]) -> Any:
    """A C array of pointers."""
    return (c_void_p * len(values))(*values)
