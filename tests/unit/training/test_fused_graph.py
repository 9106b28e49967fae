"""The fused graph against plain Python: candidates, pair features, what sources say; and one part against another."""

from datetime import timedelta

import numpy as np
import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.fused_graphs import (
    EVERY_SOURCE,
    FADING_DAYS,
    FADING_PLACE,
    SOURCES,
    graph_of,
    one_of,
    recommended,
)

from tastemaker import names
from tastemaker.moments import microseconds
from training.ranking.features import FEATURE_NAMES
from training.ranking.past import DAY


def test_candidates_are_the_union_of_the_sources_each_once_and_none_excluded(graph, requests, user):
    excluded = [toy.item_id(3), toy.item_id(3), toy.item_id(8), "no such item", ""]
    found = graph.candidate_features(user, tf.constant([excluded]))
    query = graph.tower.query(user).numpy()
    products = query @ graph.snapshot.vectors.numpy()[:-1].T
    popular = graph.snapshot.popular_item_ids(SOURCES.popular)
    histories = requests["history_item_ids"].to_pylist()
    for row, history in enumerate(histories):
        nearest = [toy.item_id(i) for i in np.argsort(-products[row], kind="stable") if toy.item_id(i) not in excluded]
        expected = set(nearest[: SOURCES.two_tower]) | (set(history) | set(popular)) - set(excluded)
        valid = found["valid"].numpy()[row]
        ids = [name.decode() for name in found["item_ids"].numpy()[row][valid]]
        assert len(ids) == len(set(ids))
        assert set(ids) == expected


def test_pair_features_are_what_plain_python_computes(graph, requests, user):
    found = graph.candidate_features(user, tf.constant([[""]]))
    items = {row["item_id"]: row for row in toy.items_of(toy.AS_OF)}
    rows = requests.to_pylist()
    moments = user["request_timestamp"].numpy()
    checked = 0
    for b in range(0, 40, 3):
        history = rows[b]["history_item_ids"]
        days = [(moments[b] - seen) / DAY for seen in rows[b]["history_timestamps"]]
        decay = [np.exp(-d / FADING_DAYS) * FADING_PLACE**place for place, d in enumerate(days)]
        counts = rows[b]["history_counts"]
        recent = {w for name in history for w in items[name]["item_title"].lower().split()}
        for c in np.flatnonzero(found["valid"].numpy()[b]):
            name = found["item_ids"].numpy()[b, c].decode()
            item, got = items[name], dict(zip(FEATURE_NAMES, found["features"].numpy()[b, c], strict=True))
            at = history.index(name) if name in history else None
            near = dict(zip(item["neighbour_item_ids"], item["neighbour_scores"], strict=True))
            back = [
                dict(zip(items[h]["neighbour_item_ids"], items[h]["neighbour_scores"], strict=True)).get(name, 0.0)
                for h in history
            ]
            words = item["item_title"].lower().split()
            same = [h for h in history if items[h]["item_category"] == item["item_category"]]
            usual, price = rows[b]["user_mean_item_price_90d"], item["item_price"]
            expected = {
                "in_history": float(at is not None),
                "history_position": np.nan if at is None else at,
                "history_count": 0 if at is None else counts[at],
                "history_count_share": 0 if at is None else counts[at] / sum(counts),
                "history_days_since": np.nan if at is None else days[at],
                "history_items": len(history),
                "neighbours_in_history_sum": sum(near.get(h, 0.0) for h in history),
                "neighbours_in_history_max": max([near.get(h, 0.0) for h in history], default=0.0),
                "neighbours_in_history_recent": sum(near.get(h, 0.0) * w for h, w in zip(history, decay, strict=True)),
                "neighbour_of_history_sum": sum(back),
                "neighbour_of_history_recent": sum(s * w for s, w in zip(back, decay, strict=True)),
                "neighbour_of_latest": back[0] if back else 0.0,
                "title_overlap": sum(w in recent for w in words) / len(words),
                "category_share": np.nan if not item["item_category"] else len(same) / max(1, len(history)),
                "price_ratio": np.nan if usual is None or price is None else price / usual,
                "item_interactions_30d": item["item_interactions_30d"],
                "request_hour": rows[b]["request_timestamp"].hour,
                "request_weekday": rows[b]["request_timestamp"].weekday(),
            }
            for feature, value in expected.items():
                np.testing.assert_allclose(got[feature], value, rtol=1e-5, atol=1e-6, err_msg=f"{feature} of {name}")
            checked += 1
    assert checked > 200


def test_scores_and_ranks_are_the_retrievers_own(graph, user):
    found = graph.candidate_features(user, tf.constant([[""]]))
    vectors = graph.snapshot.vectors.numpy()[:-1].astype(np.float64)
    products = graph.tower.query(user).numpy().astype(np.float64) @ vectors.T
    for b in range(40):
        for c in np.flatnonzero(found["valid"].numpy()[b]):
            number = int(found["item_ids"].numpy()[b, c].decode().removeprefix("item-"))
            got = dict(zip(FEATURE_NAMES, found["features"].numpy()[b, c], strict=True))
            np.testing.assert_allclose(got["retrieval_score"], products[b, number], rtol=1e-4, atol=1e-5)
            better = int((products[b] > products[b, number] + 1e-6).sum())
            assert got["retrieval_rank"] == min(better, SOURCES.two_tower)


