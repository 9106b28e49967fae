"""Pairs by row number: each positive with its item's latest snapshot, batched without loss."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from training.retrieval.examples import Pairs, Snapshots, epoch_batches, pair_examples
from training.retrieval.recall import positives_of, recall_at

ITEMS = pa.table(
    {
        "item_id": ["a", "b", "a", "b", "c"],
        "day": pa.array([datetime(2020, 1, 1)] * 2 + [datetime(2020, 1, 8)] * 3, pa.timestamp("us")),
    }
)


def requests(*rows: tuple[datetime, list[str] | None]) -> pa.Table:
    return pa.table(
        {
            "request_timestamp": pa.array([moment for moment, _ in rows], pa.timestamp("us")),
            "positive_item_ids": pa.array([items for _, items in rows], pa.list_(pa.string())),
        }
    )


def test_a_positive_meets_the_latest_snapshot_at_or_before_it():
    asked = requests(
        (datetime(2019, 12, 31, 23), ["a"]),  # before the first snapshot
        (datetime(2020, 1, 1), ["a", "c"]),  # c did not exist yet
        (datetime(2020, 1, 7, 23), ["b"]),
        (datetime(2020, 1, 8), ["c", "b", "never"]),
        (datetime(2020, 1, 9), None),
    )
    pairs = pair_examples(asked, Snapshots.of(ITEMS))
    assert list(zip(pairs.request.tolist(), pairs.snapshot.tolist(), strict=True)) == [(1, 0), (2, 1), (3, 4), (3, 3)]
    assert pairs.dropped == 3
    assert ITEMS["item_id"].take(pa.array(pairs.snapshot)).to_pylist() == ["a", "b", "c", "b"]


def test_an_epoch_takes_every_pair_once_and_is_drawn_anew_the_same_way_for_a_seed():
    request = np.repeat(np.arange(40, dtype=np.int32), np.arange(40) % 11)
    pairs = Pairs(request, request, request, 0)
    first, again, other = (
        [batch.tolist() for batch in epoch_batches(pairs, 16, 3, np.random.default_rng(seed))] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(row for batch in first for row in batch) == list(range(len(request)))
    assert max(map(len, first)) == 16


@pytest.fixture
def judged():
    """Two requests on one day: a is the best for both, then b, then c."""
    asked = requests(
        (datetime(2020, 1, 9), ["a", "c"]), (datetime(2020, 1, 9), ["c", "never"]), (datetime(2020, 1, 9), [])
    )
    snapshots = Snapshots.of(ITEMS)
    moments = asked["request_timestamp"].cast(pa.int64()).to_numpy()

    def score(request_rows, snapshot_rows):
        return np.tile(-snapshot_rows.astype(float), (len(request_rows), 1))

    return score, positives_of(asked, snapshots), moments, snapshots


def test_recall_is_the_mean_share_of_a_requests_positives(judged):
    score, positives, moments, snapshots = judged
    assert recall_at([1, 2, 3, 99], score, positives, moments, snapshots, seed=1) == {
        1: (1 / 2 + 0) / 2,
        2: (1 / 2 + 0) / 2,
        3: (1 + 1 / 2) / 2,
        99: (1 + 1 / 2) / 2,
    }


def test_only_items_that_existed_compete(judged):
    _, _, _, snapshots = judged
    asked = requests((datetime(2020, 1, 2), ["c"]))
    seen = []

    def score(request_rows, snapshot_rows):
        seen.append(snapshot_rows.tolist())
        return np.zeros((len(request_rows), len(snapshot_rows)))

    moments = asked["request_timestamp"].cast(pa.int64()).to_numpy()
    assert recall_at([5], score, positives_of(asked, snapshots), moments, snapshots, seed=1) == {5: 0}
    assert seen == [[0, 1]]


@pytest.mark.parametrize("wanted", ["a", "b", "c"])
def test_among_equals_no_item_is_found_more_often_for_where_it_stands(wanted):
    asked = requests(*[(datetime(2020, 1, 9), [wanted])] * 3_000)
    snapshots, moments = Snapshots.of(ITEMS), asked["request_timestamp"].cast(pa.int64()).to_numpy()

    def score(request_rows, snapshot_rows):
        return np.zeros((len(request_rows), len(snapshot_rows)))

    found = recall_at([1, 2], score, positives_of(asked, snapshots), moments, snapshots, seed=1)
    assert found == pytest.approx({1: 1 / 3, 2: 2 / 3}, abs=0.03)


def test_an_item_that_never_existed_is_not_found_in_another_requests_list():
    """The last item of the list before: where item −1 of a request would stand if lists were laid end to end."""
    asked = requests((datetime(2020, 1, 9), ["a"]), (datetime(2020, 1, 9), ["never"]))
    snapshots, moments = Snapshots.of(ITEMS), asked["request_timestamp"].cast(pa.int64()).to_numpy()

    def score(request_rows, snapshot_rows):
        return np.tile(snapshot_rows.astype(float), (len(request_rows), 1))

    assert recall_at([1], score, positives_of(asked, snapshots), moments, snapshots, seed=1) == {1: 0}
