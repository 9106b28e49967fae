"""A study of the ranker's settings on a shop of two tastes: rows made once, trials repeatable, nothing later read."""

from datetime import timedelta

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from toys import two_tastes as toy
from toys.event_files import curves_of, notes_of

from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from training.datasets.files import items_file, read_dataset, requests_file
from training.ranking.rows import RankerRows
from training.splits import plan_windows
from training.tuning import ranker as studies
from training.tuning import space
from training.tuning.ranker import ordered_ndcg, tune_ranker

pytestmark = pytest.mark.integration

TRIALS = 3


def told(study) -> list[tuple]:
    return [(t.params, t.value, t.user_attrs) for t in study.finished]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("whole") / "home")
    toy.fill_home(home)
    return home, tune_ranker(home, toy.CONFIG, toy.AS_OF, TRIALS)


def test_the_first_trial_is_the_config_and_the_best_is_a_config(whole):
    _, study = whole
    first, *others = study.finished
    assert first.params == {key: getattr(toy.CONFIG.ranker, key) for key in space.RANKER}
    assert all(trial.params != first.params and trial.user_attrs["steps"] >= 1 for trial in others)
    snippet = yaml.safe_load((study.folder / "best.yaml").read_text())
    assert Config.model_validate({"version": 1, **snippet}).ranker.leaves == study.best.params["leaves"]
    page = (study.folder / "study.html").read_text()
    assert "Which settings should the ranker have?" in page and "<th>trees</th>" in page
    assert page.count("<tr") == 1 + TRIALS


def test_every_trial_is_seen_in_tensorboard(whole):
    _, study = whole
    runs = sorted((study.folder / "tensorboard").iterdir())
    assert [run.name.split(",")[0] for run in runs] == ["trial 0", "trial 1", "trial 2"]
    for run, trial in zip(runs, study.finished, strict=True):
        assert f", ranker {trial.params['objective']}, {trial.params['leaves']} leaves, " in run.name
        curves, k = curves_of(run), toy.CONFIG.evaluation.k
        assert curves[f"judged/ndcg@{k}"] == {trial.user_attrs["steps"]: pytest.approx(trial.value)}
        metric = "log_loss" if trial.params["objective"] == "binary" else "ndcg@20"
        assert set(curves) == {f"judged/ndcg@{k}", f"stopping/{metric}", f"training/{metric}"}
        assert f'"leaves": {trial.params["leaves"]}' in notes_of(run)["settings"]


def test_a_study_of_other_choices_lies_apart(whole, monkeypatch):
    home, study = whole
    assert studies.study_folder(home, toy.CONFIG, toy.AS_OF) == study.folder
    monkeypatch.setattr(space, "OBJECTIVES", ("binary",))
    assert studies.study_folder(home, toy.CONFIG, toy.AS_OF) != study.folder


def test_both_objectives_are_tried():
    tried = {space.ranker_settings(optuna.create_study().ask(), toy.CONFIG.ranker)["objective"] for _ in range(30)}
    assert tried == {"binary", "lambdarank"}


def test_a_study_goes_on_to_the_same_trials_without_what_comes_later(whole, tmp_path):
    """Stopped after its first trial, on datasets that end with the ranker's window."""
    other, windows = Home(tmp_path / "home"), plan_windows(toy.CONFIG.split, toy.AS_OF)
    toy.fill_home(other)
    requests, items = (read_dataset(file(other, toy.AS_OF)) for file in (requests_file, items_file))
    earlier = [window.select(requests) for window in (windows.retriever_train, windows.validation, windows.ranker)]
    pq.write_table(pa.concat_tables(earlier), requests_file(other, toy.AS_OF))
    before = [day < windows.ranker.end.replace(tzinfo=None) for day in items["day"].to_pylist()]
    assert not all(before) and items["day"][-1].as_py() >= (toy.AS_OF - timedelta(days=1)).replace(tzinfo=None)
    pq.write_table(items.filter(pa.array(before)), items_file(other, toy.AS_OF))
    for trials in (1, TRIALS):
        study = tune_ranker(other, toy.CONFIG, toy.AS_OF, trials)
    assert told(study) == told(whole[1])


def test_a_study_that_has_its_trials_makes_no_rows(whole, monkeypatch):
    home, study = whole
    monkeypatch.setattr(studies, "window_rows", None)
    assert told(tune_ranker(home, toy.CONFIG, toy.AS_OF, TRIALS)) == told(study)


def test_equal_scores_are_ordered_at_random_not_as_they_came():
    rows = 200
    labels = np.tile(np.array([1, 0], np.int8), rows)
    request = np.repeat(np.arange(rows, dtype=np.int32), 2)
    pairs = RankerRows(np.zeros((2 * rows, 1)), labels, request, request, rows, rows, rows, 0)
    middle = (1 + 1 / np.log2(3)) / 2
    assert ordered_ndcg(pairs, np.zeros(2 * rows), 2, 1) == pytest.approx(middle, abs=0.04)


def test_a_home_without_training_sets_is_told(home):
    with pytest.raises(TastemakerError, match="tastemaker dataset"):
        tune_ranker(home, toy.CONFIG, toy.AS_OF, TRIALS)
