"""A shop of any size with every declared feature, for measuring what serves: seeded, and of no meaning."""

from datetime import UTC, datetime
from functools import cache

import duckdb
import lightgbm as lgb
import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.item_index import trained_like
from feature_repo.materialize import materialize
from tastemaker import names
from tastemaker.config import CandidatesConfig, Config
from tastemaker.feature_tables import Feature, feature_tables
from tastemaker.home import Home
from tastemaker.moments import microseconds
from training.feature_tensors import item_features, query_tensors, user_features
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES, ITEM_ONLY, USER_NUMBERS, USER_ONLY
from training.release.fused_graph import FusedRecommender
from training.release.item_snapshot import ITEM_NUMBERS
from training.release.sample_users import SAMPLE_USERS
from training.release.trees import CompiledForest
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.two_tower import TwoTower
from training.vocabulary import RESERVED, Vocabulary, title_words

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
SEED, DIMENSIONS, CANDIDATES, USERS = 7, 64, 200, 1_000
HISTORY = 50  # items of a user
ITEM_LENGTH = 8.0
SOURCES = CandidatesConfig(two_tower=CANDIDATES, popular=0, history=False)
CONFIG = Config(version=1, candidates=SOURCES)
TREES, LEAVES = 300, 63  # the default ranker at its largest
RELEASE = "synthetic"
PLAIN_FEATURES = (*USER_NUMBERS, *ITEM_NUMBERS, "retrieval_score")  # a ranker without features of the pair
ARROW = {"varchar": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}


def items_table(count: int) -> pa.Table:
    """`item_id` and every item feature of `count` items."""
    random = np.random.default_rng(SEED)
    ids = item_ids(count)
    columns = {feature.name: _column(feature, count, ids, random) for feature in item_features()}
    words = np.array([f"word{n}" for n in range(3_000)], object)
    columns["item_title"] = pa.array([" ".join(row) for row in random.choice(words, (count, 4))])
    return pa.table({names.ITEM_ID: pa.array(ids), **columns})


def users_table(items: int) -> pa.Table:
    """`user_id`, every user feature, `request_timestamp`, `positive_item_ids` of USERS users, each with a history."""
    random = np.random.default_rng(SEED + 1)
    ids = item_ids(items)
    columns = {feature.name: _column(feature, USERS, ids, random) for feature in user_features()}
    steps = np.arange(1, HISTORY + 1) * 10**10  # about every three hours, latest first
    seen = np.tile(microseconds(AS_OF) - steps, USERS)
    columns["history_timestamps"] = _lists(seen, USERS, HISTORY)
    columns[names.REQUEST_TIMESTAMP] = pa.array([AS_OF.replace(tzinfo=None)] * USERS, pa.timestamp("us"))
    columns[names.POSITIVE_ITEM_IDS] = _lists(np.array(ids, object)[random.integers(0, len(ids), USERS)], USERS, 1)
    return pa.table({names.USER_ID: pa.array(user_ids()), **columns})


@cache
def item_ids(count: int) -> list[str]:
    """The ids of the items."""
    return [f"item-{n:07d}" for n in range(count)]


def user_ids() -> list[str]:
    """The ids of the users."""
    return [f"user-{n:04d}" for n in range(USERS)]


def fill_feature_store(home: Home, items: pa.Table, users: pa.Table) -> None:
    """The same values in Feast, online and offline, as of AS_OF."""
    stamps = "? as event_timestamp, ? as created_timestamp"
    with duckdb.connect(str(home.warehouse)) as warehouse:
        for name, table in feature_tables().items():
            warehouse.register("given", items if table.entity == "item" else users)
            columns = ", ".join(f"{feature.name}::{feature.dtype} as {feature.name}" for feature in table.features)
            moment = AS_OF.replace(tzinfo=None)
            warehouse.execute(
                f"create table {name} as select {table.key}, {stamps}, {columns} from given", [moment] * 2
            )
            warehouse.unregister("given")
    materialize(home, CONFIG, AS_OF)


