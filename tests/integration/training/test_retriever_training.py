"""The step `train retriever` on a checkerboard: it must be solved visibly, and twice to the same bytes."""

import shutil
from collections import Counter
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util
from toys.checkerboard_shop import AS_OF, COLD_ITEM, COLORS, CONFIG, ITEMS, RANKER_ITEM, write_datasets
from toys.event_files import curves_of, notes_of

from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import as_of_slug, microseconds
from tastemaker.steps import digest_files
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import snapshot_of
from training.feature_tensors import item_features, item_tensors, missing_tensors, query_tensors, user_features
from training.retrieval.fit import for_ranker_folder, retriever_folder, train_retriever
from training.retrieval.two_tower import LEARNT_ITEMS, TwoTower
from training.splits import plan_windows

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("checkerboard"))
    write_datasets(home)
    return home, train_retriever(home, CONFIG, AS_OF)


@pytest.fixture(scope="module")
def scored(trained):
    """Cosines of the test window's requests and of all items, by the published tower."""
    home, _ = trained
    tower = TwoTower.load(retriever_folder(home, AS_OF))
    requests = plan_windows(CONFIG.split, AS_OF).test.select(read_dataset(requests_file(home, AS_OF)))
    items = snapshot_of(read_dataset(items_file(home, AS_OF)), AS_OF)
    return requests, items, tower.query(query_tensors(requests)).numpy(), tower.candidates(item_tensors(items)).numpy()


def colors(column) -> np.ndarray:
    return np.array([value.split("-")[0] for value in column.to_pylist()])


def test_every_user_is_shown_their_own_color_first(scored):
    requests, items, queries, candidates = scored
    best = np.argsort(-queries @ candidates.T, axis=1)[:, :ITEMS]
    own = colors(items["item_id"])[best] == colors(requests["user_id"])[:, None]
    assert own.mean() > 0.98


def test_an_item_never_sold_is_shown_to_those_who_like_its_kin(scored):
    requests, items, queries, candidates = scored
    cold = items["item_id"].to_pylist().index(COLD_ITEM)
    scores = {color: queries[colors(requests["user_id"]) == color] @ candidates.T for color in COLORS}
    blue = colors(items["item_id"]) == "blue"
    assert (scores["red"][:, cold] > scores["red"][:, blue].max(axis=1)).all()
    assert (scores["blue"][:, cold] < scores["blue"][:, blue].min(axis=1)).all()
    assert scores["red"][:, cold].mean() > scores["red"][:, blue].mean() + 0.5
    assert scores["blue"][:, cold].mean() < scores["blue"][:, blue].mean() - 0.5
    likeness = candidates @ candidates[cold]
    kin = (colors(items["item_id"]) == "red") & (np.arange(len(items)) != cold)
    assert likeness[kin].mean() > likeness[blue].max()


def test_an_unknown_user_gets_a_finite_answer_that_favors_no_one_color_entirely(trained, scored):
    home, _ = trained
    _, _, _, candidates = scored
    tower = TwoTower.load(retriever_folder(home, AS_OF))
    nobody = {**missing_tensors(user_features(), 1), "request_timestamp": np.zeros(1, np.int64)}
    scores = tower.query(nobody).numpy() @ candidates.T
    assert np.isfinite(scores).all()
    assert scores.std() < 1


def test_the_rankers_tower_has_not_seen_the_rankers_window(trained):
    home, _ = trained
    before, published = (TwoTower.load(f(home, AS_OF)) for f in (for_ranker_folder, retriever_folder))
    assert RANKER_ITEM not in before.vocabularies["item_id"].tokens
    assert RANKER_ITEM in published.vocabularies["item_id"].tokens
    assert COLD_ITEM not in published.vocabularies["item_id"].tokens


