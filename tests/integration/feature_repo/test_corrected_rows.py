"""What was told is told again, otherwise: a price, a country, an event; through ingest, transform and materialize."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shop_days import ann_on, offline, online, run_day
from toys.landing_events import event, event_table

from feature_repo.parity import check_parity
from ingest.ledger import read_ledger
from tastemaker.home import Home

pytestmark = pytest.mark.integration

MONDAY = datetime(2024, 3, 11)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TOLD = MONDAY + 15 * HOUR
MOMENT = pa.timestamp("us", "UTC")
ITEM = pa.schema([("item_id", pa.string()), ("title", pa.string()), ("price", pa.float64()),
                  ("event_timestamp", MOMENT), ("created_timestamp", MOMENT)])  # fmt: skip
USER = pa.schema([("user_id", pa.string()), ("country", pa.string()),
                  ("event_timestamp", MOMENT), ("created_timestamp", MOMENT)])  # fmt: skip


def item(name: str, price: float, holds: datetime, told: datetime) -> dict[str, Any]:
    return {"item_id": name, "title": name, "price": price, "event_timestamp": holds, "created_timestamp": told}


def user(name: str, country: str, holds: datetime, told: datetime) -> dict[str, Any]:
    return {"user_id": name, "country": country, "event_timestamp": holds, "created_timestamp": told}


def bought(number: int, who: str, what: str, at: datetime, value: float) -> dict[str, Any]:
    return event(f"e{number}", user_id=who, item_id=what, event_type="purchase", value=value,
                 event_timestamp=at, created_timestamp=at)  # fmt: skip


# the ink has cost 2 for long; the pad costs 3 since Sunday ten o'clock
LONG_AGO, SUNDAY = MONDAY - 20 * DAY, MONDAY - 14 * HOUR
ITEMS = [item("ink", 2.0, LONG_AGO, LONG_AGO), item("pad", 3.0, SUNDAY, SUNDAY), item("pen", 4.0, LONG_AGO, LONG_AGO)]
USERS = [user("ann", "UK", LONG_AGO, LONG_AGO), user("bob", "FR", LONG_AGO, LONG_AGO)]
EVENTS = [
    bought(number, who, what, MONDAY - hours * HOUR, 5.0)
    for number, (who, what, hours) in enumerate(
        [("ann", "ink", 30), ("ann", "pen", 80), ("bob", "ink", 50), ("bob", "pad", 11), ("cy", "nib", 12)]
    )
]


def tell(shop: Path, day: int, items: list[dict], users: list[dict], events: list[dict]) -> None:
    tables = {
        "items": pa.Table.from_pylist(items, ITEM),
        "users": pa.Table.from_pylist(users, USER),
        "events": event_table(events),
    }
    for name, table in tables.items():
        (shop / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, shop / name / f"{day}.parquet")


def test_a_correction_changes_what_it_corrects_and_nothing_else(home: Home, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    tell(shop, 1, ITEMS, USERS, EVENTS)
    run_day(home, shop, MONDAY)
    labels = [MONDAY - DAY, MONDAY]
    before = ann_on(home, *labels)
    assert before[1]["user_country"] == "UK"

    as_told = Home(tmp_path / "as_told")
    shutil.copytree(home.root, as_told.root)
    run_day(as_told, shop, MONDAY + DAY)
    # of the same instants as the rows that they correct; and an event's id with another value, which is no correction
    tell(
        shop,
        2,
        [item("ink", 2.5, LONG_AGO, TOLD), item("pad", 3.5, SUNDAY, TOLD)],
        [user("ann", "IE", LONG_AGO, TOLD)],
        [bought(0, "ann", "ink", TOLD, 999.0)],
    )
    run_day(home, shop, MONDAY + DAY)
    refused = [
        entry for entry in read_ledger(home.landing, "landing").entries if entry.table == "events" and entry.quarantined
    ]
    assert [(entry.read, entry.passed, entry.quarantined) for entry in refused] == [(1, 0, 1)]

    was, now = online(as_told), online(home)
    changed = {place: now[place] for place in now if now[place] != was[place]}
    assert set(changed) == {("item_profile", "ink"), ("item_profile", "pad"), ("user_profile", "ann")}
    assert [changed["item_profile", name]["item_price"] for name in ("ink", "pad")] == [2.5, 3.5]
    assert changed["user_profile", "ann"]["user_country"] == "IE"
    assert check_parity(home, 10).values > 0

    # offline: rows known from Tuesday, beside those that were known before; Sunday's price also for Monday's stamp
    lost, gained = offline(as_told) - offline(home), offline(home) - offline(as_told)
    assert lost == set()
    assert {(row[0], row[1], row[2], row[3]) for row in gained} == {
        ("item_profile", "ink", MONDAY + DAY, MONDAY + DAY),
        ("item_profile", "pad", MONDAY, MONDAY + DAY),
        ("item_profile", "pad", MONDAY + DAY, MONDAY + DAY),
        ("user_profile", "ann", MONDAY + DAY, MONDAY + DAY),
    }
    assert ann_on(home, *labels) == before
    [then, told] = ann_on(home, MONDAY + 23 * HOUR, MONDAY + DAY)
    assert (then["user_country"], told["user_country"]) == ("UK", "IE")
