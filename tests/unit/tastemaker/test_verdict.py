"""Who may publish: a candidate that passed, or one that somebody answers for, until a stated moment."""

from datetime import UTC, datetime, timedelta

import pytest

from tastemaker import journal
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.verdict import candidate_digest, override_verdict, read_verdict, require_passed, write_verdict

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


def judged(home: Home, *, passed: bool) -> Home:
    home.candidate(AS_OF).mkdir(parents=True)
    (home.candidate(AS_OF) / "manifest.json").write_text('{"release": "r1"}')
    rules = [
        {"rule": "calibration", "passed": True, "sentence": "Fine."},
        {"rule": "metric", "passed": passed, "sentence": "NDCG@20 is worse than the champion's."},
    ]
    verdict = {"format": 1, "release": "r1", "candidate": candidate_digest(home, AS_OF)}
    write_verdict(home, AS_OF, {**verdict, "passed": passed, "rules": rules, "override": None})
    return home


def test_what_passed_may_be_published_and_needs_no_override(home):
    assert require_passed(judged(home, passed=True), AS_OF)["release"] == "r1"
    with pytest.raises(TastemakerError, match="needs no override"):
        override_verdict(home, AS_OF, who="ada", why="in a hurry", hours=1)


def test_what_is_blocked_says_why(home):
    with pytest.raises(GateFailedError, match=r"r1 is blocked: NDCG@20 is worse than the champion's\.$"):
        require_passed(judged(home, passed=False), AS_OF)


def test_what_fails_many_rules_names_the_first_and_counts_the_others(home):
    verdict = read_verdict(judged(home, passed=False), AS_OF)
    failed = [{"rule": "slice", "passed": False, "sentence": f"Slice {number} is worse."} for number in range(7)]
    write_verdict(home, AS_OF, {**verdict, "rules": [verdict["rules"][0], *failed]})
    shown = " ".join(one["sentence"] for one in failed[:5])
    with pytest.raises(GateFailedError) as refused:
        require_passed(home, AS_OF)
    assert str(refused.value) == f"The release r1 is blocked: {shown} 2 more of 8 rules failed; the report shows all."


def test_what_nobody_judged_is_not_published(home):
    with pytest.raises(TastemakerError, match="no release candidate"):
        require_passed(home, AS_OF)
    judged(home, passed=True)
    home.verdict(AS_OF).unlink()
    with pytest.raises(GateFailedError, match="was not judged as it is now"):
        require_passed(home, AS_OF)


def test_an_override_is_logged_and_holds_for_its_time(home):
    override_verdict(judged(home, passed=False), AS_OF, who=" ada ", why="the champion sells nothing new", hours=2)
    [line] = journal.read(home)
    now = datetime.now(UTC)
    assert (line["act"], line["who"], line["why"]) == ("override", "ada", "the champion sells nothing new")
    assert line["candidate"] == candidate_digest(home, AS_OF) and "NDCG@20" in line["failed"]
    assert timedelta(hours=1.9) < datetime.fromisoformat(line["until"]) - now <= timedelta(hours=2)
    assert require_passed(home, AS_OF)["override"]["who"] == "ada"
    with pytest.raises(GateFailedError, match=r"the override by ada ended at .* UTC: NDCG@20"):
        require_passed(home, AS_OF, now=now + timedelta(hours=2, seconds=1))


def test_an_override_is_for_one_candidate(home):
    override_verdict(judged(home, passed=False), AS_OF, who="ada", why="known", hours=2)
    (home.candidate(AS_OF) / "manifest.json").write_text('{"release": "r2"}')
    assert read_verdict(home, AS_OF) is None
    with pytest.raises(GateFailedError, match="was not judged as it is now"):
        require_passed(home, AS_OF)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"who": " "}, "a person and a reason"),
        ({"why": ""}, "a person and a reason"),
        ({"hours": 0}, "at most 168"),
        ({"hours": 1000}, "belongs under 'release_gate'"),
        ({"hours": float("nan")}, "more than 0"),
    ],
)
def test_an_override_without_a_name_a_reason_or_an_end_is_refused(home, changes, told):
    with pytest.raises(TastemakerError, match=told):
        override_verdict(judged(home, passed=False), AS_OF, **{"who": "ada", "why": "known", "hours": 1.0, **changes})
    assert not journal.read(home)


def test_a_damaged_verdict_is_named(home):
    judged(home, passed=True)
    home.verdict(AS_OF).write_text("{}")
    with pytest.raises(TastemakerError, match=r"verdict\.json is no verdict of the gate"):
        require_passed(home, AS_OF)
