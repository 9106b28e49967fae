"""Every command of ours in docker-compose.yml, started on this machine with that file's own words and variables.

Only names of hosts, folders and ports are replaced. A part is up when the file's own health check says so. Postgres and
Redis are the machine's; where it has no Postgres, Airflow runs on SQLite, and where it has no Redis that test skips.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from compose_file import health_command, image_environment, interpolated, is_job, is_ours, read_compose
from declared_warehouse import declared_table, feature_row, moment
from toys.landing_events import event, event_table

from orchestration.services import Service, accepts_connections
from serving.releases.labels import Served, ensure_model_config, write_served
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
COMPOSE = read_compose()
START_SECONDS = 150
POSTGRES = Path(shutil.which("initdb") or "/nowhere/initdb").resolve().parent
VARIABLES = {
    "SHOP_FOLDER": "/of/the/host",
    "AIRFLOW_DB_PASSWORD": "db0123456789abcdef",
    "AIRFLOW_FERNET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "AIRFLOW_JWT_SECRET": "0123456789abcdef" * 4,
    "AIRFLOW_API_SECRET": "fedcba9876543210" * 4,
    "REDIS_PASSWORD": "redis0123456789abcdef",
    "TASTEMAKER_FEATURE_SERVER_TOKEN": "token0123456789abcdef",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Native:
    """The compose file with this machine's names in place of the containers'."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))
    more: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def port(self, address: str) -> int:
        """The port here of a `host:port` there."""
        return self.ports.setdefault(address, free_port())

    def text(self, text: str) -> str:
        """A value of the file as it holds here."""
        text = interpolated(text, self.variables)
        for there, here in {
            "/opt/tastemaker": str(PROJECT_ROOT),
            "/opt/venv/bin": str(BIN),
            "/var/lib/tastemaker": str(self.home.root),
            "/var/lib/airflow": str(self.folder / "airflow"),
            "/srv/shop": str(self.folder / "shop"),
            "/dev/tcp/127.0.0.1/8501": f"/dev/tcp/127.0.0.1/{self.port('model-server:8501')}",
            "0.0.0.0:6566": f"127.0.0.1:{self.port('feature-server:6566')}",
            "127.0.0.1:6566": f"127.0.0.1:{self.port('feature-server:6566')}",
            "redis-cli": f"redis-cli -p {self.port('redis:6379')}",
            **{
                address: f"127.0.0.1:{self.port(address)}"
                for address in ("postgres:5432", "redis:6379", "airflow-api-server:8080", "model-server:8500")
            },
        }.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """The service's variables, over those of the image for ours."""
        service = COMPOSE["services"][name]
        given = {**(image_environment() if is_ours(service) else {}), **service.get("environment", {})}
        mine = {key: self.text(value.replace("$PATH", os.environ["PATH"])) for key, value in given.items()}
        return {**mine, **self.more}

    def command(self, name: str) -> list[str]:
        """The service's command."""
        words = [self.text(word) for word in COMPOSE["services"][name]["command"]]
        return [str(BIN / words[0]), *words[1:]] if is_ours(COMPOSE["services"][name]) else words

    def is_healthy(self, name: str) -> bool:
        """What the file's health check says."""
        words = [self.text(word) for word in health_command(COMPOSE["services"][name])]
        environment = {**os.environ, **self.environment(name)}
        return subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False).returncode == 0

    def service(self, name: str, command: list[str] | None = None, address: str | None = None) -> Service:
        """The service, up when its health check says so; `address` must listen first, which is cheaper to ask."""
        return Service(
            name=name,
            command=command or self.command(name),
            environment=self.environment(name),
            log=self.folder / f"{name}.log",
            ready=lambda: (
                (address is None or accepts_connections(f"127.0.0.1:{self.port(address)}")) and self.is_healthy(name)
            ),
        )


@contextmanager
def running(*services: Service) -> Iterator[None]:
    """Starts them all, waits for them all, stops them all."""
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait_until_ready(START_SECONDS)
        yield
    finally:
        # together: each may take its 15 s
        with ThreadPoolExecutor() as stops:
            list(stops.map(Service.stop, services))


@pytest.fixture
def native(tmp_path: Path) -> Native:
    return Native(tmp_path)


