"""Training the ranker and building a release on a shop whose right answer anyone can see."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from toys import two_tastes as toy
from toys.event_files import curves_of, notes_of

from serving.allowed_ops import require_allowed_ops
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import microseconds
from tastemaker.steps import read_reports
from training.feature_tensors import query_tensors
from training.ranking.features import FEATURE_NAMES, ITEM_ONLY, PAIR_ONLY, USER_ONLY
from training.ranking.fit import MODEL, ranker_folder, train_ranker
from training.ranking.rows import ranker_rows
from training.release.build import build_release, fused_recommender
from training.release.inputs import SIGNATURE_INPUTS, input_defaults
from training.release.item_masks import BAKED_BYTES, ItemMasks
from training.release.trees import CompiledForest
from training.splits import plan_windows

pytestmark = pytest.mark.integration

REBUILD = """
import sys
from pathlib import Path
from tastemaker.home import Home
from tastemaker.steps import read_reports
from toys import two_tastes as toy
from toys.event_files import curves_of, notes_of
from training.release.build import build_release
build_release(Home(Path(sys.argv[1])), toy.CONFIG, toy.AS_OF)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("two_tastes") / "home")
    toy.fill_home(home)
    trained = train_ranker(home, toy.CONFIG, toy.AS_OF)
    _build_in_a_fresh_process(home)
    return home, trained, read_reports(home, toy.AS_OF)["release_build"]


@pytest.fixture(scope="module")
def restored(built):
    return tf.saved_model.load(str(built[0].candidate(toy.AS_OF)))


@pytest.fixture(scope="module")
def tests_requests():
    return plan_windows(toy.CONFIG.split, toy.AS_OF).test.select(toy.requests())


def _in_order(names):
    return tuple(name for name in FEATURE_NAMES if name in names)


def _user(requests):
    return {name: tf.constant(values) for name, values in query_tensors(requests).items()}


def test_what_the_ranker_learns_and_what_stops_it_is_seen_in_tensorboard_tree_by_tree(built):
    home, trained, _ = built
    [run] = (home.training(toy.AS_OF) / "tensorboard").glob("ranker *")
    assert run.name == "ranker binary, 8 leaves, step 0.2, as of 20260301T000000Z, seed 20111210"
    curves = curves_of(run)
    stopping = list(curves["stopping/log_loss"].values())
    assert np.argmin(stopping) + 1 == trained.facts["trees"]
    assert min(stopping) == pytest.approx(trained.facts["stopping_log_loss"], rel=1e-6)
    learnt = curves["training/log_loss"]
    assert set(learnt) == {1, *range(10, len(stopping) + 1, 10)}
    assert learnt[max(learnt)] < learnt[1]
    assert '"objective": "binary"' in notes_of(run)["settings"]


def test_the_users_own_half_comes_first(built, restored, tests_requests):
    found = restored.signatures["recommend"](
        **_user(tests_requests), exclude_item_ids=tf.constant([[""]]), k=tf.constant(5)
    )
    ids = found["item_ids"].numpy()
    wanted = [int(user.removeprefix("user-")) % 2 for user in tests_requests[names.USER_ID].to_pylist()]
    known = np.array([len(history) > 0 for history in tests_requests["history_item_ids"].to_pylist()])
    right = np.array([[int(i.decode()[-2:]) % 2 == half for i in row] for row, half in zip(ids, wanted, strict=True)])
    assert right[known].mean() > 0.97
    assert np.all(np.diff(found["scores"].numpy(), axis=1) <= 0)
    assert set(found["release"].numpy()) == {built[2].facts["release"].encode()}


