"""What must hold of the feature rows before anything is materialized: volume and distribution against a week before."""

import great_expectations.expectations as gxe

from quality.feature_profile import TableWeek
from quality.validation import Suite
from tastemaker.config import GatesConfig
from tastemaker.feature_tables import FeatureTable, feature_tables

# Below this many rows a mean or a share says little: one wholesale customer moves it.
ENOUGH_ROWS = 100
# A short window is empty after every closed day, or quiet hour, which is no drift.
UNSTEADY_SUFFIXES = ("_1h", "_6h", "_1d")


def feature_suites(before: dict[str, TableWeek], gates: GatesConfig) -> list[Suite]:
    """One suite per feature table that had enough rows a week before; a table's first week is only checked for rows."""
    return [_suite(table, before[table.name], gates) for table in feature_tables().values()]


def _suite(table: FeatureTable, week: TableWeek, gates: GatesConfig) -> Suite:
    if week.rows < ENOUGH_ROWS:
        return Suite(table=table.name, expectations=[])
    low, high = week.rows / gates.feature_rows_factor, week.rows * gates.feature_rows_factor
    expectations: list[gxe.Expectation] = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=int(low),
            max_value=int(high),
            meta={
                "rule": f"{table.entity}s with a row in force must be within a factor {gates.feature_rows_factor:g} "
                f"of the {week.rows} a week before"
            },
        )
    ]
    for feature in table.features:
        figures = week.features[feature.name]
        present = max(0.0, 1 - figures.null_share - gates.feature_null_margin)
        expectations.append(
            gxe.ExpectColumnValuesToNotBeNull(
                column=feature.name,
                mostly=present,
                meta={
                    "rule": f"at least {present:.0%} of rows must have a value; a week before "
                    f"{1 - figures.null_share:.0%} had"
                },
            )
        )
        if figures.mean and not feature.name.endswith(UNSTEADY_SUFFIXES):
            bounds = sorted((figures.mean / gates.feature_mean_factor, figures.mean * gates.feature_mean_factor))
            expectations.append(
                gxe.ExpectColumnMeanToBeBetween(
                    column=feature.name,
                    min_value=bounds[0],
                    max_value=bounds[1],
                    meta={
                        "rule": f"the mean ({feature.unit}) must be within a factor {gates.feature_mean_factor:g} of "
                        f"the {figures.mean:.4g} a week before"
                    },
                )
            )
    return Suite(table=table.name, expectations=expectations, row_names=(table.key, "event_timestamp"))
