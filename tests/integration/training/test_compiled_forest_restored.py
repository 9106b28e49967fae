"""Forests of every kind, saved and restored in a fresh process: LightGBM's leaves, and the same bits as before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
import tensorflow as tf
from toys.forests import MODELS, assert_lightgbms_sums, probes, train, trained

from training.release.trees import CompiledForest

pytestmark = pytest.mark.integration

# One of each way of splitting, storing and adding up, and of each transform, not of each way of training.
WHOLE = (
    *("zero as missing", "stumps", "16 leaves", "65 leaves", "a class that nobody has", "single leaves"),
    *("categorical", "categorical one-hot", "linear leaves, categorical", "linear leaves of classes"),
    *("random forest of classes", "multiclassova", "reg_sqrt", "poisson", "cross_entropy_lambda"),
    *("empty", "empty random forest"),
)
SPLIT = ("categorical", "150 leaves")
CUT = ("random forest", "dart", "linear leaves")  # to their first iterations
FIRST, ROUNDS = 3, 5
DTYPES = (tf.float32, tf.float64)

FRESH = """
import json
import sys
import numpy as np
import tensorflow as tf
restored = tf.saved_model.load("model")
for name in json.load(open("names.json")):
    answer = restored.signatures[name](tf.constant(np.load(f"{name}.npy")))
    np.savez(f"{name}.npz", **{key: value.numpy() for key, value in answer.items()})
"""


def answer(forest: CompiledForest, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Everything a forest can say of rows `[n, F]`; where its features are apart, by way of their masks."""
    if forest.item_features:
        of = {name: rows[:, place : place + 1] for place, name in enumerate(forest.feature_names)}
        item, user, pair = (
            tf.concat([of[name] for name in names], axis=1)
            for names in (forest.item_features, forest.user_features, forest.pair_features)
        )
        masks = forest.item_masks(item)[:, None]
        raw = forest.raw_scores_from_masks(masks, forest.user_masks(user), pair[:, None])[:, 0]
    else:
        raw = forest.raw_scores(rows)
    return {"raw": raw, "scores": forest.transformed(raw), "leaves": forest.leaf_indices(rows)}


class Served(tf.Module):
    """Forests behind a signature each for floats and for doubles, as a release has one."""

    def __init__(self, forests: dict[str, CompiledForest]) -> None:
        super().__init__()
        self.forests = list(forests.values())
        self.served = {
            f"{name} of {dtype.name}".replace(" ", "_").replace(",", ""): self._signature(forest, dtype)
            for name, forest in forests.items()
            for dtype in DTYPES
        }

    def _signature(self, forest: CompiledForest, dtype: tf.DType) -> tf.types.experimental.ConcreteFunction:
        rows = tf.TensorSpec([None, len(forest.feature_names)], dtype, name="rows")
        return tf.function(lambda rows: answer(forest, rows), input_signature=[rows]).get_concrete_function()


def kinds() -> Iterator[tuple[str, lgb.Booster, np.ndarray, CompiledForest, int | None]]:
    """Name, booster, its training rows, the compiled forest, and the iterations it was cut to."""
    for model in WHOLE:
        booster, features = trained(model)
        yield model, booster, features, CompiledForest(booster), None
    for model in CUT:
        booster, features = train(MODELS[model], ROUNDS)
        yield f"first of {model}", booster, features, CompiledForest(booster, num_iteration=FIRST), FIRST
    for model in SPLIT:
        booster, features = trained(model)
        names = booster.feature_name()
        forest = CompiledForest(booster, item_only=[names[0], names[3]], user_only=names[5:])
        yield f"{model} split", booster, features, forest, None


def test_a_fresh_process_restores_the_same_bits_of_every_kind(tmp_path: Path) -> None:
    cases = {name: rest for name, *rest in kinds()}
    module = Served({name: forest for name, (_, _, forest, _) in cases.items()})
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.served)
    signatures = iter(module.served.items())
    expected = {}
    for booster, features, _, iterations in cases.values():
        for dtype in DTYPES:
            name, serve = next(signatures)
            rows = probes(booster, features[:100], dtype.as_numpy_dtype)
            wide = rows.astype(np.float64)
            leaves = booster.predict(wide, num_iteration=iterations, pred_leaf=True).reshape(len(rows), -1)
            ours = serve(tf.constant(rows))
            assert_lightgbms_sums(ours["raw"].numpy(), booster, wide, iterations)
            expected[name] = {"raw": ours["raw"].numpy(), "scores": ours["scores"].numpy(), "leaves": leaves}
            np.save(tmp_path / f"{name}.npy", rows)
    (tmp_path / "names.json").write_text(json.dumps(list(expected)))

    told = subprocess.run(
        [sys.executable, "-c", FRESH], check=False, capture_output=True, text=True, cwd=tmp_path, env=os.environ.copy()
    )
    assert told.returncode == 0, told.stderr
    for name, answers in expected.items():
        with np.load(tmp_path / f"{name}.npz") as restored:
            assert set(restored.files) == set(answers)
            for key, value in answers.items():
                np.testing.assert_array_equal(restored[key], value, err_msg=f"{name}: {key}")


CORE = {
    *("AddN", "AddV2", "Bitcast", "BitwiseAnd", "Cast", "ConcatV2", "Const", "EnsureShape", "Exp", "Fill", "FloorDiv"),
    *("GatherV2", "Identity", "If", "IsNan", "Less", "LessEqual", "LowerBound", "Mul", "Neg", "NoOp", "Pack"),
    *("PartitionedCall", "Placeholder", "PopulationCount", "Range", "ReadVariableOp", "RealDiv", "Reshape"),
    *("ResourceGather", "SelectV2", "Shape", "Split", "SplitV", "Squeeze", "StatefulPartitionedCall", "StatelessIf"),
    *("StatelessWhile", "StridedSlice", "Sub", "Sum", "TensorListConcatV2", "TensorListReserve", "TensorListSetItem"),
    *("Transpose", "While"),
}


def test_a_saved_forest_is_core_operations_only() -> None:
    """A stock server has no Python function, no string of code and no custom kernel to run."""
    for serve in Served({"binary": CompiledForest(trained("65 leaves")[0])}).served.values():
        graph = serve.graph.as_graph_def()
        used = {node.op for function in graph.library.function for node in function.node_def}
        used |= {node.op for node in graph.node}
        assert used <= CORE, used - CORE