def test_the_release_computes_what_training_saw(built):
    """1,008 requests, each as of its own day: zero differences, of items, features and probabilities.

    Training saw them in blocks, in the graph of this process; the saved release is asked one by one, as they come, for
    the features, and in odd batches for its answer. Histories are as long as callers like, and cut by both.
    """
    home, *_ = built
    requests = toy.requests(per_day=84, longest=19)
    assert max(map(len, requests["history_item_ids"].to_pylist())) > 2 * toy.CONFIG.features.history_length
    graph = fused_recommender(home, toy.CONFIG, toy.AS_OF, "training")
    saw = ranker_rows(graph, requests, toy.all_days())
    assert saw.requests == 1_008
    forest = CompiledForest(ranker_folder(home, toy.AS_OF) / MODEL, feature_names=FEATURE_NAMES)
    raw = forest.raw_scores(tf.constant(saw.features)).numpy()
    probabilities = graph._calibration.probabilities(tf.constant(raw)).numpy()
    items = np.array(graph.universe.item_ids, object)[saw.items]
    restored = tf.saved_model.load(str(home.candidate(toy.AS_OF)))
    k, odd = 5, 37
    for day in range(12):
        todays = requests.slice(day * 84, 84)
        _load_items_of(restored, graph, toy.AS_OF - timedelta(days=12 - day))
        for row in range(84):
            answer = restored.candidate_features(_user(todays.slice(row, 1)), tf.constant([[""]]))
            valid, pairs = answer["valid"].numpy(), saw.request == day * 84 + row
            assert [name.decode() for name in answer["item_ids"].numpy()[valid]] == items[pairs].tolist()
            np.testing.assert_array_equal(answer["features"].numpy()[valid], saw.features[pairs])
        for start in range(0, 84, odd):
            user = _user(todays.slice(start, odd))
            found = restored.signatures["recommend"](**user, exclude_item_ids=tf.constant([[""]]), k=tf.constant(k))
            for row, (ids, scores) in enumerate(zip(found["item_ids"].numpy(), found["scores"].numpy(), strict=True)):
                pairs = np.flatnonzero(saw.request == day * 84 + start + row)
                best = pairs[np.argsort(-raw[pairs], kind="stable")[:k]]  # of equals the better one in the blend
                assert [name.decode() for name in ids] == items[best].tolist()
                np.testing.assert_array_equal(scores, probabilities[best])
    _load_items_of(restored, graph, toy.AS_OF)  # the test can fail: with another day's items it does
    answer = restored.candidate_features(_user(requests.slice(0, 1)), tf.constant([[""]]))
    assert not np.array_equal(answer["features"].numpy()[answer["valid"].numpy()], saw.features[saw.request == 0])


def _load_items_of(restored, graph, day):
    """Swaps the items as of `day` into a release that was loaded."""
    graph.load_snapshot(toy.items_table(toy.items_of(day)), day)
    for name, variable in vars(graph.snapshot).items():
        if isinstance(variable, tf.Variable):
            getattr(restored.snapshot, name).assign(variable)
    for ours, theirs in zip(graph.sources.made, restored.sources.made, strict=True):
        for name, variable in vars(ours).items():
            if isinstance(variable, tf.Variable):
                getattr(theirs, name).assign(variable)
    restored.item_masks.table.assign(graph.item_masks.table)


@pytest.mark.parametrize("bound", [BAKED_BYTES, 0])
def test_masks_baked_or_made_for_each_request_answer_as_whole_rows_do(built, bound):
    """Every score of `recommend`, to the bit, is the forest's on the row of the feature matrix."""
    home, *_ = built
    graph = fused_recommender(home, toy.CONFIG, toy.AS_OF, "masks")
    forest = CompiledForest(ranker_folder(home, toy.AS_OF) / MODEL, feature_names=FEATURE_NAMES)
    split = graph.item_masks._forest
    graph.item_masks = ItemMasks(split, graph.snapshot, graph.sources.popularity, bound)
    assert graph.item_masks.baked == (bound > 0)
    assert (split.item_features, split.user_features, split.pair_features) == tuple(
        _in_order(n) for n in (ITEM_ONLY, USER_ONLY, PAIR_ONLY)
    )
    for day in (toy.AS_OF - timedelta(days=5), toy.AS_OF):  # masks follow a snapshot that is swapped
        graph.load_snapshot(toy.items_table(toy.items_of(day)), day)
        user = _user(toy.requests().slice(0, 30))
        rows = graph.candidate_features(user, tf.constant([[""]]))
        flat = tf.reshape(rows["features"], [-1, len(FEATURE_NAMES)])
        raw = tf.reshape(forest.raw_scores(flat), tf.shape(rows["valid"]))
        expected = np.sort(np.where(rows["valid"], raw, -np.inf), axis=1)[:, ::-1][:, :5]
        found = graph.recommend({**user, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(5)})
        probabilities = graph._calibration.probabilities(tf.constant(np.ascontiguousarray(expected)))
        np.testing.assert_array_equal(found["scores"].numpy(), probabilities.numpy())


def test_how_long_the_items_are_fresh_is_in_the_manifest_and_in_every_answer(built, restored, tests_requests):
    manifest = json.loads((built[0].candidate(toy.AS_OF) / "manifest.json").read_text())
    bound = toy.AS_OF + timedelta(hours=toy.CONFIG.candidates.item_fresh_hours)
    assert (manifest["item_snapshot"], manifest["items_fresh_until"]) == (toy.AS_OF.isoformat(), bound.isoformat())
    found = restored.signatures["recommend"](
        **_user(tests_requests), exclude_item_ids=tf.constant([[""]]), k=tf.constant(5)
    )
    assert found["items_fresh_until"].numpy().tolist() == [microseconds(bound)] * len(tests_requests)


def test_a_fresh_process_builds_the_same_bytes(built, tmp_path):
    home, *_ = built
    other = Home(tmp_path / "other")
    shutil.copytree(home.root, other.root)
    shutil.rmtree(other.candidate(toy.AS_OF))
    _build_in_a_fresh_process(other)
    assert _digests(other.candidate(toy.AS_OF)) == _digests(home.candidate(toy.AS_OF))


