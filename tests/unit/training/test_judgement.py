"""Answers made up by hand: the verdict is honest, slices add up."""

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from toys import two_tastes as toy
from toys.judged_answers import NEWCOMER, answers, judged

from training.evaluation import slices
from training.evaluation.answers import HOUR, ages_of
from training.evaluation.judgement import per_request, per_request_table, quality_table, verdict
from training.evaluation.pictures import cumulative_places
from training.evaluation.slices import slices_of
from training.evaluation.systems import RELEASE, RETRIEVER
from training.feature_tensors import request_timestamps


def test_a_release_that_beats_everything_says_by_how_much():
    _, figures, _ = judged(release=0.9, retriever_alone=0.95, popularity=0.1, ALS=0.5)
    margin = figures["systems"]["ALS"]["release_minus_this"]
    assert verdict(figures) == (
        f"The release beats every baseline on NDCG@5 ({figures['systems']['release']['ndcg']['value']:.4f}): the "
        f"closest, ALS, by {margin['value']:.4f} (95 % interval {margin['low']:.4f} to {margin['high']:.4f})."
    )


def test_a_release_worse_than_a_baseline_says_so():
    _, figures, _ = judged(release=0.4, retriever_alone=0.4, popularity=0.1, ALS=0.95)
    gap = -figures["systems"]["ALS"]["release_minus_this"]["value"]
    told = verdict(figures)
    assert "does not beat every baseline" in told
    assert f"ALS is better by {gap:.4f}" in told
    assert told.endswith("It beats popularity.")


def test_an_interval_around_zero_is_called_chance():
    _, figures, _ = judged(release=0.5, retriever_alone=0.5, popularity=0.5)
    assert "could be chance" in verdict(figures)


def test_the_quality_table_begins_with_the_release_and_the_retriever():
    _, figures, _ = judged(release=0.9, retriever_alone=0.5, popularity=0.1)
    table = quality_table(figures)
    assert [row[0] for row in table["rows"]] == [RELEASE, RETRIEVER, "popularity"]
    assert table["columns"][:6] == ["system", "recall@5", "ndcg@5", "map@5", "coverage", "novelty"]
    assert table["rows"][0][-1] == "" and re.fullmatch(r"\+0\.\d+ \[\+0\.\d+, \+0\.\d+\]", table["rows"][2][-1])


def test_slices_of_a_dimension_are_a_partition():
    made = answers(release=0.9)
    parts = slices_of(made)
    assert {part.dimension for part in parts} >= {
        "customer",
        "events known",
        "spending",
        "age of items taken",
        "items taken",
    }
    for dimension in {part.dimension for part in parts}:
        of_it = [part for part in parts if part.dimension == dimension]
        assert len(of_it) > 1
        requests = np.sum([part.requests for part in of_it], axis=0)
        assert (requests == (len(of_it) if dimension in ("items taken", "age of items taken") else 1)).all()
        assert (np.sum([part.positives for part in of_it], axis=0) == 1).all()


def test_cold_starts_are_slices_of_their_own():
    made = answers(release=0.9)
    found = {(part.dimension, part.name): part for part in slices_of(made)}
    for row, counts in enumerate(made.requests["history_counts"].to_pylist()):
        events = sum(counts)
        name = "none" if not events else "1" if events == 1 else "2 to 5" if events <= 5 else "more than 5"
        assert [n for (d, n), part in found.items() if d == "events known" and part.requests[row]] == [name]
    moments = made.requests["request_timestamp"].to_pylist()
    first = min(moments[owner] for owner, item in zip(made.owner, made.relevant, strict=True) if item == NEWCOMER)
    seen = set()
    for place, (owner, item) in enumerate(zip(made.owner, made.relevant, strict=True)):
        old = moments[owner] - first
        young = "first hour" if old < timedelta(hours=1) else "first day" if old < timedelta(days=1) else None
        name = young if item == NEWCOMER and young else "older than a day"
        assert [n for (d, n), part in found.items() if d == "age of items taken" and part.positives[place]] == [name]
        seen.add((int(item) == NEWCOMER, name))
    assert seen == {(True, "first hour"), (True, "first day"), (True, "older than a day"), (False, "older than a day")}


def test_an_item_is_as_old_as_its_first_event_to_the_hour():
    requests = toy.requests(days=1).slice(0, 2)
    moments = request_timestamps(requests)
    first = [[int(moments[0]) - 47 * HOUR, int(moments[0])], [int(moments[1]) + HOUR // 2]]
    place = requests.column_names.index("positive_first_timestamps")
    assert ages_of(requests.set_column(place, "positive_first_timestamps", pa.array(first))).tolist() == [47, 0, -0.5]


def test_each_country_with_enough_requests_is_a_slice_however_many_there_are(monkeypatch):
    made = answers(release=0.9)
    big = [f"country {n}" for n in range(12)]
    countries = [big[n % 12] for n in range(len(made.requests) - 1)] + ["one request"]
    monkeypatch.setattr(slices, "BIG_COUNTRY_REQUESTS", 7)
    place = made.requests.column_names.index("user_country")
    table = made.requests.set_column(place, "user_country", pa.array(countries))
    named = [part.name for part in slices_of(replace(made, requests=table)) if part.dimension == "country"]
    assert sorted(named) == sorted([*big, "other or unknown"])


def test_slices_average_to_the_whole():
    made = answers(release=0.7)
    whole = per_request(made)[RELEASE]
    parts = [part for part in slices_of(made) if part.dimension == "customer"]
    sums = sum(np.nansum(per_request(made, part)[RELEASE]["ndcg"]) for part in parts)
    assert sums == pytest.approx(np.nansum(whole["ndcg"]))
    head, tail = (per_request(made, part)[RELEASE]["recall"] for part in slices_of(made)[-2:])
    shares = [np.bincount(made.owner, mask, len(whole["recall"])) / 3 for mask in (made.head, ~made.head)]
    together = np.nan_to_num(head) * shares[0] + np.nan_to_num(tail) * shares[1]
    np.testing.assert_allclose(together, whole["recall"])


def test_an_item_nobody_can_name_is_missed_not_hit():
    made = answers(release=1.0)
    made.relevant[made.owner == 0] = made.universe.unknown
    made.lists[RELEASE][0] = -1
    assert per_request(made)[RELEASE]["recall"][0] == 0


def test_one_row_per_request_and_system():
    made, _, found = judged(release=0.9, retriever_alone=0.5, popularity=0.1)
    table = per_request_table(made, found)
    assert len(table) == 3 * len(made.requests)
    means = table.filter(np.array(table["system"].to_pylist()) == RELEASE)["ndcg"].to_numpy().mean()
    assert means == pytest.approx(np.nanmean(found[RELEASE]["ndcg"]))


def test_places_on_items_are_cumulative_shares():
    shares = cumulative_places(answers(release=0.5))
    assert set(shares) == {RELEASE, "what was taken"}
    for share in shares.values():
        assert share[0] == 0 and share[-1] == 1 and (np.diff(share) >= 0).all() and len(share) == toy.ITEMS + 1
