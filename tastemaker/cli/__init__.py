"""The command line: `tastemaker <step> --as-of …`. Every step of the DAGs is a command here."""

import errno
import gc
import os
import sys

# TensorFlow tells on stderr of GPUs it has not found; a task's log is for what the step has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
os.environ.setdefault("FEAST_USAGE", "False")
os.environ.setdefault("DO_NOT_TRACK", "1")

import typer

from tastemaker.cli import (
    check,
    configuration,
    demo,
    evaluation,
    features,
    gate,
    landing,
    probe,
    ranking,
    release,
    serving,
    training,
    transform,
    tune,
)
from tastemaker.errors import TastemakerError

# Imports make millions of objects that stay: looking for garbage among them every 700 was a fifth of the CPU seconds of
# importing TensorFlow (2.9 → 2.2) or Great Expectations (2.6 → 2.1).
GARBAGE_THRESHOLDS = (50_000, 20, 100)

app = typer.Typer(
    name="tastemaker",
    help="From an event log to ranked recommendations behind one gRPC call.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
check.register(app)
configuration.register(app)
demo.register(app)
evaluation.register(app)
features.register(app)
landing.register(app)
release.register(app)
serving.register(app)
training.register(app)
transform.register(app)
tune.register(app)
gate.register(app)  # adds to the sub-app that release made
probe.register(app)  # likewise
ranking.register(app)  # adds to the sub-app that training made


@app.callback()
def root() -> None:
    """Keeps every step a named subcommand."""


def main() -> None:
    """Runs the command line; a TastemakerError, or a full disk, becomes one sentence on stderr and an exit code."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        app()
    except TastemakerError as problem:
        print(f"tastemaker: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {problem.filename}" if problem.filename else ""
        print(
            f"tastemaker: The disk is full{where}; free some space and run the same command again. What was half "
            "written does not count.",
            file=sys.stderr,
        )
        sys.exit(1)
