"""The ranker's rows of a walk: of each session the latest request that is known by now."""

from datetime import UTC, datetime

import numpy as np

from benchmarks.walk_forward.answers import Answers, ranker_rows
from tastemaker.moments import microseconds

RANDOM = np.random.default_rng(1)
NOON = datetime(2017, 10, 3, 12, tzinfo=UTC)
MINUTE = 60_000_000


def answers(moments: list[int], sessions: list[int], wanted: list[int]) -> Answers:
    """Requests with three candidates each, the last of them padding."""
    requests = len(moments)
    items = np.tile(np.array([[4, 5, -1]], np.int32), (requests, 1))
    features = np.arange(requests * 3 * 2, dtype=np.float32).reshape(requests, 3, 2)
    stamps = np.array(moments, np.int64) * MINUTE + microseconds(NOON)
    return Answers(items, features, np.array(wanted, np.int32), stamps, np.array(sessions, np.int32))


def test_a_session_teaches_by_its_latest_click_before_now():
    found = answers(moments=[-30, -20, -10, 5], sessions=[0, 1, 0, 0], wanted=[4, 4, 5, 4])
    rows = ranker_rows([found], NOON, RANDOM)
    assert rows.requests == 2
    assert rows.request.tolist() == [0, 0, 1, 1]
    assert rows.labels.tolist() == [1, 0, 0, 1]
    assert rows.features[:, 0].tolist() == [6.0, 8.0, 12.0, 14.0]


def test_a_click_at_the_hour_itself_is_not_known_yet():
    found = answers(moments=[-10, 0], sessions=[0, 0], wanted=[4, 5])
    assert ranker_rows([found], NOON, RANDOM).labels.tolist() == [1, 0]


def test_the_same_number_in_two_hours_is_two_sessions():
    hour = answers(moments=[-10], sessions=[0], wanted=[4])
    assert ranker_rows([hour, hour], NOON, RANDOM).requests == 2


def test_a_request_whose_item_is_no_candidate_teaches_nothing():
    found = answers(moments=[-10, -10], sessions=[0, 1], wanted=[9, 5])
    rows = ranker_rows([found], NOON, RANDOM)
    assert (rows.requests, rows.labels.tolist()) == (1, [0, 1])


def test_what_was_taken_is_kept_and_of_the_others_as_many_as_asked_for():
    items = np.tile(np.arange(50, dtype=np.int32), (200, 1))
    items[:, 40:] = -1
    wanted = np.arange(200, dtype=np.int32) % 40
    nothing = np.zeros(200, np.int32)
    found = Answers(items, np.zeros((200, 50, 1), np.float32), wanted, nothing.astype(np.int64), nothing)
    kept = found.sampled(10, np.random.default_rng(2))
    assert (kept.sum(axis=1) == 11).all()
    assert kept[np.arange(200), wanted].all()
    assert not kept[:, 40:].any()
    assert kept[:, :40].sum(axis=0).min() > 30  # every place is drawn: 55 times in the mean
