"""A toy release and a server that serves it: ours in a process, or the one at TASTEMAKER_TEST_MODEL_SERVER.

To run the conformance tests against a real tensorflow/serving, start it over an empty folder and tell three things:
TASTEMAKER_TEST_MODEL_SERVER (gRPC host:port), TASTEMAKER_TEST_MODEL_SERVER_REST (host:port) and
TASTEMAKER_TEST_MODEL_FOLDER (the folder it serves as model `toy`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.tensors import to_proto

CATALOGUE = 5

# The scenarios of benchmarks/reliability are tests too; the folder is no installed package.
sys.path.append(str(Path(__file__).resolve().parents[3]))


def build_toy(folder: Path, name: str) -> Path:
    """A SavedModel whose every answer says `name`: items `<name>-0` … `<name>-4`, the sum of its numbers as score."""
    import tensorflow as tf

    class Toy(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = tf.Variable([f"{name}-{i}" for i in range(CATALOGUE)])

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, "age"),
                tf.TensorSpec([None, None], tf.string, "history"),
                tf.TensorSpec([None, None], tf.string, "exclude_item_ids"),
                tf.TensorSpec([None], tf.int64, "request_timestamp"),
                tf.TensorSpec([], tf.int32, "k"),
            ]
        )
        def recommend(self, age, history, exclude_item_ids, request_timestamp, k):
            del history, request_timestamp
            batch = tf.shape(age)[0]
            base = tf.where(tf.math.is_nan(age), 0.0, age)[:, None] - tf.range(CATALOGUE, dtype=tf.float32)[None, :]
            excluded = tf.reduce_any(self.items[None, :, None] == exclude_item_ids[:, None, :], axis=2)
            scores, order = tf.math.top_k(tf.where(excluded, -np.inf, base), tf.minimum(k, CATALOGUE))
            items = tf.where(tf.math.is_finite(scores), tf.gather(self.items, order), "")
            return {"item_ids": items, "scores": scores, "release": tf.fill([batch], name)}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def double(self, x):
            return {"y": x * 2.0}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def echo(self, text):
            return {"text_bytes": text, "length": tf.strings.length(text)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "rounds")])
        def slow(self, rounds):
            def body(i, m):
                return i + 1, tf.matmul(m, m) * 0.01

            _, m = tf.while_loop(lambda i, m: i < rounds, body, (0, tf.ones([200, 200])), parallel_iterations=1)
            return {"total": tf.reduce_sum(m)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs):
            number = self._number(inputs)
            scores = tf.stack([number, -number], axis=1)
            return {"classes": tf.where(scores > 0, "up", "down"), "scores": scores}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs):
            return {"outputs": self._number(inputs) * 10.0}

        def _number(self, inputs):
            return tf.io.parse_example(inputs, {"number": tf.io.FixedLenFeature([], tf.float32)})["number"]

    toy = Toy()
    signatures = {
        "classify": toy.classify,
        "regress": toy.regress,
        "defaulted": toy.double,
        "recommend": toy.recommend,
        "serving_default": toy.double,
        "echo": toy.echo,
        "slow": toy.slow,
    }
    beside = folder.with_name(f".{folder.name}.part")
    tf.saved_model.save(toy, str(beside), signatures=signatures)
    give_default(beside, "defaulted", "x", np.array([[5, 6]], np.float32))
    beside.rename(folder)
    return folder


def give_default(folder: Path, signature: str, name: str, value: Any) -> None:
    """Writes a default of an input into the SavedModel, which TensorFlow's own saver has no public way to do."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].signature_def[signature].defaults[name].CopyFrom(to_proto(value))
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())


