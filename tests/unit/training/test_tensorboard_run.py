"""What TensorBoard reads of a run is what was written: curves, notes, and the items in space."""

import numpy as np
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.util import tensor_util
from toys import two_tastes as toy

from training.retrieval.item_space import SHOWN, item_space
from training.tensorboard_run import TensorBoardRun


def read_back(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def read_projector(folder):
    """As the projector plug-in reads it: the paths in its file, tab-separated lines."""
    shown = text_format.Parse((folder / "projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig())
    [embedding] = shown.embeddings
    vectors = np.loadtxt(folder / embedding.tensor_path, delimiter="\t", ndmin=2)
    rows = [line.split("\t") for line in (folder / embedding.metadata_path).read_text().splitlines()]
    assert list(embedding.tensor_shape) == list(vectors.shape)
    return vectors, rows


def test_curves_and_notes_are_read_back(tmp_path):
    with TensorBoardRun(tmp_path / "a run") as log:
        log.text("settings", "64 dimensions")
        log.scalars({"loss": 2.5, "recall": 0.25}, 1)
        during = read_back(tmp_path / "a run")
        log.scalars({"loss": 1.5, "recall": 0.5}, 2)
    assert [(step, float(value)) for step, value in during["loss"]] == [(1, 2.5)]  # while the training goes on
    found = read_back(tmp_path / "a run")
    assert [(step, float(value)) for step, value in found["loss"]] == [(1, 2.5), (2, 1.5)]
    assert [(step, float(value)) for step, value in found["recall"]] == [(1, 0.25), (2, 0.5)]
    assert found["settings"][0][1].item() == b"64 dimensions"


def test_a_run_begins_anew(tmp_path):
    for value in (1.0, 7.0):
        with TensorBoardRun(tmp_path / "run") as log:
            log.scalars({"loss": value}, 1)
    assert [float(value) for _, value in read_back(tmp_path / "run")["loss"]] == [7.0]


def test_the_projector_shows_every_vector_with_its_label(tmp_path):
    vectors = np.array([[0.5, -1.25], [3e-7, 2.0], [0.0, 1.0]], np.float32)
    labels = {"item_id": ["a", "b", "c"], "title": ["red\tmug", "two\nlines\u2028here", None]}
    with TensorBoardRun(tmp_path) as log:
        log.project(vectors, labels)
    found, rows = read_projector(tmp_path)
    np.testing.assert_allclose(found, vectors, rtol=1e-5)
    assert rows == [["item_id", "title"], ["a", "red mug"], ["b", "two lines here"], ["c", ""]]


def test_the_items_in_space_are_the_most_popular_with_their_titles(monkeypatch):
    items = toy.items_table(toy.items_of(toy.AS_OF))
    tower = toy.tower(items)
    vectors, labels = item_space(tower, items)
    assert len(vectors) == toy.ITEMS < SHOWN
    assert labels["item_id"] == items["item_id"].to_pylist()
    monkeypatch.setattr("training.retrieval.item_space.SHOWN", 5)
    few, labels = item_space(tower, items)
    popular = sorted(items["item_interactions_30d"].to_pylist())[-5:]
    assert sorted(labels["item_interactions_30d"]) == popular
    place = items["item_id"].to_pylist().index(labels["item_id"][2])
    np.testing.assert_allclose(few[2], vectors[place], atol=1e-6)
    assert labels["item_title"][2] == items["item_title"].to_pylist()[place]
