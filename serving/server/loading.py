"""From a version's folder to a model that may serve: trusted, loaded, warmed up."""

import logging
import os
import subprocess
import sys
from pathlib import Path

from serving.manifest import MANIFEST
from serving.server.check_release import ALLOW_UNSIGNED, REFUSALS
from serving.server.flags import Flags
from serving.server.saved_model import SavedModel, SessionOptions
from serving.server.status import Code, ServingError
from serving.server.warmup import warm_up

log = logging.getLogger("tastemaker.serving")


def load_version(name: str, folder: Path, flags: Flags) -> SavedModel:
    """Loads a version that may be loaded.

    With `--release_public_key_file` that is a release which one of its keys has signed. Without it any SavedModel, as
    for TF-Serving; one that has a manifest is held to it. Raises ServingError before anything of a model is loaded
    that may not be, and for one that does not load or does not answer a request recorded with it.
    """
    _require_trusted(folder, flags)
    intra, inter, requests = flags.parallelism
    model = SavedModel(folder, SessionOptions(intra, inter, tuple(flags.saved_model_tags.split(",")), requests))
    if flags.enable_model_warmup:
        try:
            records = warm_up(model.aside, folder, flags.num_request_iterations_for_warmup)
        except ServingError:
            model.close()
            raise
        log.info("Warmed up servable %s from %s: %d records", name, folder, records)
    return model


def _require_trusted(folder: Path, flags: Flags) -> None:
    command = [sys.executable, "-P", "-m", "serving.server.check_release", str(folder)]
    if flags.release_public_key_file:
        command.append(flags.release_public_key_file)
        if flags.allow_unsigned_releases:
            command.append(ALLOW_UNSIGNED)
    elif not (folder / MANIFEST).is_file():
        return
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # what checks is the code that is here
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if done.returncode in REFUSALS:
        raise ServingError(REFUSALS[done.returncode], done.stdout.strip())
    raise ServingError(
        Code.INTERNAL, f"Checking {folder} ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}"
    )
