"""What was taken next, against plain loops: from requests to pairs, from pairs to shares, from shares to a list."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from toys import asked_sources as toy

from tastemaker import names
from tastemaker.moments import microseconds
from training.release.item_universe import ItemUniverse
from training.sources import next_item
from training.sources.next_item import NextItem, Taken, Transitions

END = datetime(2017, 10, 2, tzinfo=UTC)
UNIVERSE = ItemUniverse.of(["a", "b", "c", "d"])
HALF_LIFE_DAYS = 0.5


def requests(rows: list[tuple[float, list[str] | None, list[str]]]) -> pa.Table:
    """Days before END, the session latest first, and what was taken."""
    ages, sessions, positives = zip(*rows, strict=True)
    moments = [(END - timedelta(days=age)).replace(tzinfo=None) for age in ages]
    return pa.table(
        {
            names.REQUEST_TIMESTAMP: pa.array(moments, pa.timestamp("us")),
            names.SESSION_ITEM_IDS: pa.array(sessions, pa.list_(pa.string())),
            names.POSITIVE_ITEM_IDS: pa.array(positives, pa.list_(pa.string())),
        }
    )


LOG = requests(
    [
        (0.0, ["a"], ["b"]),
        (0.5, ["b", "a"], ["c"]),
        (1.0, ["a"], ["c"]),
        (1.0, None, ["d"]),  # no session is known
        (2.0, ["gone", "a"], ["d"]),  # an item that the catalogue has no more
        (0.1, ["d"], ["d"]),  # the same again says nothing
    ]
)


def test_pairs_are_the_latest_two_of_the_session_with_what_was_taken():
    taken = Taken.of(LOG, UNIVERSE)
    ids = UNIVERSE.item_ids
    found = {(ids[a], ids[b], int(apart)) for a, b, apart in zip(taken.earlier, taken.later, taken.apart, strict=True)}
    assert found == {("a", "b", 1), ("b", "c", 1), ("a", "c", 1), ("a", "c", 2), ("a", "d", 2)}
    assert len(taken.moments) == 5


def test_a_slice_and_no_request_at_all():
    ids = UNIVERSE.item_ids
    taken = Taken.of(LOG.slice(1, 1), UNIVERSE)
    assert [(ids[a], ids[b]) for a, b in zip(taken.earlier, taken.later, strict=True)] == [("b", "c"), ("a", "c")]
    empty = Taken.of(LOG.filter(pa.array([False] * len(LOG))), UNIVERSE)
    assert Transitions.fit(empty, UNIVERSE.item_ids, END, 1.0).starts.tolist() == [0, 0, 0, 0, 0]


def by_hand() -> dict[str, dict[str, float]]:
    """Shares of what was taken near each item, counted one by one."""
    counted: dict[str, dict[str, float]] = {}
    for earlier, later, apart, age in (
        ("a", "b", 1, 0.0),
        ("b", "c", 1, 0.5),
        ("a", "c", 2, 0.5),
        ("a", "c", 1, 1.0),
        ("a", "d", 2, 2.0),
    ):
        weight = 0.5 ** (age / HALF_LIFE_DAYS)
        of = counted.setdefault(earlier, {})
        of[later] = of.get(later, 0.0) + weight / apart
        if apart == 1:
            back = counted.setdefault(later, {})
            back[earlier] = back.get(earlier, 0.0) + 0.3 * weight
    return {
        item: {other: weight / (sum(of.values()) + 0.5) for other, weight in of.items()} for item, of in counted.items()
    }


def test_shares_fade_with_age_and_places_and_the_way_back_counts_less():
    found = Transitions.fit(Taken.of(LOG, UNIVERSE), UNIVERSE.item_ids, END, HALF_LIFE_DAYS)
    ids = UNIVERSE.item_ids
    for place, item in enumerate(ids):
        part = slice(*found.starts[place : place + 2])
        shares = dict(zip((ids[at] for at in found.followers[part]), found.shares[part].tolist(), strict=True))
        assert shares == pytest.approx(by_hand().get(item, {}), rel=1e-6)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_an_item_keeps_its_likeliest_followers(monkeypatch):
    monkeypatch.setattr(next_item, "FOLLOWERS", 2)
    found = Transitions.fit(Taken.of(LOG, UNIVERSE), UNIVERSE.item_ids, END, HALF_LIFE_DAYS)
    assert np.diff(found.starts).tolist() == [2, 2, 2, 0]
    assert found.followers[:2].tolist() == [1, 2]  # after a: b, c; d is left out


def test_the_latest_items_of_the_history_propose_what_follows_them():
    items = toy.snapshot()
    trained = toy.transitions()
    expected: dict[int, float] = {}
    for place, item in enumerate([2, 4, 7]):
        part = slice(*trained.starts[item : item + 2])
        for follower, share in zip(trained.followers[part].tolist(), trained.shares[part].tolist(), strict=True):
            expected[follower] = expected.get(follower, 0.0) + 0.5**place * share
    found = NextItem(items, trained).propose(toy.asked(items, [[2, 4, 7, 9, 11]]), 5)  # 9 and 11 are too long ago
    best = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    assert found.items.numpy()[0].tolist() == [item for item, _ in best]
    np.testing.assert_allclose(found.scores.numpy()[0], [score for _, score in best], rtol=1e-6)


def test_a_user_without_a_history_is_proposed_nothing():
    items = toy.snapshot()
    found = NextItem(items, toy.transitions()).propose(toy.asked(items, [[]]), 5)
    assert (found.items.numpy() == items.universe.unknown).all()


def test_other_transitions_take_the_place_without_another_trace(tmp_path):
    items = toy.snapshot()
    first = toy.transitions()
    source = NextItem(items, first)
    traced = []

    @tf.function
    def ask() -> tf.Tensor:
        traced.append(1)
        return source.propose(toy.asked(items, [[2, 4]]), 5).items

    before = ask().numpy()
    moments = np.array([microseconds(toy.toy.AS_OF)])
    other = Transitions.fit(
        Taken(np.array([2]), np.array([9]), np.array([1]), moments), items.universe.item_ids, toy.toy.AS_OF, 1.0
    )
    other.save(tmp_path)
    source.load(Transitions.load(tmp_path))
    assert ask().numpy()[0].tolist() == [9, *[items.universe.unknown] * 4]
    assert len(traced) == 1
    assert before[0].tolist() != ask().numpy()[0].tolist()
