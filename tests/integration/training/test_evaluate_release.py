"""The step `evaluate` on a shop of two tastes: real ranker, real SavedModel, real baselines."""

import json
import shutil
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from toys import two_tastes as toy

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.steps import digest_files, read_reports
from training.datasets.item_snapshots import snapshot_of
from training.evaluation.answers import ask_everyone, purchases_before
from training.evaluation.baselines import Popularity
from training.evaluation.evaluate import evaluate
from training.evaluation.files import METRICS, PER_REQUEST, evaluation_folder
from training.evaluation.report import write_report
from training.evaluation.systems import RELEASE
from training.feature_tensors import query_tensors
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import CALIBRATION, MODEL, ranker_folder, train_ranker
from training.release.build import build_release, fused_recommender
from training.release.item_universe import ItemUniverse
from training.release.trees import CompiledForest
from training.splits import plan_windows

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def judged(two_tastes_release, tmp_path_factory):
    home = Home(shutil.copytree(two_tastes_release.root, tmp_path_factory.mktemp("judged") / "home"))
    return home, evaluate(home, toy.CONFIG, toy.AS_OF)


def outputs(home: Home) -> str:
    return digest_files([evaluation_folder(home, toy.AS_OF)])


def ask(home: Home, items: pa.Table):
    requests = toy.requests()
    test = plan_windows(toy.CONFIG.split, toy.AS_OF).test
    graph = fused_recommender(home, toy.CONFIG, toy.AS_OF, "test")
    ranker = ranker_folder(home, toy.AS_OF)
    forest = CompiledForest(ranker / MODEL, feature_names=FEATURE_NAMES)
    calibration = Calibration.load(ranker / CALIBRATION)
    return ask_everyone(graph, forest, calibration, [Popularity()], test.select(requests), items, 5, 1)


def test_the_facts_hold_what_a_demo_prints(judged):
    home, report = judged
    rows = {row[0]: row for row in report.facts["quality"]["rows"]}
    assert list(rows) == ["release", "retriever alone", "popularity", "co-visitation", "ALS", "buy it again"]
    assert rows["release"][2] > rows["popularity"][2]
    assert report.facts["verdict"].startswith("The release")
    assert report.facts["rows_from"] == "candidates of the retriever"
    assert report.facts["requests"] == 2 * toy.USERS
    assert read_reports(home, toy.AS_OF)["evaluate"] == report


def test_the_files_agree_with_each_other_and_with_the_page(judged):
    home, report = judged
    figures = json.loads((evaluation_folder(home, toy.AS_OF) / METRICS).read_text())
    each = pq.read_table(evaluation_folder(home, toy.AS_OF) / PER_REQUEST).to_pandas()
    for system, found in figures["systems"].items():
        assert each[each.system == system].ndcg.mean() == pytest.approx(found["ndcg"]["value"])
    write_report(home, toy.AS_OF)
    page = home.report(toy.AS_OF).read_text()
    assert report.facts["verdict"] in page
    assert {"train_ranker", "release_build", "evaluate"} <= {
        name for name in read_reports(home, toy.AS_OF) if f"<td>{name}<" in page
    }


def test_evaluating_again_leaves_the_same_bytes(judged):
    home, _ = judged
    before = outputs(home)
    assert evaluate(home, toy.CONFIG, toy.AS_OF).reused
    (home.run(toy.AS_OF) / "evaluate.json").unlink()
    assert not evaluate(home, toy.CONFIG, toy.AS_OF).reused
    assert outputs(home) == before


def test_a_request_is_answered_with_the_items_of_its_day(judged):
    """Planted leak: the items as of the release, put in the place of each day's, would give other answers."""
    home, _ = judged
    items = toy.all_days()
    honest = ask(home, items)
    days = [toy.AS_OF - timedelta(days=n) for n in (2, 1)]
    last = snapshot_of(items, toy.AS_OF)
    moment = pa.timestamp("us")
    leaks = [last.set_column(1, "day", pa.array([day.replace(tzinfo=None)] * len(last), moment)) for day in days]
    leaking = ask(home, pa.concat_tables([*leaks, last]))
    assert (honest.lists[RELEASE] != leaking.lists[RELEASE]).any()
    assert honest.pairs.probabilities.mean() != leaking.pairs.probabilities.mean()
    for at, day in enumerate(days):  # popularity is the day's own, known without any model
        mine = slice(at * toy.USERS, (at + 1) * toy.USERS)
        rows = toy.items_of(day)
        sold = {row["item_id"]: row["item_interactions_30d"] for row in rows}
        best = sorted(sold.values())[-5:][::-1]
        listed = [[sold[honest.universe.item_ids[i]] for i in line] for line in honest.lists["popularity"][mine]]
        assert all(line == best for line in listed)


