"""The step `train sources` on the shop of two tastes: what it makes, what it must not have seen, and the blend."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from toys import two_tastes as toy
from toys.event_files import curves_of, notes_of

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import microseconds
from training.feature_tensors import request_timestamps
from training.release.item_universe import ItemUniverse
from training.sources.blend import Blend
from training.sources.fit import learnt, train_sources
from training.sources.matrix_factorization import ITERATIONS
from training.sources.trained import TrainedSources, for_ranker_folder, sources_folder
from training.splits import plan_windows

pytestmark = pytest.mark.integration

WINDOWS = plan_windows(toy.CONFIG.split, toy.AS_OF)
UNIVERSE = ItemUniverse.of(toy.item_id(n) for n in range(toy.ITEMS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("sources") / "home")
    toy.fill_home(home)
    return home, train_sources(home, toy.CONFIG, toy.AS_OF)


def _learnt(requests, until):
    return learnt(requests, UNIVERSE, until, toy.CONFIG.candidates, Blend())


def _same(one, other):
    assert one.factors is not None and other.factors is not None
    return np.array_equal(one.factors.factors, other.factors.factors) and all(
        np.array_equal(getattr(ours, part), getattr(theirs, part))
        for ours, theirs, parts in (
            (one.sessions, other.sessions, ("starts", "members", "days")),
            (one.transitions, other.transitions, ("starts", "followers", "shares")),
        )
        for part in parts
    )


def test_the_served_version_and_the_rankers_know_what_they_may(trained):
    home, _ = trained
    served, for_ranker = (TrainedSources.load(f(home, toy.AS_OF)) for f in (sources_folder, for_ranker_folder))
    assert served.blend == for_ranker.blend
    for found, window in ((served, WINDOWS.test), (for_ranker, WINDOWS.ranker)):
        moments = request_timestamps(toy.requests())
        assert len(found.sessions.days) == (moments < microseconds(window.start)).sum()
        assert found.sessions.days.min() > 0
        assert _same(found, _learnt(toy.requests(), window.start))


def test_what_comes_later_or_was_known_later_teaches_nothing():
    """A leak planted: all later requests changed. Nothing that was learnt before may move, and what sees them does."""
    requests, until = toy.requests(), WINDOWS.ranker.start
    later = pa.array(request_timestamps(requests) >= microseconds(until))
    before = requests.filter(pa.compute.invert(later))
    assert _same(_learnt(requests, until), _learnt(before, until))
    assert not _same(_learnt(requests, until), _learnt(requests, WINDOWS.test.start))
    place = requests.column_names.index(names.CREATED_TIMESTAMP)
    late = pa.array([(until + timedelta(days=1)).replace(tzinfo=None)] * len(before), pa.timestamp("us"))
    with pytest.raises(TastemakerError, match="to train the candidate sources on"):
        _learnt(before.set_column(place, names.CREATED_TIMESTAMP, late), until)


def test_the_blend_is_no_worse_than_equal_weights_and_stands_in_the_facts(trained):
    home, report = trained
    facts, k = report.facts, toy.CONFIG.evaluation.k
    assert set(facts["blend"]) == set(names.CANDIDATE_SOURCES)
    assert sum(facts["blend"].values()) == pytest.approx(1, abs=1e-4)
    assert min(facts["blend"].values()) >= 0
    assert facts[f"ndcg@{k}"] >= facts[f"ndcg@{k}_equal_weights"]
    # the tower is untrained, and a session neighbour has the user's own color
    assert facts["recall_user_knn"] > 0
    assert facts["recall_mix"] >= max(facts[f"recall_{source}"] for source in names.CANDIDATE_SOURCES)
    assert TrainedSources.load(sources_folder(home, toy.AS_OF)).blend.weights == facts["blend"]


def test_the_search_of_the_blend_and_the_settings_are_seen_in_tensorboard(trained):
    home, report = trained
    k, facts = toy.CONFIG.evaluation.k, report.facts
    [run] = (home.training(toy.AS_OF) / "tensorboard").glob("sources *")
    assert run.name.startswith("sources two_tower 20, ") and run.name.endswith(
        ", as of 20260301T000000Z, seed 20111210"
    )
    curves = curves_of(run)
    found = list(curves[f"blend/best_ndcg@{k}"].values())
    assert found == sorted(found)
    assert found[-1] == pytest.approx(facts[f"ndcg@{k}"], abs=1e-4)
    assert curves[f"blend/ndcg@{k}_equal_weights"][0] == pytest.approx(facts[f"ndcg@{k}_equal_weights"], abs=1e-4)
    assert {tag.removeprefix("weight/") for tag in curves if tag.startswith("weight/")} == set(facts["blend"])
    assert curves["blend/recall_mix"][0] == pytest.approx(facts["recall_mix"])
    assert '"user_knn"' in notes_of(run)["settings"]
    assert list(curves["als/loss"]) == list(range(1, ITERATIONS + 1))
    assert curves["als/loss"][ITERATIONS] < curves["als/loss"][1]


def test_a_second_call_reuses_the_first(trained):
    home, _ = trained
    assert train_sources(home, toy.CONFIG, toy.AS_OF).reused


def test_requests_without_sessions_have_no_next_item_to_teach():
    requests = toy.requests()
    nothing = pa.array([[]] * len(requests), pa.list_(pa.string()))
    alone = requests.set_column(requests.column_names.index(names.SESSION_ITEM_IDS), names.SESSION_ITEM_IDS, nothing)
    with pytest.raises(TastemakerError, match=r"source next_item on; set events\.requests to next_item"):
        _learnt(alone, WINDOWS.test.start)


def test_without_its_training_a_source_says_what_to_run(tmp_path):
    with pytest.raises(TastemakerError, match="tastemaker train sources"):
        TrainedSources.load(tmp_path / "sources")
