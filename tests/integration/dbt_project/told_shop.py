"""The toy shop with more to tell: items and users that change from day to day, a part of it told late."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
from toy_shop import DAY, DAYS, FIRST_DAY, ITEM_COLUMNS, USER_COLUMNS


@dataclass(frozen=True)
class Told:
    """From when something holds of an item or a user, when it became known, and what: a price, or a country."""

    key: str
    happened: datetime
    created: datetime
    what: float | str


def told(seed: int, keys: list[str], start: float | str) -> list[Told]:
    """Each key on the first day, then some fifteen changes each, no two of a key alike; a third of them late."""
    draw = random.Random(seed)
    found = []
    for key in keys:
        found.append(Told(key, FIRST_DAY, FIRST_DAY, start))
        for number in range(15):
            happened = FIRST_DAY + draw.randrange(DAYS) * DAY + timedelta(seconds=draw.randrange(1, 86400))
            late = draw.choice([timedelta()] * 4 + [DAY, draw.randrange(1, 5) * DAY])
            what = f"country {number}" if isinstance(start, str) else float(number)
            found.append(Told(key, happened, happened + late, what))
    return found


def land_told(landing: Path, items: list[Told], users: list[Told]) -> None:
    """Lands both; what toy_shop lands of its own accord is left out then."""
    with duckdb.connect() as connection:
        for table, columns in (("items", ITEM_COLUMNS), ("users", USER_COLUMNS)):
            (landing / table).mkdir(parents=True)
            connection.execute(f"create table {table} ({columns})")
        for item in items:
            connection.execute(
                "insert into items values (?, ?, null, 'c', 'b', ?, null, ?, ?, 'told', 1)",
                [item.key, f"Item {item.key}", item.what, item.happened, item.created],
            )
        for user in users:
            connection.execute(
                "insert into users values (?, ?, null, true, ?, ?, 'told', 1)",
                [user.key, user.what, user.happened, user.created],
            )
        for table in ("items", "users"):
            connection.execute(f"copy {table} to '{landing / table / 'told.parquet'}' (format parquet)")
