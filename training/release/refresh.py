"""The step `release refresh`: the models that serve, with the items as of a later moment. Nothing is trained.

Prices, titles, popularity and neighbours of items move every day, and items are added, while a retriever and a ranker
stay good for longer. Between two trainings this keeps a release's items as fresh as the feature store.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from tastemaker import names
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.moments import as_of_slug
from tastemaker.release_labels import STABLE, labelled_version
from tastemaker.steps import StepReport, digest_files, digest_values, run_step
from training.datasets.files import requests_file
from training.datasets.item_snapshots import item_snapshots
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import ranker_folder
from training.release import manifest
from training.release.build import assembled, made_of, newest_requests, write_release
from training.retrieval.fit import retriever_folder
from training.sources.trained import sources_folder


def refresh_release(home: Home, as_of: datetime) -> StepReport:
    """Makes `candidates/<as_of>/` of the models of the newest published release and the items as of `as_of`.

    Its manifest is the published one's, `as_of` still that of the models, with another `item_snapshot`; its name is the
    models' name, `+`, and that of the items, so that every answer tells both.

    Raises TastemakerError when nothing is published from before `as_of`, when the models in the home or the declared
    features are no longer those that were published, or when the features are not materialized up to `as_of`;
    BusyError when the home is in use.
    """
    published = newest_published(home, as_of)
    trained = datetime.fromisoformat(published["as_of"])
    return run_step(
        home,
        as_of,
        "release_refresh",
        lambda: _refresh(home, published, as_of),
        inputs={
            "release": str(published["release"]),
            "offline_store": digest_files([home.offline_store]),
            "models": digest_files(
                [folder(home, trained) for folder in (retriever_folder, sources_folder, ranker_folder)]
            ),
            "requests": digest_files([requests_file(home, trained)]),
            "as_of": as_of.isoformat(),
        },
        outputs=[home.candidate(as_of)],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def newest_published(home: Home, as_of: datetime) -> dict[str, Any]:
    """The manifest of the stable release, or where that is later than `as_of`, of the latest one that is not.

    Raises TastemakerError when there is none, or when its models were trained for `as_of` itself.
    """
    folder, stable = home.models / names.MODEL_NAME, labelled_version(home, STABLE)
    found = [json.loads(path.read_text()) for path in folder.glob(f"[0-9]*/{manifest.FILE}")]
    if stable is not None:  # what is published and not stable was tried, or taken back
        answering = json.loads((folder / str(stable) / manifest.FILE).read_text())
        found = [answering] if datetime.fromisoformat(answering["as_of"]) <= as_of else found
    visible = [one for one in found if datetime.fromisoformat(one["as_of"]) <= as_of]
    if not visible:
        raise TastemakerError(
            f"No release in {folder} has models from before {as_of.isoformat()}, so there is "
            "none whose items could be refreshed; train one and publish it, with 'tastemaker release canary' and on."
        )
    newest = max(visible, key=lambda one: (one["as_of"], one["item_snapshot"]))
    if datetime.fromisoformat(newest["as_of"]) == as_of:
        raise TastemakerError(
            f"The release {newest['release']} was trained as of {as_of.isoformat()} and has the items of that moment; "
            "give a later --as-of to refresh them."
        )
    return dict(newest)


def _refresh(home: Home, published: Mapping[str, Any], as_of: datetime) -> Mapping[str, Any]:
    trained = datetime.fromisoformat(published["as_of"])
    config = Config.model_validate(published["parameters"])
    models = str(published["release"]).partition("+")[0]
    _require_same_features(published)
    now, then = made_of(home, config, trained), published.get("made_of", {})
    if any(now[part] != then.get(part) for part in ("retriever", "sources", "ranker")):
        raise TastemakerError(
            f"The models in {home.training(trained)} are not those of the published release {models}; "
            "publish what is there with 'tastemaker release build' and what follows, then refresh."
        )
    items = item_snapshots(home, [as_of])
    release = f"{models}+{as_of_slug(as_of)}-{_digest(items)[:8]}"
    graph = assembled(home, config, trained, items, as_of, release)
    content = {name: value for name, value in published.items() if name != "files"} | {
        "release": release,
        **manifest.described_items(as_of, config.candidates),
        "code": manifest.described_code(),
    }
    requests = newest_requests(home, config, trained)
    return {"items_as_of": as_of.isoformat(), **write_release(graph, home.candidate(as_of), content, requests)}


def _require_same_features(published: Mapping[str, Any]) -> None:
    """A model knows the features it was trained on, and no others."""
    for key, service in (("feature_service", names.RECOMMEND_V1), ("item_service", names.ITEM_V1)):
        then, now = (set(one["features"]) for one in (published[key], manifest.described_service(service)))
        if published[key]["schema_hash"] != manifest.described_service(service)["schema_hash"]:
            changed = ", ".join(sorted(then ^ now)) or "a type or the order"
            raise TastemakerError(
                f"The features of {service} have changed since the release {published['release']} was trained "
                f"({changed}); train a release with the new ones, 'tastemaker dataset' and what follows."
            )
    if list(published["ranker_features"]) != list(FEATURE_NAMES):
        changed = ", ".join(sorted(set(published["ranker_features"]) ^ set(FEATURE_NAMES))) or "their order"
        raise TastemakerError(
            f"The ranker's features have changed since the release {published['release']} was trained ({changed}); "
            "train it again with 'tastemaker train ranker'."
        )


def _digest(items: pa.Table) -> str:
    return digest_values(items.to_pylist())
