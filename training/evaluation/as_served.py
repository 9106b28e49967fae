"""What is judged is what is served: the graph that answers the test window against the SavedModel to be published."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from tastemaker.errors import TastemakerError
from training.feature_tensors import query_tensors
from training.release.fused_graph import FusedRecommender
from training.release.manifest import FILE

REQUESTS = 16
_STORED = "/.ATTRIBUTES/VARIABLE_VALUE"
MAY_BE_MISSING = ("snapshot/numbers", "_forest/_groups")  # the latter hold the trees' thresholds
TOLERANCE = 1e-6  # of a probability; the same operations on the same machine give the same bits


def release_of(candidate: Path) -> str:
    """The name that a candidate's manifest gives it. Raises TastemakerError when there is no candidate."""
    manifest = candidate / FILE
    if not manifest.exists():
        raise TastemakerError(
            f"There is no release candidate at {candidate}; build it with 'tastemaker release build'."
        )
    return str(json.loads(manifest.read_text())["release"])


def require_same_answers(graph: FusedRecommender, candidate: Path, requests: pa.Table, k: int) -> int:
    """Holds the graph against the candidate; see `difference`.

    Returns how many requests were compared. Raises TastemakerError when an answer differs.
    """
    differs = difference(graph, candidate, requests, k)
    if differs:
        raise TastemakerError(
            f"The candidate {candidate} does not answer as the retriever and ranker it was made of: {differs}; "
            "build it again with 'tastemaker release build'."
        )
    return min(REQUESTS, len(requests))


def difference(graph: FusedRecommender, saved: Path, requests: pa.Table, k: int) -> str:
    """Puts the last requests to both, with the items as of the release; tells how they differ, "" if they do not.

    Args:
        graph: holds the snapshot of the release's items.
        saved: the folder of the SavedModel.
        requests: rows of `requests.parquet`.
        k: length of the lists.
    """
    some = requests.slice(max(0, len(requests) - REQUESTS))
    inputs = {name: tf.constant(values) for name, values in query_tensors(some).items()}
    inputs |= {names.INPUT_EXCLUDE_ITEM_IDS: tf.constant([[""]]), names.INPUT_K: tf.constant(k)}
    ours = graph.recommend(inputs)
    served = tf.saved_model.load(str(saved)).signatures[names.SIGNATURE_RECOMMEND](**inputs)
    same_items = _equal(ours[names.OUTPUT_ITEM_IDS].numpy(), served[names.OUTPUT_ITEM_IDS].numpy())
    gap = _gap(ours[names.OUTPUT_SCORES].numpy(), served[names.OUTPUT_SCORES].numpy())
    releases = {name.decode() for name in served[names.OUTPUT_RELEASE].numpy()}
    if same_items.all() and gap <= TOLERANCE and releases == {release_of(saved)}:
        return ""
    wrong = int((~same_items).sum())
    return (
        f"{wrong} of {len(some)} lists differ, probabilities by up to {gap:.2g}, it is called "
        f"{', '.join(sorted(releases))}"
    )


def require_finite(candidate: Path) -> None:
    """Raises TastemakerError, naming the weights, when a number that the candidate computes with is none.

    Only the items' own features may be missing (NaN). The graph shields a caller from NaN in a vector, so that such a
    candidate answers, from what sells best: it would pass for a model that is merely dull.
    """
    reader = tf.train.load_checkpoint(str(candidate / "variables" / "variables"))
    kinds = reader.get_variable_to_dtype_map()
    for name in sorted(name for name, kind in kinds.items() if kind.is_floating):
        own = name.removesuffix(_STORED).replace(".S", "/")
        if not own.startswith(MAY_BE_MISSING):
            values = reader.get_tensor(name)
            wrong = int(np.size(values) - np.isfinite(values).sum())
            if wrong:
                raise TastemakerError(
                    f"The candidate {candidate} has {wrong} values in {own} that are no numbers (NaN or infinite); "
                    "train it again with 'tastemaker train retriever' and 'tastemaker train ranker'."
                )


def _equal(ours: np.ndarray, served: np.ndarray) -> np.ndarray:
    """Which rows are the same, bool `[B]`; none of two that have different lengths."""
    return (ours == served).all(axis=1) if ours.shape == served.shape else np.zeros(len(ours), bool)


def _gap(ours: np.ndarray, served: np.ndarray) -> float:
    if ours.shape != served.shape:
        return float("inf")
    return float(np.nan_to_num(np.abs(ours - served), nan=np.inf).max(initial=0.0))
