"""What one would write first: Feast's SDK, a TFRS BruteForce layer and `Booster.predict`, in one Python process."""

import lightgbm as lgb
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from benchmarks.synthetic_shop import CANDIDATES, PLAIN_FEATURES
from feature_repo.store import open_store
from tastemaker import names
from tastemaker.home import Home
from training.feature_tensors import query_specs, user_features
from training.ranking.features import USER_NUMBERS
from training.release.fused_graph import FusedRecommender
from training.release.item_snapshot import ITEM_NUMBERS


class ObviousWay:
    """Looks up, retrieves, looks up again, ranks.

    It is given what helps it: a `tf.function` around query tower and BruteForce, all threads, and a ranker without
    features of the pair, so that it need not make any.
    """

    def __init__(self, home: Home, graph: FusedRecommender, booster: lgb.Booster, threads: int) -> None:
        """Args: `graph`: whose tower and vectors it takes; `booster`: on PLAIN_FEATURES."""
        self._store = open_store(home)
        self._user, self._item = (self._store.get_feature_service(n) for n in (names.RECOMMEND_V1, names.ITEM_V1))
        self._booster, self._threads = booster, threads
        self._types = {name: spec.dtype for name, spec in query_specs().items()}
        brute = tfrs.layers.factorized_top_k.BruteForce(query_model=graph.tower.query, k=CANDIDATES)
        brute.index(tf.constant(graph.snapshot.vectors.numpy()[:-1]), tf.constant(graph.universe.item_ids))
        self._nearest = tf.function(lambda user: brute(user), input_signature=[query_specs()])

    def recommend(self, user_id: str, k: int) -> list[str]:
        """The k best items."""
        found = self._store.get_online_features(self._user, [{names.USER_ID: user_id}]).to_dict()
        user = {f.name: tf.constant([found[f.name][0]], self._types[f.name]) for f in user_features()}
        scores, ids = self._nearest({**user, names.REQUEST_TIMESTAMP: tf.zeros([1], tf.int64)})
        candidates = [item.decode() for item in ids.numpy()[0]]
        items = self._store.get_online_features(self._item, [{names.ITEM_ID: item} for item in candidates]).to_dict()
        of_user = np.tile(np.array([found[name][0] for name in USER_NUMBERS], np.float64), (CANDIDATES, 1))
        of_items = np.array([items[name] for name in ITEM_NUMBERS], np.float64).T
        rows = np.concatenate([of_user, of_items, scores.numpy().T], axis=1)
        assert rows.shape[1] == len(PLAIN_FEATURES)
        probabilities = np.asarray(self._booster.predict(rows, num_threads=self._threads))
        best = np.argsort(-probabilities)[:k]
        return [candidates[i] for i in best]