@pytest.fixture
def database(native: Native) -> Iterator[None]:
    """Postgres as the file has it, where this machine has one; else SQLite."""
    if not (POSTGRES / "initdb").exists():
        native.more["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{native.folder}/airflow.db"
        yield
        return
    given = native.environment("postgres")
    # Postgres refuses to be root, and pytest's folders are closed to others
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        if nobody:
            shutil.chown(folder, "nobody")
        data, password = Path(folder) / "data", Path(folder) / "password"
        password.write_text(given["POSTGRES_PASSWORD"])
        password.chmod(0o644)
        make = [str(POSTGRES / "initdb"), "-D", str(data), "-U", given["POSTGRES_USER"], "-A", "scram-sha-256"]
        subprocess.run([*nobody, *make, f"--pwfile={password}"], check=True, capture_output=True, cwd="/")
        port = native.port("postgres:5432")
        run = [str(POSTGRES / "postgres"), "-D", str(data), "-p", str(port), "-k", folder, "-F"]
        native.more |= {"PGPORT": str(port), "PGPASSWORD": given["POSTGRES_PASSWORD"]}
        with running(native.service("postgres", [*nobody, *run], "postgres:5432")):
            made = [str(POSTGRES / "createdb"), "-h", "127.0.0.1", "-U", given["POSTGRES_USER"], given["POSTGRES_DB"]]
            subprocess.run(made, check=True, env={**os.environ, **native.more})
            yield


def call(address: str, body: object = None, token: str | None = None, method: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode(errors="replace")


def wait_for(found: Callable[[], Any], what: Callable[[], str]) -> Any:
    deadline = time.monotonic() + START_SECONDS
    while not (answer := found()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)
    return answer


def test_airflows_parts_come_up_and_run_a_step(native: Native, database: None) -> None:
    shop = native.folder / "shop"
    shop.mkdir()
    pq.write_table(event_table([event("e1")]), shop / "events.parquet")
    address = f"http://127.0.0.1:{native.port('airflow-api-server:8080')}"
    native.more |= {
        "AIRFLOW__API__PORT": str(native.port("airflow-api-server:8080")),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }
    [job] = [name for name in COMPOSE["services"] if is_job(name, COMPOSE)]
    environment = {**os.environ, **native.environment(job)}
    ended = subprocess.run(native.command(job), env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]

    names = [name for name in COMPOSE["services"] if name.startswith("airflow-") and name != job]
    assert sorted(names) == ["airflow-api-server", "airflow-dag-processor", "airflow-scheduler", "airflow-triggerer"]
    with running(*(native.service(name, address="airflow-api-server:8080") for name in names)):
        assert call(f"{address}/api/v2/dags")[0] == 401
        password = json.loads((native.folder / "airflow" / "simple_auth_manager_passwords.json.generated").read_text())
        status, given = call(f"{address}/auth/token", {"username": "admin", "password": password["admin"]})
        assert status == 201, given
        token = given["access_token"]

        def dags() -> set[str]:
            return {dag["dag_id"] for dag in call(f"{address}/api/v2/dags", token=token)[1]["dags"]}

        wait_for(lambda: dags() >= {"features", "train_and_release"}, lambda: f"DAGs: {dags()}")
        features = f"{address}/api/v2/dags/features"
        assert call(features, {"is_paused": False}, token, "PATCH")[0] == 200

        # the last midnight's run, which the schedule makes by itself
        def state() -> str | None:
            tasks = call(f"{features}/dagRuns/~/taskInstances?task_id=ingest", token=token)[1]["task_instances"]
            return tasks[0]["state"] if tasks else None

        wait_for(lambda: state() not in (None, "scheduled", "queued", "running"), lambda: f"ingest is {state()}")
        assert state() == "success", (native.folder / "airflow-scheduler.log").read_text()[-3000:]
    assert (native.home.landing / "ledger.json").exists()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="this machine has no redis-server")
def test_the_feature_server_reads_redis_for_those_with_the_token(native: Native) -> None:
    native.home.root.mkdir()
    rows = {"user_activity": [feature_row("ann", 10, user_sessions_90d=4)]}
    with duckdb.connect(str(native.home.warehouse)) as warehouse:
        for name, table in feature_tables().items():
            warehouse.register("content", declared_table(table, rows.get(name, [])))
            warehouse.execute(f"create table {name} as select * from content")
    own = ["--port", str(native.port("redis:6379")), "--bind", "127.0.0.1", "--dir", str(native.folder)]
    redis = native.service("redis", [*native.command("redis"), *own])
    feature_server = native.service("feature-server", address="feature-server:6566")
    with running(redis):
        step = [str(BIN / "tastemaker"), "features", "materialize", "--as-of", moment(10).isoformat()]
        environment = {**os.environ, **native.environment("airflow-scheduler")}
        made = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        assert not (native.home.feast / "online_store.db").exists()
        with running(feature_server):
            address = f"http://127.0.0.1:{native.port('feature-server:6566')}/get-online-features"
            ask = {"feature_service": "profile_v1", "entities": {"user_id": ["ann", "nobody"]}}
            assert call(address, ask)[0] == 401
            status, answer = call(address, ask, VARIABLES["TASTEMAKER_FEATURE_SERVER_TOKEN"])
            assert status == 200, answer
            told = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
            assert told["user_sessions_90d"]["values"] == [4, None]
            assert told["user_sessions_90d"]["statuses"] == ["PRESENT", "NOT_FOUND"]


def test_the_model_servers_flags_serve_a_release_that_comes_later(native: Native) -> None:
    folder = native.home.models / "recommender"
    folder.mkdir(parents=True)
    ensure_model_config(native.home)  # the image's volume begins with it
    flags = [
        flag.replace("=8500", f"={native.port('model-server:8500')}").replace(
            "=8501", f"={native.port('model-server:8501')}"
        )
        for flag in native.command("model-server")
    ]
    server = native.service(
        "model-server", [sys.executable, "-m", "serving.server", *flags, "--bind_address=127.0.0.1"]
    )
    server.start()
    try:
        wait_for(lambda: accepts_connections(f"127.0.0.1:{native.port('model-server:8501')}"), server.last_log_line)
        assert not native.is_healthy("model-server")
        release(folder)
        write_served(native.home, Served(loading=frozenset({1})))
        server.wait_until_ready(START_SECONDS)
        address = f"http://127.0.0.1:{native.port('model-server:8501')}/v1/models/recommender:predict"
        assert call(address, {"instances": [1.0, 2.5]}) == (200, {"predictions": [2.0, 5.0]})
    finally:
        server.stop()


def release(folder: Path) -> None:
    """A version that doubles, published by rename."""
    import tensorflow as tf

    model = tf.Module()
    model.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(model, str(folder / ".1.part"), signatures=model.double)
    (folder / ".1.part").rename(folder / "1")
