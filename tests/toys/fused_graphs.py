"""Fused graphs over the shop of two tastes, and how tests ask them."""

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from toys import two_tastes as toy
from toys.by_retrieval import ByRetrieval

from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES, ITEM_ONLY, USER_ONLY
from training.release.fused_graph import FusedRecommender
from training.release.inputs import input_defaults
from training.release.trees import CompiledForest

EVERY_SOURCE = toy.CONFIG.candidates
ADDED = ("co_visitation", "user_knn", "matrix_factorization", "content", "next_item")
FADING_DAYS, FADING_PLACE = 20.0, 0.9
FADING = {"history_fading_days": FADING_DAYS, "history_fading_place": FADING_PLACE}
SOURCES = EVERY_SOURCE.model_copy(update={**dict.fromkeys(ADDED, 0), **FADING})
LENGTH, NEIGHBOURS = toy.CONFIG.features.history_length, toy.CONFIG.features.neighbours


def graph_of(items, sources=SOURCES):
    """As of AS_OF, with a ranker that keeps the retriever's order."""
    trained = toy.trained_sources(items, toy.AS_OF)
    graph = FusedRecommender(toy.tower(items), items, sources, LENGTH, NEIGHBOURS, trained=trained)
    graph.load_snapshot(items.filter(of_day(items, toy.AS_OF)), toy.AS_OF)
    graph.attach_ranker(ByRetrieval(), Calibration("platt"), "toy")
    return graph


def with_trees(graph, user):
    """The same graph, with a compiled forest that splits on features of every kind: labels are drawn by lot."""
    found = graph.candidate_features(user, tf.constant([[""]]))
    rows = found["features"].numpy()[found["valid"].numpy()]
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 15, "feature_fraction": 0.3}
    label = np.random.default_rng(0).integers(0, 2, len(rows))
    booster = lgb.train(params, lgb.Dataset(rows, label, feature_name=list(FEATURE_NAMES)), 30)
    used = {name for name, splits in zip(FEATURE_NAMES, booster.feature_importance(), strict=True) if splits}
    assert used & set(ITEM_ONLY) and used & set(USER_ONLY) and used - set(ITEM_ONLY) - set(USER_ONLY)
    forest = CompiledForest(booster, feature_names=FEATURE_NAMES, item_only=ITEM_ONLY, user_only=USER_ONLY)
    graph.attach_ranker(forest, Calibration("platt"), "toy trees")
    return graph


def of_day(items, day):
    return pc.equal(items["day"], pa.scalar(day.replace(tzinfo=None), pa.timestamp("us")))


def recommended(graph, user, k=5, exclude=(("",),)):
    """Item ids, a list a row, and scores."""
    found = graph.recommend({**user, "exclude_item_ids": tf.constant(exclude), "k": tf.constant(k)})
    return [[name.decode() for name in row] for row in found["item_ids"].numpy()], found["scores"].numpy()


def one_of(user, row=0, **changes):
    """One row of a batch, with other inputs in places."""
    return {name: tensor[row : row + 1] for name, tensor in user.items()} | {
        name: tf.constant(value) for name, value in changes.items()
    }


def unknown_user():
    """What the release itself takes where nothing is sent."""
    given = {name: tf.constant(value) for name, value in input_defaults("recommend").items()}
    return {name: value for name, value in given.items() if name not in ("k", "exclude_item_ids")}
