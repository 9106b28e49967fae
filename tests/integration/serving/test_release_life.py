"""Releases on a real server: tried, compared, made stable, refused and taken back, while callers are answered."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from toys.built_release import let_pass

from serving.manifest import file_digest
from serving.protocol import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc
from serving.releases.canary import canary
from serving.releases.labels import read_served
from serving.releases.listing import releases
from serving.releases.promote import promote
from serving.releases.quarantine import records
from serving.releases.rollback import roll_back
from serving.releases.running import model_server
from serving.releases.verify import read_verdict, verify
from serving.releases.versions import version_folder
from serving.tensors import from_proto, into_proto
from tastemaker.config import Config
from tastemaker.errors import GateFailedError
from tastemaker.home import Home

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config(version=1)
REQUESTS = [np.array([float(age)], np.float32) for age in range(8)]


def build_model(folder: Path, name: str, *, prefix: str = "item", scale: float = 1.0) -> Path:
    """A SavedModel that lists ten items called `prefix`, with probabilities that are scaled; its answers say `name`."""
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = tf.Variable([f"{prefix}-{number}" for number in range(10)])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "age"), tf.TensorSpec([], tf.int32, "k")])
        def recommend(self, age: Any, k: Any) -> dict[str, Any]:
            scores = scale * tf.sigmoid(age[:, None] - tf.range(10, dtype=tf.float32)[None, :])
            best, order = tf.math.top_k(scores, k)
            names = tf.fill([tf.shape(age)[0]], name)
            return {"item_ids": tf.gather(self.items, order), "scores": best, "release": names}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"recommend": model.recommend})
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for age in REQUESTS:
            log = prediction_log_pb2.PredictLog(request=request(age))
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return folder


def request(age: Any, label: str | None = None) -> Any:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "recommender"
    asked.model_spec.signature_name = "recommend"
    if label is not None:
        asked.model_spec.version_label = label
    into_proto(age, asked.inputs["age"])
    into_proto(np.array(5, np.int32), asked.inputs["k"])
    return asked


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    build_model(root / "one", "one")
    build_model(root / "two", "two")
    build_model(root / "three", "three")
    build_model(root / "nothing in common", "stranger", prefix="other")
    build_model(root / "no number", "nan", scale=float("nan"))
    build_model(root / "far too low", "low", scale=1e-3)
    shutil.copytree(root / "one", root / "no variables")
    (root / "no variables" / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    return root


class Shop:
    """A home whose candidates come from the models by name, one a day."""

    def __init__(self, home: Home, models: Path) -> None:
        self.home, self.models, self.days = home, models, 0

    def candidate(self, name: str) -> datetime:
        self.days += 1
        as_of = START + timedelta(days=self.days)
        folder = self.home.candidate(as_of)
        shutil.copytree(self.models / name, folder)
        files = {p.relative_to(folder).as_posix(): file_digest(p) for p in folder.rglob("*") if p.is_file()}
        (folder / "manifest.json").write_text(json.dumps({"release": name, "as_of": as_of.isoformat(), "files": files}))
        let_pass(self.home, as_of)
        return as_of

    def release(self, name: str, server: str | None) -> int:
        as_of = self.candidate(name)
        version = canary(self.home, as_of, server, 30).facts["version"]
        verify(self.home, CONFIG, as_of, server)
        promote(self.home, as_of, server)
        return int(version)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Shop:
    return Shop(Home(tmp_path_factory.mktemp("shop") / "home"), models)


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[str]:
    with model_server(shop.home, None) as address:
        yield address


def answer(server: str, label: str = "stable") -> str:
    with grpc.insecure_channel(server) as channel:
        ask = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        return from_proto(ask(request(REQUESTS[0], label), timeout=10).outputs["release"])[0].decode()


class Caller(threading.Thread):
    """Asks for the stable release all the time, and keeps what went wrong."""

    def __init__(self, server: str) -> None:
        super().__init__(daemon=True)
        self.server, self.stopping, self.answers, self.errors = server, threading.Event(), [], []

    def run(self) -> None:
        with grpc.insecure_channel(self.server) as channel:
            ask = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            while not self.stopping.wait(0.02):
                try:
                    outputs = ask(request(REQUESTS[0], "stable"), timeout=10).outputs
                    self.answers.append(from_proto(outputs["release"])[0].decode())
                except grpc.RpcError as problem:
                    self.errors.append(problem)


def test_a_server_that_runs_before_the_first_release_gets_it_and_the_next_without_a_failed_call(shop, server):
    assert read_served(shop.home).labels == {}
    first = shop.release("one", server)
    assert (answer(server), answer(server, "canary")) == ("one", "one")
    caller = Caller(server)
    caller.start()
    second = shop.release("two", server)
    caller.stopping.set()
    caller.join()
    assert caller.errors == []
    assert caller.answers == sorted(caller.answers)  # first "one", then "two", and never back
    assert set(caller.answers) == {"one", "two"} or answer(server) == "two"
    newest, oldest = releases(shop.home, server)
    assert (newest.version, newest.state, newest.labels) == (second, "AVAILABLE", ["canary", "stable"])
    assert oldest.version == first


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing in common", "0% of the items"),
        ("no number", "no finite number"),
        ("far too low", "Kolmogorov-Smirnov"),
    ],
)
def test_a_canary_that_is_worse_is_stopped_with_the_reason_and_stable_answers_on(shop, server, name, why):
    before = answer(server)
    as_of = shop.candidate(name)
    version = canary(shop.home, as_of, server, 30).facts["version"]
    assert answer(server, "canary") != before
    with pytest.raises(GateFailedError, match=why):
        verify(shop.home, CONFIG, as_of, server)
    assert version in records(shop.home)
    assert read_verdict(shop.home, as_of)["passed"] is False
    assert answer(server) == before
    deadline = time.monotonic() + 10
    while answer(server, "canary") != before:
        assert time.monotonic() < deadline


def test_a_candidate_that_cannot_be_loaded_is_put_away(shop, server):
    before = answer(server)
    as_of = shop.candidate("no variables")
    with pytest.raises(GateFailedError, match=r"cannot load version .* quarantine"):
        canary(shop.home, as_of, server, 30)
    with pytest.raises(GateFailedError, match="These very files are in quarantine"):
        canary(shop.home, as_of, server, 30)
    assert answer(server) == before


def test_a_rollback_while_the_newest_is_broken_and_not_loaded(shop, server):
    before, good = answer(server), read_served(shop.home).stable
    broken = shop.release("three", server)
    assert answer(server) == "three"
    (version_folder(shop.home, broken) / "saved_model.pb").write_bytes(b"")
    with model_server(shop.home, None) as restarted:  # this one cannot load what is stable
        with pytest.raises(grpc.RpcError):
            answer(restarted)
        done = roll_back(shop.home, restarted, reason="its file is gone")
        assert (done.left, done.stable) == (broken, good)
        assert answer(restarted) == before
    deadline = time.monotonic() + 10
    while answer(server) != before:  # the other server follows by itself
        assert time.monotonic() < deadline
