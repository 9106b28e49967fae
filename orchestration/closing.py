"""What a demo ends with: recommendations by title, quality beside the baselines, seconds by step, where to look."""

from collections.abc import Mapping
from datetime import datetime

import duckdb

from serving.client import Recommender
from serving.releases.labels import read_served
from serving.titles import titles
from tastemaker import names
from tastemaker.cli.tables import show_rows
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import Settings
from tastemaker.steps import StepReport, read_reports

CUSTOMERS = 3
ITEMS = 10


def print_closing(settings: Settings, as_of: datetime) -> None:
    """Asks the model server for three customers' items and prints all that the job has to show."""
    home = settings.paths
    version = read_served(home).stable
    reports = read_reports(home, as_of)
    with Recommender.of_home(home, settings.model_server) as recommender:
        for user_id, about in some_customers(home):
            found = recommender.recommend(user_id, ITEMS)
            if found and found[0].degraded:
                raise TastemakerError(found[0].degraded)
            named = titles(home, [one.item_id for one in found])
            print(f"\nFor customer {user_id} ({about}), from release {version} over gRPC:\n")
            rows = [[one.rank, one.item_id, named.get(one.item_id), one.probability] for one in found]
            show_rows(["rank", "item_id", "title", "probability"], rows, as_json=False)
    print("\nQuality on the test window, beside the baselines:\n")
    quality = reports["evaluate"].facts["quality"]
    show_rows(quality["columns"], quality["rows"], as_json=False)
    print(f"\n{reports['evaluate'].facts['verdict']}")
    print("\nSteps:\n")
    show_rows(STEP_COLUMNS, step_rows(reports), as_json=False)
    print(f"\nReport:    {home.report(as_of)}")
    print(f"Data Docs: {home.root / reports['check_features'].facts['data_docs']}")


STEP_COLUMNS = ("step", "seconds", "importing", "peak MiB")


def step_rows(reports: Mapping[str, StepReport]) -> list[list[object]]:
    """One row a step in the order of the job: its seconds, the seconds its process took to import, its peak MiB."""
    rows: list[list[object]] = []
    for step in (reports[name] for name in names.STEPS):
        rows.append([step.step, f"{step.seconds:.1f}", f"{step.import_seconds:.1f}", f"{step.peak_memory_mib:.0f}"])
    return rows


def some_customers(home: Home) -> list[tuple[str, str]]:
    """Three customers of different kinds: the most active, a middling and the newest one, with what they are.

    Of customers with an event in the last 90 days; fewer where the shop has fewer.
    """
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"""
            with latest as (
                from read_parquet('{home.offline_store}/user_activity.parquet')
                qualify event_timestamp = max(event_timestamp) over ()
            ),
            ranked as (
                select user_id, user_interactions_90d as events, user_tenure_days as tenure,
                       row_number() over (order by user_interactions_90d desc, user_id) as by_activity,
                       row_number() over (order by user_tenure_days, user_id) as by_age, count(*) over () as users
                from latest
            )
            select user_id, events, tenure from ranked
            where by_activity = 1 or by_activity = users // 2 or by_age = 1
            order by events desc, user_id
            limit {CUSTOMERS}
            """
        ).fetchall()
    if not rows:
        raise TastemakerError("No customer was active in the last 90 days, so there is nobody to recommend to.")
    return [(user, f"{events} events in 90 days, customer for {tenure} days") for user, events, tenure in rows]
