"""The users an inverted file is measured with: those of the last requests before the test window."""

from collections.abc import Callable
from datetime import datetime
from functools import cache

import numpy as np

from tastemaker.config import Config
from tastemaker.home import Home
from training.datasets.files import read_dataset, requests_file
from training.feature_tensors import query_tensors
from training.splits import plan_windows

Users = dict[str, np.ndarray]
SAMPLE_USERS = 256  # × 200 items: recall to a tenth of a percent
SEED = 20111210


def sample_users(home: Home, config: Config, as_of: datetime) -> Callable[[], Users]:
    """A function that reads, once and only when it is called, requests drawn from the calibration window.

    Args:
        as_of: of the models.

    Returns:
        What `query_tensors` makes of up to SAMPLE_USERS requests. The function raises TastemakerError when the training
        sets are not there.
    """

    @cache
    def users() -> Users:
        requests = plan_windows(config.split, as_of).calibration.select(read_dataset(requests_file(home, as_of)))
        count = min(SAMPLE_USERS, len(requests))
        chosen = np.random.default_rng(SEED).choice(len(requests), count, replace=False)
        return query_tensors(requests.take(np.sort(chosen)))

    return users
