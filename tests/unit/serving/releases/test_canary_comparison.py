import numpy as np
import pytest

from serving.releases.comparison import compare, ks_distance
from serving.releases.replay import Replay
from tastemaker.config import CanaryConfig

BOUNDS = CanaryConfig()


def answered(scores: list[float], items: list[str] | None = None, milliseconds: float = 5.0) -> Replay:
    """A version that answers four requests alike."""
    listed = items or [f"item-{n}" for n in range(len(scores))]
    outputs = {
        "item_ids": np.array([[item.encode() for item in listed]], object),
        "scores": np.array([scores], np.float32),
        "release": np.array([b"r"], object),
    }
    return Replay({}, [milliseconds] * 4, [outputs] * 4)


def broken(canary: Replay, stable: Replay | None, bounds: CanaryConfig = BOUNDS) -> list[str]:
    return [rule.rule for rule in compare(canary, stable, bounds) if not rule.passed]


def test_the_same_answers_break_no_bound_and_every_rule_is_held():
    same = answered([0.4, 0.3, 0.2])
    rules = compare(same, same, BOUNDS)
    assert [rule.rule for rule in rules] == ["errors", "latency", "scores", "lists"]
    assert [rule.observed for rule in rules] == [0, 5, 0, 1]
    assert broken(same, same) == []


@pytest.mark.parametrize(
    ("canary", "rule"),
    [
        (answered([0.9, 0.8, 0.7]), "scores"),
        (answered([0.4, 0.3, 0.2], ["x", "y", "z"]), "lists"),
        (answered([0.4, 0.3, 0.2], milliseconds=400), "latency"),
        (Replay({2: "INTERNAL: no"}, [5.0] * 3, answered([0.4, 0.3, 0.2]).answers), "errors"),
    ],
)
def test_each_bound_stops_the_canary_that_breaks_it_alone(canary, rule):
    assert broken(canary, answered([0.4, 0.3, 0.2])) == [rule]


def test_what_the_stable_version_cannot_answer_either_is_not_held_against_the_canary():
    canary, stable = answered([0.4]), answered([0.4])
    canary.errors = {1: "INVALID_ARGUMENT"}
    stable.errors = {1: "INVALID_ARGUMENT"}
    assert broken(canary, stable) == []
    stable.errors = {}
    assert broken(canary, stable) == ["errors"]


def test_latency_is_held_against_the_stable_version_above_a_floor_that_is_never_too_long():
    bounds = CanaryConfig(max_p99_factor=2, p99_milliseconds=100)
    assert broken(answered([0.4], milliseconds=99), answered([0.4], milliseconds=1), bounds) == []
    assert broken(answered([0.4], milliseconds=101), answered([0.4], milliseconds=1), bounds) == ["latency"]
    assert broken(answered([0.4], milliseconds=101), answered([0.4], milliseconds=60), bounds) == []


def test_the_first_release_is_held_to_errors_and_the_floor_alone():
    assert [rule.rule for rule in compare(answered([0.4]), None, BOUNDS)] == ["errors", "latency"]
    assert broken(answered([0.4], milliseconds=1000), None) == ["latency"]
    assert broken(Replay(), None) == ["errors", "latency"]  # it has answered nothing at all


def test_ks_distance_is_that_of_all_pairs_of_distribution_functions():
    random = np.random.default_rng(5)
    for _ in range(20):
        one, other = random.normal(0, 1, 30).round(1), random.normal(0.5, 1, 17).round(1)
        points = np.concatenate([one, other])
        oracle = max(abs((one <= x).mean() - (other <= x).mean()) for x in points)
        assert ks_distance(one, other) == pytest.approx(oracle)
    assert ks_distance(np.array([]), np.array([])) == 0
    assert ks_distance(np.array([1.0]), np.array([])) == 1
