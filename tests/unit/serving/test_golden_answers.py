"""Two answers are the same when every bit of them is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.golden import difference, golden_requests
from serving.tensors import to_proto
from tastemaker.errors import TastemakerError


def answer(**changes: Any) -> dict[str, Any]:
    arrays = {
        "item_ids": np.array([["a", "b"]], object),
        "scores": np.array([[0.5, np.nan]], np.float32),
        "known": np.array([[True, False]]),
        **changes,
    }
    return {name: to_proto(array) for name, array in arrays.items() if array is not None}


def test_the_same_bits_are_the_same_answer_nan_included() -> None:
    assert difference(answer(), answer()) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"item_ids": np.array([["a", "c"]], object)}, "has item_ids[0, 1] 'c' where 'b' was recorded"),
        (
            {"scores": np.array([[np.nextafter(np.float32(0.5), np.float32(1)), np.nan]], np.float32)},
            "has scores[0, 0]",
        ),
        ({"scores": np.array([[0.5, 0.0]], np.float32)}, "has scores[0, 1] 0.0 where nan was recorded"),
        ({"scores": np.array([[0.5, np.nan]], np.float64)}, "has scores double [1, 2] where float [1, 2] was recorded"),
        ({"scores": np.array([[0.5]], np.float32)}, "has scores float [1, 1] where float [1, 2] was recorded"),
        ({"known": np.array([[True, True]])}, "has known[0, 1] True where False was recorded"),
        ({"known": None}, "has the outputs item_ids, scores where item_ids, known, scores were recorded"),
        ({"release": np.array(["r"], object)}, "has the outputs item_ids, known, release, scores where"),
    ],
)
def test_any_other_answer_is_told_by_its_first_difference(changes: dict[str, Any], told: str) -> None:
    assert str(difference(answer(), answer(**changes))).startswith(told)


def test_minus_zero_is_not_zero() -> None:
    zero = np.array([[0.0]], np.float32)
    assert difference({"scores": to_proto(zero)}, {"scores": to_proto(-zero)}) is not None


def test_a_release_without_golden_requests_or_with_half_a_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(TastemakerError, match="has no golden requests"):
        golden_requests(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "golden_requests").write_bytes(b"")
    with pytest.raises(TastemakerError, match="has no request"):
        golden_requests(tmp_path)
    (tmp_path / "assets.extra" / "golden_requests").write_bytes(b"\x10" + bytes(20))
    with pytest.raises(TastemakerError, match="ends within a record"):
        golden_requests(tmp_path)
