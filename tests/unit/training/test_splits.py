"""Windows: consecutive, half-open, ending at as_of."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tastemaker.config import SplitConfig
from tastemaker.errors import TastemakerError
from tastemaker.moments import microseconds
from training.splits import Window, plan_windows

AS_OF = datetime(2011, 12, 10, tzinfo=UTC)


def parts() -> list[Window]:
    w = plan_windows(SplitConfig(), AS_OF)
    return [w.retriever_train, w.validation, w.ranker, w.calibration, w.test]


def test_every_moment_before_as_of_lies_in_exactly_one_window():
    moments = np.array([microseconds(AS_OF) - n * 3_600_000_000 for n in range(1, 100 * 24)])
    inside = np.array([window.contains(moments) for window in parts()])
    assert (inside.sum(axis=0) == 1).all()


def test_a_window_takes_its_start_and_leaves_its_end():
    test = plan_windows(SplitConfig(), AS_OF).test
    assert test.start is not None
    edges = np.array(
        [microseconds(test.start) - 1, microseconds(test.start), microseconds(AS_OF) - 1, microseconds(AS_OF)]
    )
    assert test.contains(edges).tolist() == [False, True, True, False]


def test_the_default_split_starts_seventy_days_before_as_of():
    assert parts()[0].end == AS_OF - timedelta(days=7 + 28 + 7 + 28)


def test_select_keeps_the_rows_inside_in_their_order():
    moments = [AS_OF - timedelta(days=1), AS_OF - timedelta(days=40), AS_OF - timedelta(days=2)]
    table = pa.table({"n": [1, 2, 3], "request_timestamp": pa.array([m.replace(tzinfo=None) for m in moments])})
    assert plan_windows(SplitConfig(), AS_OF).test.select(table)["n"].to_pylist() == [1, 3]


@pytest.mark.parametrize("hour", [0, 12])
@pytest.mark.parametrize(("grain", "ticks", "hours"), [("day", 28, {0}), ("hour", 28 * 24, set(range(24)))])
def test_ticks_are_those_inside_the_window(hour, grain, ticks, hours):
    test = plan_windows(SplitConfig(), AS_OF.replace(hour=hour)).test
    found = test.ticks(grain)
    assert len(set(found)) == ticks
    assert all(test.contains(np.array([microseconds(m) for m in found])))
    assert {m.hour for m in found} == hours
    assert all((m.minute, m.second, m.microsecond) == (0, 0, 0) for m in found)


def test_a_window_that_begins_between_ticks_has_its_first_tick_after():
    test = plan_windows(SplitConfig(test_days=1), AS_OF + timedelta(minutes=1)).test
    assert test.ticks("hour")[0] == AS_OF - timedelta(hours=23)
    assert test.ticks("hour")[-1] == AS_OF
    assert test.ticks("day") == [AS_OF]


def test_data_that_does_not_reach_back_is_told_with_dates():
    windows = plan_windows(SplitConfig(), AS_OF)
    windows.require_reach(windows.retriever_train.end - timedelta(seconds=1))
    with pytest.raises(TastemakerError, match="2011-10-01"):
        windows.require_reach(windows.retriever_train.end)
