"""Parts of the test window in which a good mean may hide a bad answer.

Slices of one dimension never overlap and together are everything: requests by customer, events known of the user,
spending, country and origin; taken items by age and by popularity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from training.evaluation.answers import Answers
from training.feature_tensors import column_of

DAY_HOURS = 24
NEW_DAYS = 30  # a customer's first month
WHOLESALE_SHARE = 0.1  # of the requests, those of the users with the largest value in 90 days
BIG_COUNTRY_REQUESTS = 30  # below, an interval says nothing; such countries are judged as one


@dataclass(frozen=True)
class Slice:
    """Which requests, bool `[requests]`, and which of the taken items, bool `[positives]`, are judged."""

    dimension: str
    name: str
    requests: np.ndarray
    positives: np.ndarray


def slices_of(answers: Answers) -> list[Slice]:
    """Every slice that has a request; a dimension with one slice only is left out."""
    table = answers.requests
    found: list[Slice] = []
    for dimension, parts in (
        ("customer", _customers(table)),
        ("events known", _events_known(table)),
        ("spending", _spending(table)),
        ("country", _countries(table)),
        ("origin", _origins(table)),
    ):
        kept = [(name, mask) for name, mask in parts if mask.any()]
        if len(kept) > 1:
            found += [Slice(dimension, name, mask, mask[answers.owner]) for name, mask in kept]
    everyone = np.ones(len(table), bool)
    found.append(Slice("items taken", "popular (half of all sales)", everyone, answers.head))
    found.append(Slice("items taken", "long tail (the rest)", everyone, ~answers.head))
    newcomers = [(name, mask) for name, mask in _item_ages(answers) if mask.any()]
    if len(newcomers) > 1:
        found[-2:-2] = [Slice("age of items taken", name, everyone, mask) for name, mask in newcomers]
    return found


def _events_known(table: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    """How cold a start the request's user is: events in the history that came with the request."""
    counts = column_of(table, "history_counts")
    owner = np.asarray(pc.list_parent_indices(counts))
    values = pc.list_flatten(counts).fill_null(0).to_numpy(zero_copy_only=False)
    events = np.bincount(owner, weights=values, minlength=len(table))
    yield "none", events == 0
    yield "1", events == 1
    yield "2 to 5", (events >= 2) & (events <= 5)
    yield "more than 5", events > 5


def _item_ages(answers: Answers) -> Iterator[tuple[str, np.ndarray]]:
    """How long anybody had wanted what was taken; "first day" is without its first hour."""
    yield "first hour", answers.age < 1
    yield "first day", (answers.age >= 1) & (answers.age < DAY_HOURS)
    yield "older than a day", answers.age >= DAY_HOURS


def _customers(table: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    tenure = _numbers(table, "user_tenure_days")
    yield "new: nothing known before", np.isnan(tenure)
    yield f"first {NEW_DAYS} days", tenure <= NEW_DAYS
    yield f"longer than {NEW_DAYS} days", tenure > NEW_DAYS


def _spending(table: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    value = np.nan_to_num(_numbers(table, "user_value_90d"))
    heavy = (value > 0) & (value >= np.quantile(value, 1 - WHOLESALE_SHARE))
    yield "wholesale: heaviest tenth", heavy
    yield "everyone else", ~heavy


def _countries(table: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    country = column_of(table, "user_country").cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
    known, counts = np.unique(country.astype(str), return_counts=True)
    order = np.lexsort((known, -counts))
    big = [known[i] for i in order if counts[i] >= BIG_COUNTRY_REQUESTS and known[i]]
    yield from ((str(name), country == name) for name in big)
    yield "other or unknown", ~np.isin(country.astype(str), big)


def _origins(table: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    origin = column_of(table, names.REQUEST_ORIGIN).to_numpy(zero_copy_only=False)
    yield from (
        (name, origin == name) for name in (names.ORIGIN_SESSION, names.ORIGIN_NEXT_ITEM, names.ORIGIN_IMPRESSIONS)
    )


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column = column_of(table, name).cast(pa.float64())
    return column.fill_null(float("nan")).to_numpy(zero_copy_only=False)
