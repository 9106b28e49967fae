"""refresh_items: the models that serve get today's items, without training."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param
from assets import AS_OF
from publishing import publishing_steps
from step_operator import StepOperator

with DAG(
    dag_id="refresh_items",
    doc_md="""
### The models that serve, with the items as of a later moment

`release_refresh` → `gate` → `probe` → `canary` → `verify` → `promote`

Takes seconds. Triggered by hand, with `as_of`: `train_and_release` brings fresh items with every release, so this is
for the days on which it does not run. Where training is weekly, give `train_and_release` its own schedule and this DAG
`schedule=[FEATURES]`; `as_of` then comes from the asset's event.
""",
    schedule=None,
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    params={
        "as_of": Param(None, type=["null", "string"], description="The moment, UTC, up to which features are made.")
    },
    default_args={"owner": "recommendations", "retries": 1, "retry_delay": timedelta(seconds=30)},
    tags=["tastemaker"],
) as refresh_items:
    release_refresh = StepOperator(
        task_id="release_refresh",
        command=["release", "refresh", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=30),
        doc_md="Item snapshot and item masks of the newest published models, made anew; nothing is trained.",
    )
    gate, _ = publishing_steps("The models must be those that serve, and most of the items still be there.")
    release_refresh >> gate
