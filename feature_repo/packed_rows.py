"""A view's row of one key as one run of bytes, as it lies in SQLite.

    stamp, created_timestamp   sixteen bytes that sort as the rows do by time
    states                     a byte a feature: plain, null, or a list written as JSON
    numbers and ends           a bigint or double itself; of every other feature, where its bytes end
    the others' bytes          `feature_repo.sqlite_values`

SQLite and Python's driver take 90 ns for each column of each row, which for 18 features in columns of their own is more
than finding the rows takes. Of a packed row all numbers are taken at once.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.sqlite_values import ANY, FORMS, NUMBERS, SEPARATOR, feast_value, taken
from tastemaker.errors import TastemakerError

# With it every moment of the years 1 to 9999 is positive, and positive numbers sort as their bytes do.
OFFSET = 10**17
STAMPS = struct.Struct(">qq")

# JSON: a list of texts that is empty, or has the separator in a text
PLAIN, NULL, JSON = range(3)

# where the states stand in what is unpacked, and how many fields come before the first feature's
STATES, FIRST = 2, 3


class PackedView:
    """How the rows of one view are packed: by its name and its features' kinds, in their order."""

    def __init__(self, name: str, kinds: Mapping[str, str]) -> None:
        self.name, self.kinds = name, dict(kinds)
        # a column's name that tells all, so that a reader follows what the file holds, whatever is declared today
        self.column = json.dumps([name, self.kinds], separators=(",", ":"))
        numbers = [NUMBERS.get(kind) for kind in self.kinds.values()]
        self._head = struct.Struct(f">qq{len(numbers)}s" + "".join(number or "I" for number in numbers))
        self._plain = bytes([PLAIN] * len(numbers))
        # by feature: its field, and the field of the feature at whose end its bytes begin
        self._fields: dict[str, tuple[int, int | None]] = {}
        before = None
        for field, (feature, number) in enumerate(zip(self.kinds, numbers, strict=True), start=FIRST):
            self._fields[feature] = field, before
            before = before if number else field
        self._nothing = self.pack({}, -OFFSET, None)

    @classmethod
    def of_column(cls, column: str) -> "PackedView":
        """The view that a column's name tells."""
        return cls(*json.loads(column))

    def pack(self, values: Mapping[str, Value], stamp: int, known: int | None) -> bytes:
        """A row, its stamps in microseconds since 1970 UTC; without `known` it was known at its stamp.

        A feature that is not given is null. Raises TastemakerError for a value of another type than declared.
        """
        fields, states, rest, end = [], bytearray(self._plain), [], self._head.size
        for i, (feature, kind) in enumerate(self.kinds.items()):
            states[i], found = self._state(feature, kind, values.get(feature))
            if kind in NUMBERS:
                fields.append(0 if found is None else found)
            else:
                rest.append(found or b"")
                end += len(rest[-1])
                fields.append(end)
        newest = stamp + OFFSET, (stamp if known is None else known) + OFFSET
        return self._head.pack(*newest, bytes(states), *fields) + b"".join(rest)

    def packed_anew(self, row: bytes, held: "PackedView") -> bytes:
        """A row of the view as it was before; features that it had not, or as another type, are null."""
        stamp, known = STAMPS.unpack_from(row)
        kept = [feature for feature, kind in self.kinds.items() if held.kinds.get(feature) == kind]
        return self.pack(held.feast_values(row, kept), stamp - OFFSET, known - OFFSET)

    def stamp(self, row: bytes) -> int:
        """Microseconds since 1970 UTC."""
        return int(STAMPS.unpack_from(row)[0]) - OFFSET

    def value(self, row: bytes, feature: str) -> Any:
        """A feature as Python's own; None where it is null, or none of the view's."""
        return self._value(row, self._head.unpack_from(row), feature) if feature in self.kinds else None

    def feast_values(self, row: bytes, features: Sequence[str]) -> dict[str, Value]:
        """Features as Feast's own; null where one is none of the view's."""
        fields = self._head.unpack_from(row)
        found = {}
        for feature in features:
            if feature not in self.kinds:
                found[feature] = Value()
                continue
            kind, (field, before) = self.kinds[feature], self._fields[feature]
            if kind == ANY:
                found[feature] = Value.FromString(row[self._begin(fields, before) : fields[field]])
            else:
                found[feature] = feast_value(kind, self._value(row, fields, feature))
        return found

    def columns(self, rows: Sequence[bytes | None], features: Sequence[str], oldest: int) -> dict[str, list[Any]]:
        """By feature its value in every row, as Python's own; None without a row, or one stamped before `oldest`."""
        bound = sorts_at(oldest)
        held = [row if row is not None and row >= bound else self._nothing for row in rows]
        by_row = [*map(self._head.unpack_from, held)]
        fields = [*zip(*by_row, strict=True)]
        found: dict[str, list[Any]] = {}
        for feature in features:
            if feature not in self.kinds:
                found[feature] = [None] * len(held)
                continue
            kind, (field, before) = self.kinds[feature], self._fields[feature]
            if kind in NUMBERS:
                found[feature] = [*fields[field]]
            else:
                begins = repeat(self._head.size) if before is None else fields[before]
                found[feature] = FORMS[kind].take(held, begins, fields[field])
        for i, states in enumerate(fields[STATES]):
            if states != self._plain:
                for feature, state in zip(self.kinds, states, strict=True):
                    if state != PLAIN and feature in found:
                        found[feature][i] = self._value(held[i], by_row[i], feature)
        return found

    def _state(self, feature: str, kind: str, value: Value | None) -> tuple[int, Any]:
        """Which state a value is in, and the number or bytes that stand for it."""
        if value is None or value.WhichOneof("val") in (None, "null_val"):
            return NULL, None
        try:
            found = taken(kind, value)
        except TastemakerError as problem:
            raise TastemakerError(f"{self.name}.{feature} can't be put online: {problem}.") from None
        if kind in NUMBERS:
            return PLAIN, found
        if kind == "varchar[]" and (not found or any(SEPARATOR in text for text in found)):
            return JSON, json.dumps(list(found)).encode()
        return PLAIN, FORMS[kind].to_bytes(found)

    def _value(self, row: bytes, fields: tuple[Any, ...], feature: str) -> Any:
        kind, (field, before) = self.kinds[feature], self._fields[feature]
        state = fields[STATES][field - FIRST]
        if state == NULL:
            return None
        if kind in NUMBERS:
            return fields[field]
        begin, end = self._begin(fields, before), fields[field]
        return json.loads(row[begin:end]) if state == JSON else FORMS[kind].take([row], [begin], [end])[0]

    def _begin(self, fields: tuple[Any, ...], before: int | None) -> int:
        return self._head.size if before is None else fields[before]


def sorts_at(moment: int) -> bytes:
    """What sorts before every row stamped at the moment, microseconds since 1970 UTC, and after every older one."""
    return STAMPS.pack(max(0, moment + OFFSET), 0)
