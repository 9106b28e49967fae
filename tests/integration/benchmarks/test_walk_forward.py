"""A walk over a toy site: it learns, no hour sees its future, one that was stopped goes on as if it had not been."""

import json
from pathlib import Path

import pytest
from toys import news_site as toy

from benchmarks.walk_forward import checkpoint, walk
from benchmarks.walk_forward.checkpoint import Kept, walked
from benchmarks.walk_forward.rival import walk_of_the_rival
from benchmarks.walk_forward.session_knn import KnnSettings
from benchmarks.walk_forward.table import summary, table
from benchmarks.walk_forward.walk import RANKED, Walk

pytestmark = pytest.mark.integration

FIRST, END = toy.START + walk.HOUR, toy.START + 9 * walk.HOUR
STOPPED = toy.START + 6 * walk.HOUR


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> toy.NewsSite:
    return toy.news_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def whole(site):
    return dict(Walk(site, seed=3, reported=True).hours(FIRST, END))


def test_what_is_read_next_is_learnt_and_what_is_popular_does_not_tell(whole):
    last = whole[END - walk.HOUR]
    assert last["sessions"]["answered"] == toy.SESSIONS / 2
    assert last["co-visitation"]["hr@20"] == 1.0
    assert last["co-visitation"]["ndcg@20"] < 0.9  # the story before is as near as the one after
    assert last[RANKED]["ndcg@20"] > 0.9
    assert last["two-tower"]["ndcg@20"] > 2 * last["popularity"]["ndcg@20"]
    assert last["session k-NN"]["hr@20"] > 0.8
    assert last["user_knn"]["hr@20"] > 0.8


def test_the_rival_alone_finds_what_a_whole_walk_says_of_it(site, whole):
    alone = {
        hour: found[3, KnnSettings()]
        for hour, found in walk_of_the_rival(site, FIRST, END, True, [3], [KnnSettings()])
        if found
    }
    lines = {
        hour: {line: figures[line] for line in (walk.KNN, "sessions")} for hour, figures in whole.items() if figures
    }
    assert alone == lines and len(alone) > 5


def test_no_hour_sees_its_future(site, whole):
    other = dict(Walk(site.otherwise_from(STOPPED), seed=3, reported=True).hours(FIRST, END))
    # of the hour itself, what the others read is not known yet either
    assert {hour for hour in whole if other[hour] != whole[hour]} == {hour for hour in whole if hour > STOPPED}


def test_that_a_session_will_go_on_is_not_known_before_it_does(site, whole):
    other = dict(Walk(site.going_on_from(STOPPED), seed=3, reported=True).hours(FIRST, END))
    # What the hour before is asked is another click now; what was learnt by the hour itself is not.
    assert {hour for hour in whole if other[hour] != whole[hour] and hour < STOPPED} == {STOPPED - walk.HOUR}
    assert other[STOPPED] == whole[STOPPED]
    assert any(other[hour] != whole[hour] for hour in whole if hour > STOPPED)


def test_a_walk_that_was_stopped_goes_on_as_if_it_had_not_been(site, whole, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 1)
    kept = Kept(tmp_path / "walk")
    walked(Walk(site, seed=3, reported=True), kept, FIRST, STOPPED, lambda hour, figures: None)
    kept.add(STOPPED, {"an hour": {"that was": 1.0}})  # told, but not saved any more
    told = []
    walked(Walk(site, seed=3, reported=True), Kept(tmp_path / "walk"), FIRST, END, lambda hour, _: told.append(hour))
    assert told[0] == STOPPED
    assert kept.figures() == {hour.isoformat(): json.loads(json.dumps(figures)) for hour, figures in whole.items()}


def test_the_table_puts_the_lines_beside_the_published_ones(whole):
    found = summary([{str(hour): figures for hour, figures in whole.items()}] * 2)
    assert found["hours"] == len(whole)
    assert found["lines"][RANKED]["hr@20_deviation"] == 0.0
    rows = table(found["lines"]).splitlines()[2:]
    values = [float(row.split("|")[2]) for row in rows]
    assert values == sorted(values)
    assert sum("published" in row for row in rows) == 7