def test_the_manifest_lists_every_file_and_every_default(built):
    home, _, report = built
    folder = home.candidate(toy.AS_OF)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {name: sha for name, sha in _digests(folder).items() if name != "manifest.json"}
    assert manifest["release"] == report.facts["release"]
    sold = {row["item_id"]: row["item_interactions_30d"] for row in toy.items_of(toy.AS_OF)}
    assert manifest["items"]["popular"] == sorted(sold, key=lambda name: (-sold[name], name))
    assert manifest["signatures"]["recommend"]["inputs"]["user_mean_item_price_90d"]["default"] == [None]
    assert manifest["ranker_features"] == list(FEATURE_NAMES)
    masks = manifest["item_masks"]
    assert masks["baked"] is True
    assert masks["bytes"] % (8 * (toy.ITEMS + 1)) == 0


def test_defaults_are_in_the_signatures_where_a_model_server_looks(built):
    raw = (built[0].candidate(toy.AS_OF) / "saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(raw).meta_graphs[0].signature_def
    for signature, specs in SIGNATURE_INPUTS.items():
        assert set(signatures[signature].inputs) == set(specs)
        assert set(signatures[signature].defaults) == set(input_defaults(signature))
    assert set(signatures["rank"].inputs) - set(signatures["rank"].defaults) == {"item_ids"}
    blank = tf.make_ndarray(signatures["recommend"].defaults["user_country"])
    assert blank.tolist() == [b""]


def test_no_signature_has_a_batch_of_one_size(built):
    """Every first axis is open, of what goes in and of what comes out; `k` alone has no axis."""
    raw = (built[0].candidate(toy.AS_OF) / "saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(raw).meta_graphs[0].signature_def
    for signature in SIGNATURE_INPUTS:
        definition = signatures[signature]
        for name, info in [*definition.inputs.items(), *definition.outputs.items()]:
            sizes = [dim.size for dim in info.tensor_shape.dim]
            assert not info.tensor_shape.unknown_rank, f"{signature}: {name}"
            assert sizes == [-1] * len(sizes), f"{signature}: {name} has the sizes {sizes}"
            assert bool(sizes) == (name != "k"), f"{signature}: {name} has the sizes {sizes}"


def test_only_core_operations_that_touch_no_file(built):
    require_allowed_ops(built[0].candidate(toy.AS_OF))


def test_the_warm_up_records_are_answered(built, restored):
    path = built[0].candidate(toy.AS_OF) / "assets.extra" / "tf_serving_warmup_requests"
    records = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    rows = Counter()
    for record in records:
        shapes = {name: value.tensor_shape.dim for name, value in record.predict_log.request.inputs.items()}
        [batch] = {dims[0].size for dims in shapes.values() if dims}
        rows[record.predict_log.request.model_spec.signature_name, batch] += 1
    assert rows == Counter(product(SIGNATURE_INPUTS, (1, 8, 64)))
    for record in records:
        request = record.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answer = restored.signatures[request.model_spec.signature_name](**inputs)
        assert all(np.isfinite(v.numpy()).all() for v in answer.values() if v.dtype == tf.float32)


def test_a_second_build_reuses_the_first(built):
    home, *_ = built
    assert train_ranker(home, toy.CONFIG, toy.AS_OF).reused
    assert build_release(home, toy.CONFIG, toy.AS_OF).reused


def test_logged_impressions_are_the_rows_when_there_are_any(tmp_path):
    home = Home(tmp_path / "home")
    toy.fill_home(home, names.ORIGIN_IMPRESSIONS)
    facts = train_ranker(home, toy.CONFIG, toy.AS_OF).facts
    assert facts["rows_from"] == "impressions"
    assert facts["ranker_rows"] == 6 * toy.USERS * 10
    assert facts["ranker_positives_among_rows"] == facts["ranker_positives"] > 0
    shutil.rmtree(home.root)


def test_a_release_without_a_ranker_says_what_to_run(tmp_path):
    home = Home(tmp_path / "home")
    toy.fill_home(home)
    with pytest.raises(TastemakerError, match="train ranker"):
        build_release(home, toy.CONFIG, toy.AS_OF)
    assert not home.candidate(toy.AS_OF).exists()


def _build_in_a_fresh_process(home: Home) -> None:
    """As the command does; in one process TensorFlow numbers its functions on, and the numbers are in the file."""
    path = [str(Path(toy.__file__).parents[1]), str(Path(__file__).parents[3])]
    program = f"import sys; sys.path[:0] = {path!r}\n{REBUILD}"
    subprocess.run([sys.executable, "-c", program, str(home.root)], check=True, capture_output=True)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
