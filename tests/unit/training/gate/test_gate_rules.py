"""The rules on made-up answers: equals pass; 10 % worse, one slice worse, or a collapse, does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toys.judged_answers import CONFIG, answers

from tastemaker.config import ReleaseGateConfig
from training.evaluation.answers import Answers
from training.evaluation.judgement import judge, per_request
from training.evaluation.slices import slices_of
from training.evaluation.systems import CHAMPION, RELEASE
from training.gate import rules
from training.gate.rules import Ruling, rulings

GATE = ReleaseGateConfig(min_users=5)
FACED = {"version": 7, "release": "r0", "how": "replayed", "why": "", "requests": 96}


def figures_of(made: Answers, champion: dict[str, Any] | None = FACED) -> dict[str, Any]:
    figures, _ = judge(made, CONFIG)
    return figures | {"champion": champion}


def equal_champion(made: Answers) -> Answers:
    """The champion answers as the release does, probabilities and all."""
    lists = {**made.lists, CHAMPION: made.lists[RELEASE].copy()}
    surprise = {**made.surprise, CHAMPION: made.surprise[RELEASE]}
    pairs = replace(made.pairs, champion=made.pairs.probabilities.copy())
    return replace(made, lists=lists, surprise=surprise, pairs=pairs)


@pytest.fixture(scope="module")
def equals() -> Answers:
    made = answers(release=0.8, retriever_alone=0.5, popularity=0.1, ALS=0.5)
    right = made.pairs.labels > 0
    random = np.random.default_rng(5)
    sure = random.random(len(right)) < 0.9  # said .9, right in nine of ten
    probabilities = np.where(right == sure, 0.82, 0.05).astype(np.float32)
    return equal_champion(replace(made, pairs=replace(made.pairs, probabilities=probabilities)))


def worsened(made: Answers, chosen: Callable[[int], bool], places: int = 1, system: str = RELEASE) -> Answers:
    """A system without its first hits in the chosen requests: an item that nobody took stands there instead."""
    lists = made.lists[system].copy()
    for request, line in enumerate(lists):
        taken = set(made.relevant[made.owner == request].tolist())
        if chosen(request):
            hits = [place for place, item in enumerate(line) if item in taken][:places]
            line[hits] = [item for item in range(made.universe.unknown) if item not in {*taken, *line}][: len(hits)]
    return replace(made, lists={**made.lists, system: lists})


def failed(made: Answers | dict[str, Any], config: ReleaseGateConfig = GATE) -> list[Ruling]:
    figures = made if isinstance(made, dict) else figures_of(made)
    return [ruling for ruling in rulings(figures, config) if not ruling.passed]


def test_a_release_as_good_as_the_champion_passes_every_rule(equals):
    found = rulings(figures_of(equals), GATE)
    assert all(ruling.passed for ruling in found)
    subjects = {ruling.subject for ruling in found if ruling.rule == rules.NO_METRIC_WORSE}
    assert subjects == {
        *(
            f"{metric} against {other}"
            for metric in ("NDCG@5", "recall@5")
            for other in ("champion", "popularity", "ALS")
        ),
        "log-loss against champion",
        "calibration error against champion",
        "log-loss against always the mean",
    }
    judged = {ruling.subject for ruling in found if ruling.rule == rules.NO_SLICE_WORSE}
    assert judged == {f"{part.dimension}: {part.name}" for part in slices_of(equals)}
    assert {"items taken: long tail (the rest)", "customer: new: nothing known before"} < judged
    covered = {r.subject: r.bound is not None and r.low is not None for r in found if r.rule == rules.COVERAGE_KEPT}
    shown = {r.subject: r.bound is None and r.low is not None for r in found if r.subject.startswith("coverage")}
    assert covered == {"catalogue": True}
    assert shown == {"coverage against popularity": True, "coverage against ALS": True}


def test_ten_percent_worse_is_blocked(equals):
    worse = worsened(equals, lambda request: request % 5 == 0)
    ours, theirs = (np.nanmean(per_request(worse)[name]["ndcg"]) for name in (RELEASE, CHAMPION))
    assert 0.85 < ours / theirs < 0.95
    told = {ruling.subject: ruling for ruling in failed(worse)}
    assert told["NDCG@5 against champion"].high < 0
    assert told["NDCG@5 against champion"].sentence.endswith("against champion: worse, and not by chance.")


def test_one_slice_worse_is_blocked_and_named(equals):
    [new] = [part for part in slices_of(equals) if part.name == "new: nothing known before"]
    worse = worsened(equals, lambda request: bool(new.requests[request]))
    [slice_ruling] = [r for r in failed(worse) if r.rule == rules.NO_SLICE_WORSE and r.subject.startswith("customer")]
    assert slice_ruling.subject == "customer: new: nothing known before"
    assert slice_ruling.observed < slice_ruling.bound < 0
    assert "worse by more than 10 %" in slice_ruling.sentence
    lenient = ReleaseGateConfig(min_users=5, slice_margin=0.99)
    assert rules.NO_SLICE_WORSE not in {ruling.rule for ruling in failed(worse, lenient)}


def test_one_slice_worse_is_blocked_though_the_whole_is_better(equals):
    [new] = [part for part in slices_of(equals) if part.name == "new: nothing known before"]
    paid_for = worsened(equals, lambda request: not new.requests[request], system=CHAMPION)
    worse = worsened(paid_for, lambda request: bool(new.requests[request]))
    [whole] = [r for r in rulings(figures_of(worse), GATE) if r.subject == "NDCG@5 against champion"]
    assert whole.passed and whole.observed > 0.1
    told = failed(worse)
    assert {ruling.rule for ruling in told} == {rules.NO_SLICE_WORSE}
    assert "customer: new: nothing known before" in {ruling.subject for ruling in told}


def test_too_few_users_decide_nothing_about_a_slice_but_let_no_release_through(equals):
    strict = ReleaseGateConfig(min_users=1000)
    assert [ruling.rule for ruling in failed(equals, strict)] == [rules.ENOUGH_USERS]
    assert "at least 1000 are needed" in failed(equals, strict)[0].sentence


def test_a_release_no_better_than_the_best_sellers_is_blocked():
    made = answers(release=0.5, retriever_alone=0.5, popularity=0.5, ALS=0.1)
    assert rules.BETTER in {ruling.rule for ruling in failed(figures_of(made, None))}


def test_a_release_that_a_baseline_beats_is_blocked_unless_it_is_the_first():
    made = answers(release=0.4, champion=0.4, popularity=0.1, ALS=0.95)
    worse = {"NDCG@5 against ALS", "recall@5 against ALS"}
    assert worse <= {ruling.subject for ruling in failed(figures_of(made))}
    without = ReleaseGateConfig(min_users=5, baselines=("popularity",))
    assert not worse & {ruling.subject for ruling in failed(figures_of(made), without)}
    first = figures_of(answers(release=0.4, popularity=0.1, ALS=0.95), None)
    assert not [ruling for ruling in failed(first) if ruling.rule == rules.NO_METRIC_WORSE]
    shown = [ruling.sentence for ruling in rulings(first, GATE) if ruling.subject in worse]
    assert all(told.endswith("against ALS: worse, and not by chance; shown, not judged.") for told in shown) and shown


def test_a_first_release_has_to_beat_popularity_and_nobody_else(equals):
    lists = {name: places for name, places in equals.lists.items() if name != CHAMPION}
    first = figures_of(replace(equals, lists=lists, pairs=replace(equals.pairs, champion=None)), None)
    found = rulings(first, GATE)
    assert all(ruling.passed for ruling in found)
    assert rules.COVERAGE_KEPT not in {ruling.rule for ruling in found}
    assert all(CHAMPION not in ruling.sentence for ruling in found)
    [tail] = [ruling for ruling in found if ruling.subject == "items taken: long tail (the rest)"]
    assert "minus that of popularity" in tail.sentence and tail.sentence.endswith("shown, not judged.")


def test_an_incomparable_champion_is_named_and_stops_nobody(equals):
    lists = {name: places for name, places in equals.lists.items() if name != CHAMPION}
    made = replace(equals, lists=lists, pairs=replace(equals.pairs, champion=None))
    why = "The champion cannot answer: its signature rank needs user_shoe_size."
    found = rulings(figures_of(made, {**FACED, "how": "incomparable", "why": why, "requests": 0}), GATE)
    assert all(ruling.passed for ruling in found)
    [told] = [ruling for ruling in found if ruling.rule == rules.COMPARABLE]
    assert told.sentence == f"The champion is version 7, and incomparable; the rules of a first release hold. {why}"


def test_a_champion_asked_about_too_few_users_is_no_champion(equals):
    asked = np.zeros(len(equals.requests), bool)
    asked[-3:] = True
    few = figures_of(replace(equals, asked=asked))
    assert few["against"][CHAMPION]["ndcg"]["users"] == 3
    found = rulings(few, GATE)
    assert all(ruling.passed for ruling in found)
    assert not [ruling for ruling in found if ruling.subject.endswith("against champion")]
    assert "too few users" in found[1].sentence


def test_probabilities_that_mislead_are_blocked(equals):
    inflated = replace(equals.pairs, probabilities=np.sqrt(equals.pairs.probabilities))
    told = {ruling.subject: ruling for ruling in failed(replace(equals, pairs=inflated))}
    assert told["probabilities"].observed > told["probabilities"].bound
    assert told["calibration error against champion"].low > 0
    assert told["log-loss against champion"].low > 0
    assert set(told) <= {
        "probabilities",
        "calibration error against champion",
        "log-loss against champion",
        "log-loss against always the mean",
    }


def test_a_release_that_recommends_the_same_to_all_has_collapsed(equals):
    same = np.tile(np.arange(5), (len(equals.requests), 1))
    told = {r.rule for r in failed(replace(equals, lists={**equals.lists, RELEASE: same}))}
    assert rules.COVERAGE_KEPT in told and rules.COVERAGE not in told  # five of forty items are an eighth
    strict = ReleaseGateConfig(min_users=5, min_coverage=0.2)
    assert rules.COVERAGE in {r.rule for r in failed(replace(equals, lists={**equals.lists, RELEASE: same}), strict)}


def test_without_a_pair_there_is_nothing_to_believe(equals):
    figures = figures_of(equals)
    nothing = figures | {"probabilities": {"pairs": 0, "positives": 9, "reachable": 0}}
    assert [ruling.rule for ruling in failed(nothing)] == [rules.CALIBRATED]


def test_where_nothing_was_taken_nothing_is_let_through(equals):
    none = np.empty(0, equals.owner.dtype)
    barren = replace(equals, owner=none, relevant=none.astype(np.int32), head=none.astype(bool), age=none.astype(float))
    assert {rules.ENOUGH_USERS, rules.BETTER} <= {ruling.rule for ruling in failed(barren)}


def test_every_ruling_says_all_of_itself(equals):
    for ruling in rulings(figures_of(worsened(equals, lambda request: True)), GATE):
        assert ruling.sentence.endswith(".") and "None" not in ruling.sentence and "\n" not in ruling.sentence
