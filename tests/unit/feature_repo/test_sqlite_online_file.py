import sqlite3
from copy import copy
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path

import pytest
from feast import FeatureView, Field
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import BoolList, DoubleList, Int64List, StringList, Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import Int64, String
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.definitions import definitions
from feature_repo.newest_wins import NewestWinsSqliteOnlineStore
from feature_repo.packed_rows import PackedView, sorts_at
from feature_repo.sqlite_values import ANY
from feature_repo.store import repo_config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

START = datetime(2011, 12, 1, tzinfo=UTC)
ANN = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="ann")])

# by declared kind
VALUES: list[tuple[str, Value]] = [
    *((kind, Value()) for kind in ("bigint", "double", "varchar", "varchar[]", "bigint[]", "double[]", ANY)),
    ("varchar", Value(string_val="")),
    ("varchar", Value(string_val="שלום\x00\x1f")),
    ("bigint", Value(int64_val=0)),
    ("bigint", Value(int64_val=-(2**63))),
    ("bigint", Value(int64_val=2**53 + 1)),
    ("double", Value(double_val=-0.0)),
    ("double", Value(double_val=0.1)),
    ("double", Value(double_val=5.0)),
    ("double", Value(double_val=float("-inf"))),
    (ANY, Value(int32_val=7)),
    (ANY, Value(float_val=0.5)),
    (ANY, Value(bool_val=False)),
    (ANY, Value(bytes_val=b"q\x00")),
    (ANY, Value(unix_timestamp_val=1323475200)),
    (ANY, Value(bool_list_val=BoolList(val=[True, False]))),
    ("varchar[]", Value(string_list_val=StringList(val=[]))),
    ("varchar[]", Value(string_list_val=StringList(val=[""]))),
    ("varchar[]", Value(string_list_val=StringList(val=["a", "", "שלום"]))),
    ("varchar[]", Value(string_list_val=StringList(val=["a\x1fb", "c"]))),
    ("bigint[]", Value(int64_list_val=Int64List(val=[]))),
    ("bigint[]", Value(int64_list_val=Int64List(val=[2**63 - 1, -1]))),
    ("double[]", Value(double_list_val=DoubleList(val=[]))),
    ("double[]", Value(double_list_val=DoubleList(val=[0.1, float("inf")]))),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=str)
def test_every_value_comes_back_from_a_packed_row(kind: str, value: Value) -> None:
    # among neighbours of either form
    view = PackedView("v", {"before": "varchar", "number": "bigint", "x": kind, "after": "bigint[]"})
    others = {"before": Value(string_val="b"), "after": Value(int64_list_val=Int64List(val=[9]))}
    row = view.pack({**others, "number": Value(int64_val=4), "x": value}, 5, None)
    found = view.feast_values(row, ["x", "before", "number", "after", "unknown"])
    assert found.pop("x").SerializeToString() == value.SerializeToString()
    assert found == {**others, "number": Value(int64_val=4), "unknown": Value()}
    expected = feast_value_type_to_python_type(value)
    columns = view.columns([row, None, row], ["x", "after", "number", "unknown"], 5)
    for python in (view.value(row, "x"), columns["x"][0], columns["x"][2]):
        assert (python, type(python), str(python)) == (expected, type(expected), str(expected))
    assert columns["x"][1] is None
    assert (columns["after"], columns["number"]) == ([[9], None, [9]], [4, None, 4])
    assert (columns["unknown"], view.value(row, "unknown")) == ([None] * 3, None)


def test_not_a_number_is_no_null() -> None:
    nan = float("nan")
    view = PackedView("v", {"x": "double", "y": "double[]"})
    row = view.pack({"x": Value(double_val=nan), "y": Value(double_list_val=DoubleList(val=[nan]))}, 5, 5)
    assert isnan(view.feast_values(row, ["x"])["x"].double_val)
    assert [isnan(x) for x in (view.value(row, "x"), *view.value(row, "y"))] == [True, True]


def test_a_value_of_another_type_than_declared_is_a_sentence() -> None:
    view = PackedView("v", {"x": "double"})
    with pytest.raises(
        TastemakerError, match=r"v\.x can't be put online: int64_val was given where double_val is decl"
    ):
        view.pack({"x": Value(int64_val=1)}, 5, 5)


@given(st.lists(st.tuples(st.integers(-(6 * 10**16), 2 * 10**17), st.integers(-(6 * 10**16), 2 * 10**17))))
def test_rows_sort_as_their_stamps_do_and_tell_them(stamps: list[tuple[int, int]]) -> None:
    view = PackedView("v", {"x": "bigint"})
    rows = [view.pack({"x": Value(int64_val=1)}, *pair) for pair in stamps]
    assert sorted(rows) == [row for _, row in sorted(zip(stamps, rows, strict=True))]
    assert [view.stamp(row) for row in rows] == [stamp for stamp, _ in stamps]
    for bound, _ in stamps:
        told = view.columns(rows, ["x"], bound)["x"]
        assert told == [1 if stamp >= bound else None for stamp, _ in stamps]
        assert [row < sorts_at(bound) for row in rows] == [stamp < bound for stamp, _ in stamps]


