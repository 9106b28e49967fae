"""A signature is read once; another one that comes to lie where it lay is another one."""

import tracemalloc

import numpy as np
import pytest

from serving.protocol import meta_graph_pb2, types_pb2
from serving.server import predict
from serving.server.predict import input_values, output_aliases
from serving.server.status import Code, ServingError
from serving.tensors import to_proto


def _signature(number):
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["x"].name = f"x_{number}:0"
    signature.inputs["x"].dtype = types_pb2.DT_FLOAT
    signature.inputs["x"].tensor_shape.dim.add().size = -1
    signature.outputs["b"].name, signature.outputs["a"].name = f"b_{number}:0", f"a_{number}:0"
    return signature


def test_signatures_that_come_and_go_are_not_taken_for_one_another(monkeypatch):
    monkeypatch.setattr(predict, "_MAX_READ", 8)
    inputs = {"x": to_proto(np.array([1.0], np.float32))}
    for number in range(100):
        signature = _signature(number)  # the one before it is let go here
        for _ in range(2):
            assert list(input_values(signature, inputs)) == [f"x_{number}:0"]
            assert output_aliases(signature, []) == ["a", "b"]
        assert len(predict._known) <= 8


def test_what_is_missing_has_its_default_or_is_named():
    signature = _signature(0)
    with pytest.raises(ServingError, match=r"Missing but required: \{x\}"):
        input_values(signature, {})
    with_default = _signature(1)
    with_default.defaults["x"].CopyFrom(to_proto(np.array([7.0], np.float32)))
    assert input_values(with_default, {})["x_1:0"].tolist() == [7.0]


def test_a_type_that_is_none_is_refused_with_the_inputs_name():
    sent = to_proto(np.array([1.0], np.float32))
    sent.dtype = 999
    with pytest.raises(ServingError, match="to be float but unknown type 999 is provided for input x") as refused:
        input_values(_signature(0), {"x": sent})
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_wrong_shape_is_refused_before_its_values_are_made():
    sent = to_proto(np.array([1.0], np.float32))
    sent.tensor_shape.dim.add().size = 1 << 19
    tracemalloc.start()
    try:
        with pytest.raises(
            ServingError, match=r"^INVALID_ARGUMENT: input x has shape \[1,524288\] but .* expects \[\?\]"
        ):
            input_values(_signature(0), {"x": sent})
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_shape_of_more_rows_than_were_sent_is_refused_with_the_inputs_name():
    sent = to_proto(np.array([1.0], np.float32))
    sent.tensor_shape.dim[0].size = 1 << 27
    with pytest.raises(ServingError, match=r"^INVALID_ARGUMENT: tensor parsing error: x: shape \[134217728\]"):
        input_values(_signature(0), {"x": sent})
