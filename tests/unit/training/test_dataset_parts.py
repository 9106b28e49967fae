"""A training set in parts is the same table as at once."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.datasets.parts import runs_of, write_parts


def test_every_thing_is_in_one_run_and_no_run_is_longer_than_it_may_be() -> None:
    sizes = [5, 1, 1, 7, 3, 3, 3, 20, 1]
    runs = runs_of(sizes, 7)
    assert [at for first, end in runs for at in range(first, end)] == list(range(len(sizes)))
    assert all(sum(sizes[first:end]) <= 7 or end - first == 1 for first, end in runs)
    assert all(sum(sizes[one[0] : two[0] + 1]) > 7 for one, two in pairwise(runs))
    assert runs_of([], 7) == []


def test_parts_make_one_file_and_one_part_the_bytes_of_a_table(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3], "b": [["x"], None, []]})
    write_parts(iter([table.slice(0, 2), table.slice(2)]), tmp_path / "new" / "parts.parquet")
    assert pq.read_table(tmp_path / "new" / "parts.parquet").equals(table)
    write_parts([table], tmp_path / "one.parquet")
    pq.write_table(table, tmp_path / "whole.parquet", compression="zstd")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_part_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    path.write_bytes(b"before")

    def parts():
        yield pa.table({"a": [1]})
        raise RuntimeError("the join failed")

    with pytest.raises(RuntimeError):
        write_parts(parts(), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
