"""A shop whose right answer anyone can see: red users buy red items, blue users blue ones, and nobody else's."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.config import Config, RetrieverConfig, SplitConfig
from tastemaker.feature_tables import Feature
from tastemaker.home import Home
from training.datasets.files import items_file, requests_file
from training.feature_tensors import item_features, user_features

START = datetime(2020, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=100)
COLORS = ("red", "blue")
USERS, ITEMS = 10, 12  # of each color
RANKER_ITEM = "red-first-sold-to-the-ranker"
COLD_ITEM = "red-never-sold"
CONFIG = Config(
    version=1,
    split=SplitConfig(validation_days=8, ranker_days=12, calibration_days=4, test_days=12),
    retriever=RetrieverConfig(
        embedding_dimension=16, batch_size=128, max_epochs=6, patience=2, learning_rate=0.01, seed=3
    ),
)


def write_datasets(home: Home) -> None:
    """Leaves the shop's training sets in the home, as `tastemaker dataset` would."""
    requests_file(home, AS_OF).parent.mkdir(parents=True)
    pq.write_table(_requests(), requests_file(home, AS_OF))
    pq.write_table(_items(), items_file(home, AS_OF))


def _requests() -> pa.Table:
    random = np.random.default_rng(0)
    rows = []
    for color in COLORS:
        for user in range(USERS):
            bought: Counter[str] = Counter()
            last: dict[str, int] = {}
            for day in range(user % 4 + 1, 100, 4):
                asked = START + timedelta(days=day, hours=10)
                history = sorted(bought, key=lambda item: (-last[item], item))
                new = [f"{color}-{n}" for n in random.choice(ITEMS, 3, replace=False)]
                if color == "red" and asked >= AS_OF - timedelta(days=28):  # from the ranker's window on
                    new.append(RANKER_ITEM)
                rows.append(
                    {
                        "request_id": f"{color}-{user}-{day}",
                        "user_id": f"{color}-{user}",
                        "request_timestamp": asked.replace(tzinfo=None),
                        "positive_item_ids": new,
                        "history_item_ids": history,
                        "history_timestamps": [last[item] for item in history],
                        "history_counts": [bought[item] for item in history],
                        "user_interactions_30d": len(history),
                    }
                )
                bought.update(new)
                last |= dict.fromkeys(new, int(asked.timestamp()) * 1_000_000)
    rows.sort(key=lambda row: (row["request_timestamp"], row["request_id"]))
    keys = {"request_id": pa.string(), "user_id": pa.string(), "request_timestamp": pa.timestamp("us")}
    return _table(rows, {**keys, "positive_item_ids": pa.list_(pa.string())}, user_features())


def _items() -> pa.Table:
    noun = {"red": "rose garden", "blue": "sea harbor"}
    named = {f"{color}-{n}": f"{color} {noun[color]} {n}" for color in COLORS for n in range(ITEMS)}
    named |= {RANKER_ITEM: "red rose garden late", COLD_ITEM: "red rose garden new"}
    rows = [
        {
            "item_id": item,
            "day": (START + timedelta(days=day)).replace(tzinfo=None),
            "item_title": title,
            "item_price": 2.5,
            "item_interactions_30d": 10,
        }
        for day in range(0, 101, 4)
        for item, title in named.items()
    ]
    return _table(rows, {"item_id": pa.string(), "day": pa.timestamp("us")}, item_features())


def _table(rows: list[dict], keys: dict[str, pa.DataType], features: tuple[Feature, ...]) -> pa.Table:
    schema = pa.schema([*keys.items(), *((feature.name, ARROW_TYPES[feature.dtype]) for feature in features)])
    return pa.Table.from_pylist(rows, schema=schema)
