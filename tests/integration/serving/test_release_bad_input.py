"""A real release behind the model server: bad input is INVALID_ARGUMENT with the input's name, and harms nobody."""

import re

import grpc
import numpy as np
import pytest
from toys import two_tastes as toy

from serving.protocol import predict_pb2
from serving.tensors import from_proto, to_proto
from training.release.inputs import SIGNATURE_INPUTS

pytestmark = pytest.mark.integration

ONE, LIST = np.array(["item-01"], object), np.array([["item-01"]], object)
REQUIRED = {"rank": {"item_ids": LIST}, "similar_items": {"item_ids": ONE}}
ASKED = {  # a right request of each signature
    "recommend": {"history_item_ids": np.array([["item-01", "no such item"]], object)},
    "retrieve": {"history_item_ids": LIST, "k": np.array(4, np.int32)},
    "rank": {"history_item_ids": LIST, "item_ids": np.array([["item-03", "item-04"]], object)},
    "similar_items": {"item_ids": ONE, "k": np.array(3, np.int32)},
}


@pytest.fixture(scope="module")
def server(two_tastes_release, start_server_of):
    running = start_server_of(two_tastes_release.candidate(toy.AS_OF))
    running.wait_for_state(1, "AVAILABLE", 120)
    return running


def request_of(signature, inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(to_proto(value) if isinstance(value, np.ndarray) else value)
    return request


def answers(server):
    """What the server says to a right request of every signature, bit by bit."""
    responses = {
        signature: server.prediction.Predict(request_of(signature, inputs), timeout=60)
        for signature, inputs in ASKED.items()
    }
    return {
        signature: {name: tensor.SerializeToString() for name, tensor in response.outputs.items()}
        for signature, response in responses.items()
    }


@pytest.fixture(scope="module")
def before(server):
    return answers(server)


def refusal(server, signature, inputs):
    """What is said to a bad request, which INVALID_ARGUMENT must be the name of."""
    with pytest.raises(grpc.RpcError) as refused:
        server.prediction.Predict(request_of(signature, inputs), timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, refused.value.details()
    return refused.value.details()


def number(kind, *shape):
    return np.ones(shape, kind)


def text(*shape):
    return np.full(shape, "item-01", object)


def of_type(dtype, *shape):
    """Of a type that no array has."""
    proto = to_proto(number(np.float32, *shape))
    proto.dtype = dtype
    return proto


def repeated(array, *shape):
    """One value that is to be repeated until it fills a shape."""
    proto = to_proto(array.ravel()[:1])
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


OF_USER = {
    # misshapen
    "a number without rows": ("user_mean_item_price_90d", number(np.float32), r"^input {} has shape \[\] but"),
    "a number of two axes": (
        "user_tenure_days",
        number(np.float32, 1, 1),
        r"^input {} has shape \[1,1\] but .* \[\?\]",
    ),
    "text without rows": ("user_country", text(), r"^input {} has shape \[\] but the signature expects \[\?\]$"),
    "a list without rows": ("history_item_ids", text(2), r"^input {} has shape \[2\] but .* expects \[\?,\?\]$"),
    "a list of lists": ("history_item_ids", text(1, 1, 1), r"^input {} has shape \[1,1,1\] but .* expects \[\?,\?\]$"),
    "times of one axis": ("history_timestamps", number(np.int64, 3), r"^input {} has shape \[3\] but"),
    "two moments in a row": ("request_timestamp", number(np.int64, 1, 2), r"^input {} has shape \[1,2\] but"),
    "no row at all": ("history_item_ids", text(0, 1), r"Input {} must have one row, or as many .* it has"),
    # mistyped
    "text for a number": ("user_mean_item_price_90d", text(1), r"to be float but string is provided for input {}$"),
    "doubles": ("user_mean_item_price_90d", number(np.float64, 1), r"to be float but double is provided for input {}$"),
    "numbers for text": ("user_country", number(np.int64, 1), r"to be string but int64 is provided for input {}$"),
    "counts of 32 bits": ("history_counts", number(np.int32, 1, 1), r"to be int64 but int32 is provided for input {}$"),
    "a type that is none": ("user_value_7d", of_type(999, 1), r"but unknown type 999 is provided for input {}$"),
    "more rows than were sent": (
        "user_value_7d",
        repeated(number(np.float32, 1), 1 << 27),
        r"^tensor parsing error: {}: shape \[134217728\] .* send every value or fewer rows$",
    ),
    "rows of nothing": (
        "history_item_ids",
        repeated(text(1)[:0], 1 << 40, 0),
        r"^tensor parsing error: {}: shape \[1099511627776, 0\] .* send every value or fewer rows$",
    ),
}
OF_K = {
    "k as a list": ("k", number(np.int32, 1), r"^input k has shape \[1\] but the signature expects \[\]$"),
    "k of 64 bits": ("k", number(np.int64), r"to be int32 but int64 is provided for input k$"),
    "k as a number with a point": ("k", number(np.float32), r"to be int32 but float is provided for input k$"),
    "k of zero": ("k", np.array(0, np.int32), r"Input k must be at least 1; it is"),
}
OF_ITEMS = {
    "recommend": {
        "exclusions of one axis": ("exclude_item_ids", text(2), r"^input {} has shape \[2\] but .* expects \[\?,\?\]$"),
        "exclusions by number": ("exclude_item_ids", number(np.int64, 1, 1), r"string but int64 .* for input {}$"),
    },
    "retrieve": {},
    "rank": {
        "items of one axis": ("item_ids", text(2), r"^input {} has shape \[2\] but the signature expects \[\?,\?\]$"),
        "items by number": ("item_ids", number(np.int64, 1, 1), r"to be string but int64 is provided for input {}$"),
    },
    "similar_items": {
        "items of two axes": ("item_ids", text(1, 2), r"^input {} has shape \[1,2\] but the signature expects \[\?\]$"),
        "items by number": ("item_ids", number(np.int64, 1), r"to be string but int64 is provided for input {}$"),
        "no item": ("item_ids", text(0), r"Input {} must have one row, or as many"),
    },
}
BAD = {
    signature: {**(OF_USER if "user_country" in specs else {}), **(OF_K if "k" in specs else {}), **OF_ITEMS[signature]}
    for signature, specs in SIGNATURE_INPUTS.items()
}


@pytest.mark.parametrize("signature", BAD)
def test_a_misshapen_or_mistyped_input_is_named_and_the_server_unharmed(server, before, signature):
    for what, (name, value, sentence) in BAD[signature].items():
        said = refusal(server, signature, {**REQUIRED.get(signature, {}), name: value})
        assert re.search(sentence.replace("{}", name), said), f"{what}: {said}"
        assert answers(server) == before, what


@pytest.mark.parametrize("signature", SIGNATURE_INPUTS)
def test_an_input_that_the_graph_does_not_know_is_named(server, before, signature):
    for inputs in (REQUIRED.get(signature, {}), ASKED[signature]):
        said = refusal(server, signature, {**inputs, "user_shoe_size": number(np.float32, 1)})
        assert "user_shoe_size" in said
        assert answers(server) == before


@pytest.mark.parametrize("signature", REQUIRED)
def test_an_input_that_is_missing_is_named(server, before, signature):
    others = {name: value for name, value in ASKED[signature].items() if name != "item_ids"}
    for inputs in (others, {}):
        assert re.match(
            r"Signature input alias: item_ids\(feed name: .*\) not found", refusal(server, signature, inputs)
        )
    assert answers(server) == before


@pytest.mark.parametrize("signature", [name for name in SIGNATURE_INPUTS if name not in REQUIRED])
def test_where_every_input_has_a_default_none_is_missing(server, signature):
    assert from_proto(server.prediction.Predict(request_of(signature, {}), timeout=60).outputs["item_ids"]).size


def test_inputs_of_different_numbers_of_rows_are_named(server, before):
    for signature in ("recommend", "retrieve", "rank"):
        inputs = {"user_country": text(2), "request_timestamp": number(np.int64, 3)}
        said = refusal(server, signature, {**REQUIRED.get(signature, {}), **inputs})
        assert "Input user_country must have one row, or as many as the other inputs" in said
    assert answers(server) == before
