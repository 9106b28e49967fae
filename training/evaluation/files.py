"""Where the files of an evaluation lie."""

from datetime import datetime
from pathlib import Path
from typing import Final

from tastemaker.home import Home

METRICS: Final = "metrics.json"
PER_REQUEST: Final = "requests.parquet"
PAGE: Final = "page.json"


def evaluation_folder(home: Home, as_of: datetime) -> Path:
    """What `evaluate` leaves: the figures, each request's, and the pictures and customers that the page shows."""
    return home.training(as_of) / "evaluation"
