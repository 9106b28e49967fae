import struct
from pathlib import Path

import pytest

from serving.protocol import prediction_log_pb2
from serving.releases.replay import recorded_requests
from tastemaker import names
from tastemaker.errors import TastemakerError


def write_records(path: Path, signatures: list[str]) -> bytes:
    """A TFRecord file, its checksums zero."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for signature in signatures:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.model_spec.signature_name = signature
        data = log.SerializeToString()
        content += struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4)
    path.write_bytes(content)
    return content


def signatures(folder: Path, most: int) -> list[str]:
    return [request.model_spec.signature_name for request in recorded_requests(folder, most)]


def test_the_golden_requests_come_first_and_are_thinned_evenly(tmp_path):
    write_records(tmp_path / names.WARMUP_REQUESTS, ["warm"])
    assert signatures(tmp_path, 5) == ["warm"]
    write_records(tmp_path / names.GOLDEN_REQUESTS, [f"r{n}" for n in range(9)])
    assert signatures(tmp_path, 100) == [f"r{n}" for n in range(9)]
    assert signatures(tmp_path, 3) == ["r0", "r4", "r8"]


def test_a_release_without_requests_is_told(tmp_path):
    with pytest.raises(TastemakerError, match="no recorded requests"):
        recorded_requests(tmp_path, 5)


def test_a_file_that_ends_within_a_record_is_told_wherever_it_ends(tmp_path):
    whole = write_records(tmp_path / names.GOLDEN_REQUESTS, ["one", "two"])
    first = len(whole) // 2
    for length in set(range(1, len(whole))) - {first}:
        (tmp_path / names.GOLDEN_REQUESTS).write_bytes(whole[:length])
        with pytest.raises(TastemakerError, match="ends within a record"):
            recorded_requests(tmp_path, 5)
