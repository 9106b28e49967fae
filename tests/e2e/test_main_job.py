"""The whole job under a real scheduler, as a newcomer runs it, on a small simulated shop."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import duckdb
import psutil
import pyarrow.parquet as pq
import pytest
from e2e.small_shop import TASTEMAKER, demo, environment, free_ports

from ingest.simulated_shop import simulate
from orchestration.airflow_api import AirflowApi, TaskState
from orchestration.servers import served_versions
from orchestration.watch import FEATURES_DAG, RELEASE_DAG
from serving.client import Recommender
from serving.manifest import SIGNATURE
from tastemaker.home import Home
from tastemaker.settings import Settings
from tastemaker.steps import digest_files, read_reports

pytestmark = pytest.mark.e2e

CONFIG = """
version: 1
retriever: {embedding_dimension: 16, max_epochs: 3}
ranker: {max_trees: 40, leaves: 15}
evaluation: {bootstrap_samples: 200}
"""
FEATURE_STEPS = ("ingest", "check_landing", "transform", "check_features", "materialize")
RELEASE_STEPS = (
    "dataset",
    "train_retriever",
    "train_sources",
    "train_ranker",
    "release_build",
    "evaluate",
    "gate",
    "probe",
    "canary",
    "verify",
    "promote",
    "report",
)
COMMANDS = (
    "ingest",
    "check landing",
    "transform",
    "check features",
    "features materialize",
    "dataset",
    "train retriever",
    "train sources",
    "train ranker",
    "release build",
    "evaluate",
    "release gate",
    "release probe",
    "release canary",
    "release verify",
    "release promote",
)


@dataclass(frozen=True)
class Shop:
    """A shop's files, its home and what its first demo printed."""

    folder: Path
    settings: Settings
    as_of: datetime
    first: str

    @property
    def home(self) -> Home:
        return self.settings.paths


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    simulated = simulate(users=300, items=150, days=100)
    simulated.write(root / "files")
    (root / "tastemaker.yaml").write_text(CONFIG)
    settings = Settings(
        home=root / "home",
        config=root / "tastemaker.yaml",
        source="landing",
        path=str(root / "files"),
        schedule_until=simulated.as_of,  # nothing is to run but what a test asks for
        **free_ports(),  # type: ignore[arg-type]
    )
    return Shop(root / "files", settings, simulated.as_of, demo(settings))


@dataclass(frozen=True)
class Platform:
    """`tastemaker up` of the shop, and what it prints."""

    process: "subprocess.Popen[bytes]"
    printed: Path


