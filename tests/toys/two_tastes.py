"""A shop whose right answer anyone can see: even users want even items, odd users odd ones, and nothing else matters.

It has the shape of `training/<as_of>/datasets/` and an untrained retriever, so that the ranker and the release can be
tried without a warehouse.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker import names
from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.config import (
    CandidatesConfig,
    Config,
    EncoderName,
    EvaluationConfig,
    FeaturesConfig,
    RankerConfig,
    RetrieverConfig,
    SplitConfig,
)
from tastemaker.feature_tables import Feature
from tastemaker.home import Home
from tastemaker.moments import microseconds
from training.feature_tensors import item_features, user_features
from training.release.item_universe import ItemUniverse
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.two_tower import TwoTower
from training.sources.blend import Blend
from training.sources.fit import learnt
from training.sources.trained import TrainedSources, for_ranker_folder, sources_folder
from training.splits import plan_windows
from training.vocabulary import Vocabulary, title_words

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
FIRST_EVENT = AS_OF - timedelta(days=20)  # of every item
ITEMS, USERS = 40, 24
CONFIG = Config(
    version=1,
    features=FeaturesConfig(history_length=8, neighbours=4),
    split=SplitConfig(validation_days=1, ranker_days=6, calibration_days=3, test_days=2),
    retriever=RetrieverConfig(embedding_dimension=8),
    ranker=RankerConfig(max_trees=40, leaves=8, learning_rate=0.2, patience=10),
    candidates=CandidatesConfig(
        two_tower=20,
        popular=5,
        history=True,
        co_visitation=6,
        user_knn=6,
        matrix_factorization=6,
        content=6,
        next_item=6,
        popular_half_life_days=None,
        factors=4,
    ),
    evaluation=EvaluationConfig(k=5),
)


def item_id(number: int) -> str:
    return f"item-{number:02d}"


def items_of(day: datetime, count: int = ITEMS) -> list[dict]:
    """One row per item as of `day`; the numbers move with the day, and every seventh price is missing."""
    shift = (AS_OF - day).days
    rows = []
    for n in range(count):
        same = [(n + step) % count // 2 * 2 + n % 2 for step in (2, 4, 6, 8)]
        row = {feature.name: _plain(feature, float((n * 7 + shift) % 11)) for feature in item_features()}
        row |= {
            "item_title": f"{'RED' if n % 2 else 'BLUE'} lamp no {n}",
            "item_category": "lamps" if n % 3 else "",
            "item_price": None if n % 7 == 6 else 1.0 + n / 4,
            "item_interactions_30d": (n * 5 + shift) % 17,
            "neighbour_item_ids": [item_id(m) for m in dict.fromkeys(same) if m != n],
        }
        row["neighbour_scores"] = [0.5 / (1 + i) for i in range(len(row["neighbour_item_ids"]))]
        rows.append({names.ITEM_ID: item_id(n), "day": day.replace(tzinfo=None), **row})
    return rows


def user_row(user: int, moment: datetime, random: np.random.Generator, longest: int = 8) -> dict:
    """The features of `recommend_v1` at `moment`: a history of the user's own color, of fewer than `longest` items."""
    own = [n for n in range(ITEMS) if n % 2 == user % 2]
    history = random.permutation(own)[: random.integers(0, longest)].tolist()
    row = {feature.name: _plain(feature, float(random.integers(0, 9))) for feature in user_features()}
    seen = [microseconds(moment - timedelta(days=2 * i + 1)) for i in range(len(history))]
    return row | {
        "user_country": "UK" if user % 3 else "",
        "user_mean_item_price_90d": None if user % 5 == 0 else 4.0,
        "history_item_ids": [item_id(n) for n in history],
        "history_timestamps": seen,
        "history_event_types": ["purchase"] * len(history),
        "history_counts": [1 + i % 3 for i in range(len(history))],
    }


