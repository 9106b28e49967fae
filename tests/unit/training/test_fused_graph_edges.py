"""The fused graph never fails: every strange input, item and batch gives a list, or a refusal that names it."""

import numpy as np
import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.fused_graphs import (
    EVERY_SOURCE,
    LENGTH,
    NEIGHBOURS,
    SOURCES,
    graph_of,
    one_of,
    recommended,
    unknown_user,
)

from tastemaker.errors import TastemakerError
from training.release.fused_graph import FusedRecommender


def test_an_unknown_user_gets_a_list(graph):
    ids, scores = recommended(graph, unknown_user())
    assert len(set(ids[0])) == 5
    assert "" not in ids[0]
    assert np.all(np.diff(scores[0]) <= 0)


@pytest.mark.parametrize("k", [1, 7, toy.ITEMS, toy.ITEMS + 1, 1_000_000])
def test_k_up_to_and_above_the_catalogue(graph, user, k):
    ids, _ = recommended(graph, one_of(user), k=k)
    assert len(ids[0]) == min(k, toy.ITEMS)
    assert len(set(ids[0]) - {""}) == min(k, toy.ITEMS)


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("signature", ["recommend", "retrieve", "similar_items"])
def test_k_below_one_is_refused_by_name(graph, user, signature, k):
    inputs = {**one_of(user), "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(k)}
    if signature == "similar_items":
        inputs = {"item_ids": tf.constant([toy.item_id(1)]), "k": tf.constant(k)}
    if signature == "retrieve":
        del inputs["exclude_item_ids"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Input k must be at least 1"):
        getattr(graph, signature)(inputs)


def test_an_input_with_the_wrong_number_of_rows_is_named(graph, user):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Input user_country must have one row"):
        recommended(graph, {**user, "user_country": tf.constant(["UK", "FR"])})


def test_exclusions_that_leave_fewer_end_in_blanks(graph, user):
    excluded = [toy.item_id(n) for n in range(toy.ITEMS - 2)] + ["nonsense", toy.item_id(0)]
    ids, scores = recommended(graph, one_of(user), k=5, exclude=(excluded,))
    assert set(ids[0][:2]) == {toy.item_id(toy.ITEMS - 1), toy.item_id(toy.ITEMS - 2)}
    assert ids[0][2:] == ["", "", ""]
    assert scores[0, 2:].tolist() == [0.0, 0.0, 0.0]


def test_unknown_and_repeated_items_in_the_history_do_no_harm(graph, user):
    odd = [toy.item_id(1), "\x00", toy.item_id(1), "nonsense", "\u202eabc", ""]
    ids, _ = recommended(
        graph,
        one_of(
            user,
            history_item_ids=[odd],
            history_timestamps=np.array([[5, 4, 3]]),  # of another length, as when a caller leaves it out
            history_counts=np.ones((1, 40), np.int64),
        ),
        k=toy.ITEMS,
    )
    assert sorted(ids[0]) == [toy.item_id(n) for n in range(toy.ITEMS)]


def test_nan_and_infinity_in_every_number_still_give_a_list(graph, user):
    for value in (np.nan, np.inf, -np.inf, 3e38):
        broken = {n: tf.fill(t.shape, np.float32(value)) if t.dtype == tf.float32 else t for n, t in user.items()}
        ids, scores = recommended(graph, broken)
        assert np.all(np.isfinite(scores))
        assert all(len(set(row) - {""}) == 5 for row in ids)


def test_an_empty_batch_is_refused_by_name(graph, user):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Input history_item_ids must have one row"):
        recommended(graph, {**user, "history_item_ids": user["history_item_ids"][:0]})


def test_batches_of_one_and_4096(graph, user):
    for rows in (1, 4096):
        batch = {name: tf.repeat(tensor[:1], rows, axis=0) for name, tensor in user.items()}
        ids, _ = recommended(graph, batch)
        assert len(ids) == rows
        assert len({tuple(row) for row in ids}) == 1


def test_rank_knows_what_it_knows(graph, user):
    asked = tf.constant([[toy.item_id(1), "nonsense", "", toy.item_id(1)]])
    found = graph.rank({**one_of(user), "item_ids": asked})
    assert found["known"].numpy().tolist() == [[True, False, False, True]]
    scores = found["scores"].numpy()[0]
    assert scores[0] == scores[3] > 0
    assert scores[1] == scores[2] == 0


def test_an_item_without_a_row_today_is_not_recommended(user):
    graph = graph_of(toy.all_days())
    graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF)[5:]), toy.AS_OF)
    ids, _ = recommended(graph, user, k=1_000)
    gone = {toy.item_id(n) for n in range(5)}
    assert len(ids[0]) == toy.ITEMS - 5
    assert all(set(row).isdisjoint(gone) for row in ids)


@pytest.mark.parametrize("sources", [SOURCES, EVERY_SOURCE])
def test_a_catalogue_of_one(user, sources):
    graph = graph_of(toy.all_days(1), sources)
    assert recommended(graph, user, k=10)[0] == [[toy.item_id(0)]] * 40
    assert recommended(graph, one_of(user), exclude=((toy.item_id(0),),))[0] == [[""]]
    found = graph.similar_items({"item_ids": tf.constant([toy.item_id(0)]), "k": tf.constant(3)})
    assert found["item_ids"].numpy().tolist() == [[b""]]


def test_a_snapshot_with_two_rows_of_an_item_is_refused(graph):
    rows = toy.items_of(toy.AS_OF)
    with pytest.raises(TastemakerError, match="more than one row"):
        graph_of(toy.all_days()).load_snapshot(toy.items_table([*rows, rows[0]]), toy.AS_OF)


def test_a_source_that_was_not_trained_is_named():
    items = toy.all_days()
    for source, said in (("user_knn", "user_knn is on"), ("matrix_factorization", "matrix_factorization is on")):
        with pytest.raises(TastemakerError, match=said):
            FusedRecommender(toy.tower(items), items, SOURCES.model_copy(update={source: 3}), LENGTH, NEIGHBOURS)


def test_no_items_at_all_is_refused():
    with pytest.raises(TastemakerError, match="no item to recommend"):
        FusedRecommender(toy.tower(toy.all_days()), toy.items_table([]), SOURCES, LENGTH, NEIGHBOURS)
