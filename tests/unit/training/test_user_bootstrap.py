"""The intervals cover as often as they say, resample users, and are the same for the same seed."""

import numpy as np

from training.evaluation.bootstrap import UserBootstrap


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        level = random.normal(0.3, 0.1, 80)  # what each of 80 users is like; the truth is 0.3
        users = np.repeat(np.arange(80), 3)
        found = UserBootstrap(users, 400, 0.9, trial).mean(level[users] + random.normal(0, 0.05, 240))
        covered += found.low <= 0.3 <= found.high
    assert 0.85 < covered / 300 < 0.95  # 0.9 ± 3 standard errors of 0.017


def test_users_are_drawn_not_requests():
    """Ten copies of every request tell nothing new: the interval stays."""
    values = np.random.default_rng(1).random(50)
    once = UserBootstrap(np.arange(50), 500, 0.95, 3).mean(values)
    copied = UserBootstrap(np.repeat(np.arange(50), 10), 500, 0.95, 3).mean(np.repeat(values, 10))
    np.testing.assert_allclose([copied.low, copied.high], [once.low, once.high], rtol=1e-9)


def test_a_difference_is_paired():
    """Two systems that vary much from user to user, one always better by 0.01: no doubt is left."""
    theirs = np.random.default_rng(2).random(40)
    bootstrap = UserBootstrap(np.arange(40), 300, 0.95, 0)
    found = bootstrap.difference(theirs + 0.01, theirs)
    np.testing.assert_allclose([found.low, found.value, found.high], 0.01, rtol=1e-6)
    assert found.excludes_zero
    apart = bootstrap.mean(theirs + 0.01)
    assert apart.low < theirs.mean() < apart.high


def test_no_difference_includes_zero():
    random = np.random.default_rng(3)
    found = UserBootstrap(np.arange(200), 500, 0.95, 0).difference(random.random(200), random.random(200))
    assert not found.excludes_zero


def test_the_seed_decides():
    values, users = np.random.default_rng(4).random(30), np.arange(30) % 7
    assert UserBootstrap(users, 200, 0.95, 5).mean(values) == UserBootstrap(users, 200, 0.95, 5).mean(values)
    assert UserBootstrap(users, 200, 0.95, 5).mean(values) != UserBootstrap(users, 200, 0.95, 6).mean(values)


def test_requests_without_a_figure_do_not_count():
    bootstrap = UserBootstrap(np.array([0, 0, 1]), 200, 0.95, 0)
    assert bootstrap.mean(np.array([0.25, np.nan, 0.75])).value == 1 / 2
    assert np.isnan(bootstrap.mean(np.full(3, np.nan)).value)


def test_a_ratio_is_the_mean_of_what_requests_have_several_of():
    users = np.array([f"user-{n % 20}" for n in range(200)])
    bootstrap = UserBootstrap(users, 500, 0.95, 1)
    counts = np.random.default_rng(0).integers(0, 5, 200).astype(float)
    sums = counts * np.repeat([1.0, 3.0], 100)
    found = bootstrap.ratio(sums, counts)
    assert found.value == sums.sum() / counts.sum()
    assert found.low < found.value < found.high
    ones = bootstrap.ratio(np.arange(200.0), np.ones(200))
    mean = bootstrap.mean(np.arange(200.0))
    np.testing.assert_allclose([ones.value, ones.low, ones.high], [mean.value, mean.low, mean.high])
    assert np.isnan(bootstrap.ratio(np.zeros(200), np.zeros(200)).value)


def test_distinct_items_of_a_resample_are_those_of_its_users():
    users = np.array(["a", "a", "b", "c"])
    lists = np.array([[0, 1], [1, -1], [5, 6], [6, 7]])
    of = {"a": {0, 1}, "b": {5, 6}, "c": {6, 7}}
    bootstrap = UserBootstrap(users, 120, 0.95, 3)
    drawn = bootstrap.drawn(np.eye(4)[:, [0, 2, 3]]) > 0  # whether each user is in the resample
    expected = [len(set().union(*(of[user] for user, there in zip("abc", row, strict=True) if there))) for row in drawn]
    assert bootstrap.distinct(lists).tolist() == expected
    assert len(set(expected)) > 1


def test_an_interval_around_a_figure_has_its_middle_there():
    bootstrap = UserBootstrap(np.array(["a", "b"]), 100, 0.9, 3)
    found = bootstrap.around(5.0, np.linspace(0, 1, 101))
    np.testing.assert_allclose([found.value, found.low, found.high], [5.0, 4.55, 5.45])