def test_every_source_speaks_and_its_features_say_what_it_said(mixed, user):
    found = mixed.candidate_features(user, tf.constant([[""]]))
    said = mixed.candidate_places(user)
    valid = found["valid"].numpy()
    np.testing.assert_array_equal(said["item_ids"].numpy(), found["item_ids"].numpy())
    features = dict(zip(FEATURE_NAMES, np.moveaxis(found["features"].numpy(), 2, 0), strict=True))
    blend = mixed.sources.blend
    expected = np.zeros(valid.shape)
    for n, source in enumerate(names.CANDIDATE_SOURCES):
        places = said["places"].numpy()[:, :, n]
        listed = places >= 0
        assert (listed & valid).any(), source
        assert set(places[0][listed[0]]) == set(range(listed[0].sum())), source
        np.testing.assert_array_equal(features[f"from_{source}"][valid], listed[valid], err_msg=source)
        expected += np.where(listed, blend.weights[source] / (blend.offset + 1 + places), 0.0)
        rank = features.get("retrieval_rank" if source == "two_tower" else f"{source}_rank")
        if rank is not None:
            length = EVERY_SOURCE.counts()[source]
            np.testing.assert_array_equal(rank[valid], np.where(listed, places, length)[valid], err_msg=source)
    np.testing.assert_allclose(features["blend_score"][valid], expected[valid], rtol=1e-5)
    assert (np.diff(np.where(valid, features["blend_score"], -1), axis=1) <= 1e-7).all()  # in the blend's order


def test_the_answer_says_who_proposed_an_item(mixed, user):
    inputs = {**user, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(7)}
    found, said = mixed.recommend(inputs), mixed.candidate_places(user)
    for row, told in enumerate(found["sources"].numpy()):
        ids = said["item_ids"].numpy()[row].tolist()
        for item, named in zip(found["item_ids"].numpy()[row], told, strict=True):
            places = said["places"].numpy()[row, ids.index(item)]
            expected = [source for n, source in enumerate(names.CANDIDATE_SOURCES) if places[n] >= 0]
            assert named.decode().split(",") == expected
    assert len(set(found["sources"].numpy().ravel())) > 5


def test_retrieve_is_the_order_of_the_blend(mixed, user):
    said = mixed.candidate_places(user)
    found = mixed.retrieve({**user, "k": tf.constant(6)})
    np.testing.assert_array_equal(found["item_ids"].numpy(), said["item_ids"].numpy()[:, :6])
    everything = mixed.retrieve({**one_of(user), "k": tf.constant(toy.ITEMS)})
    assert len(set(everything["item_ids"].numpy()[0])) == toy.ITEMS
    assert everything["scores"].numpy()[0, -1] == 0  # nobody lists the last: the nearest fill up


def test_the_ranker_judges_no_more_than_it_may(user):
    few = graph_of(toy.all_days(), EVERY_SOURCE.model_copy(update={"two_tower": 6, "ranked": 9}))
    many = graph_of(toy.all_days(), EVERY_SOURCE.model_copy(update={"two_tower": 6}))
    excluded = tf.constant([[toy.item_id(3), ""]])
    ours, all_ = (one.candidate_features(user, excluded) for one in (few, many))
    assert ours["item_ids"].shape[1] == 9
    np.testing.assert_array_equal(ours["item_ids"].numpy(), all_["item_ids"].numpy()[:, :9])
    asked = few.recommend({**user, "exclude_item_ids": excluded, "k": tf.constant(20)})
    assert all(len(set(row) - {b""}) == 20 for row in asked["item_ids"].numpy())


@pytest.mark.parametrize("which", ["graph", "mixed"])
def test_a_row_is_the_same_whatever_it_is_batched_with(which, user, request):
    graph = request.getfixturevalue(which)
    together = graph.candidate_features(user, tf.constant([[""]]))
    for b in (0, 7, 39):
        alone = graph.candidate_features(one_of(user, b), tf.constant([["", ""]]))
        for name in ("valid", "item_ids", "features"):
            np.testing.assert_array_equal(alone[name].numpy()[0], together[name].numpy()[b], err_msg=name)


@pytest.mark.parametrize("which", ["graph", "mixed"])
def test_given_items_have_the_features_they_would_have_as_candidates(which, user, request):
    graph = request.getfixturevalue(which)
    candidates = graph.candidate_features(user, tf.constant([[""]]))
    given = graph.item_features(user, candidates["item_ids"])
    valid = candidates["valid"].numpy()
    np.testing.assert_array_equal(given["features"].numpy()[valid], candidates["features"].numpy()[valid])


def test_rank_and_recommend_agree(graph, user):
    ids, scores = recommended(graph, user)
    ranked = graph.rank({**user, "item_ids": tf.constant(ids)})["scores"].numpy()
    np.testing.assert_array_equal(ranked, scores)


def test_similar_items_are_the_nearest_by_cosine_without_the_item_itself(graph):
    found = graph.similar_items({"item_ids": tf.constant([toy.item_id(4), "nonsense"]), "k": tf.constant(3)})
    vectors = graph.snapshot.vectors.numpy()[:-1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = [toy.item_id(i) for i in np.argsort(-(vectors @ vectors[4])) if i != 4]
    assert [name.decode() for name in found["item_ids"].numpy()[0]] == order[:3]
    assert found["item_ids"].numpy()[1].tolist() == [b""] * 3


def test_a_request_without_a_time_is_of_the_snapshots_moment(graph, user):
    then = one_of(user, request_timestamp=np.array([microseconds(toy.AS_OF)]))
    unsaid = one_of(user, request_timestamp=np.array([0]))
    first, second = (graph.candidate_features(u, tf.constant([[""]]))["features"].numpy() for u in (then, unsaid))
    np.testing.assert_array_equal(first, second)


def test_a_later_snapshot_changes_the_features(user):
    graph = graph_of(toy.all_days())
    before = graph.candidate_features(user, tf.constant([[""]]))["features"].numpy()
    graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF - timedelta(days=3))), toy.AS_OF)
    assert not np.array_equal(before, graph.candidate_features(user, tf.constant([[""]]))["features"].numpy(), True)
