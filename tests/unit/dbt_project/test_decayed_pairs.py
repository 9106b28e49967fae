"""Ordered, decayed counting against a brute force that knows neither arrays nor sessions told in order."""

import math
import random
from datetime import datetime, timedelta

import numpy as np
import pytest

from dbt_project.co_occurrence import SessionItems
from dbt_project.decayed_pairs import NearestItems, nearest_by_version, told_out_of_order

HOUR = timedelta(hours=1)
START = datetime(2024, 3, 1)

# session, item, minute at which it happened, hour from which a row may hold it
Click = tuple[int, int, int, int]
Best = dict[int, list[tuple[int, float]]]


def events_of(clicks: list[Click]) -> SessionItems:
    ordered = sorted(clicks, key=lambda click: (click[0], click[2], click[1], click[3]))
    happened = [START + click[2] // 60 * HOUR for click in ordered]
    enters = [START + click[3] * HOUR for click in ordered]
    session, item = (np.array([click[n] for click in ordered], np.int32) for n in (0, 1))
    return SessionItems(session, item, np.array(happened, "datetime64[us]"), np.array(enters, "datetime64[us]"))


def counted(clicks: list[Click], versions: list[tuple[int, int]], half_life: float, kept: int) -> list[NearestItems]:
    asked = [(START + stamp * HOUR, START + known * HOUR) for stamp, known in versions]
    return list(nearest_by_version(events_of(clicks), asked, tick_hours=1, half_life_hours=half_life, neighbours=kept))


def lists(version: NearestItems) -> Best:
    ends = version.offsets.tolist()
    pairs = list(zip(version.others.tolist(), version.scores.tolist(), strict=True))
    return {item: pairs[ends[n] : ends[n + 1]] for n, item in enumerate(version.items.tolist())}


def by_hand(clicks: list[Click], stamp: int, known: int, half_life: float, kept: int) -> Best:
    """Item → its best, for the items that the version's news touched."""
    before = [click for click in clicks if click[2] < stamp * 60 and click[3] <= known]
    weights: dict[int, dict[int, float]] = {}
    touched, with_a_row = set(), set()
    for session in {click[0] for click in before}:
        its = sorted((click for click in before if click[0] == session), key=lambda c: (c[2], c[1]))
        visit: list[Click] = []
        for click in its:
            if click[1] not in [c[1] for c in visit]:
                visit.append(click)
        for q, later in enumerate(visit):
            for p, earlier in enumerate(visit[:q]):
                age = stamp - later[2] // 60
                if q - p <= 10 and age <= math.ceil(8 * half_life):
                    weight = 0.5 ** (age / half_life) / (q - p)
                    for one, other, part in ((earlier[1], later[1], 1.0), (later[1], earlier[1], 0.7)):
                        row = weights.setdefault(one, {})
                        row[other] = row.get(other, 0.0) + part * weight
                        if any(c[3] == known for c in its):
                            touched.add(one)
                        if any(c[3] == stamp or c[2] // 60 + 1 == stamp for c in its):
                            with_a_row.add(one)
    found = {}
    for item in touched & with_a_row if known > stamp else touched:
        total = sum(weights[item].values())
        best = sorted(((round(-w / total, 9), other) for other, w in weights[item].items()))[:kept]
        found[item] = [(other, -score) for score, other in best]
    return found


def toy(seed: int, late: bool) -> list[Click]:
    draw = random.Random(seed)
    clicks = []
    for session in range(14):
        minute = draw.randrange(12 * 60)
        for _ in range(draw.choice([1, 2, 3, 5, 16])):
            minute += draw.choice([0, 3, 40, 130])
            told = draw.choice([0, 0, 0, 1, 4]) if late else 0
            clicks.append((session, draw.randrange(13), minute, minute // 60 + 1 + told))
    return clicks


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_version_equals_counting_by_hand(seed: int, late: bool) -> None:
    clicks = toy(seed, late)
    last = max(click[3] for click in clicks)
    versions = [(stamp, known) for stamp in range(last + 1) for known in range(stamp, min(stamp + 5, last + 1))]
    found = {(v.stamp, v.known_on): lists(v) for v in counted(clicks, versions, half_life=0.8, kept=4)}
    told = 0
    for stamp, known in versions:
        expected = by_hand(clicks, stamp, known, half_life=0.8, kept=4)
        got = found.pop((START + stamp * HOUR, START + known * HOUR), {})
        assert set(got) == set(expected), (stamp, known)
        for item, best in expected.items():
            assert [score for _, score in got[item]] == pytest.approx([score for _, score in best], abs=1e-6)
            assert [other for other, _ in got[item]] == [other for other, _ in best], (stamp, known, item)
        told += bool(expected) and known > stamp
    assert found == {}
    assert (told > 10) == late  # or the toy would prove nothing about what is told late
    assert told_out_of_order(events_of(clicks)).any() == late


def test_the_nearer_the_newer_and_what_follows_count_more() -> None:
    """Session 0 takes 0, 1, 2 within an hour; session 1 takes 0, then 3, a half-life later."""
    clicks = [(0, 0, 5, 1), (0, 1, 6, 1), (0, 2, 7, 1), (1, 0, 65, 2), (1, 3, 66, 2)]
    (version,) = counted(clicks, [(2, 2)], half_life=1, kept=5)
    # of item 0, before the sum is made 1: 3 an hour old, 1 and 2 two hours; 2 two places on
    weights = {3: 1 / 2, 1: 1 / 4, 2: 1 / 8}
    assert lists(version)[0] == [(item, pytest.approx(w / sum(weights.values()))) for item, w in weights.items()]
    assert lists(version)[3] == [(0, 1.0)]
    assert sorted(lists(version)) == [0, 3]  # nothing new is near 1 and 2: their rows of the hour before stand


def test_back_to_what_came_before_counts_seven_tenths() -> None:
    """Item 1 is left for 2, and was come to from 0."""
    (version,) = counted([(0, 0, 1, 1), (0, 1, 2, 1), (0, 2, 3, 1)], [(1, 1)], half_life=3, kept=5)
    assert lists(version)[1] == [(2, pytest.approx(1 / 1.7)), (0, pytest.approx(0.7 / 1.7))]


def test_of_equal_neighbours_the_first_by_id_are_kept() -> None:
    clicks = [(session, item, 1, 1) for session, other in enumerate((4, 2, 3)) for item in (1, other)]
    (version,) = counted(clicks, [(1, 1)], half_life=3, kept=2)
    assert [other for other, _ in lists(version)[1]] == [2, 3]


def test_a_version_has_the_same_bytes_whatever_else_is_known_later() -> None:
    """Later news makes a session one told out of order; what was known before it was told stays to the last bit."""
    clicks = toy(3, late=False)
    later = [*clicks, *((session, 7, minute, hour + 40) for session, _, minute, hour in clicks[::3])]
    last = max(click[3] for click in clicks)
    versions = [(stamp, stamp) for stamp in range(last + 1)]
    for before, after in zip(counted(clicks, versions, 0.7, 4), counted(later, versions, 0.7, 4), strict=True):
        assert before.items.tolist() == after.items.tolist()
        assert before.others.tolist() == after.others.tolist()
        assert before.scores.tobytes() == after.scores.tobytes()


def test_nothing_known_is_no_neighbour() -> None:
    none = np.array([], np.int32)
    moments = np.array([], "datetime64[us]")
    events = SessionItems(none, none, moments, moments)
    assert list(nearest_by_version(events, [(START, START)], tick_hours=1, half_life_hours=1, neighbours=3)) == []
