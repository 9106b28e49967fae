"""The five tasks by which a candidate becomes the release that answers; the same in every DAG that makes one."""

from datetime import timedelta

from airflow.sdk import chain
from assets import AS_OF
from step_operator import StepOperator


def publishing_steps(gate_doc: str) -> tuple[StepOperator, StepOperator]:
    """Adds `gate` → `probe` → `canary` → `verify` → `promote` to the DAG; returns the first and the last.

    Args: `gate_doc`: what the gate asks of this DAG's candidates, for Airflow's web page.
    """
    gate = StepOperator(
        task_id="gate",
        command=["release", "gate", "--as-of", AS_OF],
        execution_timeout=timedelta(minutes=10),
        doc_md=gate_doc,
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
    chain(gate, probe, canary, verify, promote)
    return gate, promote