def test_what_is_judged_is_what_is_served(judged):
    """The release, restored from its files and given the day's items, answers each request alone with the same list."""
    home, _ = judged
    found = ask(home, toy.all_days())
    served = tf.saved_model.load(str(home.candidate(toy.AS_OF)))
    day = toy.AS_OF - timedelta(days=1)
    graph = fused_recommender(home, toy.CONFIG, toy.AS_OF, "test")
    graph.load_snapshot(toy.items_table(toy.items_of(day)), day)
    for ours, theirs in (
        (graph.snapshot, served.snapshot),
        (graph.sources.popularity, served.sources.popularity),  # the only source of the toy that depends on the day
    ):
        for name, value in vars(ours).items():
            if isinstance(value, tf.Variable):
                getattr(theirs, name).assign(value)
    served.item_masks.table.assign(graph.item_masks.table)
    for row in range(toy.USERS, 2 * toy.USERS):  # the last day's
        user = {name: tf.constant(values) for name, values in query_tensors(found.requests.slice(row, 1)).items()}
        answer = served.signatures["recommend"](**user, exclude_item_ids=tf.constant([[""]]), k=tf.constant(5))
        listed = [found.universe.item_ids[item] for item in found.lists[RELEASE][row]]
        assert [item.decode() for item in answer["item_ids"].numpy()[0]] == listed


def test_nothing_of_the_test_window_reaches_a_baseline():
    requests = toy.requests()
    test = plan_windows(toy.CONFIG.split, toy.AS_OF).test
    universe = ItemUniverse.of(toy.item_id(n) for n in range(toy.ITEMS))
    before = 10 * toy.USERS  # of twelve days the last two are the test window
    assert purchases_before(requests, test, universe).sum() == 3 * before
    known = requests[names.CREATED_TIMESTAMP].to_pylist()
    known[::2] = [toy.AS_OF.replace(tzinfo=None)] * len(known[::2])  # happened then, was known only afterwards
    place = requests.column_names.index(names.CREATED_TIMESTAMP)
    late = requests.set_column(place, names.CREATED_TIMESTAMP, pa.array(known, pa.timestamp("us")))
    assert purchases_before(late, test, universe).sum() == 3 * before / 2


def test_a_candidate_that_answers_differently_is_refused(judged, tmp_path):
    home, _ = judged
    before = outputs(home)
    path = ranker_folder(home, toy.AS_OF) / CALIBRATION
    right = path.read_text()
    try:
        Calibration("platt", 0.1, -3.0).save(path)  # the ranker was trained anew, the release not built anew
        with pytest.raises(TastemakerError, match="does not answer as the retriever and ranker it was made of"):
            evaluate(home, toy.CONFIG, toy.AS_OF)
    finally:
        path.write_text(right)
    assert outputs(home) == before


def test_without_a_candidate_the_error_says_what_to_run(tmp_path):
    home = Home(tmp_path / "home")
    toy.fill_home(home)
    with pytest.raises(TastemakerError, match="release build"):
        evaluate(home, toy.CONFIG, toy.AS_OF)


def test_logged_impressions_are_what_the_probabilities_are_judged_on(tmp_path):
    home = Home(tmp_path / "home")
    toy.fill_home(home, names.ORIGIN_IMPRESSIONS)
    train_ranker(home, toy.CONFIG, toy.AS_OF)
    build_release(home, toy.CONFIG, toy.AS_OF)
    report = evaluate(home, toy.CONFIG, toy.AS_OF)
    assert report.facts["rows_from"] == "impressions"
    figures = json.loads((evaluation_folder(home, toy.AS_OF) / METRICS).read_text())["probabilities"]
    assert figures["pairs"] == 10 * report.facts["requests"]  # ten items were shown to each
    assert figures["reachable"] == figures["positives"]
    assert report.facts["auc_within_requests"] > 0.75
    write_report(home, toy.AS_OF)
    assert "<b>impressions</b>" in home.report(toy.AS_OF).read_text()
