"""A study of the retriever's settings: killed and gone on with, it comes to the same trials; it reads nothing later."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from optuna.trial import TrialState
from toys.checkerboard_shop import AS_OF, CONFIG, write_datasets

from tastemaker.config import Config
from tastemaker.errors import BusyError, TastemakerError
from tastemaker.home import Home
from tastemaker.steps import exclusive
from training.datasets.files import items_file, read_dataset, requests_file
from training.splits import plan_windows
from training.tuning import retriever as studies
from training.tuning import space
from training.tuning.retriever import study_folder, tune_retriever

pytestmark = pytest.mark.integration

QUICK = CONFIG.model_copy(update={"retriever": CONFIG.retriever.model_copy(update={"max_epochs": 2})})
TRIALS = 3
KILLED_IN_THE_SECOND_TRIAL = """
import os, signal, sys
from pathlib import Path
import optuna
sys.path.insert(0, sys.argv[2])
from test_tune_retriever import QUICK, TRIALS, AS_OF
from tastemaker.home import Home
from training.tuning.retriever import tune_retriever

report = optuna.Trial.report
def report_and_die(trial, recall, epoch):
    report(trial, recall, epoch)
    if trial.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
optuna.Trial.report = report_and_die
tune_retriever(Home(Path(sys.argv[1])), QUICK, AS_OF, TRIALS)
"""


def shop(folder) -> Home:
    home = Home(folder)
    write_datasets(home)
    return home


def told(study) -> list[tuple]:
    return [(t.params, t.state, t.value, t.intermediate_values) for t in study.finished]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = shop(tmp_path_factory.mktemp("whole"))
    return home, tune_retriever(home, QUICK, AS_OF, TRIALS)


def test_a_killed_study_goes_on_and_comes_to_the_same_trials(whole, tmp_path, monkeypatch):
    home = shop(tmp_path)
    dead = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_SECOND_TRIAL, str(home.root), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert dead.returncode == -signal.SIGKILL
    database = study_folder(home, QUICK, AS_OF) / "study.db"
    cut_off = optuna.load_study(study_name="retriever", storage=f"sqlite:///{database}")
    assert [trial.state for trial in cut_off.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    resumed = tune_retriever(home, QUICK, AS_OF, TRIALS)
    assert told(resumed) == told(whole[1])
    assert TrialState.FAIL in [trial.state for trial in cut_off.get_trials()]  # the one that was cut off is put aside
    monkeypatch.setattr(studies, "RetrieverTraining", None)
    with pytest.raises(TypeError, match="NoneType"):  # begun anew, even one trial must be trained
        tune_retriever(home, QUICK, AS_OF, 1, resume=False)


def test_the_first_trial_is_the_config_as_it_is_and_the_others_are_not(whole):
    first, *others = whole[1].finished
    assert first.params == {key: getattr(QUICK.retriever, key) for key in first.params}
    assert set(first.params) == set(space.RETRIEVER)
    assert all(trial.params != first.params for trial in others)


def test_a_study_that_has_its_trials_is_left_alone(whole, monkeypatch):
    home, study = whole
    monkeypatch.setattr(studies, "RetrieverTraining", None)  # nothing is trained
    assert told(tune_retriever(home, QUICK, AS_OF, TRIALS)) == told(study)
    with pytest.raises(TypeError, match="NoneType"):
        tune_retriever(Home(home.root), QUICK, AS_OF, TRIALS + 1)


def test_the_snippet_is_a_config_of_the_best_trial(whole):
    _, study = whole
    snippet = yaml.safe_load((study.folder / "best.yaml").read_text())
    assert (
        Config.model_validate({"version": 1, **snippet}).retriever.learning_rate == study.best.params["learning_rate"]
    )
    assert study.best.value == max(trial.value for trial in study.finished)


def test_the_page_shows_every_trial_and_needs_no_network(whole):
    page = (whole[1].folder / "study.html").read_text()
    assert page.count("<tr") == 1 + TRIALS
    assert "fewer than 4 complete trials" in page
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)", page)


def test_the_graph_and_popularity_are_searched_and_a_study_of_other_choices_lies_apart(whole, monkeypatch):
    home, study = whole
    asked = [space.retriever_settings(optuna.create_study().ask(), QUICK.retriever) for _ in range(40)]
    assert {settings["graph_steps"] for settings in asked} == {0, 1, 2}
    for name in ("popularity", "popularity_given"):
        strengths = [settings[name] for settings in asked]
        assert 0 <= min(strengths) < 0.2 and 0.8 < max(strengths) <= 1
    for name, choices in (("GRAPH_STEPS", (0, 1)), ("POPULARITIES", (0.0, 2.0)), ("ENCODERS", ("mean",))):
        monkeypatch.setattr(space, name, choices)
        assert study_folder(home, QUICK, AS_OF) != study.folder
        monkeypatch.undo()
    assert study_folder(home, QUICK, AS_OF) == study.folder


def test_every_trial_is_seen_in_tensorboard(whole):
    runs = sorted(path.name for path in (whole[1].folder / "tensorboard").iterdir())
    assert [run.split(",")[0] for run in runs] == ["trial 0", "trial 1", "trial 2"]


def test_a_trial_behind_the_median_is_given_up_and_the_page_says_what_mattered(whole, tmp_path):
    home = shop(tmp_path)
    folder = study_folder(home, QUICK, AS_OF)
    folder.mkdir(parents=True)
    earlier = optuna.create_study(
        study_name="retriever", storage=f"sqlite:///{folder / 'study.db'}", direction="maximize"
    )
    for place, trial in enumerate(whole[1].finished * 2):  # better than any recall can be
        reached = 2 + place / 10
        earlier.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                value=reached,
                intermediate_values={1: reached, 2: reached},
            )
        )
    study = tune_retriever(home, QUICK, AS_OF, 7)
    assert study.finished[-1].state is TrialState.PRUNED
    assert len(study.finished[-1].intermediate_values) == 2
    assert study.best.number == 5
    page = (study.folder / "study.html").read_text()
    assert page.count("given up</td>") == 1
    assert page.count("<svg") == 2 and "importance, %" in page


def test_what_comes_after_validation_is_not_read(whole, tmp_path):
    _, study = whole
    windows = plan_windows(QUICK.split, AS_OF)
    other = shop(tmp_path)
    requests = read_dataset(requests_file(other, AS_OF))
    earlier = [windows.retriever_train.select(requests), windows.validation.select(requests)]
    pq.write_table(pa.concat_tables(earlier), requests_file(other, AS_OF))
    items = read_dataset(items_file(other, AS_OF))
    before = np.array([day < windows.validation.end.replace(tzinfo=None) for day in items["day"].to_pylist()])
    pq.write_table(items.filter(pa.array(before)), items_file(other, AS_OF))
    assert told(tune_retriever(other, QUICK, AS_OF, 1)) == told(study)[:1]


def test_a_study_that_runs_is_not_run_twice(whole):
    home, study = whole
    with exclusive(Home(study.folder), "tune"), pytest.raises(BusyError, match="step tune"):
        tune_retriever(home, QUICK, AS_OF, TRIALS)


def test_a_home_without_training_sets_is_told(home):
    with pytest.raises(TastemakerError, match="tastemaker dataset"):
        tune_retriever(home, QUICK, AS_OF, TRIALS)
