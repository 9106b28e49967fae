"""The client against a server of a toy release: features in, ranked items out, sentences for what goes wrong."""

import socket
from datetime import UTC, datetime

import numpy as np
import pytest

from serving.client import Recommender
from serving.protocol import meta_graph_pb2, tensor_pb2
from serving.request_input import RequestInput
from serving.tensors import from_proto
from tastemaker.errors import TastemakerError

pytestmark = pytest.mark.integration

AGES = {"old": 9.0, "young": 1.0}


def look_up(user_id: str, at: datetime | None) -> dict[str, object]:
    return {"age": AGES.get(user_id), "history": ["a", None] if user_id in AGES else None, "unused": 3}


@pytest.fixture
def recommender(toy_server):
    with Recommender(toy_server.grpc_address, look_up, model="toy", deadline_seconds=10) as client:
        yield client


def test_items_come_ranked_with_their_release(recommender):
    found = recommender.recommend("old", k=3, at=datetime(2011, 12, 10, tzinfo=UTC))
    assert [(r.rank, r.item_id, r.probability) for r in found] == [(1, "one-0", 9), (2, "one-1", 8), (3, "one-2", 7)]
    assert {r.release for r in found} == {"one"}


def test_an_unknown_user_an_excluded_item_and_more_than_there_is(recommender):
    found = recommender.recommend("nobody", k=1_000_000, exclude=["one-1", "not an item"])
    assert [r.item_id for r in found] == ["one-0", "one-2", "one-3", "one-4"]


@pytest.mark.parametrize("k", [0, -1, 2**31])
def test_a_k_that_is_none_is_a_sentence(recommender, k):
    with pytest.raises(TastemakerError, match=f"k is {k}"):
        recommender.recommend("old", k=k)


def test_a_server_that_is_not_there_a_model_that_is_not_loaded_a_deadline(toy_server):
    with (
        Recommender("127.0.0.1:1", look_up, deadline_seconds=10) as nowhere,
        pytest.raises(TastemakerError, match=r"No model server answers at 127\.0\.0\.1:1"),
    ):
        nowhere.recommend("old")
    with (
        Recommender(toy_server.grpc_address, look_up, deadline_seconds=10) as unloaded,
        pytest.raises(TastemakerError, match="serves no 'recommender'"),
    ):
        unloaded.recommend("old")
    with socket.socket() as mute:  # takes connections and never says a word
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with (
            Recommender(address, look_up, deadline_seconds=0.5) as patient,
            pytest.raises(TastemakerError, match=r"did not answer within 0\.5 s"),
        ):
            patient.recommend("old")


def test_missing_values_become_what_the_training_sets_hold():
    def info(dtype: int, rank: int):
        made = meta_graph_pb2.TensorInfo(dtype=dtype)
        for _ in range(rank):
            made.tensor_shape.dim.add().size = -1
        return made

    def tensor_of(made, value):
        proto = tensor_pb2.TensorProto()
        RequestInput(made).into(value, proto)
        assert proto.dtype == made.dtype
        return from_proto(proto)

    assert np.isnan(tensor_of(info(1, 1), None)).tolist() == [True]
    assert tensor_of(info(7, 1), None).tolist() == [b""]
    assert tensor_of(info(7, 2), None).tolist() == [[b""]]
    assert tensor_of(info(7, 2), []).tolist() == [[b""]]
    assert tensor_of(info(7, 2), ["é", None, b"b"]).tolist() == [["é".encode(), b"", b"b"]]
    assert tensor_of(info(9, 2), [4, None]).tolist() == [[4, 0]]
    assert tensor_of(info(9, 1), None).tolist() == [0]
    assert tensor_of(info(9, 1), np.float64(3.0)).tolist() == [3]
    assert tensor_of(info(1, 2), None).tolist() == [[0.0]]
    assert tensor_of(info(1, 1), True).tolist() == [1.0]
    assert tensor_of(info(1, 1), 0.1).tolist() == [float(np.float32(0.1))]
    assert tensor_of(info(10, 1), None).tolist() == [False]
    assert tensor_of(info(3, 0), 5).shape == ()


def test_the_client_follows_a_swap_to_other_inputs(server_in, toy_versions, place_version, tmp_path):
    import tensorflow as tf

    folder = tmp_path / "toy"
    folder.mkdir()
    place_version(toy_versions["one"], folder, 1)
    server = server_in(folder)
    server.wait_for_state(1, "AVAILABLE")
    with Recommender(server.grpc_address, look_up, model="toy", deadline_seconds=10) as client:
        assert client.recommend("old", k=1)[0].release == "one"

        class Other(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "age"), tf.TensorSpec([], tf.int32, "k")])
            def recommend(self, age, k):
                return {
                    "item_ids": tf.fill([1, k], "x"),
                    "scores": tf.fill([1, k], age[0]),
                    "release": tf.constant("2"),
                }

        other = Other()
        beside = tmp_path / "other"
        tf.saved_model.save(other, str(beside), signatures={"recommend": other.recommend})
        place_version(beside, folder, 2)
        server.wait_for_state(1, "END")
        assert [(r.item_id, r.probability, r.release) for r in client.recommend("old", k=1)] == [("x", 9.0, "2")]
