"""The Gowalla benchmark on toys: what is held out, what the tower is given, and figures by hand."""

import numpy as np
import pytest

from benchmarks.gowalla import rivals, towers
from benchmarks.gowalla import visits as protocol
from benchmarks.gowalla.ease import Ease
from benchmarks.gowalla.towers import HELD_OUT, favor, held_out, item_rows, judge, learn, tower_for, user_rows
from benchmarks.gowalla.visits import Visits, full_ranking, parts
from tastemaker.errors import TastemakerError


@pytest.fixture
def visits(tmp_path) -> Visits:
    (tmp_path / "train.txt").write_text("1 4 2\n0 3 1 0\n2 5\n")
    (tmp_path / "valid.txt").write_text("1 0\n2\n0 5\n")
    return Visits.read(tmp_path / "train.txt", tmp_path / "valid.txt")


def test_files_are_read_in_order_of_users_and_items(visits):
    assert visits.user.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert visits.item.tolist() == [0, 1, 3, 5, 0, 2, 4, 5]


def test_to_tune_on_what_is_late_the_last_fifth_of_each_line_is_wanted_and_nothing_of_it_known(tmp_path):
    (tmp_path / "train.txt").write_text("0 9 8 7 6 5 4 3 2 1 0\n1 4 3 2 1\n")
    (tmp_path / "valid.txt").write_text("1 0\n0 10\n")
    known, wanted = parts(tmp_path, "late")
    assert (wanted.user.tolist(), wanted.item.tolist()) == ([0, 0], [1, 0])
    assert known.user.tolist() == [0] * 9 + [1] * 5
    assert known.item.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2, 3, 4]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(TastemakerError, match=r"train\.txt; name the folder"):
        Visits.read(tmp_path / "train.txt")


def test_each_user_has_something_to_tell_and_something_to_tell_it_from():
    counts = np.array([0, 1, 2, 3, 200])
    visits = Visits(np.repeat(np.arange(5), counts), np.concatenate([np.arange(n) for n in counts]))
    shares = []
    for seed in range(40):
        hidden = np.bincount(visits.user[held_out(visits, 5, np.random.default_rng(seed))], minlength=5)
        assert hidden[:3].tolist() == [0, 0, 1]
        assert 1 <= hidden[3] <= 2
        shares.append(hidden[4] / 200)
    assert HELD_OUT[0] - 0.01 <= min(shares) < max(shares) <= HELD_OUT[1] + 0.01
    assert max(shares) - min(shares) > 0.2


def test_the_rows_are_those_that_the_towers_border_would_make(visits):
    tower = tower_for(6, seed=1)
    shown = np.array([True, False, True, True, True, True, True, False])
    rows = user_rows(tower, visits, shown, 3, np.random.default_rng(0))
    names = np.array([["000000", "000003", "000005"], ["000000", "000002", "000004"], ["", "", ""]], object)
    asked = tower.user_indices({**rows, "history_item_ids": names})
    assert tower.query_from_indices(rows).numpy() == pytest.approx(tower.query_from_indices(asked).numpy(), abs=1e-6)


def test_a_long_history_is_cut_to_a_random_part(monkeypatch, visits):
    monkeypatch.setattr(towers, "HISTORY", 2)
    tower, everything = tower_for(6, seed=1), np.ones(8, bool)
    kept = set()
    for seed in range(20):
        history = user_rows(tower, visits, everything, 3, np.random.default_rng(seed))["history_item_ids"].numpy()
        assert history.shape == (3, 2)
        kept |= set(history[0].tolist())
    assert kept == {2, 3, 5, 7}  # tokens of items 0, 1, 3, 5


