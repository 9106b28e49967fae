"""refresh_items: the models that serve get today's items, without training."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param
from assets import AS_OF
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
    gate = StepOperator(
        task_id="gate",
        command=["release", "gate", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md="The models must be those that serve, and most of the items still be there.",
    )
    probe = StepOperator(
        task_id="probe",
        command=["release", "probe", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md="The release in a model server of its own must answer as recorded, within bounds of time and memory.",
    )
    canary = StepOperator(
        task_id="canary",
        command=["release", "canary", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md="The release appears, whole, beside the others; the model server loads it and answers as `canary`.",
    )
    verify = StepOperator(
        task_id="verify",
        command=["release", "verify", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md="Recorded requests to canary and stable; a canary that is worse goes to quarantine.",
    )
    promote = StepOperator(
        task_id="promote",
        command=["release", "promote", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md="The label `stable` moves: from now on this release answers.",
    )
    release_refresh >> gate >> probe >> canary >> verify >> promote
