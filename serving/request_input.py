"""One input of a signature, as a request for one user fills it: straight into the message, without an array between."""

from collections.abc import Callable, Iterable
from typing import Any

from serving.tensors import numpy_dtype, value_field


class RequestInput:
    """How values of one input become a TensorProto, batch of one. Read from its TensorInfo once a release.

    Rank 0: the value. Rank 1: `[1]`; missing is NaN, "" or 0. Rank 2: `[1, length]`; missing is one padding, so that
    lists look as the training sets' do.
    """

    def __init__(self, info: Any) -> None:
        """Args: `info`: the input's TensorInfo. Raises TensorError for a type that no tensor has here."""
        kind = numpy_dtype(info.dtype).kind
        self._dtype, self._field = info.dtype, value_field(info.dtype)
        self._rank = len(info.tensor_shape.dim)
        self._cast: Callable[[Any], Any] = _CASTS.get(kind, int)
        self._missing: Any = b"" if kind == "O" else float("nan") if kind == "f" and self._rank < 2 else 0

    def into(self, value: Any, proto: Any) -> None:
        """Writes a value, or a list where the rank is 2, into an empty TensorProto. None is missing."""
        proto.dtype = self._dtype
        values = self._values(value)
        if self._rank:
            proto.tensor_shape.dim.add().size = 1
        if self._rank == 2:
            proto.tensor_shape.dim.add().size = len(values)
        getattr(proto, self._field).extend(values)

    def _values(self, value: Any) -> list[Any]:
        given: Iterable[Any] = (value if value is not None else ()) if self._rank == 2 else (value,)
        cast, missing = self._cast, self._missing
        return [missing if entry is None else cast(entry) for entry in given] or [missing]


def _encoded(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


_CASTS: dict[str, Callable[[Any], Any]] = {"O": _encoded, "f": float, "b": bool}
