"""SavedModels loaded and run through TensorFlow's C API: messages written here, without TensorFlow's Python."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.protocol import config_pb2, saved_model_pb2, types_pb2
from serving.server import saved_model, tensorflow_c
from serving.server.saved_model import SavedModel, SessionOptions
from serving.server.status import Code, ServingError
from serving.server.tensorflow_c import array_of, new_tensor, quick
from serving.tensors import TensorError

quick()  # here, as it takes longer than hypothesis gives to an example


def there_and_back(array):
    tensor = new_tensor(array)
    try:
        return array_of(tensor)
    finally:
        quick().TF_DeleteTensor(tensor)


@given(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8, np.uint64, np.int16]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    )
)
def test_numbers_are_the_same_bytes_in_tensorflow(array):
    again = there_and_back(array)
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert there_and_back(array.T).tobytes() == array.T.tobytes()  # whatever way they lie in memory


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.just(b"\0" * 22), st.binary(min_size=300, max_size=400)), max_size=6)
)
def test_texts_short_and_long_come_back_and_nothing_stays_behind(texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    assert there_and_back(array).tolist() == texts
    assert there_and_back(np.array([["é" * 12]])).tolist() == [[("é" * 12).encode()]]
    assert not tensorflow_c._held


def test_a_type_without_a_tensor_proto_is_refused():
    with pytest.raises(TensorError, match="complex"):
        new_tensor(np.array([1j]))


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """Says a text again, as it is and in capitals; a number must be 1."""
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.graph_def.versions.producer = 1882

    def node(name, op, *inputs, **types):
        made = meta_graph.graph_def.node.add(name=name, op=op, input=inputs)
        for attribute, dtype in types.items():
            made.attr[attribute].type = dtype

    node("text", "Placeholder", dtype=types_pb2.DT_STRING)
    node("number", "Placeholder", dtype=types_pb2.DT_INT32)
    node("same", "Identity", "text", T=types_pb2.DT_STRING)
    node("capitals", "StringUpper", "text")
    node("sized", "Reshape", "text", "number", T=types_pb2.DT_STRING, Tshape=types_pb2.DT_INT32)
    signature = meta_graph.signature_def["serving_default"]
    signature.inputs["text"].name = "text:0"
    initializer = "__saved_model_init_op"
    meta_graph.signature_def[initializer].outputs[initializer].name = "NoOp"
    node("NoOp", "NoOp")
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    return tmp_path


TEXTS = np.array([b"a", b"of more than twenty-two letters"], object)


def test_a_model_runs_and_its_signatures_are_told(echo):
    model = SavedModel(echo, SessionOptions(1, 1))
    assert {name: s.inputs["text"].name for name, s in model.signatures.items()} == {"serving_default": "text:0"}
    same, capitals, again = model.run({"text:0": TEXTS}, ["same:0", "capitals:0", "same:0"])
    assert same.tolist() == again.tolist() == TEXTS.tolist()
    assert capitals.tolist() == [b"A", b"OF MORE THAN TWENTY-TWO LETTERS"]
    model.close()
    assert not tensorflow_c._held
    with pytest.raises(ServingError, match="unloaded"):
        model.run({"text:0": TEXTS}, ["same:0", "capitals:0"])


def test_what_tensorflow_refuses_comes_with_its_code_and_words(echo):
    with pytest.raises(ServingError, match="Could not find meta graph def matching supplied tags") as caught:
        SavedModel(echo, SessionOptions(tags=("another",)))
    assert caught.value.code is Code.NOT_FOUND
    model = SavedModel(echo, SessionOptions())
    with pytest.raises(ServingError, match="Input to reshape is a tensor with 2 values") as caught:
        model.run({"text:0": TEXTS, "number:0": np.array([3], np.int32)}, ["sized:0"])
    assert caught.value.code is Code.INVALID_ARGUMENT
    for name in ("nowhere:0", "same:1"):
        with pytest.raises(ServingError, match=f"Tensor {name} was not found") as caught:
            model.run({"text:0": TEXTS}, [name])
        assert caught.value.code is Code.NOT_FOUND
    model.close()
    (echo / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ServingError, match="Read less bytes"):
        SavedModel(echo, SessionOptions())


def test_each_request_that_runs_has_a_thread_of_its_own_and_gives_it_back(echo):
    models = [SavedModel(echo, SessionOptions(1, request_threads=2)) for _ in range(2)]
    (threads,) = {id(model._threads): model._threads for model in models}.values()  # two versions share them
    assert [(pool.num_threads, pool.global_name) for pool in threads.pools] == [
        (0, ""),
        (1, "tastemaker-request-1-of-2"),
        (1, "tastemaker-request-2-of-2"),
    ]
    free = list(threads._free)
    with threads.one() as first, threads.one() as second, threads.one() as none_left:
        assert {id(first), id(second)} == {id(options) for options in free} and none_left is None
        assert models[0].run({"text:0": TEXTS}, ["same:0"])[0].tolist() == TEXTS.tolist()
    with pytest.raises(ServingError, match="Input to reshape"):
        models[0].run({"text:0": TEXTS, "number:0": np.array([3], np.int32)}, ["sized:0"])
    with ThreadPoolExecutor(8) as callers:
        answers = callers.map(lambda n: models[n % 2].run({"text:0": TEXTS[: n % 3]}, ["same:0"])[0], range(200))
        assert [len(answer) for answer in answers] == [n % 3 for n in range(200)]
    assert sorted(map(id, threads._free)) == sorted(map(id, free))
    numbers = [tensorflow_c.ctypes.string_at(o.contents.data, o.contents.length) for o in free]
    assert sorted(config_pb2.RunOptions.FromString(o).inter_op_thread_pool for o in numbers) == [1, 2]
    for model in models:
        model.close()


def test_past_so_many_sets_of_outputs_those_that_are_known_still_answer(echo, monkeypatch):
    monkeypatch.setattr(saved_model, "_MAX_WAYS", 1)
    model = SavedModel(echo, SessionOptions())
    model.run({"text:0": TEXTS}, ["capitals:0", "same:0"])
    assert model.run({"text:0": TEXTS}, ["same:0"])[0].tolist() == TEXTS.tolist()
    with pytest.raises(ServingError, match="sets of outputs") as caught:
        model.run({"text:0": TEXTS}, ["text:0"])
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert len(model._ways) == 1
    model.close()
