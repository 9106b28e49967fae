"""The fused graph with an inverted file in it: every signature answers as the one that asks every item does."""

import numpy as np
import pytest
import tensorflow as tf
from toys import two_tastes as toy

from serving.allowed_ops import require_allowed_ops
from serving.server.saved_model import SavedModel, SessionOptions
from training.feature_tensors import query_tensors
from training.ranking.calibration import Calibration
from training.ranking.features import PAIR_ONLY
from training.release import item_index
from training.release.fused_graph import FusedRecommender
from training.release.inputs import SIGNATURE_INPUTS
from training.release.saved_model import write_saved_model

pytestmark = pytest.mark.integration

LENGTH, NEIGHBOURS = toy.CONFIG.features.history_length, toy.CONFIG.features.neighbours


class ByRetrieval:
    """A ranker whose order is known: the retrieval score itself."""

    words = 1

    def item_masks(self, item_features):
        return tf.zeros([tf.shape(item_features)[0], self.words], tf.int64)

    user_masks = item_masks

    def raw_scores_from_masks(self, item_masks_gathered, user_masks, pair_features):
        return tf.cast(pair_features[:, :, PAIR_ONLY.index("retrieval_score")], tf.float64)


def _users():
    return query_tensors(toy.requests())


def _graph(**sources):
    items = toy.all_days()
    chosen = toy.CONFIG.candidates.model_copy(update=sources)
    graph = FusedRecommender(
        toy.tower(items), items, chosen, LENGTH, NEIGHBOURS, _users, toy.trained_sources(items, toy.AS_OF)
    )
    graph.attach_ranker(ByRetrieval(), Calibration("platt"), "toy")
    graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF)), toy.AS_OF)
    return graph


@pytest.fixture(scope="module")
def exact():
    return _graph()


@pytest.fixture(scope="module")
def inverted():
    """A toy has 40 items: short lists, cells of four, and no bound on what may be scanned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_index, "LENGTHS", (5, 10, 25))
        patch.setattr(item_index, "CELLS_PER_ROOT", 1.5)
        patch.setattr(item_index, "WORTH_SCANNING", 1.0)
        graph = _graph(exact_up_to_items=10, index_recall=1.0)
        for signature in SIGNATURE_INPUTS:  # traced while the toy's lengths hold
            getattr(graph, signature).get_concrete_function()
        yield graph


@pytest.fixture(scope="module")
def user():
    return {name: tf.constant(values) for name, values in query_tensors(toy.requests().slice(0, 40)).items()}


def _asked(user):
    excluded = tf.constant([[toy.item_id(3), "nonsense", ""]])
    given = tf.constant([[toy.item_id(n) for n in (1, 2, 30)] + ["nonsense"]])
    return {
        "recommend": {**user, "exclude_item_ids": excluded, "k": tf.constant(5)},
        "retrieve": {**user, "k": tf.constant(5)},
        "rank": {**user, "item_ids": given},
        "similar_items": {"item_ids": given[0], "k": tf.constant(5)},
    }


def test_it_was_measured_and_the_manifest_will_say_so(exact, inverted):
    assert exact.index.described() == {"kind": "exact", "items": toy.ITEMS}
    described = inverted.index.described()
    assert described["kind"] == "inverted_file"
    assert described["items"] == toy.ITEMS
    assert 1 < described["cells"] < toy.ITEMS
    assert [one["up_to"] for one in described["lists"]] == [5, 10, 25]
    assert all(one["recall"] == 1 and 1 <= one["probes"] <= described["cells"] for one in described["lists"])


@pytest.mark.parametrize("signature", list(SIGNATURE_INPUTS))
def test_every_signature_answers_as_the_exact_graph_does(exact, inverted, user, signature):
    inputs = _asked(user)[signature]
    ours, theirs = getattr(inverted, signature)(inputs), getattr(exact, signature)(inputs)
    for name, tensor in theirs.items():
        if tensor.dtype == tf.float32:
            np.testing.assert_allclose(ours[name].numpy(), tensor.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name].numpy(), tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("k", [1, 10, 11, toy.ITEMS, 1_000_000])
def test_any_k_and_exclusions_get_as_many_as_there_are(inverted, user, k):
    excluded = [toy.item_id(n) for n in range(12)]
    found = inverted.recommend({**user, "exclude_item_ids": tf.constant([excluded]), "k": tf.constant(k)})
    for row in found["item_ids"].numpy():
        assert len(row) == min(k, toy.ITEMS)
        assert len(set(row) - {b""}) == min(k, toy.ITEMS - 12)
        assert not {name.encode() for name in excluded} & set(row)


def test_a_row_is_the_same_whatever_it_is_batched_with(inverted, user):
    together = inverted.candidate_features(user, tf.constant([[""]]))
    for row in (0, 7, 39):
        alone = inverted.candidate_features({n: t[row : row + 1] for n, t in user.items()}, tf.constant([["", ""]]))
        for name in ("valid", "item_ids", "features"):
            np.testing.assert_array_equal(alone[name].numpy()[0], together[name].numpy()[row], err_msg=name)


def test_without_users_to_measure_it_with_every_item_is_asked(user):
    items = toy.all_days()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_index, "LENGTHS", (5,))
        sources = toy.CONFIG.candidates.model_copy(update={"exact_up_to_items": 10})
        trained = toy.trained_sources(items, toy.AS_OF)
        graph = FusedRecommender(toy.tower(items), items, sources, LENGTH, NEIGHBOURS, trained=trained)
        graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF)), toy.AS_OF)
        assert graph.index.described() == {"kind": "exact", "items": toy.ITEMS}


def test_items_that_are_gone_are_not_in_the_index(user):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_index, "LENGTHS", (5,))
        patch.setattr(item_index, "WORTH_SCANNING", 1.0)
        graph = _graph(exact_up_to_items=10, index_recall=1.0)
        graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF)[5:]), toy.AS_OF)
        assert graph.index.described()["kind"] == "inverted_file"
        found = graph.retrieve({**user, "k": tf.constant(5)})["item_ids"].numpy()
    assert not {toy.item_id(n).encode() for n in range(5)} & set(found.ravel())


def test_saved_and_restored_it_answers_the_same(inverted, user, tmp_path):
    write_saved_model(inverted, tmp_path / "saved")
    restored = tf.saved_model.load(str(tmp_path / "saved"))
    require_allowed_ops(tmp_path / "saved")
    served = SavedModel(tmp_path / "saved", SessionOptions())  # as TF-Serving runs it
    for signature, inputs in _asked(user).items():
        expected = getattr(inverted, signature)(inputs)
        found = restored.signatures[signature](**inputs)
        known = served.signatures[signature]
        feeds = {known.inputs[name].name: tensor.numpy() for name, tensor in inputs.items()}
        answered = served.run(feeds, [known.outputs[name].name for name in expected])
        for (name, tensor), answer in zip(expected.items(), answered, strict=True):
            np.testing.assert_array_equal(found[name].numpy(), tensor.numpy(), err_msg=f"{signature} {name}")
            np.testing.assert_array_equal(answer, tensor.numpy(), err_msg=f"{signature} {name}")
    served.close()
    assert {getattr(inverted, name).experimental_get_tracing_count() for name in SIGNATURE_INPUTS} == {1}
    assert inverted.item_features.experimental_get_tracing_count() == 0  # nobody who asks the release has a use for it
