"""Writes a SavedModel whose bytes depend on the model alone, with the defaults of its inputs inside."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from training.release.branches_in_place import leave_branches_in_place
from training.release.fused_graph import FusedRecommender
from training.release.inputs import SIGNATURE_INPUTS, input_defaults

GRAPH_FILE = "saved_model.pb"
FINGERPRINT = "fingerprint.pb"


def write_saved_model(graph: FusedRecommender, folder: Path) -> None:
    """Saves the four signatures under `folder`, which must not exist.

    TensorFlow writes protobuf maps in the order of their hashes, which differs from process to process, so
    `saved_model.pb` is written once more in canonical order; its fingerprint holds a random id and no loader needs it.
    """
    signatures = {name: getattr(graph, name).get_concrete_function() for name in SIGNATURE_INPUTS}
    tf.saved_model.save(graph, str(folder), signatures=signatures)
    (folder / FINGERPRINT).unlink(missing_ok=True)
    model = saved_model_pb2.SavedModel.FromString((folder / GRAPH_FILE).read_bytes())
    leave_branches_in_place(model.meta_graphs[0].graph_def)
    for signature in SIGNATURE_INPUTS:
        definition = model.meta_graphs[0].signature_def[signature]
        for name, value in input_defaults(signature).items():
            definition.defaults[name].CopyFrom(tf.make_tensor_proto(value, SIGNATURE_INPUTS[signature][name].dtype))
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString(deterministic=True))


def operations(folder: Path) -> set[str]:
    """The names of every operation that a SavedModel may run, in its graph and in its functions."""
    model = saved_model_pb2.SavedModel.FromString((folder / GRAPH_FILE).read_bytes())
    graph = model.meta_graphs[0].graph_def
    functions = (node.op for function in graph.library.function for node in function.node_def)
    return {node.op for node in graph.node} | set(functions)
