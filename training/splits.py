"""Which requests teach, tune and judge: consecutive half-open windows that end at as_of, never shuffled."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from tastemaker.config import Grain, SplitConfig
from tastemaker.errors import TastemakerError
from tastemaker.moments import microseconds

TICKS: dict[Grain, timedelta] = {"day": timedelta(days=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Window:
    """The moments `start <= t < end`, aware UTC; no `start` means from the first event on."""

    name: str
    start: datetime | None
    end: datetime

    def contains(self, moments: np.ndarray) -> np.ndarray:
        """Which of the moments (int64 `[n]`, microseconds since 1970 UTC) lie inside: bool `[n]`."""
        inside = moments < microseconds(self.end)
        return inside if self.start is None else inside & (moments >= microseconds(self.start))

    def select(self, table: pa.Table, column: str = names.REQUEST_TIMESTAMP) -> pa.Table:
        """The rows whose timestamp in `column` lies inside, in their order."""
        moments = pc.cast(pc.cast(table[column], pa.timestamp("us")), pa.int64()).to_numpy()
        return table.filter(pa.array(self.contains(moments)))

    def ticks(self, grain: Grain) -> list[datetime]:
        """Every midnight, or full hour, UTC inside, earliest first. Raises ValueError for a window without a start."""
        if self.start is None:
            raise ValueError(f"The window {self.name} has no start, so its ticks cannot be listed.")
        length = TICKS[grain]
        since = self.start - datetime.min.replace(tzinfo=UTC)
        first = self.start + -since % length
        count = max(0, -((first - self.end) // length))
        return [first + n * length for n in range(count)]


@dataclass(frozen=True)
class Windows:
    """`… retriever_train | validation | ranker | calibration | test | as_of`, without gap or overlap."""

    retriever_train: Window
    validation: Window
    ranker: Window
    calibration: Window
    test: Window
    as_of: datetime

    def require_reach(self, earliest: datetime) -> None:
        """Raises TastemakerError when no event is old enough to train the retriever on.

        Args:
            earliest: the first request's moment, aware UTC.
        """
        if earliest >= self.retriever_train.end:
            days = (self.as_of - self.retriever_train.end).days
            raise TastemakerError(
                f"The first request is of {earliest:%Y-%m-%d %H:%M}, but the windows before {self.as_of:%Y-%m-%d} take "
                f"{days} days, so the retriever needs requests before {self.retriever_train.end:%Y-%m-%d}; "
                "choose a later as_of or shorter windows under 'split' in the config file."
            )


def plan_windows(split: SplitConfig, as_of: datetime) -> Windows:
    """The windows of a run.

    >>> from datetime import UTC
    >>> windows = plan_windows(SplitConfig(), datetime(2011, 12, 10, tzinfo=UTC))
    >>> f"{windows.test.start:%Y-%m-%d} {windows.retriever_train.end:%Y-%m-%d}"
    '2011-11-12 2011-10-01'
    """
    test = as_of - timedelta(days=split.test_days)
    calibration = test - timedelta(days=split.calibration_days)
    ranker = calibration - timedelta(days=split.ranker_days)
    validation = ranker - timedelta(days=split.validation_days)
    return Windows(
        retriever_train=Window("retriever_train", None, validation),
        validation=Window("validation", validation, ranker),
        ranker=Window("ranker", ranker, calibration),
        calibration=Window("calibration", calibration, test),
        test=Window("test", test, as_of),
        as_of=as_of,
    )
