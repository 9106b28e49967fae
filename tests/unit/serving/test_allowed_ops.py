"""The closed list of operations, on graphs written by hand: what is refused stands where somebody would hide it."""

from pathlib import Path
from typing import Any

import pytest
from toys.bare_release import bare_model, write_release

from serving.allowed_ops import COMPUTING, RESTORING, SAVING, require_allowed_ops
from serving.manifest import UntrustedError

# Substrings of operations that touch the world outside, of which no listed one may be: files, Python, sockets, devices.
OUTSIDE = (
    "File", "PyFunc", "Print", "Dataset", "Iterator", "Reader", "Summary", "Save", "Restore", "Checkpoint", "Shard",
    "Queue", "Send", "Recv", "Remote", "Tpu", "TPU", "Xla", "Debug", "Dump", "Stage", "Callback", "Custom",
    "Assets", "Random", "Audio", "Gcs", "Rpc", "Tensorrt", "TRT", "DecodeWav", "SymbolicGradient",
    "LookupTableExport", "InitializeTable", "Timestamp",
)  # fmt: skip


def model_with(op: str, *, inside: int = 0) -> Any:
    """A model with one node of `op`, `inside` functions deep."""
    model = bare_model()
    graph = model.meta_graphs[0].graph_def
    place = graph.node
    for depth in range(inside):
        call = place.add(name=f"call_{depth}", op="StatefulPartitionedCall")
        call.attr["f"].func.name = f"function_{depth}"
        function = graph.library.function.add()
        function.signature.name = f"function_{depth}"
        place = function.node_def
    place.add(name="culprit", op=op)
    return model


def saving_model() -> Any:
    """A model as TensorFlow writes it: a function saves its variables, another one restores them."""
    model = bare_model()
    meta_graph = model.meta_graphs[0]
    meta_graph.saver_def.filename_tensor_name = "saver_filename:0"
    meta_graph.saver_def.save_tensor_name = "save:0"
    meta_graph.saver_def.restore_op_name = "restore"
    meta_graph.graph_def.node.add(name="saver_filename", op="Placeholder")
    for name, ops in (("save", ("ShardedFilename", "SaveV2", "MergeV2Checkpoints")), ("restore", ("RestoreV2",))):
        call = meta_graph.graph_def.node.add(name=name, op="StatefulPartitionedCall", input=["saver_filename"])
        call.attr["f"].func.name = f"traced_{name}"
        function = meta_graph.graph_def.library.function.add()
        function.signature.name = f"traced_{name}"
        function.signature.input_arg.add(name="file_prefix")
        for op in ops:
            function.node_def.add(name=op, op=op, input=["file_prefix"])
    return model


def refused(folder: Path, model: Any) -> str:
    with pytest.raises(UntrustedError) as problem:
        require_allowed_ops(write_release(folder, model))
    return str(problem.value)


@pytest.mark.parametrize("inside", [0, 1, 3])
@pytest.mark.parametrize(
    "op", ["WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "PrintV2", "RestoreV2", "MyOwnKernel"]
)
def test_a_harmful_operation_is_named_however_deep_it_lies(tmp_path: Path, op: str, inside: int) -> None:
    told = refused(tmp_path / "release", model_with(op, inside=inside))
    assert f"operation {op} (node 'culprit'" in told
    assert (f"function_{inside - 1}" if inside else "the graph") in told


def test_a_function_that_nobody_calls_is_looked_at_too(tmp_path: Path) -> None:
    model = model_with("WriteFile", inside=1)
    del model.meta_graphs[0].graph_def.node[:]
    assert "WriteFile" in refused(tmp_path / "release", model)


def test_every_graph_of_the_file_is_looked_at(tmp_path: Path) -> None:
    model = bare_model()
    model.meta_graphs.add().CopyFrom(model_with("ReadFile").meta_graphs[0])
    assert "ReadFile" in refused(tmp_path / "release", model)


def test_what_computes_passes(tmp_path: Path) -> None:
    require_allowed_ops(write_release(tmp_path / "release", model_with("MatMul", inside=2)))


def test_nothing_on_the_list_touches_the_world_outside() -> None:
    assert [op for op in sorted(COMPUTING) if any(word in op for word in OUTSIDE)] == []
    assert COMPUTING.isdisjoint(SAVING | RESTORING)


def test_variables_may_be_saved_and_restored_by_the_functions_made_for_it(tmp_path: Path) -> None:
    require_allowed_ops(write_release(tmp_path / "release", saving_model()))


def spoil_signature(meta_graph: Any) -> None:
    meta_graph.signature_def["recommend"].outputs["scores"].name = "save:0"


def spoil_initializer(meta_graph: Any) -> None:
    meta_graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "save"


def spoil_main_op(meta_graph: Any) -> None:
    meta_graph.collection_def["saved_model_main_op"].node_list.value.append("save")


def spoil_input(meta_graph: Any) -> None:
    meta_graph.graph_def.node.add(name="answer", op="Identity", input=["restore:0"])


def spoil_control(meta_graph: Any) -> None:
    meta_graph.graph_def.node.add(name="answer", op="NoOp", input=["^save"])


def spoil_second_caller(meta_graph: Any) -> None:
    meta_graph.graph_def.node.add(name="answer", op="StatefulPartitionedCall").attr["f"].func.name = "traced_restore"


def spoil_handed_on(meta_graph: Any) -> None:
    handed = meta_graph.graph_def.node.add(name="answer", op="StatefulPartitionedCall").attr["f"].func
    handed.name = "traced_other"
    handed.attr["g"].list.func.add(name="traced_save")
    meta_graph.graph_def.library.function.add().signature.name = "traced_other"


def spoil_restorer_saves(meta_graph: Any) -> None:
    meta_graph.saver_def.save_tensor_name = "restore:0"


def spoil_save_while_restoring(meta_graph: Any) -> None:
    meta_graph.graph_def.library.function[1].node_def.add(name="too", op="SaveV2", input=["file_prefix"])


def spoil_own_path(meta_graph: Any) -> None:
    restorer = meta_graph.graph_def.library.function[1]
    restorer.node_def.add(name="path", op="Const")
    restorer.node_def[0].input[0] = "path:output:0"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_signature, spoil_initializer, spoil_main_op, spoil_input, spoil_control, spoil_second_caller,
        spoil_handed_on, spoil_restorer_saves, spoil_save_while_restoring, spoil_own_path,
    ],
)  # fmt: skip
def test_nobody_else_can_have_variables_saved_or_restored(tmp_path: Path, spoil: Any) -> None:
    model = saving_model()
    spoil(model.meta_graphs[0])
    told = refused(tmp_path / "release", model)
    assert any(word in told for word in ("save or restore variables", "may stand only", "of its own choice"))


def test_a_call_of_a_function_that_is_not_there_is_refused(tmp_path: Path) -> None:
    model = bare_model()
    model.meta_graphs[0].graph_def.node.add(name="answer", op="PartitionedCall").attr["f"].func.name = "ReadFile"
    assert "calls 'ReadFile'" in refused(tmp_path / "release", model)


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    (release / "saved_model.cpb").write_text("")
    with pytest.raises(UntrustedError, match="in place of"):
        require_allowed_ops(release)
    (release / "saved_model.cpb").unlink()
    (release / "saved_model.pb").write_text("{}")
    with pytest.raises(UntrustedError, match="is no SavedModel"):
        require_allowed_ops(release)
    (release / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UntrustedError, match="holds no graph"):
        require_allowed_ops(release)
    (release / "saved_model.pb").unlink()
    with pytest.raises(UntrustedError, match="is missing"):
        require_allowed_ops(release)