def tower_of(items: pa.Table) -> TwoTower:
    """A two-tower model over the items, untrained but for the items' own vectors, which lie as trained ones do.

    At a length of ITEM_LENGTH they outweigh what the untrained layers add; so a large catalogue has an index.
    """
    texts = {
        name: Vocabulary.of(items[name].to_pylist())
        for name in ("item_category", "item_brand")
        if name in items.column_names
    }
    vocabularies = {
        **{f.name: Vocabulary(()) for f in (*user_features(), *item_features()) if f.dtype == "varchar"},
        **texts,
        names.ITEM_ID: Vocabulary.of(items[names.ITEM_ID].to_pylist()),
        "item_title_words": Vocabulary.of(
            word for title in items["item_title"].to_pylist() for word in title_words(title)
        ),
    }
    tower = TwoTower(TowerConfig.declared(dimension=DIMENSIONS, as_of=microseconds(AS_OF)), vocabularies, SEED)
    vectors, _ = trained_like(len(vocabularies[names.ITEM_ID].tokens), DIMENSIONS, 1, SEED)
    tower.weights["embedding/item_id"][RESERVED:].assign(ITEM_LENGTH * vectors)
    return tower


def graph_of(items: pa.Table) -> FusedRecommender:
    """The fused graph with the items as of AS_OF, still without a ranker."""
    graph = FusedRecommender(
        tower_of(items),
        items,
        SOURCES,
        CONFIG.features.history_length,
        CONFIG.features.neighbours,
        lambda: query_tensors(users_table(len(items)).slice(0, SAMPLE_USERS)),
    )
    graph.load_snapshot(items, AS_OF)
    return graph


def ranking_rows(graph: FusedRecommender, users: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Feature rows of some users' candidates, `[rows, F]`, and labels made up from them."""
    user = {name: tf.constant(values) for name, values in query_tensors(users.slice(0, 200)).items()}
    rows = graph.candidate_features(user, tf.constant([[""]]))["features"].numpy().reshape(-1, len(FEATURE_NAMES))
    random = np.random.default_rng(SEED + 2)
    filled = np.nan_to_num(rows)
    signal = (filled - filled.mean(axis=0)) / (filled.std(axis=0) + 1e-9) @ random.normal(size=rows.shape[1])
    return rows, (signal + random.normal(0, 4, len(rows)) > 0).astype(np.int8)


def booster_on(rows: np.ndarray, labels: np.ndarray, columns: list[str], trees: int = TREES) -> lgb.Booster:
    """A forest of `trees` × LEAVES on the named columns."""
    parameters = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "seed": SEED, "verbosity": -1}
    places = [FEATURE_NAMES.index(name) for name in columns]
    data = lgb.Dataset(rows[:, places], labels, feature_name=columns)
    return lgb.train({**parameters, "num_threads": 1}, data, trees)


def attach(graph: FusedRecommender, booster: lgb.Booster | str) -> None:
    """Makes the graph complete, with a booster or the file of one."""
    forest = CompiledForest(booster, feature_names=FEATURE_NAMES, item_only=ITEM_ONLY, user_only=USER_ONLY)
    graph.attach_ranker(forest, Calibration("platt"), RELEASE)


def _column(feature: Feature, rows: int, ids: list[str], random: np.random.Generator) -> pa.Array:
    if feature.is_list:
        width = HISTORY if feature.name.startswith("history") else CONFIG.features.neighbours
        chosen = random.integers(0, len(ids), rows * width)
        if feature.dtype == "varchar[]":
            return _lists(np.array(ids, object)[chosen], rows, width)
        return _lists(chosen % 5 + 1 if feature.dtype == "bigint[]" else random.random(rows * width), rows, width)
    if feature.dtype == "varchar":
        return pa.array([f"{feature.name}-{n}" for n in random.integers(0, 50, rows)])
    if feature.dtype == "double":
        return pa.array(np.round(random.gamma(2.0, 5.0, rows), 2))
    return pa.array(random.integers(0, 100, rows)).cast(ARROW[feature.dtype])


def _lists(values: np.ndarray, rows: int, width: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), pa.array(values))