def requests(origin: str = names.ORIGIN_SESSION, days: int = 12, per_day: int = USERS, longest: int = 8) -> pa.Table:
    """Requests of the last `days` days, earliest first, each with three positives of its user's color."""
    random = np.random.default_rng(7)
    rows = []
    for day in range(days, 0, -1):
        for n in range(per_day):
            moment = AS_OF - timedelta(days=day) + timedelta(days=1) * n / max(72, per_day)  # 20 minutes, or less
            user = n % USERS
            own = [i for i in range(ITEMS) if i % 2 == user % 2]
            shown = random.permutation(ITEMS)[:10].tolist() if origin == names.ORIGIN_IMPRESSIONS else []
            positive = [i for i in shown if i in own][:3] if shown else random.permutation(own)[:3].tolist()
            rows.append(
                {
                    names.REQUEST_ID: f"request-{day:02d}-{n:02d}",
                    names.USER_ID: f"user-{user}",
                    names.REQUEST_TIMESTAMP: moment.replace(tzinfo=None),
                    names.CREATED_TIMESTAMP: moment.replace(tzinfo=None),
                    names.REQUEST_ORIGIN: origin,
                    names.SHOWN_ITEM_IDS: [item_id(i) for i in shown],
                    names.SHOWN_POSITIONS: list(range(len(shown))),
                    names.SHOWN_PROPENSITIES: [1.0] * len(shown),
                    names.SESSION_ITEM_IDS: [item_id(own[(n + before) % len(own)]) for before in range((day + 1) % 3)],
                    names.POSITIVE_ITEM_IDS: [item_id(i) for i in positive],
                    names.POSITIVE_FIRST_TIMESTAMPS: [microseconds(FIRST_EVENT)] * len(positive),
                    **user_row(user, moment, random, longest),
                }
            )
    return requests_table(rows)


def items_table(rows: list[dict]) -> pa.Table:
    fields = [(names.ITEM_ID, pa.string()), ("day", pa.timestamp("us"))]
    return pa.Table.from_pylist(rows, pa.schema(fields + [(f.name, ARROW_TYPES[f.dtype]) for f in item_features()]))


def requests_table(rows: list[dict]) -> pa.Table:
    fields = [
        (names.REQUEST_ID, pa.string()),
        (names.USER_ID, pa.string()),
        (names.REQUEST_TIMESTAMP, pa.timestamp("us")),
        (names.CREATED_TIMESTAMP, pa.timestamp("us")),
        (names.REQUEST_ORIGIN, pa.string()),
        (names.SHOWN_ITEM_IDS, pa.list_(pa.string())),
        (names.SHOWN_POSITIONS, pa.list_(pa.int64())),
        (names.SHOWN_PROPENSITIES, pa.list_(pa.float64())),
        (names.SESSION_ITEM_IDS, pa.list_(pa.string())),
        (names.POSITIVE_ITEM_IDS, pa.list_(pa.string())),
        (names.POSITIVE_FIRST_TIMESTAMPS, pa.list_(pa.int64())),
    ]
    return pa.Table.from_pylist(rows, pa.schema(fields + [(f.name, ARROW_TYPES[f.dtype]) for f in user_features()]))


def all_days(count: int = ITEMS) -> pa.Table:
    return items_table([row for d in range(13, -1, -1) for row in items_of(AS_OF - timedelta(days=d), count)])


def tower(items: pa.Table, seed: int = 1, encoder: EncoderName = "mean") -> TwoTower:
    """Untrained: random vectors, the same in every process."""
    texts = {
        "user_country": Vocabulary(("UK",)),
        "item_category": Vocabulary(("lamps",)),
        "item_brand": Vocabulary(()),
        names.ITEM_ID: Vocabulary.of(items[names.ITEM_ID].to_pylist()),
        "item_title_words": Vocabulary.of(w for t in items["item_title"].to_pylist() for w in title_words(t or "")),
    }
    config = TowerConfig.declared(dimension=8, as_of=microseconds(AS_OF), encoder=encoder)
    return TwoTower(config, texts, seed)


def trained_sources(items: pa.Table, until: datetime) -> TrainedSources:
    """What the candidate sources learn from the requests before a moment; each source has another weight."""
    universe = ItemUniverse.of(items[names.ITEM_ID].to_pylist())
    blend = Blend({source: 1.0 + n / 8 for n, source in enumerate(names.CANDIDATE_SOURCES)})
    return learnt(requests(), universe, until, CONFIG.candidates, blend)


def fill_home(home: Home, origin: str = names.ORIGIN_SESSION) -> None:
    """Training sets, a retriever and candidate sources, as if their steps had run."""
    datasets = home.training(AS_OF) / "datasets"
    datasets.mkdir(parents=True)
    items = all_days()
    pq.write_table(items, datasets / "items.parquet")
    pq.write_table(requests(origin), datasets / "requests.parquet")
    retriever: Path = home.training(AS_OF) / "retriever"
    tower(items).save(retriever)
    tower(items).save(retriever / "for_ranker")
    windows = plan_windows(CONFIG.split, AS_OF)
    assert windows.ranker.start and windows.test.start
    trained_sources(items, windows.test.start).save(sources_folder(home, AS_OF))
    trained_sources(items, windows.ranker.start).save(for_ranker_folder(home, AS_OF))


def _plain(feature: Feature, number: float) -> object:
    if feature.is_list:
        return []
    return {"varchar": "", "bigint": int(number), "double": number, "boolean": bool(number)}[feature.dtype]
