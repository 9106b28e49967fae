"""A mean is compared with a week before only where the window is long enough to be steady."""

import great_expectations.expectations as gxe

from quality.feature_profile import FeatureWeek, TableWeek
from quality.feature_suite import ENOUGH_ROWS, feature_suites
from tastemaker.config import GatesConfig
from tastemaker.feature_tables import feature_tables


def test_windows_of_a_day_and_less_are_not_held_against_a_week_before() -> None:
    before = {
        table.name: TableWeek(ENOUGH_ROWS, {f.name: FeatureWeek(null_share=0.0, mean=5.0) for f in table.features})
        for table in feature_tables().values()
    }
    [activity] = [suite for suite in feature_suites(before, GatesConfig()) if suite.table == "item_activity"]
    compared = {e.column for e in activity.expectations if isinstance(e, gxe.ExpectColumnMeanToBeBetween)}
    windows = {name for name in compared if name.startswith("item_interactions_")}
    assert windows == {"item_interactions_7d", "item_interactions_30d", "item_interactions_90d"}