def test_the_figures_of_a_known_order(monkeypatch, visits):
    monkeypatch.setattr(protocol, "K", 2)
    tower = tower_for(6, seed=1)
    scores = (
        tower.query_from_indices(user_rows(tower, visits, np.ones(8, bool), 3, np.random.default_rng(0))).numpy()
        @ tower.candidates_from_indices(item_rows(tower)).numpy().T
    )
    free = [[2, 4], [1, 3, 5], [0, 1, 2, 3, 4]]  # of each user, what it has not visited
    best = [sorted(items, key=lambda item: -scores[user, item]) for user, items in enumerate(free)]
    # user 0 wants its second; user 1 its first and its third; user 2 nothing
    wanted = Visits(np.array([0, 1, 1]), np.array([best[0][1], best[1][0], best[1][2]]))
    found = judge(tower, visits, wanted, 3, seed=3)
    second = 1 / np.log2(3)
    assert found["recall@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["ndcg@2"] == pytest.approx((second + 1 / (1 + second)) / 2)


def test_scores_get_their_share_of_the_log_visits(visits):
    tower = tower_for(7, seed=1)
    rows = user_rows(tower, visits, np.ones(8, bool), 3, np.random.default_rng(0))
    before = tower.query_from_indices(rows).numpy() @ tower.candidates_from_indices(item_rows(tower)).numpy().T
    favor(tower, visits, 0.5)
    after = tower.query_from_indices(rows).numpy() @ tower.candidates_from_indices(item_rows(tower)).numpy().T
    logs = np.log([3, 2, 2, 2, 2, 3, 1])  # items 0 and 5 are taken twice, 6 never
    np.testing.assert_allclose(after - before, np.tile(0.5 * 0.1 * (logs - logs.mean()), (3, 1)), atol=1e-6)


def test_two_tastes_are_learnt_and_twice_the_same(monkeypatch):
    monkeypatch.setattr(protocol, "K", 3)
    random = np.random.default_rng(0)
    # even users visit even items: 7 of 10 known, 3 wanted
    taken = np.array([random.permutation(10) * 2 + user % 2 for user in range(40)])
    users = np.repeat(np.arange(40), 7)
    known = Visits(users, np.sort(taken[:, :7], axis=1).ravel())
    wanted = Visits(np.repeat(np.arange(40), 3), np.sort(taken[:, 7:], axis=1).ravel())
    figures = [judge(learn(known, 40, 20, 5, 30, 0.4, None), known, wanted, 40, 5) for _ in range(2)]
    assert figures[0] == figures[1]
    assert figures[0]["recall@3"] > 0.95


@pytest.mark.parametrize("rival", rivals.RIVALS)
def test_a_rival_finds_two_tastes_unless_it_knows_popularity_alone(monkeypatch, rival):
    monkeypatch.setattr(protocol, "K", 3)
    random = np.random.default_rng(0)
    taken = np.array([random.permutation(10) * 2 + user % 2 for user in range(40)])
    known = Visits(np.repeat(np.arange(40), 7), np.sort(taken[:, :7], axis=1).ravel())
    wanted = Visits(np.repeat(np.arange(40), 3), np.sort(taken[:, 7:], axis=1).ravel())
    scores_of = rivals.RIVALS[rival](rivals.matrix(known, 40, 20))
    found = full_ranking(scores_of, known, wanted, 40, 20, 5)["recall@3"]
    assert found < 0.6 if rival == "popularity" else found > 0.95


def test_the_graph_filter_goes_through_the_normalized_visits_and_back_to_what_visits_are():
    visited = (np.random.default_rng(2).random((30, 8)) < 0.4).astype(float)
    visited[np.arange(30), np.arange(30) % 8] = 1  # everybody has been somewhere
    scores = rivals.graph_filter(rivals.sp.csr_matrix(visited.astype(np.float32)))(np.arange(30))
    normal = visited / np.sqrt(visited.sum(1, keepdims=True)) / np.sqrt(visited.sum(0))
    root = np.sqrt(visited.sum(0))
    np.testing.assert_allclose(scores, visited / root @ normal.T @ normal * root, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_ease_is_the_ridge_regression_of_each_item_on_the_others(block):
    visited = np.random.default_rng(2).random((30, 8)) < 0.4
    scores = Ease(rivals.sp.csr_matrix(visited.astype(np.float32)), ridge=5.0, block=block).scores(np.arange(30))
    for item in range(8):
        others = np.delete(visited.astype(float), item, axis=1)
        weights = np.linalg.solve(others.T @ others + 5.0 * np.eye(7), others.T @ visited[:, item])
        np.testing.assert_allclose(scores[:, item], others @ weights, rtol=1e-4, atol=1e-6)


def test_ease_refuses_what_has_no_inverse():
    twice = rivals.sp.csr_matrix(np.ones((3, 2), np.float32))
    with pytest.raises(np.linalg.LinAlgError):
        Ease(twice, ridge=0.0)
