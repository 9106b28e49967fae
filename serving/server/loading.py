"""From a version's folder to a model that may serve: trusted, loaded, warmed up."""

import logging
from pathlib import Path

from serving.allowed_ops import require_allowed_ops
from serving.manifest import MANIFEST, UntrustedError, verify_files
from serving.release_keys import read_public_keys
from serving.server.flags import Flags
from serving.server.saved_model import SavedModel, SessionOptions
from serving.server.status import Code, ServingError
from serving.server.warmup import warm_up
from serving.trust import Trust
from tastemaker.errors import TastemakerError

log = logging.getLogger("tastemaker.serving")


def load_version(name: str, folder: Path, flags: Flags) -> SavedModel:
    """Loads a version that may be loaded.

    With `--release_public_key_file` that is a release which one of its keys has signed. Without it any SavedModel, as
    for TF-Serving; one that has a manifest is held to it. Raises ServingError before anything of a model is loaded
    that may not be, and for one that does not load or does not answer a request recorded with it.
    """
    _require_trusted(folder, flags)
    intra, inter = flags.parallelism
    model = SavedModel(folder, SessionOptions(intra, inter, tuple(flags.saved_model_tags.split(","))))
    if flags.enable_model_warmup:
        try:
            records = warm_up(model, folder, flags.num_request_iterations_for_warmup)
        except ServingError:
            model.close()
            raise
        log.info("Warmed up servable %s from %s: %d records", name, folder, records)
    return model


def _require_trusted(folder: Path, flags: Flags) -> None:
    try:
        if flags.release_public_key_file:
            keys = read_public_keys(Path(flags.release_public_key_file))
            Trust(keys, flags.allow_unsigned_releases).require(folder)
        elif (folder / MANIFEST).is_file():
            verify_files(folder)
            require_allowed_ops(folder)
    except UntrustedError as problem:
        raise ServingError(Code.FAILED_PRECONDITION, str(problem)) from problem
    except TastemakerError as problem:
        raise ServingError(Code.DATA_LOSS, str(problem)) from problem
