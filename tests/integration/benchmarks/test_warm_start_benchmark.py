"""Warm starts day after day: each goes on with the day before's, and is judged where no training has looked."""

import json
import shutil
from datetime import timedelta

import pytest
from toys import checkerboard_shop as toy

from benchmarks import warm_start
from tastemaker.home import Home
from tastemaker.moments import as_of_slug
from training.datasets.files import items_file, requests_file
from training.retrieval.fit import retriever_folder, train_retriever

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A shop whose training sets of the days before are those of the last day."""
    home = Home(tmp_path / "home")
    toy.write_datasets(home)

    def copied(home, config, day):
        for file in (requests_file, items_file):
            file(home, day).parent.mkdir(parents=True, exist_ok=True)
            if day != toy.AS_OF:
                shutil.copy(file(home, toy.AS_OF), file(home, day))

    monkeypatch.setattr(warm_start, "build_datasets", copied)
    return home


def test_each_day_goes_on_with_the_day_before_and_what_is_done_is_not_done_again(home, monkeypatch):
    days = {}
    for ago in (2, 1, 0):
        day = toy.AS_OF - timedelta(days=ago)
        days[ago] = warm_start.day_of(home, toy.CONFIG, day, warm_start.STARTS if ago < 2 else ("cold",))
    for ago in (1, 0):
        assert days[ago]["warm"]["epochs"] == 0 < days[ago]["cold"]["epochs"]
        assert days[ago]["warm"]["test_recall@20"] > 0.9  # red users buy red items, whatever the towers began with
    facts = json.loads((home.run(toy.AS_OF) / "train_retriever.json").read_text())["facts"]
    assert facts["warm_start_from"] == as_of_slug(toy.AS_OF - timedelta(days=1))
    monkeypatch.setattr(warm_start, "trained", None)
    assert warm_start.day_of(home, toy.CONFIG, toy.AS_OF, warm_start.STARTS) == days[0]
    told = warm_start.means({str(ago): day for ago, day in days.items()})
    assert told["days"] == 2
    gained = [days[ago]["warm"]["test_ndcg@20"] - days[ago]["cold"]["test_ndcg@20"] for ago in (1, 0)]
    assert told["test_ndcg@20"]["difference"] == pytest.approx(sum(gained) / 2)


def test_a_chain_with_a_day_missing_is_no_chain(home):
    warm_start.day_of(home, toy.CONFIG, toy.AS_OF - timedelta(days=2), ("cold",))
    with pytest.raises(RuntimeError, match="began with 20200408T000000Z, not with 20200409T000000Z"):
        warm_start.day_of(home, toy.CONFIG, toy.AS_OF, ("warm",))


def test_a_run_that_stands_is_trained_again_so_that_its_seconds_are_true(home):
    train_retriever(home, toy.CONFIG, toy.AS_OF)
    tower = retriever_folder(home, toy.AS_OF) / "tower.json"
    stood = tower.stat().st_mtime_ns
    warm_start.trained(home, toy.CONFIG, toy.AS_OF, warm=False)
    assert tower.stat().st_mtime_ns > stood
