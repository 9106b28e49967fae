"""The trained ranker's trees, compiled; and what the compiler refuses, said to a person."""

from pathlib import Path

from tastemaker.errors import TastemakerError
from training.ranking.features import FEATURE_NAMES, ITEM_ONLY, USER_ONLY
from training.ranking.fit import MODEL
from training.release.trees import CompiledForest, ForestRefusedError


def ranker_forest(ranker: Path, *, split: bool = False) -> CompiledForest:
    """The forest of a ranker's folder, over the columns `FEATURE_NAMES`.

    Args: `split`: with masks of the item's and the user's own features apart, as a release scores; the same bits.

    Raises TastemakerError for a model file that is missing, cut short, damaged, of an unknown version, or of other
    features than the graph makes.
    """
    of_item, of_user = (ITEM_ONLY, USER_ONLY) if split else ((), ())
    try:
        return CompiledForest(ranker / MODEL, feature_names=FEATURE_NAMES, item_only=of_item, user_only=of_user)
    except ForestRefusedError as problem:
        raise TastemakerError(
            f"{problem} Or make both anew: 'tastemaker train ranker', then 'tastemaker release build'."
        ) from problem
