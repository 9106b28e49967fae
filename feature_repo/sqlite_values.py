"""How a feature's value lies in SQLite, by its declared type: a number, or bytes.

A bigint or double is a number. Texts are UTF-8. A list's elements lie side by side (numbers as the machine has them),
because that is how Python reads them fastest: 45,000 elements (200 users' histories) in 1 ms, as protobufs in 3. A
value of any other type is Feast's own `Value`.
"""

from array import array
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, FeastType, Float64, Int64, String

from feature_repo.online_rows import python_value
from tastemaker.errors import TastemakerError

# between the texts of a list
SEPARATOR = "\x1f"

# the kind of every type that has no form of its own
ANY = "value"


# many rows, where a feature's bytes begin in each, and where they end
Taken = Callable[[Iterable[bytes], Iterable[int], Iterable[int]], list[Any]]


class Form(NamedTuple):
    """How values of one type become bytes, and are taken out of many rows."""

    to_bytes: Callable[[Any], bytes]
    take: Taken


# Each is one expression: a call for each row would take as long as what it does.
def _texts(rows: Iterable[bytes], begins: Iterable[int], ends: Iterable[int]) -> list[Any]:
    return [row[i:j].decode() for row, i, j in zip(rows, begins, ends, strict=False)]


def _text_lists(rows: Iterable[bytes], begins: Iterable[int], ends: Iterable[int]) -> list[Any]:
    return [row[i:j].decode().split(SEPARATOR) for row, i, j in zip(rows, begins, ends, strict=False)]


def _int64_lists(rows: Iterable[bytes], begins: Iterable[int], ends: Iterable[int]) -> list[Any]:
    return [array("q", row[i:j]).tolist() for row, i, j in zip(rows, begins, ends, strict=False)]


def _double_lists(rows: Iterable[bytes], begins: Iterable[int], ends: Iterable[int]) -> list[Any]:
    return [array("d", row[i:j]).tolist() for row, i, j in zip(rows, begins, ends, strict=False)]


def _any(rows: Iterable[bytes], begins: Iterable[int], ends: Iterable[int]) -> list[Any]:
    return [python_value(row[i:j]) for row, i, j in zip(rows, begins, ends, strict=False)]


# by kind its letter in `struct`
NUMBERS = {"bigint": "q", "double": "d"}

FORMS = {
    "varchar": Form(str.encode, _texts),
    "varchar[]": Form(lambda texts: SEPARATOR.join(texts).encode(), _text_lists),
    "bigint[]": Form(lambda numbers: array("q", numbers).tobytes(), _int64_lists),
    "double[]": Form(lambda numbers: array("d", numbers).tobytes(), _double_lists),
    ANY: Form(Value.SerializeToString, _any),
}

# by kind its name in Feast's Value
FIELDS = {
    "bigint": "int64_val",
    "double": "double_val",
    "varchar": "string_val",
    "varchar[]": "string_list_val",
    "bigint[]": "int64_list_val",
    "double[]": "double_list_val",
}

_TYPES: list[tuple[FeastType, str]] = [
    (Int64, "bigint"),
    (Float64, "double"),
    (String, "varchar"),
    (Array(String), "varchar[]"),
    (Array(Int64), "bigint[]"),
    (Array(Float64), "double[]"),
]


def kind_of(dtype: FeastType) -> str:
    """The kind of a declared type."""
    return next((kind for known, kind in _TYPES if known == dtype), ANY)


def taken(kind: str, value: Value) -> Any:
    """What a kind's bytes are made of: Python's own number, text or sequence of a value.

    Raises TastemakerError when the value is of another type.
    """
    if kind == ANY:
        return value
    field = FIELDS[kind]
    if value.WhichOneof("val") != field:
        raise TastemakerError(f"{value.WhichOneof('val')} was given where {field} is declared")
    found = getattr(value, field)
    return found.val if kind.endswith("[]") else found


def feast_value(kind: str, value: Any) -> Value:
    """Python's own number, text or list as Feast's value; None as its null."""
    made = Value()
    if value is None:
        return made
    field = FIELDS[kind]
    if kind.endswith("[]"):
        elements = getattr(made, field)
        # an empty list is no null
        elements.SetInParent()
        elements.val.extend(value)
    else:
        setattr(made, field, value)
    return made
