"""A config file that changes while the server runs: policies, labels, models that come and go, and a broken edit."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.protocol import model_management_pb2
from serving.tensors import from_proto
from tastemaker.steps import write_atomically

pytestmark = pytest.mark.integration


def config(models: dict[str, str]) -> str:
    """A ModelServerConfig: name → its base path, policy and labels in text format."""
    entries = (f'config {{ name: "{name}" model_platform: "tensorflow" {rest} }}' for name, rest in models.items())
    return "model_config_list { " + " ".join(entries) + " }"


def test_the_file_is_followed(
    server_in: Callable,
    toy_versions: dict[str, Path],
    predict_request: Callable,
    place_version: Callable,
    tmp_path: Path,
):
    folder = tmp_path / "toy"
    folder.mkdir()
    for version, name in ((1, "one"), (2, "two"), (3, "one")):
        place_version(toy_versions[name], folder, version)
    base = f'base_path: "{folder}"'
    file = tmp_path / "models.txtpb"
    file.write_text(config({"toy": f"{base} model_version_policy {{ specific {{ versions: 1 }} }}"}))
    server = server_in(
        folder,
        "--model_base_path=",
        f"--model_config_file={file}",
        "--model_config_file_poll_wait_seconds=1",
        "--max_message_bytes=100000",
    )

    def answered(label: str = "", model: str = "toy") -> int | str:
        request = predict_request()
        request.model_spec.name = model
        if label:
            request.model_spec.version_label = label
        try:
            response = server.prediction.Predict(request, timeout=10)
        except grpc.RpcError as problem:
            return problem.code().name
        said = from_proto(response.outputs["release"])[0].decode()
        assert said == ("two" if response.model_spec.version.value == 2 else "one")
        return int(response.model_spec.version.value)

    server.wait_for_state(1, "AVAILABLE")
    assert (answered(), answered("stable")) == (1, "INVALID_ARGUMENT")

    two = "model_version_policy { specific { versions: 1 versions: 2 } }"
    write_atomically(file, config({"toy": f"{base} {two}"}))
    server.wait_for_state(2, "AVAILABLE")
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    write_atomically(file, config({"toy": f"{base} {two} {labels}"}))
    eventually(lambda: answered("canary") == 2)
    assert (answered("stable"), answered()) == (1, 2)
    assert rest(server, "/v1/models/toy/labels/stable:predict") == 200
    assert rest(server, "/v1/models/toy/labels/nobody:predict") == 400

    for broken in ("model_config_list { nonsense", config({"toy": f"{base} {two} {labels.replace('2', '9')}"})):
        refused = server.text().count("the config is not taken")
        write_atomically(file, broken)
        eventually(lambda: server.text().count("the config is not taken") > refused)  # noqa: B023
        assert (answered("stable"), answered("canary")) == (1, 2)

    write_atomically(file, config({"toy": f"{base} model_version_policy {{ all {{}} }}", "other": base}))
    server.wait_for_state(3, "AVAILABLE")
    eventually(lambda: answered(model="other") == 3)
    assert answered("canary") == "INVALID_ARGUMENT"
    write_atomically(file, config({"toy": base}))
    eventually(lambda: answered(model="other") == "NOT_FOUND")
    server.wait_for_state(1, "END")
    server.wait_for_state(2, "END")
    assert answered() == 3

    # The same over gRPC, until the file is read again.
    reload = model_management_pb2.ReloadConfigRequest()
    for name in ("toy", "third"):
        reload.config.model_config_list.config.add(name=name, base_path=str(folder), model_platform="tensorflow")
    assert server.models.HandleReloadConfigRequest(reload, timeout=60).status.error_code == 0

    large = predict_request(history=np.array([["x" * 200_000]], object))
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(large, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rest(server, "/v1/models/toy:predict", {"instances": [[1.0, 2.0]] * 20_000}) == 429
    assert answered() == 3


def rest(server, path: str, body: dict | None = None) -> int:
    data = json.dumps(body or {"instances": [[1.0, 2.0]]}).encode()
    try:
        with urllib.request.urlopen(f"http://{server.rest_address}{path}", data, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as problem:
        assert json.loads(problem.read())["error"]
        return problem.code


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
