"""train_and_release: fresh features become a release that backends may call."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule
from assets import AS_OF, FEATURES
from publishing import publishing_steps
from step_operator import StepOperator

with DAG(
    dag_id="train_and_release",
    doc_md="""
### Fresh features become a release

`dataset` → `train_retriever` → `train_sources` → `train_ranker` → `release_build` → `evaluate` → `gate` → `probe` →
`canary` → `verify` → `promote`; last, also where one of them refused to go on, `report`.

Scheduled by the asset `features`, whose event carries `as_of`. Training sets come from Feast as of each request's own
time. `gate` stops a release that is worse than the one that serves, `probe` one that does not answer as recorded.
`canary` makes it a version that the model server loads beside the stable one, `verify` puts the same requests to both,
`promote` moves the label `stable`. The report is an HTML page per `as_of`.
""",
    schedule=[FEATURES],
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    params={
        "as_of": Param(None, type=["null", "string"], description="A past moment, UTC, in place of the asset event's.")
    },
    default_args={"owner": "recommendations", "retries": 1, "retry_delay": timedelta(seconds=30)},
    tags=["tastemaker"],
) as train_and_release:
    dataset = StepOperator(
        task_id="dataset",
        command=["dataset", "--as-of", AS_OF],
        execution_timeout=timedelta(hours=1),
        doc_md="Requests and item snapshots with their point-in-time features.",
    )
    train_retriever = StepOperator(
        task_id="train_retriever",
        command=["train", "retriever", "--as-of", AS_OF],
        execution_timeout=timedelta(hours=2),
        doc_md="Two-tower model, early stopping on validation recall; curves in TensorBoard.",
    )
    train_sources = StepOperator(
        task_id="train_sources",
        command=["train", "sources", "--as-of", AS_OF],
        execution_timeout=timedelta(hours=1),
        doc_md="What further candidate sources learn, and the weights with which all are blended.",
    )
    train_ranker = StepOperator(
        task_id="train_ranker",
        command=["train", "ranker", "--as-of", AS_OF],
        execution_timeout=timedelta(hours=1),
        doc_md="LightGBM on requests as they happened, calibrated on a later slice.",
    )
    release_build = StepOperator(
        task_id="release_build",
        command=["release", "build", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=30),
        doc_md="Retriever, ranker and item snapshot fused into one SavedModel with its manifest.",
    )
    evaluate = StepOperator(
        task_id="evaluate",
        command=["evaluate", "--as-of", AS_OF],
        execution_timeout=timedelta(hours=1),
        doc_md="The release against champion and baselines on the test window.",
    )
    gate, promote = publishing_steps(
        "The rules of the config file, held against those figures; a release that fails one stops here."
    )
    report = StepOperator(
        task_id="report",
        command=["report", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="The HTML page: figures, pictures, what every step took; written also where a step refused to go on.",
    )
    # A run is what its last task is, and `report` is written after a failure too: alone it would call it a success.
    finished = EmptyOperator(task_id="finished", doc_md="Green when the release serves and its page is written.")
    dataset >> train_retriever >> train_sources >> train_ranker >> release_build >> evaluate >> gate
    promote >> report
    [promote, report] >> finished
