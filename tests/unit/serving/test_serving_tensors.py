import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.protocol import tensor_pb2, types_pb2
from serving.tensors import MAX_ELEMENTS, MAX_REPEATED, TensorError, dtype_name, from_proto, to_proto


@given(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8, np.uint64, np.int16]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    )
)
def test_numbers_come_back_bit_for_bit(array):
    again = from_proto(to_proto(array))
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes() or np.isnan(array.astype(float)).any()


@given(st.lists(st.binary(max_size=5), max_size=4))
def test_bytes_come_back(texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    assert from_proto(to_proto(array)).tolist() == texts


def test_a_short_field_repeats_its_last_value_and_an_empty_one_is_zero():
    proto = to_proto(np.array([1.0, 2.0], np.float32))
    proto.tensor_shape.dim[0].size = 4
    assert from_proto(proto).tolist() == [1, 2, 2, 2]
    proto.ClearField("float_val")
    assert from_proto(proto).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "values", "said"),
    [([1], [1.0, 2.0], "do not make shape"), ([-1], [1.0], "negative"), ([MAX_ELEMENTS + 1], [1.0], "at most")],
)
def test_values_that_make_no_tensor(shape, values, said):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    with pytest.raises(TensorError, match=said):
        from_proto(proto)


@pytest.mark.parametrize(
    ("shape", "kind", "values"),
    [
        ([1 << 27], np.float32, [1.0]),
        ([1 << 27], np.float32, []),
        ([1 << 20, 2], np.int64, [1, 2]),
        ([1 << 40, 0], np.object_, []),  # no value at all, and rows without end for whoever counts them
        ([0, 1 << 40], np.int64, []),
    ],
)
def test_a_small_message_takes_little_memory_whatever_shape_it_names(shape, kind, values):
    proto = to_proto(np.array(values, kind))
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    tracemalloc.start()
    try:
        with pytest.raises(TensorError, match=r"send every value or fewer rows"):
            from_proto(proto)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_large_tensor_is_taken_when_all_of_it_was_sent():
    numbers = np.arange(MAX_REPEATED + 1, dtype=np.int64)
    assert from_proto(to_proto(numbers)).tolist() == numbers.tolist()
    proto = to_proto(numbers[:1])
    proto.ClearField("int64_val")
    proto.tensor_shape.dim[0].size = len(numbers)
    proto.tensor_content = numbers.tobytes()
    assert from_proto(proto).tolist() == numbers.tolist()
    proto.ClearField("tensor_content")
    proto.tensor_shape.dim[0].size = MAX_REPEATED
    assert from_proto(proto).shape == (MAX_REPEATED,)


def test_a_number_that_stands_for_no_type_is_named():
    assert dtype_name(999) == "unknown type 999"
    with pytest.raises(TensorError, match="tensors of type unknown type 999 are not supported"):
        from_proto(tensor_pb2.TensorProto(dtype=999))


def test_types_without_a_json_or_numpy_counterpart_are_refused():
    with pytest.raises(TensorError, match="DT_RESOURCE"):
        from_proto(tensor_pb2.TensorProto(dtype=types_pb2.DT_RESOURCE))
    with pytest.raises(TensorError, match="complex"):
        to_proto(np.array([1j]))
