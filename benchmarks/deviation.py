"""How far seeds lie apart."""

from collections.abc import Sequence

import numpy as np


def deviation(values: Sequence[float]) -> float:
    """The standard deviation that a sample tells of (over n − 1); 0 for one value, which tells nothing.

    >>> deviation([1.0, 3.0]) == 2**0.5, deviation([7.0])
    (True, 0.0)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