def opened(home: Home, store: SqliteOnlineStore) -> SqliteOnlineStore:
    home.feast.mkdir(parents=True, exist_ok=True)
    store.update(repo_config(home, None), [], [definitions(home).views["user_profile"]], [], [], partial=False)
    return store


def write(home: Home, store: SqliteOnlineStore, country: str) -> None:
    row = (ANN, {"user_country": Value(string_val=country)}, START, START)
    store.online_write_batch(repo_config(home, None), definitions(home).views["user_profile"], [row], None)


def read(home: Home, store: SqliteOnlineStore) -> str | None:
    [(_, values)] = store.online_read(repo_config(home, None), definitions(home).views["user_profile"], [ANN])
    return values and values["user_country"].string_val


def test_the_same_write_leaves_the_same_bytes(home: Home) -> None:
    store, path = opened(home, NewestWinsSqliteOnlineStore()), Path(home.feast / "online_store.db")
    write(home, store, "UK")
    before = path.read_bytes()
    opened(home, store)
    write(home, store, "UK")
    assert path.read_bytes() == before
    write(home, store, "DE")
    assert path.read_bytes() != before


def test_rows_in_another_order_leave_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for place, turned in (("one", False), ("other", True)):
        home = Home(tmp_path / place)
        store = opened(home, NewestWinsSqliteOnlineStore())
        users = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=f"u{n}")]) for n in range(500)]
        rows = [(user, {"user_country": Value(string_val="France")}, START, START) for user in users]
        given = rows[::-1] if turned else rows
        store.online_write_batch(repo_config(home, None), definitions(home).views["user_profile"], given, None)
        files.append((home.feast / "online_store.db").read_bytes())
    assert files[0] == files[1]


def test_a_reader_follows_a_replaced_file(home: Home) -> None:
    reader = opened(home, NewestWinsSqliteOnlineStore())
    write(home, reader, "UK")
    (home.feast / "online_store.db").unlink()
    write(home, opened(home, NewestWinsSqliteOnlineStore()), "DE")
    assert read(home, reader) == "DE"


def test_a_file_that_feast_laid_out_is_laid_out_anew(home: Home) -> None:
    home.feast.mkdir(parents=True)
    table = "create table tastemaker_user_profile (entity_key blob, feature_name text, value blob)"
    with sqlite3.connect(home.feast / "online_store.db") as connection:
        connection.execute(table)
    store = opened(home, NewestWinsSqliteOnlineStore())
    assert read(home, store) is None
    write(home, store, "UK")
    assert read(home, store) == "UK"


def with_fields(home: Home, *fields: Field) -> FeatureView:
    """The declared view with other features."""
    view = copy(definitions(home).views["user_profile"])
    view.features = list(fields)
    return view


def test_a_view_with_other_features_keeps_its_rows_and_a_reader_follows(home: Home) -> None:
    config, country = repo_config(home, None), Field(name="user_country", dtype=String)
    reader, store = opened(home, NewestWinsSqliteOnlineStore()), opened(home, NewestWinsSqliteOnlineStore())
    write(home, store, "UK")
    assert read(home, reader) == "UK"
    wider = with_fields(home, Field(name="visits", dtype=Int64), country)
    store.update(config, [], [wider], [], [], partial=False)
    # the reader, of before, has looked for the column already
    assert read(home, reader) == "UK"
    [(stamped, values)] = store.online_read(config, wider, [ANN])
    assert (stamped, values) == (START, {"visits": Value(), "user_country": Value(string_val="UK")})
    row = (ANN, {"visits": Value(int64_val=3), "user_country": Value(string_val="FR")}, START, START)
    store.online_write_batch(config, wider, [row], None)
    assert read(home, reader) == "FR"
    retyped = with_fields(home, Field(name="visits", dtype=String), country)
    store.update(config, [], [retyped], [], [], partial=False)
    assert store.online_read(config, retyped, [ANN])[0][1] == {
        "visits": Value(),
        "user_country": Value(string_val="FR"),
    }


def test_a_view_that_the_file_does_not_hold_is_told(home: Home) -> None:
    store = opened(home, NewestWinsSqliteOnlineStore())
    with pytest.raises(sqlite3.DatabaseError, match="it holds no view user_activity"):
        store.read_rows(repo_config(home, None), {"user_activity": []}, [b"ann"])


def test_a_key_without_any_view_is_gone(home: Home) -> None:
    store = opened(home, NewestWinsSqliteOnlineStore())
    write(home, store, "UK")
    store.expire(repo_config(home, None), definitions(home).views["user_profile"], START + timedelta(days=1))
    with sqlite3.connect(home.feast / "online_store.db") as connection:
        assert connection.execute("select count(*) from tastemaker").fetchall() == [(0,)]
