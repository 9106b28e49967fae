"""Which earlier tower a warm start may begin with."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tastemaker.moments import as_of_slug, microseconds
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.warm_start import warm_start

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
RANKER = AS_OF - timedelta(days=40)
SHAPE = TowerConfig.declared(8, microseconds(RANKER))
INSIDE = Path("retriever/for_ranker")


@pytest.fixture
def earlier(home):
    """Leaves a run `days` before AS_OF whose tower knows the requests until as many days before the ranker's window."""

    def leave(days: int, shape: TowerConfig = SHAPE, known_days: int | None = None) -> None:
        knows = microseconds(RANKER - timedelta(days=days if known_days is None else known_days))
        folder = home.training(AS_OF - timedelta(days=days)) / INSIDE
        folder.mkdir(parents=True)
        (folder / "tower.json").write_text(json.dumps(asdict(replace(shape, as_of=knows))))

    return leave


def begins_with(home) -> str | None:
    start = warm_start(home, AS_OF, INSIDE, SHAPE, RANKER - timedelta(days=90), RANKER)
    return start and start.run


def slug(days: int) -> str:
    return as_of_slug(AS_OF - timedelta(days=days))


def test_the_latest_earlier_run_is_gone_on_with_and_without_one_none(home, earlier):
    assert begins_with(home) is None
    earlier(14)
    earlier(7)
    assert begins_with(home) == slug(7)


def test_neither_a_later_run_nor_this_one_counts(home, earlier):
    earlier(7)
    earlier(-7, known_days=7)
    earlier(0, known_days=7)
    assert begins_with(home) == slug(7)


def test_a_run_without_a_tower_or_with_one_of_another_shape_is_passed_over(home, earlier):
    earlier(21)
    earlier(14, shape=replace(SHAPE, dimension=16))
    earlier(10, shape=replace(SHAPE, popularity=True))
    home.training(AS_OF - timedelta(days=7)).mkdir()
    assert begins_with(home) == slug(21)


def test_a_tower_that_knows_the_rankers_requests_or_too_little_is_passed_over(home, earlier):
    earlier(7, known_days=-1)
    assert begins_with(home) is None
    earlier(8, known_days=91)
    assert begins_with(home) is None
    earlier(9, known_days=90)
    assert begins_with(home) == slug(9)


def test_a_tower_saved_before_there_was_a_choice_has_the_shape_that_all_had_then(home, earlier):
    earlier(7)
    [saved] = home.training(AS_OF - timedelta(days=7)).rglob("tower.json")
    shape = json.loads(saved.read_text())
    saved.write_text(json.dumps({name: shape[name] for name in shape if name not in ("encoder", "graph_steps")}))
    assert begins_with(home) == slug(7)
