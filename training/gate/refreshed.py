"""The rules of a refreshed release: its models were judged when they were made, only its items are new."""

from collections.abc import Mapping
from typing import Any

from tastemaker.config import ReleaseGateConfig
from training.gate.rules import Ruling

SAME_MODELS = "models that were judged"
ITEMS_KEPT = "items kept"


def is_refreshed(manifest: Mapping[str, Any]) -> bool:
    """Whether the items are of another moment than the models."""
    return bool(manifest["item_snapshot"] != manifest["as_of"])


def refresh_rulings(
    manifest: Mapping[str, Any], published: Mapping[str, Any] | None, config: ReleaseGateConfig
) -> list[Ruling]:
    """Whether the models are those that serve, and most of the items still there.

    Args:
        manifest: the candidate's.
        published: that of the version that serves; None where none does.
    """
    if published is None:
        told = "Nothing serves yet, so there is no release whose items could be refreshed."
        return [Ruling(SAME_MODELS, "models", None, None, False, told)]
    same = all(manifest["made_of"].get(part) == published["made_of"].get(part) for part in ("retriever", "ranker"))
    told = f"The models are {'those' if same else 'not those'} of {published['release']}, which serves."
    now, then = int(manifest["items"]["available"]), int(published["items"]["available"])
    bound = config.kept_coverage * then
    kept = f"{now} items are available, {'at least' if now >= bound else 'fewer than'} "
    kept += f"{100 * config.kept_coverage:g} % of the {then} of {published['release']}."
    return [
        Ruling(SAME_MODELS, "models", None, None, same, told),
        Ruling(ITEMS_KEPT, "catalogue", now, bound, now >= bound, kept),
    ]