def test_events_of_a_window_do_not_change_a_tower_made_before_it(trained, tmp_path):
    home, _ = trained
    other = Home(tmp_path / "other")
    write_datasets(other)
    requests = read_dataset(requests_file(other, AS_OF))
    windows = plan_windows(CONFIG.split, AS_OF)
    earlier = pa.concat_tables([windows.retriever_train.select(requests), windows.validation.select(requests)])
    ranker = windows.ranker.select(requests).slice(0, 3)
    pq.write_table(pa.concat_tables([earlier, ranker]), requests_file(other, AS_OF))
    train_retriever(other, CONFIG, AS_OF)
    assert digest_files([for_ranker_folder(other, AS_OF)]) == digest_files([for_ranker_folder(home, AS_OF)])
    assert digest_files([retriever_folder(other, AS_OF)]) != digest_files([retriever_folder(home, AS_OF)])


def test_facts_say_how_it_went_beside_the_best_sellers(trained):
    _, report = trained
    assert report.facts["validation_recall@20"] > report.facts["validation_popularity_recall@20"]
    assert 1 <= report.facts["epochs"] <= len(report.facts["validation_recall@20_by_epoch"]) <= 6


def test_the_same_training_leaves_the_same_bytes_and_a_second_run_is_reused(trained, tmp_path):
    home, report = trained
    again = Home(tmp_path / "again")
    write_datasets(again)
    assert train_retriever(again, CONFIG, AS_OF).outputs == report.outputs
    assert train_retriever(home, CONFIG, AS_OF).reused


def test_losses_recalls_and_the_items_in_space_are_seen_in_tensorboard(trained):
    home, report = trained
    [run] = (home.training(AS_OF) / "tensorboard").iterdir()
    assert run.name == (
        "two_tower mean, 16 dimensions, sampled softmax at 0.1, batch 128, step 0.01, as of 20200410T000000Z, seed 3"
    )
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    curves = {tag: [float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
              for tag in events.Tags()["tensors"] if tag != "settings"}  # fmt: skip
    told = report.facts["validation_recall@20_by_epoch"]
    np.testing.assert_allclose(curves["validation/recall_at_20"], told, atol=1e-4)
    assert len(curves["loss/train"]) == len(curves["seconds/epoch"]) == len(told)
    assert curves["loss/train"][-1] < curves["loss/train"][0]
    assert len(curves["loss/refresh_until_2020-03-29"]) == 2

    ids, titles, *_ = zip(*(line.split("\t") for line in (run / "items.tsv").read_text().splitlines()), strict=True)
    items = snapshot_of(read_dataset(items_file(home, AS_OF)), AS_OF)
    assert ids == ("item_id", *items["item_id"].to_pylist())
    assert titles == ("item_title", *items["item_title"].to_pylist())
    vectors = np.loadtxt(run / "item_vectors.tsv", delimiter="\t")
    served = TwoTower.load(retriever_folder(home, AS_OF)).candidates(item_tensors(items)).numpy()
    np.testing.assert_allclose(vectors, served, atol=1e-5)


def test_a_home_without_training_sets_is_told(home):
    with pytest.raises(TastemakerError, match="tastemaker dataset"):
        train_retriever(home, CONFIG, AS_OF)


def test_the_full_softmax_solves_it_too(tmp_path):
    home = Home(tmp_path / "full")
    write_datasets(home)
    full = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"loss": "full"})})
    assert train_retriever(home, full, AS_OF).facts["ranker_recall@20"] > 0.95


def test_the_item_graph_solves_it_too_and_is_not_served(tmp_path):
    home = Home(tmp_path / "graph")
    write_datasets(home)
    graph = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"graph_steps": 1})})
    assert train_retriever(home, graph, AS_OF).facts["ranker_recall@20"] > 0.95
    before, served = (TwoTower.load(folder(home, AS_OF)) for folder in (for_ranker_folder, retriever_folder))
    assert (before.config.graph_steps, served.config.graph_steps) == (1, 0)
    assert LEARNT_ITEMS in before.weights and LEARNT_ITEMS not in served.weights
    [run] = (home.training(AS_OF) / "tensorboard").iterdir()
    assert run.name.startswith("two_tower mean, 1 graph steps, 16 dimensions, sampled softmax at 0.1, batch 128")


