"""How sure a mean is: users are drawn again, with all their requests, because a user's requests resemble each other."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

SAMPLES_AT_ONCE = 50  # of 1,000 resamples, users × items of 100,000 items: 20 MB


@dataclass(frozen=True)
class Estimate:
    """A mean, and a percentile interval; NaN where there is nothing to take a mean of."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


class UserBootstrap:
    """Resamples of the users, the same for every system and slice: differences are paired (Efron & Tibshirani 1993).

    Args:
        users: `[requests]`, whose request each is.
        samples: how many resamples.
        confidence: coverage of each interval.
        seed: of the resampling.
    """

    def __init__(self, users: np.ndarray, samples: int, confidence: float, seed: int) -> None:
        _, self._owner = np.unique(users, return_inverse=True)
        self.users = int(self._owner.max(initial=-1)) + 1
        draws = np.random.default_rng(seed)
        share = np.full(self.users, 1 / max(1, self.users))
        self._weights = draws.multinomial(self.users, share, size=samples).astype(np.float64)  # [samples, users]
        self._percentiles = [50 * (1 - confidence), 50 * (1 + confidence)]

    def mean(self, values: np.ndarray) -> Estimate:
        """The mean over requests of `values` `[requests]`; NaN is no request."""
        counted = np.isfinite(values)
        if not counted.any():
            return Estimate(float("nan"), float("nan"), float("nan"))
        sums = np.bincount(self._owner, np.where(counted, values, 0.0), self.users)
        counts = np.bincount(self._owner, counted, self.users)
        drawn = self._weights @ counts
        means = (self._weights @ sums)[drawn > 0] / drawn[drawn > 0]
        low, high = np.percentile(means, self._percentiles)
        return Estimate(float(values[counted].mean()), float(low), float(high))

    def difference(self, ours: np.ndarray, theirs: np.ndarray) -> Estimate:
        """The mean over requests of `ours − theirs`, both `[requests]`."""
        return self.mean(ours - theirs)

    def users_of(self, values: np.ndarray) -> int:
        """How many users have a value among `values` `[requests]`."""
        return len(np.unique(self._owner[np.isfinite(values)]))

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """Sums over the requests of every resample: `[requests, …]` → `[samples, …]`."""
        by_user = np.zeros((self.users, *values.shape[1:]))
        np.add.at(by_user, self._owner, values)
        return np.asarray(self._weights @ by_user)

    def ratio(self, sums: np.ndarray, counts: np.ndarray) -> Estimate:
        """A mean over something that requests have several of: `sums` and `counts` `[requests]`, 0 where none."""
        if not counts.sum():
            return Estimate(float("nan"), float("nan"), float("nan"))
        counted = self.drawn(counts)
        kept = counted > 0
        low, high = np.percentile(self.drawn(sums)[kept] / counted[kept], self._percentiles)
        return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))

    def distinct(self, ranked: np.ndarray) -> np.ndarray:
        """How many different items are in the lists of every resample: `[requests, k]` → int `[samples]`."""
        request, place = np.nonzero(ranked >= 0)
        pairs = (self._owner[request], ranked[request, place])
        listed = sp.csr_matrix((np.ones(len(request), np.float32), pairs), (self.users, int(ranked.max(initial=0)) + 1))
        parts = np.array_split(self._weights, max(1, len(self._weights) // SAMPLES_AT_ONCE))
        return np.concatenate([np.count_nonzero((part > 0).astype(np.float32) @ listed, axis=1) for part in parts])

    def around(self, value: float, draws: np.ndarray) -> Estimate:
        """An interval of the spread of `draws` `[samples]` around `value`, for figures that resampling alone moves.

        A resample has two thirds of the users, so its lists have fewer different items, and their repeated requests
        make any calibration error larger; that shift is the resampling's own and is taken out.
        """
        low, high = np.percentile(draws - draws.mean(), self._percentiles)
        return Estimate(value, float(value + low), float(value + high))
