"""The step `release build`: retriever, ranker and the items as of `as_of` become one SavedModel with its manifest."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tastemaker import names
from tastemaker.config import Config
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.moments import as_of_slug
from tastemaker.steps import StepReport, digest_files, digest_values, read_reports, run_step
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import snapshot_of
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import CALIBRATION, ranker_folder
from training.release import golden, manifest, ranker_forest, saved_model, warmup
from training.release.fused_graph import FusedRecommender
from training.release.item_masks import BAKED_BYTES
from training.release.sample_users import sample_users
from training.retrieval.fit import retriever_folder
from training.retrieval.two_tower import TwoTower
from training.sources.trained import TrainedSources, sources_folder
from training.splits import plan_windows

FALLBACK_ITEMS = 100  # popular items in the manifest, for a caller whose model server does not answer


def build_release(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `candidates/<as_of>/`: SavedModel, `assets.extra/`, `manifest.json`; written beside, then renamed.

    Raises TastemakerError when the training sets, the retriever or the ranker are not there; BusyError when the home
    is in use.
    """
    return run_step(
        home,
        as_of,
        "release_build",
        lambda: _build(home, config, as_of),
        inputs={**made_of(home, config, as_of), "requests": digest_files([requests_file(home, as_of)])},
        outputs=[home.candidate(as_of)],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def made_of(home: Home, config: Config, as_of: datetime) -> dict[str, str]:
    """Digests of everything a release is made of."""
    return {
        "items": digest_files([items_file(home, as_of)]),
        "retriever": digest_files([retriever_folder(home, as_of)]),
        "sources": digest_files([sources_folder(home, as_of)]),
        "ranker": digest_files([ranker_folder(home, as_of)]),
        "config": digest_values(config.until_judged()),
        "as_of": as_of.isoformat(),
    }


def release_name(home: Home, config: Config, as_of: datetime) -> str:
    """The name a release answers with: the slug of `as_of`, and eight digits of what it is made of."""
    return f"{as_of_slug(as_of)}-{digest_values(made_of(home, config, as_of))[:8]}"


def fused_recommender(home: Home, config: Config, as_of: datetime, release: str) -> FusedRecommender:
    """The complete graph, ready to be saved: published retriever, compiled ranker, the snapshot of `as_of`."""
    items = read_dataset(items_file(home, as_of))
    return assembled(home, config, as_of, items, as_of, release)


def assembled(
    home: Home, config: Config, as_of: datetime, items: pa.Table, items_as_of: datetime, release: str
) -> FusedRecommender:
    """The retriever and the ranker trained for `as_of` in one graph, with the items as of another moment.

    Args:
        items: item snapshots, among them that of `items_as_of`; the graph knows their items and no others.
        release: the name it answers with.
    """
    tower = TwoTower.load(retriever_folder(home, as_of))
    ranker = ranker_folder(home, as_of)
    calibration = Calibration.load(ranker / CALIBRATION)
    graph = FusedRecommender(
        tower,
        items,
        config.candidates,
        config.features.history_length,
        config.features.neighbours,
        sample_users(home, config, as_of),
        TrainedSources.load(sources_folder(home, as_of)),
    )
    graph.load_snapshot(snapshot_of(items, items_as_of), items_as_of)
    graph.attach_ranker(ranker_forest.ranker_forest(ranker, split=True), calibration, release)
    return graph


def newest_requests(home: Home, config: Config, as_of: datetime) -> pa.Table:
    """The requests of the test window of `as_of`, from which golden ones are drawn."""
    return plan_windows(config.split, as_of).test.select(read_dataset(requests_file(home, as_of)))


def write_release(
    graph: FusedRecommender, final: Path, content: Mapping[str, Any], requests: pa.Table
) -> dict[str, Any]:
    """Writes SavedModel, warm-up records, golden requests and manifest beside `final`, then renames.

    Args: `requests`: from which golden ones are drawn. Returns the step's facts.
    """
    beside = final.with_name(f".{final.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        saved_model.write_saved_model(graph, beside)
        popular = graph.snapshot.popular_item_ids(FALLBACK_ITEMS)
        records = warmup.write_warmup(beside, popular)
        asked = golden.golden_requests(requests, list(graph.universe.item_ids), popular)
        recorded = golden.write_golden(beside, asked, golden.answers_of(graph))
        manifest.write_manifest(beside, {**content, **_described_items(graph, popular)})
        shutil.rmtree(final, ignore_errors=True)
        beside.replace(final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {
        "release": content["release"],
        "items": len(graph.universe.item_ids),
        "available_items": int(graph.snapshot.available_count.numpy()),
        "warmup_records": records,
        "golden_requests": recorded,
        "operations": len(saved_model.operations(final)),
        "megabytes": round(sum(p.stat().st_size for p in final.rglob("*") if p.is_file()) / 1e6, 1),
    }


def _build(home: Home, config: Config, as_of: datetime) -> Mapping[str, Any]:
    release = release_name(home, config, as_of)
    graph = fused_recommender(home, config, as_of, release)
    content = _manifest(home, config, as_of, release)
    return write_release(graph, home.candidate(as_of), content, newest_requests(home, config, as_of))


def _manifest(home: Home, config: Config, as_of: datetime, release: str) -> dict[str, Any]:
    reports = read_reports(home, as_of)
    return {
        "format": 1,
        "model": names.MODEL_NAME,
        "release": release,
        "as_of": as_of.isoformat(),
        **manifest.described_items(as_of, config.candidates),
        "windows": manifest.described_windows(plan_windows(config.split, as_of)),
        "feature_service": manifest.described_service(names.RECOMMEND_V1),
        "item_service": manifest.described_service(names.ITEM_V1),
        "ranker_features": list(FEATURE_NAMES),
        "parameters": config.model_dump(mode="json"),
        "made_of": made_of(home, config, as_of),
        "seeds": {"retriever": config.retriever.seed, "ranker": config.ranker.seed},
        "metrics": {
            step: reports[step].facts
            for step in ("train_retriever", "train_sources", "train_ranker")
            if step in reports
        },
        "candidate_sources": {"lengths": config.candidates.counts(), "blend": blend_of(home, as_of)},
        "signatures": manifest.described_signatures(),
        "code": manifest.described_code(),
    }


def blend_of(home: Home, as_of: datetime) -> dict[str, Any]:
    """How the sources' lists are put in one order: weights by name, and the offset of a rank."""
    blend = TrainedSources.load(sources_folder(home, as_of)).blend
    return {"weights": dict(blend.weights), "offset": blend.offset}


def _described_items(graph: FusedRecommender, popular: list[str]) -> dict[str, Any]:
    masks = graph.item_masks
    assert masks is not None, "attach_ranker comes first"
    return {
        "items": {
            "known": len(graph.universe.item_ids),
            "available": int(graph.snapshot.available_count.numpy()),
            "popular": popular,
        },
        "item_index": graph.index.described(),
        "item_masks": {"baked": masks.baked, "bytes": masks.bytes, "baked_up_to_bytes": BAKED_BYTES},
    }
