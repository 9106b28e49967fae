import sqlite3

import pytest
from declared_warehouse import WriteWarehouse, feature_row, moment
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from redis_process import client

from feature_repo.materialize import materialize
from feature_repo.online_rows import entity_keys
from feature_repo.packed_rows import PackedView
from feature_repo.parity import check_parity
from tastemaker.config import Config
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("online_store")]

FEATURES = sum(len(table.features) for table in feature_tables().values())


@pytest.fixture
def shop(home: Home, config: Config, write_warehouse: WriteWarehouse) -> Home:
    users = [feature_row(f"u{n}", 10, user_value_1d=n / 3, user_sessions_90d=n) for n in range(5)]
    write_warehouse(
        {
            "user_activity": [*users, feature_row("u1", 9, 10, user_sessions_90d=99)],
            "user_history": [feature_row("u1", 4, history_item_ids=["a", "b"], history_counts=[])],
            "item_profile": [feature_row("a", 2, item_price=1.0)],
        }
    )
    materialize(home, config, moment(10))
    return home


def plant(home: Home, address: str | None, view: str, feature: str, value: Value) -> None:
    [key] = entity_keys("user_id", ["u1"])
    if address is not None:
        field = _mmh3(f"{view}:{feature}")
        assert client(address).hset(key + b"tastemaker", field, value.SerializeToString()) == 0
        return
    with sqlite3.connect(home.feast / "online_store.db") as connection:
        packed, row = held(connection, view, key)
        values = {**packed.feast_values(row, list(packed.kinds)), feature: value}
        changed = packed.pack(values, packed.stamp(row), None)
        forge(connection, packed, changed, key)


def held(connection: sqlite3.Connection, view: str, key: bytes) -> tuple[PackedView, bytes]:
    """A view of the file and its row of a key."""
    columns = [row[1] for row in connection.execute("pragma table_info(tastemaker)") if not row[5]]
    [packed] = [packed for packed in map(PackedView.of_column, columns) if packed.name == view]
    column = packed.column.replace('"', '""')
    [(row,)] = connection.execute(f'select "{column}" from tastemaker where __entity_key = ?', [key])
    return packed, row


def forge(connection: sqlite3.Connection, packed: PackedView, row: bytes | None, key: bytes) -> None:
    column = packed.column.replace('"', '""')
    changed = connection.execute(f'update tastemaker set "{column}" = ? where __entity_key = ?', [row, key])
    assert changed.rowcount == 1


def test_the_stores_agree_on_everything_even_on_nobody(shop: Home) -> None:
    agreed = check_parity(shop, 100)
    assert agreed.keys == {"user_id": 6, "item_id": 2}
    assert agreed.values == 6 * FEATURES


@pytest.mark.parametrize(
    ("view", "feature", "value", "told"),
    [
        ("user_activity", "user_sessions_90d", Value(int64_val=2), "offline 1, online 2"),
        ("user_activity", "user_value_1d", Value(double_val=0.33333333333333337), "offline 0.333"),
        ("user_history", "history_item_ids", Value(string_list_val={"val": ["b", "a"]}), r"offline \['a', 'b'\]"),
        ("user_history", "history_counts", Value(), r"offline \[\], online None \(null\)"),
    ],
)
def test_a_planted_difference_is_told(
    shop: Home, online_store: str | None, view: str, feature: str, value: Value, told: str
) -> None:
    plant(shop, online_store, view, feature, value)
    with pytest.raises(GateFailedError, match=rf"{view}\.{feature} of user_id 'u1' differs .*{told}"):
        check_parity(shop, 100)


def test_a_missing_row_is_told(shop: Home, online_store: str | None) -> None:
    [key] = entity_keys("user_id", ["u1"])
    if online_store is not None:
        client(online_store).hdel(key + b"tastemaker", "_ts:user_history")
    else:
        with sqlite3.connect(shop.feast / "online_store.db") as connection:
            packed, _ = held(connection, "user_history", key)
            forge(connection, packed, None, key)
    with pytest.raises(GateFailedError, match=r"history_item_ids .*\(not_found\)"):
        check_parity(shop, 100)


def test_stores_of_different_moments_are_not_compared(shop: Home, config: Config) -> None:
    materialize(shop, config, moment(9))
    with pytest.raises(TastemakerError, match="offline store is as of 2011-12-09"):
        check_parity(shop, 1)