@dataclass
class RunningServer:
    """A server's addresses; `process` is None when it is not ours."""

    grpc_address: str
    rest_address: str
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None
    channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.grpc_address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def states(self) -> dict[int, Any]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "toy"
        try:
            answer = self.models.GetModelStatus(request, timeout=5)
        except grpc.RpcError as problem:
            if problem.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                return {}
            raise
        return {entry.version: entry for entry in answer.model_version_status}

    def wait_for_state(self, version: int, state: str, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        wanted = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        while time.monotonic() < deadline:
            entry = self.states().get(version)
            if entry is not None and entry.state == wanted:
                return entry
            assert self.process is None or self.process.poll() is None, self.text()
            time.sleep(0.05)
        raise AssertionError(f"version {version} is not {state}: {self.states()}\n{self.text()}")

    def text(self) -> str:
        return self.log.read_text() if self.log else ""

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(folder: Path, log: Path, *flags: str) -> RunningServer:
    port, rest_port = free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "serving.server",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--bind_address=127.0.0.1",
        "--model_name=toy",
        f"--model_base_path={folder}",
        "--load_retry_interval_micros=500000",
        "--max_num_load_retries=1",
        *flags,
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    return RunningServer(f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}", folder, process, log)


@pytest.fixture(scope="session")
def toy_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases to copy from: `one` and `two`."""
    root = tmp_path_factory.mktemp("toys")
    return {name: build_toy(root / name, name) for name in ("one", "two")}


@pytest.fixture
def server_in(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers of ours; ends those that are still there."""
    started: list[RunningServer] = []

    def start(folder: Path, *flags: str) -> RunningServer:
        server = start_server(folder, tmp_path / f"server{len(started)}.log", *flags)
        started.append(server)
        return server

    yield start
    for server in started:
        server.channel.close()
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="module")
def start_server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers of a SavedModel as version 1 of `toy`, for a whole test file; whether one answers yet is for the
    caller to find."""
    started: list[RunningServer] = []

    def start(release: Path, *flags: str) -> RunningServer:
        folder = tmp_path_factory.mktemp("served") / "toy"
        folder.mkdir()
        place(release, folder, 1)
        started.append(start_server(folder, folder.parent / "server.log", *flags))
        return started[-1]

    yield start
    for server in started:
        server.channel.close()
        assert server.process is not None
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def start_toy_server(
    toy_versions: dict[str, Path], start_server_of: Callable[..., RunningServer]
) -> Callable[..., RunningServer]:
    """Starts servers of `one` for a whole test file."""

    def start(*flags: str) -> RunningServer:
        return start_server_of(toy_versions["one"], *flags)

    return start


@pytest.fixture(scope="session")
def toy_server(toy_versions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of version 1, `one`, of model `toy`: ours, or the one the environment names."""
    address = os.environ.get("TASTEMAKER_TEST_MODEL_SERVER")
    if address:
        folder = Path(os.environ["TASTEMAKER_TEST_MODEL_FOLDER"])
        server = RunningServer(address, os.environ["TASTEMAKER_TEST_MODEL_SERVER_REST"], folder)
    else:
        folder = tmp_path_factory.mktemp("served") / "toy"
        folder.mkdir()
        monitoring = folder.parent / "monitoring.txt"
        monitoring.write_text("prometheus_config { enable: true }")
        log = folder.parent / "server.log"
        server = start_server(folder, log, f"--monitoring_config_file={monitoring}")
    if not (folder / "1").exists():
        place(toy_versions["one"], folder, 1)
    server.wait_for_state(1, "AVAILABLE")
    yield server
    server.channel.close()
    if server.process is not None:
        server.process.kill()
        server.process.wait()


def place(source: Path, folder: Path, version: int) -> Path:
    """Copies a release beside and renames it, as a publisher does."""
    import shutil

    beside = folder / f".{version}.part"
    shutil.copytree(source, beside)
    beside.rename(folder / str(version))
    return folder / str(version)


@pytest.fixture(scope="session")
def place_version() -> Callable[[Path, Path, int], Path]:
    return place


def _predict_request(signature: str = "recommend", **changes: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    inputs: dict[str, Any] = {}
    if signature == "recommend":
        inputs = {
            "age": np.array([3.0], np.float32),
            "history": np.array([["a", "b"]], object),
            "exclude_item_ids": np.array([[""]], object),
            "request_timestamp": np.array([0], np.int64),
            "k": np.array(2, np.int32),
        }
    for name, array in {**inputs, **changes}.items():
        if array is not None:
            request.inputs[name].CopyFrom(to_proto(array))
    return request


@pytest.fixture(scope="session")
def predict_request() -> Callable[..., Any]:
    """A sound PredictRequest; keyword arguments replace inputs, None leaves one out."""
    return _predict_request
