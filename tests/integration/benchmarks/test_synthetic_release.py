"""What the serving benchmark measures is a release like any other: it is built, loads, answers as its graph does."""

import json
from pathlib import Path

import numpy as np
import pytest

from tastemaker.settings import PROJECT_ROOT
from training.feature_tensors import query_tensors
from training.ranking.features import FEATURE_NAMES
from training.release.inputs import SIGNATURE_INPUTS, input_defaults

pytestmark = pytest.mark.integration

ITEMS, TREES, K = 300, 5, 20


def test_a_synthetic_release_is_built_loaded_and_answers_as_its_graph_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT_ROOT))  # benchmarks are not installed
    from benchmarks import synthetic_release, synthetic_shop
    from serving.server.saved_model import SavedModel, SessionOptions

    users = synthetic_shop.users_table(ITEMS)
    bare = synthetic_shop.graph_of(synthetic_shop.items_table(ITEMS))
    rows, labels = synthetic_shop.ranking_rows(bare, users)
    booster = synthetic_shop.booster_on(rows, labels, list(FEATURE_NAMES), TREES)
    graph, told = synthetic_release.build(ITEMS, booster, tmp_path / "release")
    assert told["items"] == ITEMS and told["masks_baked"] and told["index"] == {"kind": "exact", "items": ITEMS}
    assert json.loads((tmp_path / "release" / "manifest.json").read_text())["release"] == synthetic_shop.RELEASE

    inputs = {**input_defaults("recommend"), **query_tensors(users.slice(0, 3)), "k": np.array(K, np.int32)}
    model = SavedModel(tmp_path / "release", SessionOptions())
    signature = model.signatures["recommend"]
    feeds = {signature.inputs[name].name: inputs[name] for name in SIGNATURE_INPUTS["recommend"]}
    [served] = model.run(feeds, [signature.outputs["item_ids"].name])
    expected = graph.recommend({name: inputs[name] for name in SIGNATURE_INPUTS["recommend"]})["item_ids"].numpy()
    assert served.shape == (3, K) and np.array_equal(served, expected)


def test_the_nearest_items_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT_ROOT))
    from benchmarks import nearest

    monkeypatch.setattr(nearest, "ITEMS", 2_000)
    told = nearest.measure(1)  # which compares the answers of all sides
    assert {"numpy", "graph", "numpy_alone", "call", "empty_call", "graph_to_numpy", "call_to_numpy"} == set(told)
