"""Two real releases, a day apart: the later is judged against the one that serves, in every way there is."""

import json
import shutil
from contextlib import suppress
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from toys import two_tastes as toy

from tastemaker import names
from tastemaker.config import ReleaseGateConfig
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import digest_files
from tastemaker.verdict import read_verdict
from training.datasets.files import items_file, read_dataset, requests_file
from training.evaluation.champion import contender
from training.evaluation.current_champion import Published
from training.evaluation.evaluate import evaluate
from training.evaluation.files import METRICS, evaluation_folder
from training.gate.judge import gate
from training.ranking.fit import ranker_folder, train_ranker
from training.ranking.rows import RankerRows
from training.release.build import build_release
from training.release.item_universe import ItemUniverse
from training.retrieval.fit import retriever_folder
from training.sources.trained import sources_folder
from training.splits import plan_windows

pytestmark = pytest.mark.integration

LATER = toy.AS_OF + timedelta(days=1)
VERSION = 202603010000_00
DAY = 86_400_000_000  # microseconds
NEW = "first seen after the champion was made"
CONFIG = toy.CONFIG.model_copy(update={"release_gate": ReleaseGateConfig(max_calibration_error=5)})


def a_day_later(requests: pa.Table) -> pa.Table:
    """The same requests, with all their times moved on by a day."""
    rows = requests.to_pylist()
    for row in rows:
        row[names.REQUEST_TIMESTAMP] += timedelta(days=1)
        row[names.CREATED_TIMESTAMP] += timedelta(days=1)
        row["history_timestamps"] = [moment + DAY for moment in row["history_timestamps"]]
    return pa.Table.from_pylist(rows, requests.schema)


def fill_later(home: Home) -> None:
    datasets = home.training(LATER) / "datasets"
    datasets.mkdir(parents=True)
    rows = [row for day in range(13, -1, -1) for row in toy.items_of(LATER - timedelta(days=day))]
    pq.write_table(toy.items_table(rows), datasets / "items.parquet")
    pq.write_table(a_day_later(toy.requests()), datasets / "requests.parquet")
    for folder in (retriever_folder, sources_folder, ranker_folder):
        shutil.copytree(folder(home, toy.AS_OF), folder(home, LATER))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """A release as of AS_OF serves; one of the same models as of LATER is built, and waits to be judged."""
    home = Home(tmp_path_factory.mktemp("gate") / "home")
    toy.fill_home(home)
    train_ranker(home, CONFIG, toy.AS_OF)
    fill_later(home)
    for as_of in (toy.AS_OF, LATER):
        build_release(home, CONFIG, as_of)
    shutil.copytree(home.candidate(toy.AS_OF), home.models / "recommender" / str(VERSION))
    label = f'version_labels {{ key: "stable" value: {VERSION} }}'
    home.model_config.write_text(f'model_config_list {{ config {{ name: "recommender" {label} }} }}')
    return home


@pytest.fixture(scope="module")
def judged(home):
    evaluate(home, CONFIG, LATER)
    return figures_of(home)


def figures_of(home: Home) -> dict:
    return json.loads((evaluation_folder(home, LATER) / METRICS).read_text())


def contending(home: Home, newcomers: int = 0, **changes):
    """The champion as it can be asked when its manifest says something else, the last two days' requests, and items.

    The histories of the last `newcomers` requests are of an item that is first seen after the champion was made.
    """
    folder = home.models / "recommender" / str(VERSION)
    published = Published(VERSION, folder, {**json.loads((folder / "manifest.json").read_text()), **changes})
    items = read_dataset(items_file(home, LATER))
    requests = plan_windows(CONFIG.split, LATER).test.select(read_dataset(requests_file(home, LATER)))
    if newcomers:
        items, requests = with_a_new_item(items, requests, newcomers)
    universe = ItemUniverse.of(items[names.ITEM_ID].to_pylist())
    return contender(home, published, universe, requests, items, 5), requests, items


def with_a_new_item(items: pa.Table, requests: pa.Table, told_by: int) -> tuple[pa.Table, pa.Table]:
    first = items.filter(pa.compute.equal(items["day"], pa.scalar(LATER.replace(tzinfo=None)))).slice(0, 1).to_pylist()
    items = pa.concat_tables([items, pa.Table.from_pylist([{**first[0], names.ITEM_ID: NEW}], items.schema)])
    rows = requests.to_pylist()
    for row in rows[len(rows) - told_by :]:
        row["history_item_ids"] = [NEW] * max(1, len(row["history_item_ids"]))
    return items, pa.Table.from_pylist(rows, requests.schema)


def pairs_of_everyone(requests: pa.Table) -> RankerRows:
    """The first three items, before each request."""
    owner = np.repeat(np.arange(len(requests), dtype=np.int32), 3)
    items = np.tile(np.arange(3, dtype=np.int32), len(requests))
    return RankerRows(np.empty((len(owner), 0)), np.zeros(len(owner), np.int8), items, owner, len(requests), 0, 0, 0)


