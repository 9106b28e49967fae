"""A version that somebody copies straight into the served folder, slowly: no half of it ever answers."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys.bare_release import list_files

from serving.manifest import MANIFEST
from serving.tensors import from_proto

pytestmark = pytest.mark.integration


def halves(release: Path, folder: Path) -> list[tuple[Path, bytes]]:
    """Each file, half of it and then whole; first the manifest, so that a server knows what is still to come."""
    files = sorted(
        (path for path in release.rglob("*") if path.is_file()), key=lambda path: (path.name != MANIFEST, path)
    )
    written = []
    for path in files:
        content = path.read_bytes()
        target = folder / path.relative_to(release)
        written += [(target, content[: len(content) // 2]), (target, content)]
    return written


def wait_for_a_failed_load(server: Any, already: int) -> None:
    deadline = time.monotonic() + 30
    while server.text().count("version: 2} failed") <= already:
        assert time.monotonic() < deadline, server.text()
        time.sleep(0.05)


def test_a_copy_into_the_served_folder_answers_after_its_last_byte_and_not_before(
    server_in: Callable[..., Any],
    toy_versions: dict[str, Path],
    predict_request: Callable[..., Any],
    place_version: Callable[[Path, Path, int], Path],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    place_version(toy_versions["one"], folder, 1)
    server = server_in(folder, "--file_system_poll_wait_seconds=1")
    server.wait_for_state(1, "AVAILABLE")
    release = list_files(shutil.copytree(toy_versions["two"], tmp_path / "two"))
    writes = halves(release, folder / "2")
    assert len(writes) >= 2 * 5  # the manifest, saved_model.pb, the fingerprint and two files of variables
    for path, content in writes[:-1]:
        failed = server.text().count("version: 2} failed")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        wait_for_a_failed_load(server, failed)
        answer = server.prediction.Predict(predict_request(), timeout=10)
        assert (answer.model_spec.version.value, from_proto(answer.outputs["release"])[0]) == (1, b"one")
    writes[-1][0].write_bytes(writes[-1][1])
    server.wait_for_state(2, "AVAILABLE")
    answer = server.prediction.Predict(predict_request(), timeout=10)
    assert (answer.model_spec.version.value, from_proto(answer.outputs["release"])[0]) == (2, b"two")