@pytest.fixture(scope="module")
def platform(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All of it at once, for every test that asks a server; the last of them stops it."""
    printed = tmp_path_factory.mktemp("up") / "up.txt"
    with printed.open("w") as written:
        process = subprocess.Popen(
            [str(TASTEMAKER), "up"], env=environment(shop.settings), stdout=written, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C stops them" not in printed.read_text():
            assert process.poll() is None, printed.read_text()
            assert time.monotonic() < deadline, printed.read_text()
            time.sleep(0.5)
        yield Platform(process, printed)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture
def airflow(shop: Shop, platform: Platform) -> AirflowApi:
    return AirflowApi(f"http://127.0.0.1:{shop.settings.airflow_port}")


def ended(airflow: AirflowApi, dag_id: str, as_of: datetime, how: str) -> dict[str, TaskState]:
    """The tasks of a run that is started for `as_of` and ends so."""
    run_id = airflow.trigger(dag_id, as_of.isoformat())
    deadline = time.monotonic() + 300
    while (state := airflow.run(dag_id, run_id)["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline, state
        time.sleep(1)
    assert state == how
    return {task.task_id: task for task in airflow.tasks(dag_id, run_id)}


def test_a_newcomer_is_shown_answers_quality_seconds_and_pages(shop: Shop) -> None:
    assert len(re.findall(r"^For customer ", shop.first, re.MULTILINE)) == 3
    assert len(re.findall(r"^(?:[1-9]|10) +\S+ +\S.* 0\.\d+$", shop.first, re.MULTILINE)) == 30
    for system in ("popularity", "co-visitation", "ALS", "buy it again"):
        assert re.search(system, shop.first, re.IGNORECASE), system
    for step in FEATURE_STEPS + RELEASE_STEPS:
        assert re.search(rf"^{step} +\d", shop.first, re.MULTILINE), step
    for page in re.findall(r"^(?:Report|Data Docs): +(\S+)$", shop.first, re.MULTILINE):
        assert Path(page).stat().st_size > 1000


def test_a_second_demo_reuses_every_step_and_says_so(shop: Shop) -> None:
    before = read_reports(shop.home, shop.as_of)
    again = demo(shop.settings)
    for step in FEATURE_STEPS + RELEASE_STEPS:
        assert re.search(rf" {step} .*reused", again), f"{step} was not reused:\n{again}"
    assert read_reports(shop.home, shop.as_of) == before


def test_the_same_steps_by_hand_in_another_home_leave_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    by_hand = shop.settings.model_copy(update={"home": tmp_path / "by_hand"})
    as_of = shop.as_of.isoformat()
    for command in COMMANDS:
        done = subprocess.run(
            [str(TASTEMAKER), *command.split(), "--as-of", as_of],
            env=environment(by_hand),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    for made in (
        lambda home: home.landing,
        lambda home: home.offline_store,
        lambda home: home.feast / "online_store.db",
        lambda home: home.training(shop.as_of) / "datasets",
        lambda home: home.training(shop.as_of) / "retriever",
        lambda home: home.training(shop.as_of) / "sources",
        lambda home: home.training(shop.as_of) / "ranker",
        lambda home: home.training(shop.as_of) / "evaluation",
        lambda home: home.candidate(shop.as_of),
        lambda home: home.models / "recommender",
    ):
        assert made(shop.home).exists()
        assert differing(made(shop.home), made(Home(tmp_path / "by_hand"))) == []


def differing(one: Path, other: Path) -> list[str]:
    """Names of files that are not in both places with the same bytes."""
    files = [one] if one.is_file() else [p for p in one.rglob("*") if p.is_file()]
    return [
        str(file.relative_to(one.parent))
        for file in files
        if file.name != SIGNATURE  # each home has a key of its own
        and digest_files([file]) != digest_files([other if one.is_file() else other / file.relative_to(one)])
    ]


def test_up_tells_addresses_that_answer(shop: Shop, platform: Platform) -> None:
    airflow, rest, features = (
        f"http://127.0.0.1:{shop.settings.airflow_port}/",
        f"http://127.0.0.1:{shop.settings.model_server_rest_port}/v1/models/recommender",
        f"http://{shop.settings.feature_server}/health",
    )
    assert "Airflow" in urlopen(airflow, timeout=30).read().decode()
    assert json.load(urlopen(rest, timeout=30))["model_version_status"][0]["state"] == "AVAILABLE"
    assert urlopen(features, timeout=30).status == 200
    asked = Request(
        f"http://{shop.settings.feature_server}/get-online-features",
        data=json.dumps({"feature_service": "profile_v1", "entities": {"user_id": ["nobody"]}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises(HTTPError, match="401"):
        urlopen(asked, timeout=30)
    asked.add_header("Authorization", f"Bearer {shop.home.feature_server_token.read_text()}")
    assert json.load(urlopen(asked, timeout=30))["metadata"]["feature_names"][0] == "user_id"
    assert shop.home.feature_server_token.stat().st_mode & 0o077 == 0
    for address in (airflow.rstrip("/"), rest, shop.settings.feature_server):
        assert address in platform.printed.read_text()


def test_both_dags_are_green_and_the_assets_event_started_the_second(shop: Shop, airflow: AirflowApi) -> None:
    """In both demos: each leaves a run of the one and, by its event, a run of the other."""
    features, releases = airflow.runs(FEATURES_DAG), airflow.runs(RELEASE_DAG)
    assert [run["state"] for run in features + releases] == ["success"] * 4
    assert {run["run_type"] for run in releases} == {"asset_triggered"}
    events = [airflow.triggered_asset_events(RELEASE_DAG, run["dag_run_id"]) for run in releases]
    assert {event["source_run_id"] for [event] in events} == {run["dag_run_id"] for run in features}
    assert {event["extra"]["as_of"] for [event] in events} == {shop.as_of.isoformat()}
    for run in releases:
        states = {task.task_id: task.state for task in airflow.tasks(RELEASE_DAG, run["dag_run_id"])}
        assert states == dict.fromkeys((*RELEASE_STEPS, "finished"), "success")


def test_the_answer_comes_from_that_very_release(shop: Shop, platform: Platform) -> None:
    published = read_reports(shop.home, shop.as_of)["promote"].facts["version"]
    manifest = json.loads((shop.home.models / "recommender" / str(published) / "manifest.json").read_text())
    assert served_versions(shop.settings.model_server) == [published]
    with Recommender.of_home(shop.home, shop.settings.model_server) as recommender:
        answers = [recommender.recommend(user, 10) for user in ("u0001", "nobody")]
    assert {answer.release for answer in answers[0] + answers[1]} == {manifest["release"]}
    assert len(answers[0]) == len(answers[1]) == 10


def test_a_bad_day_stops_at_the_gate_with_the_online_store_unchanged(shop: Shop, airflow: AirflowApi) -> None:
    as_of = shop.as_of
    bad = as_of + timedelta(days=1)
    events = pq.read_table(shop.folder / "events.parquet")
    with duckdb.connect() as connection:
        connection.register("events", events)
        prices = connection.execute(f"""
            select * replace ('bad-' || event_id as event_id, value * 1000 as value,
                event_timestamp + interval 1 day as event_timestamp,
                created_timestamp + interval 1 day as created_timestamp)
            from events where event_timestamp >= timestamptz '{(as_of - timedelta(days=1)).isoformat()}'
        """).to_arrow_table()
    (shop.folder / "events").mkdir(exist_ok=True)
    pq.write_table(prices.cast(events.schema), shop.folder / "events" / "bad_day.parquet")
    online, releases = digest_files([shop.home.feast]), digest_files([shop.home.models])

    tasks = ended(airflow, FEATURES_DAG, bad, "failed")
    assert tasks["check_landing"].state == "failed"
    assert "day.amount" in airflow.last_log_line(tasks["check_landing"])
    assert tasks["check_landing"].try_number == 1
    assert {tasks[name].state for name in ("transform", "check_features", "materialize", "announce")} == {
        "upstream_failed"
    }
    assert digest_files([shop.home.feast]) == online
    assert digest_files([shop.home.models]) == releases


def test_a_release_that_the_gate_refuses_leaves_a_red_run_and_its_page(shop: Shop, airflow: AirflowApi) -> None:
    config = shop.folder.parent / "tastemaker.yaml"
    config.write_text(CONFIG + "release_gate: {max_calibration_error: 0.000001}\n")
    served = shop.home.model_config.read_bytes()
    try:
        tasks = ended(airflow, RELEASE_DAG, shop.as_of, "failed")
    finally:
        config.write_text(CONFIG)
    states = {name: task.state for name, task in tasks.items()}
    assert states["evaluate"] == states["report"] == "success"
    assert states["gate"] == "failed" and tasks["gate"].try_number == 1
    assert "is blocked" in airflow.last_log_line(tasks["gate"])
    assert {states[name] for name in ("probe", "canary", "verify", "promote", "finished")} == {"upstream_failed"}
    assert shop.home.model_config.read_bytes() == served
    assert '<span class="failed">No</span>: ' in shop.home.report(shop.as_of).read_text()


def test_ctrl_c_stops_all_of_it(platform: Platform) -> None:
    family = psutil.Process(platform.process.pid).children(recursive=True)
    assert len(family) >= 3  # Airflow, the model server and the feature server at least
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(60) == 0, platform.printed.read_text()
    assert platform.printed.read_text().rstrip().endswith("all stopped")
    assert [member.name() for member in family if member.is_running() and member.status() != "zombie"] == []
