"""Training sets of a shop as large as Online Retail, with tastes to be learnt: seeded, and of no meaning.

Every user likes two of the 76 kinds of items and sometimes takes what sells everywhere; within a kind few items sell
much. 13,000 requests with about 20 positives each, 3,800 items, 4,000 users, 300 days.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from tastemaker import names
from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.moments import microseconds
from training.datasets.item_snapshots import DAY
from training.feature_tensors import item_features, user_features

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 300
AS_OF = START + timedelta(days=DAYS)
SEED, KINDS, OF_A_KIND, USERS, REQUESTS, HISTORY = 7, 76, 50, 4_000, 13_000, 100
POSITIVES = 20.0  # mean of a geometric distribution
OWN_TASTE = 0.8  # share of what is taken that is of the kinds one likes


def synthetic_datasets() -> tuple[pa.Table, pa.Table]:
    """What `read_dataset` gives of `requests.parquet` and `items.parquet`."""
    return _requests(), _items()


def _requests() -> pa.Table:
    random = np.random.default_rng(SEED)
    sells = 1 / np.arange(1, OF_A_KIND + 1)
    sells /= sells.sum()
    liked = random.integers(0, KINDS, (USERS, 2))
    owner = random.integers(0, USERS, REQUESTS)
    moments = np.sort(random.integers(microseconds(START), microseconds(AS_OF), REQUESTS))
    past: list[dict[int, tuple[int, int]]] = [{} for _ in range(USERS)]  # item → (latest moment, count)
    columns: dict[str, list[object]] = {name: [] for name in ("positive_item_ids", *_HISTORY)}
    for user, moment in zip(owner.tolist(), moments.tolist(), strict=True):
        count = min(int(random.geometric(1 / POSITIVES)), 200)
        kinds = np.where(
            random.random(count) < OWN_TASTE, random.choice(liked[user], count), random.integers(0, KINDS, count)
        )
        taken = np.unique(kinds * OF_A_KIND + random.choice(OF_A_KIND, count, p=sells)).tolist()
        known = sorted(past[user], key=lambda item: (-past[user][item][0], item))[:HISTORY]
        columns["positive_item_ids"].append([_id(item) for item in taken])
        columns["history_item_ids"].append([_id(item) for item in known])
        columns["history_timestamps"].append([past[user][item][0] for item in known])
        columns["history_counts"].append([past[user][item][1] for item in known])
        for item in taken:
            past[user][item] = (moment, past[user].get(item, (0, 0))[1] + 1)
    columns[names.REQUEST_TIMESTAMP] = [datetime.fromtimestamp(m / 1e6, UTC).replace(tzinfo=None) for m in moments]
    fields = {names.REQUEST_TIMESTAMP: pa.timestamp("us"), names.POSITIVE_ITEM_IDS: pa.list_(pa.string())}
    fields |= {feature.name: ARROW_TYPES[feature.dtype] for feature in user_features()}
    return _table(columns, fields, REQUESTS)


_HISTORY = ("history_item_ids", "history_timestamps", "history_counts")


def _items() -> pa.Table:
    days = [START + timedelta(days=day) for day in range(0, DAYS + 1, 7)]
    items = range(KINDS * OF_A_KIND)
    columns: dict[str, list[object]] = {
        names.ITEM_ID: [_id(item) for _ in days for item in items],
        DAY: [day.replace(tzinfo=None) for day in days for _ in items],
        "item_title": [f"kind {item // OF_A_KIND} article {item}" for _ in days for item in items],
        "item_price": [1.0 + item % 17 for _ in days for item in items],
    }
    fields = {names.ITEM_ID: pa.string(), DAY: pa.timestamp("us")}
    return _table(
        columns,
        fields | {feature.name: ARROW_TYPES[feature.dtype] for feature in item_features()},
        len(days) * len(items),
    )


def _table(columns: dict[str, list[object]], fields: dict[str, pa.DataType], rows: int) -> pa.Table:
    """The columns in the fields' order; those not given are null."""
    arrays = [
        pa.array(columns[name], kind) if name in columns else pa.nulls(rows, kind) for name, kind in fields.items()
    ]
    return pa.table(arrays, names=list(fields))


def _id(item: int) -> str:
    return f"item-{item:04d}"
