"""The probe on a real release, in a real server process: the same answers pass, any other do not."""

import json
import shutil

import pytest
from toys import two_tastes as toy
from toys.bare_release import list_files

from serving.allowed_ops import require_allowed_ops
from serving.golden import DRAWN, golden_requests
from serving.manifest import SIGNATURE, read_manifest
from serving.probe import probe, require_probed, verdict_file
from serving.protocol import saved_model_pb2
from tastemaker.config import ProbeConfig
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import digest_files
from training.release.inputs import SIGNATURE_INPUTS

pytestmark = pytest.mark.integration
TOO_TIGHT = toy.CONFIG.model_copy(update={"probe": ProbeConfig(p99_milliseconds=0.001, max_memory_mib=1)})


@pytest.fixture(scope="module")
def shop(two_tastes_release, tmp_path_factory):
    return Home(shutil.copytree(two_tastes_release.root, tmp_path_factory.mktemp("probe") / "home"))


@pytest.fixture
def spoiled(shop, tmp_path):
    """A copy of the shop, whose candidate a test may spoil."""
    return Home(shutil.copytree(shop.root, tmp_path / "home"))


def rewrite_manifest(home: Home) -> None:
    """New checksums over changed files, all else as it was."""
    candidate = home.candidate(toy.AS_OF)
    manifest = read_manifest(candidate)
    del manifest["files"]
    list_files(candidate, **manifest)


def change_a_weight(home: Home) -> None:
    """Makes every item vector longer by one part in a million, in the files that TensorFlow restores variables from."""
    import tensorflow as tf

    prefix = str(home.candidate(toy.AS_OF) / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    kinds = reader.get_variable_to_dtype_map()
    values = {name: tf.constant(reader.get_tensor(name), kind) for name, kind in kinds.items()}
    (vectors,) = [name for name in values if name.startswith("snapshot/vectors/")]
    values[vectors] *= 1 + 1e-6
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    rewrite_manifest(home)


def verdict(home: Home) -> dict:
    return json.loads(verdict_file(home, toy.AS_OF).read_text())


def test_the_golden_requests_hold_every_signature_the_usual_and_the_strange(shop):
    golden = golden_requests(shop.candidate(toy.AS_OF))
    assert {one.request.model_spec.signature_name for one in golden} == set(SIGNATURE_INPUTS)
    usual = [one for one in golden if one.about == DRAWN]
    assert len(usual) >= 48 + 3 * 20  # all requests of the toy's two test days, some of them to every signature
    strange = {one.about.removeprefix("strange: ") for one in golden} - {DRAWN}
    assert {
        "an unknown user",
        "every number is NaN",
        "everything is excluded",
        "k of 1",
        "k above the catalogue",
    } < strange
    assert not any(b"user-" in one.request.SerializeToString() for one in golden)


def test_what_the_release_may_run_is_on_the_list(shop):
    require_allowed_ops(shop.candidate(toy.AS_OF))


def test_a_release_that_answers_as_recorded_passes_and_is_left_as_it_was(shop):
    before = digest_files([shop.candidate(toy.AS_OF)])
    with pytest.raises(GateFailedError, match="was not probed as it is now"):
        require_probed(shop, toy.AS_OF)
    report = probe(shop, toy.CONFIG, toy.AS_OF)
    assert report.facts["requests"] == len(golden_requests(shop.candidate(toy.AS_OF)))
    assert report.facts["signatures"] == sorted(SIGNATURE_INPUTS)
    assert {rule["rule"]: rule["passed"] for rule in verdict(shop)["rules"]} == dict.fromkeys(
        ("loads", "answers", "latency", "memory"), True
    )
    require_probed(shop, toy.AS_OF)
    assert probe(shop, toy.CONFIG, toy.AS_OF).reused
    assert digest_files([shop.candidate(toy.AS_OF)]) == before
    assert [path.name for path in shop.candidate(toy.AS_OF).parent.iterdir()] == [shop.candidate(toy.AS_OF).name]


def test_changed_weights_with_right_checksums_fail_by_their_answers_and_a_large_slow_server_by_its_bounds(spoiled):
    change_a_weight(spoiled)
    with pytest.raises(GateFailedError, match=r"where .* was recorded.* allowed are 0\..* allowed are 1\.") as problem:
        probe(spoiled, TOO_TIGHT, toy.AS_OF)
    assert "scores[" in str(problem.value)
    assert {rule["rule"]: rule["passed"] for rule in verdict(spoiled)["rules"]} == {
        "loads": True, "answers": False, "latency": False, "memory": False,
    }  # fmt: skip
    with pytest.raises(GateFailedError, match="may not be served"):
        require_probed(spoiled, toy.AS_OF)


def test_a_graph_with_a_harmful_operation_is_not_loaded_at_all(spoiled):
    file = spoiled.candidate(toy.AS_OF) / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    model.meta_graphs[0].graph_def.library.function[0].node_def.add(name="leak", op="WriteFile")
    file.write_bytes(model.SerializeToString(deterministic=True))
    rewrite_manifest(spoiled)
    with pytest.raises(GateFailedError, match="contains the operation WriteFile"):
        probe(spoiled, toy.CONFIG, toy.AS_OF)
    assert [rule["rule"] for rule in verdict(spoiled)["rules"] if not rule["passed"]] == ["loads"]


def test_a_damaged_candidate_and_one_without_recorded_answers_say_what_to_do(spoiled):
    candidate = spoiled.candidate(toy.AS_OF)
    (candidate / "assets.extra" / "golden_requests").unlink()
    with pytest.raises(TastemakerError, match=r"golden_requests is missing though manifest\.json lists it"):
        probe(spoiled, toy.CONFIG, toy.AS_OF)
    rewrite_manifest(spoiled)
    with pytest.raises(TastemakerError, match=r"has no golden requests.*build the release again"):
        probe(spoiled, toy.CONFIG, toy.AS_OF)
    assert not (candidate / SIGNATURE).exists()
