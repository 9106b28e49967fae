"""TensorProto to NumPy and back, without TensorFlow, for the client and the server alike.

Follows `Tensor::FromProto` and `Tensor::AsProtoField` of tensorflow/core/framework/tensor.cc: values may come as
`tensor_content` or in the field of their type, a short field repeats its last value, an empty one means zeros.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol import tensor_pb2, types_pb2

# 2^27 elements, 1 GiB of int64.
MAX_ELEMENTS = 1 << 27

# A request of a few bytes may name any shape and ask for it to be filled with one value. 2^20, 8 MiB of int64, are
# 4,096 lists of 256; of what is larger every value must be sent, and so counts in the message's size.
MAX_REPEATED = 1 << 20

_FIELDS: dict[int, tuple[type, str]] = {
    types_pb2.DT_FLOAT: (np.float32, "float_val"),
    types_pb2.DT_DOUBLE: (np.float64, "double_val"),
    types_pb2.DT_INT32: (np.int32, "int_val"),
    types_pb2.DT_UINT8: (np.uint8, "int_val"),
    types_pb2.DT_INT16: (np.int16, "int_val"),
    types_pb2.DT_INT8: (np.int8, "int_val"),
    types_pb2.DT_UINT16: (np.uint16, "int_val"),
    types_pb2.DT_STRING: (np.object_, "string_val"),
    types_pb2.DT_INT64: (np.int64, "int64_val"),
    types_pb2.DT_BOOL: (np.bool_, "bool_val"),
    types_pb2.DT_UINT32: (np.uint32, "uint32_val"),
    types_pb2.DT_UINT64: (np.uint64, "uint64_val"),
}
_DTYPES: dict[Any, int] = {np.dtype(dtype): number for number, (dtype, _) in _FIELDS.items()}


class TensorError(ValueError):
    """A TensorProto that says no tensor, or an array that has no TensorProto."""


def numpy_dtype(dtype: int) -> np.dtype[Any]:
    """The NumPy type of a `DataType` number; strings are `object` arrays of bytes. Raises TensorError for others."""
    try:
        return np.dtype(_FIELDS[dtype][0])
    except KeyError:
        raise TensorError(f"tensors of type {_type_name(dtype)} are not supported") from None


def value_field(dtype: int) -> str:
    """The field of a TensorProto that holds values of a `DataType` number which `numpy_dtype` knows."""
    return _FIELDS[dtype][1]


def dtype_number(dtype: np.dtype[Any]) -> int:
    """The `DataType` number of a NumPy type. Raises TensorError for a type that has none here."""
    number = types_pb2.DT_STRING if dtype.kind in "SUO" else _DTYPES.get(dtype)
    if number is None:
        raise TensorError(f"arrays of type {dtype} are not supported")
    return int(number)


def dtype_name(dtype: int) -> str:
    """TensorFlow's word for a `DataType` number; of a number that stands for no type, that.

    >>> dtype_name(1), dtype_name(7), dtype_name(999)
    ('float', 'string', 'unknown type 999')
    """
    name = _type_name(dtype)
    return name.removeprefix("DT_").lower() if name.startswith("DT_") else name


def _type_name(dtype: int) -> str:
    # Whoever sends may put any number there: proto3 keeps those it does not know.
    value = types_pb2.DataType.DESCRIPTOR.values_by_number.get(dtype)
    return str(value.name) if value is not None else f"unknown type {dtype}"


def shape_of(proto: Any) -> tuple[int, ...]:
    """The shape that a TensorProto declares, before any of its values is looked at. Raises TensorError."""
    if proto.tensor_shape.unknown_rank:
        raise TensorError("a tensor needs a shape")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise TensorError(f"shape {list(shape)} has a negative size")
    return shape


def from_proto(proto: Any) -> NDArray[Any]:
    """The array of a TensorProto. Raises TensorError where its values do not make its shape.

    Takes memory for what was sent, and for at most `MAX_REPEATED` elements that were not.
    """
    dtype = numpy_dtype(proto.dtype)
    shape = shape_of(proto)
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise TensorError(f"shape {list(shape)} has {count} elements, at most {MAX_ELEMENTS} are taken")
    # A size of 0 beside others leaves their rows to whoever works with them, so it counts as 1.
    places = math.prod(max(size, 1) for size in shape)
    if places > MAX_REPEATED and not (proto.tensor_content or len(getattr(proto, _FIELDS[proto.dtype][1])) == places):
        raise TensorError(
            f"shape {list(shape)} has {places} places and its values were not all sent; at most {MAX_REPEATED} are "
            "filled, send every value or fewer rows"
        )
    if proto.tensor_content:
        if dtype.kind == "O" or len(proto.tensor_content) != count * dtype.itemsize:
            raise TensorError(f"tensor_content has {len(proto.tensor_content)} bytes, which do not make {list(shape)}")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, _FIELDS[proto.dtype][1])
    if len(values) > count:
        raise TensorError(f"{len(values)} values do not make shape {list(shape)}")
    if len(values) == count:
        flat = np.empty(count, dtype)
        flat[:] = values
        return flat.reshape(shape)
    fill = values[-1] if values else (b"" if dtype.kind == "O" else 0)
    flat = np.full(count, fill, dtype)
    flat[: len(values)] = values
    return flat.reshape(shape)


def into_proto(array: NDArray[Any], proto: Any) -> None:
    """Writes an array into a TensorProto, values in the field of their type; strings are bytes or str."""
    number = dtype_number(array.dtype)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    values = array.ravel().tolist()
    if number == types_pb2.DT_STRING:
        values = [value.encode() if isinstance(value, str) else value for value in values]
    getattr(proto, _FIELDS[number][1]).extend(values)


def to_proto(array: NDArray[Any]) -> Any:
    """A new TensorProto of an array."""
    proto = tensor_pb2.TensorProto()
    into_proto(array, proto)
    return proto