def test_a_warm_start_goes_on_from_the_run_before(trained, tmp_path):
    cold, report = trained
    home, earlier = Home(tmp_path / "warm"), AS_OF - timedelta(days=4)
    write_datasets(home)
    warm = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"warm_start": True})})
    assert "warm_start_from" not in train_retriever(home, warm, AS_OF).facts
    shutil.copytree(retriever_folder(cold, AS_OF), retriever_folder(home, earlier))
    facts = train_retriever(home, warm, AS_OF).facts
    assert (facts["warm_start_from"], facts["epochs"]) == (as_of_slug(earlier), 0)
    assert facts["ranker_recall@20"] == pytest.approx(report.facts["ranker_recall@20"], abs=0.05)
    assert RANKER_ITEM not in TwoTower.load(for_ranker_folder(home, AS_OF)).vocabularies["item_id"].tokens
    assert RANKER_ITEM in TwoTower.load(retriever_folder(home, AS_OF)).vocabularies["item_id"].tokens


def test_a_warm_run_stands_beside_the_cold_one_with_its_recall_and_settings(trained, tmp_path):
    cold, _ = trained
    home, earlier = Home(tmp_path / "warm"), AS_OF - timedelta(days=8)
    write_datasets(home)
    for file in (requests_file, items_file):  # a run of eight days before, on what there was then
        file(home, earlier).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file(home, AS_OF), file(home, earlier))
    train_retriever(home, CONFIG, earlier)
    shutil.copytree(cold.training(AS_OF) / "tensorboard", home.training(AS_OF) / "tensorboard")
    warm = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"warm_start": True})})
    assert train_retriever(home, warm, AS_OF).facts["warm_start_from"] == as_of_slug(earlier)
    runs = sorted(path.name for path in (home.training(AS_OF) / "tensorboard").iterdir())
    plain = "two_tower mean, 16 dimensions, sampled softmax at 0.1, batch 128, step 0.01, "
    assert runs == [
        f"{plain}as of 20200410T000000Z, seed 3",
        f"{plain}warm from 20200402T000000Z, as of 20200410T000000Z, seed 3",
    ]
    run = home.training(AS_OF) / "tensorboard" / runs[1]
    curves = curves_of(run)
    assert 0 < curves["validation/recall_at_20"][0] <= 1 and 0 < curves["ranker/recall_at_20"][0] <= 1
    assert list(curves["loss/refresh_until_2020-03-29"]) == [1, 2]
    assert '"warm_start": true' in notes_of(run)["settings"]


def test_popularity_is_a_coordinate_counted_in_the_pairs_that_a_tower_may_know(tmp_path):
    home = Home(tmp_path / "popular")
    write_datasets(home)
    popular = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"popularity": 0.5})})
    assert train_retriever(home, popular, AS_OF).facts["ranker_recall@20"] > 0.95
    windows, requests = plan_windows(CONFIG.split, AS_OF), read_dataset(requests_file(home, AS_OF))
    asked = requests["request_timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)
    taken = requests["positive_item_ids"].to_pylist()
    for folder, until in ((for_ranker_folder, windows.ranker.start), (retriever_folder, windows.test.start)):
        tower = TwoTower.load(folder(home, AS_OF))
        ids = tower.vocabularies["item_id"].tokens
        counts = Counter(item for row in np.flatnonzero(asked < microseconds(until)) for item in taken[row])
        logs = np.log1p([counts[item] for item in ids])
        nameless = {**missing_tensors(item_features(), len(ids)), "item_id": np.array(ids, object)}
        found = tower.candidates(nameless).numpy()
        assert found.shape[1] == 16
        np.testing.assert_allclose(found[:, 15], 0.5 * 0.1 * (logs - logs.mean()), rtol=1e-4, atol=1e-6)
        assert np.ptp(found[:, 15]) > 0.01
