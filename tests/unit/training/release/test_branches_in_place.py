"""A saved graph's branches stay functions, and those that call no other run in one go, to the same result."""

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.server.saved_model import SavedModel, SessionOptions
from training.release.branches_in_place import CALLED_BY, EXECUTOR, LOWERING, leave_branches_in_place

CALLS = {
    *("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"),
    *("PartitionedCall", "StatefulPartitionedCall"),
}


class Nested(tf.Module):
    """A branch within a branch, and a loop whose body branches."""

    @tf.function(input_signature=[tf.TensorSpec([None])], autograph=False)
    def answer(self, x):
        def inner():
            return tf.cond(tf.reduce_sum(x) > 10, lambda: x * 3 + 1, lambda: x - 1)

        def step(i, y):
            return i + 1, tf.cond(i % 2 == 0, lambda: y + 2, lambda: y * 2)

        first = tf.cond(tf.size(x) > 2, inner, lambda: -x)
        return {"y": tf.while_loop(lambda i, _: i < 5, step, (0, first))[1]}


def _saved(folder):
    module = Nested()
    tf.saved_model.save(module, str(folder), signatures={"answer": module.answer.get_concrete_function()})
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    return module, model, file


def _calls(model):
    functions = model.meta_graphs[0].graph_def.library.function
    inside = {function.signature.name: [node.op for node in function.node_def] for function in functions}
    for function in functions:
        for node in function.node_def:
            for role in CALLED_BY:
                if role in node.attr:
                    yield node, node.attr[role].func, inside[node.attr[role].func.name]


def test_only_straight_lines_run_in_one_go_and_nothing_is_lowered(tmp_path):
    _, model, _ = _saved(tmp_path / "saved")
    before = list(_calls(model))
    assert before and all(LOWERING in node.attr and EXECUTOR not in called.attr for node, called, _ in before)
    leave_branches_in_place(model.meta_graphs[0].graph_def)
    marked = {True: 0, False: 0}
    for node, called, operations in _calls(model):
        assert LOWERING not in node.attr
        straight = not CALLS & set(operations)
        assert (EXECUTOR in called.attr) == straight
        marked[straight] += 1
    assert min(marked.values()) > 0  # the module has both


def test_the_same_answers_on_one_thread_a_request_and_in_python(tmp_path):
    module, model, file = _saved(tmp_path / "saved")
    leave_branches_in_place(model.meta_graphs[0].graph_def)
    file.write_bytes(model.SerializeToString(deterministic=True))
    restored = tf.saved_model.load(str(file.parent)).signatures["answer"]
    # With no thread to spare: a function that waits for another one in one go would never come back.
    served = SavedModel(file.parent, SessionOptions(1, 1, request_threads=1))
    signature = served.signatures["answer"]
    for values in ([1.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]):
        x = np.array(values, np.float32)
        expected = module.answer(tf.constant(x))["y"].numpy()
        np.testing.assert_array_equal(restored(tf.constant(x))["y"].numpy(), expected)
        found = served.run({signature.inputs["x"].name: x}, [signature.outputs["y"].name])[0]
        np.testing.assert_array_equal(found, expected)
    served.close()
