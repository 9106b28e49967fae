"""The main job once, on a real scheduler: a shop's log in, ranked products answered over gRPC out."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from ingest.discovery import Found
from ingest.newest import midnight_after_newest
from ingest.resolving import resolve
from ingest.sources import GLOBO, ONLINE_RETAIL, source_named
from orchestration.airflow_api import AirflowApi
from orchestration.airflow_local import airflow_service
from orchestration.closing import print_closing
from orchestration.servers import model_server_service
from orchestration.services import Service, port_of, require_free_port
from orchestration.watch import FEATURES_DAG, RELEASE_DAG, Watch
from tastemaker.errors import TastemakerError
from tastemaker.moments import parse_as_of
from tastemaker.settings import Settings
from tastemaker.steps import write_atomically

Tell = Callable[[str], None]

AIRFLOW_SECONDS = 180.0
DAGS_SECONDS = 60.0
SERVER_SECONDS = 120.0


def run_demo(settings: Settings, as_of_text: str | None) -> None:
    """Runs both DAGs for one `as_of` beside the model server that they publish to, and prints its answers.

    `as_of_text` is the moment whose past is seen; None is the midnight after the newest event. Everything that is
    started is stopped again. Raises TastemakerError with the reason of the step that failed.
    """
    began = time.monotonic()
    home = settings.paths
    found = resolve(settings.source, settings.path, settings.named_files, home)
    print(found.sentence, flush=True)
    as_of = (
        parse_as_of(as_of_text)
        if as_of_text
        else midnight_after_newest(source_named(found.source), found.path, home.cache)
    )
    print(f"As of {as_of:%Y-%m-%d %H:%M} UTC; everything made lies in {home.root}", flush=True)
    require_free_port(settings.airflow_port, what="Airflow", setting="TASTEMAKER_AIRFLOW_PORT")
    require_free_port(port_of(settings.model_server), what="the model server", setting="TASTEMAKER_MODEL_SERVER")

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    lasting = shop_environment(settings, as_of if is_historical(found) else None)
    write_atomically(home.shop, json.dumps(lasting, indent=2) + "\n")
    # Here nothing is to run but what the demo asks for, whatever day it is.
    now = shop_environment(settings, as_of)
    with _running(model_server_service(settings), SERVER_SECONDS, tell):
        with _running(airflow_service(settings, now), AIRFLOW_SECONDS, tell):
            _run_dags(settings, as_of, tell)
        print_closing(settings, as_of)
    print(f"\nThe main job took {time.monotonic() - began:.0f} s. `make up` keeps all of it running.", flush=True)


def _run_dags(settings: Settings, as_of: datetime, tell: Tell) -> None:
    api = AirflowApi(f"http://127.0.0.1:{settings.airflow_port}")
    deadline = time.monotonic() + DAGS_SECONDS
    while not (api.knows(FEATURES_DAG) and api.knows(RELEASE_DAG)):
        if time.monotonic() > deadline:
            raise TastemakerError(
                f"Airflow has not read the DAGs within {DAGS_SECONDS:.0f} s; see `airflow dags list-import-errors`."
            )
        time.sleep(0.5)
    for dag_id in (FEATURES_DAG, RELEASE_DAG):
        api.unpause(dag_id)
    known = {run["dag_run_id"] for run in api.runs(RELEASE_DAG)}
    watch = Watch(api, settings.paths, as_of, tell)
    watch.follow(FEATURES_DAG, api.trigger(FEATURES_DAG, as_of.isoformat()))
    watch.follow_asset_run(known)


def is_historical(found: Found) -> bool:
    """Whether the shop's data has ended for good: a public data set or the simulated shop."""
    return found.is_simulated or found.source in (ONLINE_RETAIL.name, GLOBO.name)


def shop_environment(settings: Settings, until: datetime | None) -> dict[str, str]:
    """What the steps under Airflow need to know of a shop; `until` is where its daily schedule ends, if it does."""
    path = settings.path
    shop = {
        "TASTEMAKER_SOURCE": settings.source,
        "TASTEMAKER_PATH": path if path is None or "://" in path else str(Path(path).expanduser().resolve()),
        "TASTEMAKER_ONLINE_RETAIL": settings.online_retail,
        "TASTEMAKER_GLOBO": settings.globo,
        "TASTEMAKER_SCHEDULE_UNTIL": until.isoformat() if until else None,
    }
    return {name: value for name, value in shop.items() if value is not None}


@contextmanager
def _running(service: Service, seconds: float, tell: Tell) -> Iterator[None]:
    with ExitStack() as stack:
        tell(f"starting {service.name}")
        service.start()
        stack.callback(service.stop)
        service.wait_until_ready(seconds)
        tell(f"{service.name} answers")
        yield
