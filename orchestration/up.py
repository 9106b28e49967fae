"""The whole platform on one machine until Ctrl-C."""

import json
import os
import secrets
import signal
import threading
from contextlib import ExitStack
from types import FrameType

from pydantic import SecretStr

from orchestration.airflow_local import airflow_service
from orchestration.servers import feature_server_service, model_server_service
from orchestration.services import Service, port_of, require_free_port
from serving.releases.labels import read_served
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import Settings

START_SECONDS = 180.0
WATCH_SECONDS = 1.0


def run_until_interrupted(settings: Settings) -> None:
    """Starts Airflow, the model server and the feature server, tells their addresses, stops them on SIGINT or SIGTERM.

    Raises BusyError for a taken port and TastemakerError when one of them ends by itself, after stopping the others.
    """
    home = settings.paths
    if read_served(home).stable is None or not home.feast.exists():
        raise TastemakerError(f"{home.root} holds no release yet; run `make demo` (or both DAGs) first.")
    model_port, feature_port = (port_of(address) for address in (settings.model_server, settings.feature_server))
    require_free_port(settings.airflow_port, what="Airflow", setting="TASTEMAKER_AIRFLOW_PORT")
    require_free_port(model_port, what="the model server", setting="TASTEMAKER_MODEL_SERVER")
    require_free_port(settings.model_server_rest_port, what="REST", setting="TASTEMAKER_MODEL_SERVER_REST_PORT")
    require_free_port(feature_port, what="the feature server", setting="TASTEMAKER_FEATURE_SERVER")
    token_place = f"in {home.feature_server_token}" if settings.feature_server_token is None else "the one you set"
    guarded = settings.model_copy(update={"feature_server_token": SecretStr(feature_server_token(settings))})
    services = [
        airflow_service(settings, _shop(home)),
        model_server_service(settings),
        feature_server_service(guarded),
    ]
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    with ExitStack() as stack:
        for service in services:
            print(f"starting {service.name} (log: {service.log})", flush=True)
            service.start()
            stack.callback(service.stop)
        _wait(services, stopping)
        if not stopping.is_set():
            print(_addresses(settings, token_place), flush=True)
        while not stopping.wait(WATCH_SECONDS):
            for service in services:
                service.raise_if_ended()
        print("stopping …", flush=True)
    print("all stopped", flush=True)


def feature_server_token(settings: Settings) -> str:
    """The token that the feature server will ask for: the setting's, else the home's own, made at its first use."""
    if settings.feature_server_token is not None:
        return settings.feature_server_token.get_secret_value()
    file = settings.paths.feature_server_token
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(32))
    return file.read_text().strip()


def _wait(services: list[Service], stopping: threading.Event) -> None:
    for service in services:
        service.wait_until_ready(START_SECONDS, given_up=stopping.is_set)


def _shop(home: Home) -> dict[str, str]:
    """The shop that the home's last demo was for, so that the daily schedule ends where its data does."""
    return dict(json.loads(home.shop.read_text())) if home.shop.exists() else {}


def _addresses(settings: Settings, token_place: str) -> str:
    host = settings.model_server.rpartition(":")[0]
    scheme = "http" if settings.feature_server_tls_cert is None else "https"
    return (
        f"\nAirflow:         http://127.0.0.1:{settings.airflow_port}\n"
        f"Model server:    {settings.model_server} (gRPC), "
        f"http://{host}:{settings.model_server_rest_port}/v1/models/recommender (REST)\n"
        f"Feature server:  {scheme}://{settings.feature_server}, with the header Authorization: Bearer TOKEN; "
        f"the token is {token_place}\n\nCtrl-C stops them."
    )