def test_a_champion_of_the_same_models_is_replayed_and_makes_no_difference(home, judged):
    champion = judged["champion"]
    assert (champion["version"], champion["how"], champion["why"]) == (VERSION, "replayed", "")
    assert champion["requests"] == judged["requests"] == 2 * toy.USERS
    against = judged["against"]["champion"]
    assert set(against) == {"ndcg", "recall", "coverage", "log_loss", "calibration_error"}
    assert against["ndcg"]["users"] == toy.USERS
    assert against["ndcg"]["release"] == pytest.approx(judged["systems"]["release"]["ndcg"]["value"])
    assert against["ndcg"]["other"] == pytest.approx(judged["systems"]["champion"]["ndcg"]["value"])
    for found in against.values():
        assert set(found["difference"].values()) == {0.0}


def test_a_champion_is_replayed_though_its_callers_have_since_bought_what_it_cannot_know(home, judged):
    found, requests, _ = contending(home, newcomers=5)
    assert (found.how, found.why) == ("replayed", "")
    found, *_ = contending(home, newcomers=len(requests))
    assert found.how == "as served"
    assert "every judged request tells of items that came after 2026-03-01 00:00 UTC" in found.why


def test_the_verdict_names_the_champion_and_is_the_same_when_asked_again(home, judged):
    with suppress(GateFailedError):
        gate(home, CONFIG, LATER)
    verdict = read_verdict(home, LATER)
    assert verdict["champion"]["version"] == VERSION and not verdict["first_release"]
    subjects = {rule["subject"] for rule in verdict["rules"]}
    assert {"NDCG@5 against champion", "log-loss against champion", "NDCG@5 against popularity"} <= subjects
    before = digest_files([home.verdict(LATER), evaluation_folder(home, LATER)])
    for step in ("evaluate", "gate"):
        (home.run(LATER) / f"{step}.json").unlink()
    assert not evaluate(home, CONFIG, LATER).reused
    with suppress(GateFailedError):
        gate(home, CONFIG, LATER)
    assert digest_files([home.verdict(LATER), evaluation_folder(home, LATER)]) == before


def test_a_champion_of_another_schema_is_asked_as_it_was_published(home, judged):
    service = {"name": "recommend_v1", "schema_hash": "0", "features": {}}
    signatures = json.loads((home.candidate(toy.AS_OF) / "manifest.json").read_text())["signatures"]
    signatures["rank"]["inputs"]["user_country"] = {"dtype": "string", "shape": [None, None], "default": ["UK"]}
    found, requests, items = contending(home, feature_service=service, signatures=signatures)
    assert found.how == "as served"
    assert "the features of recommend_v1 have changed since: history_counts" in found.why and " more)" in found.why
    told = found.champion.answers(requests, items, pairs_of_everyone(requests), 5)
    last_day = np.arange(len(requests)) >= toy.USERS  # the items in it are of the midnight before
    assert told.asked.tolist() == last_day.tolist()
    assert ((told.lists >= 0).all(axis=1) == last_day).all()
    assert (np.isfinite(told.probabilities) == np.repeat(last_day, 3)).all()


def test_a_champion_that_cannot_answer_is_incomparable_and_no_jam(home, judged):
    signatures = json.loads((home.candidate(toy.AS_OF) / "manifest.json").read_text())["signatures"]
    signatures["rank"]["inputs"]["user_shoe_size"] = {"dtype": "float32", "shape": [None], "required": True}
    found, *_ = contending(home, signatures=signatures)
    assert (found.how, found.champion) == ("incomparable", None)
    assert found.why == (
        "The champion cannot answer: its signature rank needs user_shoe_size, which nobody has any more."
    )


def test_a_champion_that_learnt_from_the_window_is_asked_about_what_came_after(home, judged):
    windows = json.loads((home.candidate(toy.AS_OF) / "manifest.json").read_text())["windows"]
    windows["test"]["start"] = (LATER + timedelta(days=1)).isoformat()
    found, *_ = contending(home, windows=windows, feature_service={"schema_hash": "0", "features": {}})
    assert found.how == "incomparable"
    assert "no judged request is as late as 2026-03-03 00:00 UTC; it may have learnt from the others" in found.why


def test_a_champion_whose_files_are_gone_is_incomparable(home, judged):
    published = Published(VERSION, home.models / "recommender" / "1", None)
    assert contender(home, published, *[None] * 3, 5).why == f"Version {VERSION} has no manifest that can be read."


def test_weights_that_are_no_numbers_stop_the_candidate_with_a_sentence(home, judged):
    kernel = tf.Variable([[1.0, float("nan")], [float("inf"), 1.0]])
    tower = tf.train.Checkpoint(kernel=kernel)
    missing = tf.train.Checkpoint(numbers=tf.Variable([float("nan")]))  # an item's missing price is no fault
    prefix = home.candidate(LATER) / "variables" / "variables"
    tf.train.Checkpoint(tower=tower, snapshot=missing).write(str(prefix))
    with pytest.raises(TastemakerError, match=r"has 2 values in tower/kernel that are no numbers \(NaN or infinite\)"):
        evaluate(home, CONFIG, LATER)
