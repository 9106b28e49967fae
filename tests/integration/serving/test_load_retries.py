"""A version that cannot be loaded is tried again on a running server: so often, so far apart, and when it is mended."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys.bare_release import list_files

from serving.release_keys import public_key_file
from serving.tensors import from_proto
from serving.trust import sign_release
from tastemaker.settings import Settings

pytestmark = pytest.mark.integration

RETRIES = 2


def tries(server: Any) -> int:
    return int(server.text().count("Loading servable {name: toy version: 2} failed"))


def wait_for_tries(server: Any, number: int) -> None:
    deadline = time.monotonic() + 60
    while tries(server) < number:
        assert time.monotonic() < deadline, server.text()
        time.sleep(0.05)


def answer(server: Any, request: Any) -> tuple[int, bytes]:
    response = server.prediction.Predict(request, timeout=10)
    return int(response.model_spec.version.value), from_proto(response.outputs["release"])[0]


def test_a_version_is_tried_so_often_then_left_and_taken_up_once_its_files_are_mended(
    server_in: Callable[..., Any],
    toy_versions: dict[str, Path],
    predict_request: Callable[..., Any],
    place_version: Callable[[Path, Path, int], Path],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    place_version(toy_versions["one"], folder, 1)
    server = server_in(folder, f"--max_num_load_retries={RETRIES}", "--load_retry_interval_micros=300000")
    server.wait_for_state(1, "AVAILABLE")
    broken = place_version(toy_versions["two"], tmp_path, 2)
    variables = next((broken / "variables").glob("*.data-*"))
    whole = variables.read_bytes()
    variables.write_bytes(whole[:-3])
    broken.rename(folder / "2")
    wait_for_tries(server, 1 + RETRIES)
    time.sleep(2)  # several intervals, and two looks at the folder
    assert tries(server) == 1 + RETRIES
    assert answer(server, predict_request()) == (1, b"one")
    (folder / "2" / variables.relative_to(broken)).write_bytes(whole)
    server.wait_for_state(2, "AVAILABLE")
    assert answer(server, predict_request()) == (2, b"two")


def test_a_version_whose_reason_lies_elsewhere_is_taken_up_by_a_retry_with_no_file_touched(
    server_in: Callable[..., Any],
    toy_versions: dict[str, Path],
    predict_request: Callable[..., Any],
    place_version: Callable[[Path, Path, int], Path],
    tmp_path: Path,
) -> None:
    old, new = Settings(home=tmp_path / "old"), Settings(home=tmp_path / "new")
    folder = tmp_path / "toy"
    folder.mkdir()
    for version, name, settings in ((1, "one", old), (2, "two", new)):
        release = place_version(toy_versions[name], tmp_path, version)
        list_files(release, release=name)
        sign_release(release, settings)
    trusted = tmp_path / "trusted.pub"
    trusted.write_bytes(public_key_file(old).read_bytes())
    (tmp_path / "1").rename(folder / "1")
    server = server_in(
        folder,
        f"--release_public_key_file={trusted}",
        "--max_num_load_retries=1000",
        "--load_retry_interval_micros=300000",
    )
    server.wait_for_state(1, "AVAILABLE")
    (tmp_path / "2").rename(folder / "2")
    wait_for_tries(server, 2)
    assert answer(server, predict_request()) == (1, b"one")
    trusted.write_bytes(public_key_file(old).read_bytes() + public_key_file(new).read_bytes())
    server.wait_for_state(2, "AVAILABLE")
    assert answer(server, predict_request()) == (2, b"two")
