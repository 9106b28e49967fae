"""The step `dataset`: training sets in which every row sees only what was known at its own moment."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import feature_repo
from tastemaker import names
from tastemaker.config import Config, FeaturesConfig
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_files, run_step
from training.datasets.files import datasets_folder, items_file, requests_file
from training.datasets.item_snapshots import DAY, item_snapshot_parts, snapshot_days
from training.datasets.parts import write_parts
from training.datasets.requests import requests_with_features, visible_requests
from training.splits import Windows, plan_windows


def build_datasets(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `requests.parquet` and `items.parquet` of one `as_of`.

    Raises TastemakerError when there is no warehouse, no materialized feature, or the data does not reach back far
    enough for the windows of the config; BusyError when the home is in use.
    """
    return run_step(
        home,
        as_of,
        "dataset",
        lambda: _build(home, plan_windows(config.split, as_of), config.features),
        inputs={
            "warehouse": digest_files([home.warehouse]),
            "offline_store": digest_files([home.offline_store]),
            "as_of": as_of.isoformat(),
            "split": config.split.model_dump_json(),
            "features": config.features.model_dump_json(),
        },
        outputs=[datasets_folder(home, as_of)],
        code=[*code_of(__name__), Path(feature_repo.__file__).parent, FEATURES_FOLDER],  # whose YAML is read, too
    )


def _build(home: Home, windows: Windows, features: FeaturesConfig) -> Mapping[str, Any]:
    parts = visible_requests(home, windows.as_of)
    first = next(parts)
    earliest = first[names.REQUEST_TIMESTAMP][0].as_py().replace(tzinfo=UTC)
    windows.require_reach(earliest)
    days = snapshot_days(windows, earliest, features.grain)
    judged = (windows.retriever_train, windows.validation, windows.ranker, windows.calibration, windows.test)
    by_window, snapshots, moments = Counter[str](), 0, set[datetime]()

    def requests() -> Iterator[pa.Table]:
        for part in chain([first], parts):
            by_window.update({window.name: len(window.select(part)) for window in judged})
            yield requests_with_features(home, part, features.history_length)

    def items() -> Iterator[pa.Table]:
        nonlocal snapshots
        for part in item_snapshot_parts(home, days):
            snapshots += len(part)
            moments.update(pc.unique(part[DAY]).to_pylist())
            yield part

    write_parts(requests(), requests_file(home, windows.as_of))
    write_parts(items(), items_file(home, windows.as_of))
    return {
        "requests": by_window.total(),
        "requests_by_window": dict(by_window),
        "item_snapshots": snapshots,
        "snapshot_days": len(moments),
    }
