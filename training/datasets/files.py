"""Where the training sets lie, and how one is read."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker.errors import TastemakerError
from tastemaker.home import Home


def datasets_folder(home: Home, as_of: datetime) -> Path:
    """Where the training sets of one `as_of` lie."""
    return home.training(as_of) / "datasets"


def requests_file(home: Home, as_of: datetime) -> Path:
    """One row per request: `fct_requests` and `recommend_v1` as of the request."""
    return datasets_folder(home, as_of) / "requests.parquet"


def items_file(home: Home, as_of: datetime) -> Path:
    """The item snapshots: one row per item and `day`."""
    return datasets_folder(home, as_of) / "items.parquet"


def read_dataset(path: Path) -> pa.Table:
    """Reads one training set. Raises TastemakerError when it was not built."""
    if not path.exists():
        raise TastemakerError(f"There is no training set at {path}; build it with 'tastemaker dataset'.")
    return pq.read_table(path)
