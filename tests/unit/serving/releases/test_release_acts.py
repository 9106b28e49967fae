"""The life of releases without a server: labels, journal, quarantine, rollback, prune. Files alone tell the truth."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from toys.built_release import AS_OF, FIRST, build, no_server, says

from serving.releases import canary as canary_step
from serving.releases import verify as verify_step
from serving.releases.canary import canary
from serving.releases.comparison import Rule
from serving.releases.labels import Served, read_served, write_served
from serving.releases.listing import differences, releases, shown
from serving.releases.promote import make_stable, promote
from serving.releases.prune import prune
from serving.releases.quarantine import lift, put_away, records
from serving.releases.rollback import leave_damaged, roll_back
from serving.releases.verify import verify
from serving.releases.versions import published_versions, version_folder
from tastemaker import journal
from tastemaker.config import Config
from tastemaker.errors import GateFailedError, TastemakerError
from tastemaker.home import Home
from tastemaker.release_labels import labelled_version
from tastemaker.steps import digest_files
from tastemaker.verdict import candidate_digest, write_verdict

CONFIG = Config(version=1)
BAD = Rule("scores", 0.9, 0.5, False, "Its scores are 0.90 away.")


@pytest.fixture(autouse=True)
def _without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_step, "model_server", no_server)
    monkeypatch.setattr(verify_step, "_rules", lambda *_: [])
    monkeypatch.setattr(verify_step, "recorded_requests", lambda *_: [])


def release(home: Home, content: str = "graph", days: int = 0) -> int:
    """Builds and publishes as the DAG does; returns the version."""
    as_of = AS_OF + timedelta(days=days)
    build(home, content, as_of)
    version = canary(home, as_of, None).facts["version"]
    verify(home, CONFIG, as_of, None)
    promote(home, as_of, None)
    return int(version)


def acts(home: Home) -> list[tuple[str, int]]:
    return [(act["act"], act["version"]) for act in journal.read(home)]


def test_a_release_is_published_tried_compared_and_made_stable(home):
    build(home)
    canary(home, AS_OF, None)
    assert read_served(home).labels == {"canary": FIRST}
    verify(home, CONFIG, AS_OF, None)
    promote(home, AS_OF, None)
    assert read_served(home).labels == {"canary": FIRST, "stable": FIRST}
    assert read_served(home).versions == [FIRST]
    assert acts(home) == [("publish", FIRST), ("canary", FIRST), ("verify", FIRST), ("promote", FIRST)]
    assert labelled_version(home, "stable") == FIRST


def test_the_same_again_changes_nothing_at_all(home):
    release(home)
    before = digest_files([home.models])
    assert [canary(home, AS_OF, None).reused, verify(home, CONFIG, AS_OF, None).reused] == [True, True]
    assert promote(home, AS_OF, None).reused
    assert digest_files([home.models]) == before


def test_what_the_gate_has_blocked_or_not_judged_is_not_published(home):
    candidate = build(home)
    rule = {"passed": False, "sentence": "NDCG fell by a tenth."}
    blocked = {"passed": False, "candidate": candidate_digest(home, AS_OF), "rules": [rule], "override": None}
    write_verdict(home, AS_OF, {**blocked, "release": "graph"})
    with pytest.raises(GateFailedError, match="NDCG fell by a tenth"):
        canary(home, AS_OF, None)
    build(home)
    manifest = json.loads((candidate / "manifest.json").read_text())
    (candidate / "manifest.json").write_text(json.dumps({**manifest, "code": "newer"}))
    with pytest.raises(GateFailedError, match="was not judged as it is now"):
        canary(home, AS_OF, None)
    assert published_versions(home) == []
    assert journal.read(home) == []


def test_what_is_not_compared_is_not_promoted(home):
    release(home)
    later = AS_OF + timedelta(days=1)
    build(home, "other", later)
    with pytest.raises(TastemakerError, match="is no published version yet"):
        promote(home, later, None)
    canary(home, later, None)
    with pytest.raises(TastemakerError, match="has not been compared"):
        promote(home, later, None)
    assert read_served(home).stable == FIRST


def test_a_past_day_that_is_run_again_does_not_take_stable_back_in_time(home):
    newest = release(home, days=5)
    older = release(home, "older", days=1)
    assert read_served(home).labels == {"canary": newest, "stable": newest}
    assert published_versions(home) == [newest, older]


def test_a_canary_that_is_worse_is_put_away_and_its_bytes_never_come_back(home, monkeypatch):
    first = release(home)
    later = AS_OF + timedelta(days=1)
    monkeypatch.setattr(verify_step, "_rules", lambda *_: [BAD])
    build(home, "worse", later)
    worse = canary(home, later, None).facts["version"]
    with pytest.raises(GateFailedError, match=r"0\.90 away"):
        verify(home, CONFIG, later, None)
    assert read_served(home).labels == {"canary": first, "stable": first}
    assert published_versions(home) == [first]
    assert says(home.quarantined_releases / str(worse), "worse")
    for step in (lambda: canary(home, later, None), lambda: verify(home, CONFIG, later, None)):
        with pytest.raises(GateFailedError, match=r"in quarantine as version .*0\.90 away"):
            step()
    build(home, "worse", later)  # built again, the same bytes
    with pytest.raises(GateFailedError, match="in quarantine"):
        canary(home, later, None)
    build(home, "better", later)
    assert canary(home, later, None).facts["version"] == worse + 1  # no other release gets the number
    lift(home, worse, "the bound was wrong")
    build(home, "worse", later)
    assert canary(home, later, None).facts["version"] == worse
    assert [act for act, version in acts(home) if version == worse] == [
        "publish",
        "canary",
        "quarantine",
        "lift",
        "canary",
    ]


def test_the_stable_version_is_not_put_away_under_its_callers(home):
    version = release(home)
    with pytest.raises(TastemakerError, match="is stable"):
        put_away(home, version, "looks odd")
    assert records(home) == {}


def test_a_rollback_goes_to_what_was_stable_before_and_is_recorded(home):
    one, two = release(home), release(home, "two", days=1)
    first = roll_back(home, None, reason="wrong prices")
    assert (first.left, first.stable) == (two, one)
    assert read_served(home).labels == {"canary": one, "stable": one}
    last = journal.read(home)[-1]
    assert (last["act"], last["from"], last["version"], last["reason"]) == ("rollback", two, one, "wrong prices")
    assert roll_back(home, None) == first  # twice is once
    assert len(journal.read(home)) == 9
    with pytest.raises(GateFailedError, match=f"Version {two} was rolled back .*wrong prices"):
        canary(home, AS_OF + timedelta(days=1), None)
    with pytest.raises(GateFailedError, match=f"Version {two} was rolled back .*wrong prices"):
        promote(home, AS_OF + timedelta(days=1), None)  # as a scheduler does that tries a task again
    assert read_served(home).stable == one
    make_stable(home, two, None)
    assert roll_back(home, None).stable == one


def test_there_must_be_something_to_go_back_to(home):
    with pytest.raises(TastemakerError, match="Nothing is stable"):
        roll_back(home, None)
    version = release(home)
    with pytest.raises(TastemakerError, match=f"No sound version was stable before {version}"):
        roll_back(home, None)
    with pytest.raises(TastemakerError, match="There is no version 7"):
        roll_back(home, None, to=7)
    with pytest.raises(TastemakerError, match="stable already"):
        roll_back(home, None, to=version)


def test_a_rollback_passes_over_what_is_damaged_and_works_while_the_newest_is_broken(home):
    one, two, three = release(home), release(home, "two", days=1), release(home, "three", days=2)
    (version_folder(home, three) / "manifest.json").unlink()
    (version_folder(home, two) / "saved_model.pb").write_text("tw")
    assert roll_back(home, None).stable == one
    with pytest.raises(TastemakerError, match="is damaged"):
        roll_back(home, None, to=two)
    assert read_served(home).stable == one
    with pytest.raises(TastemakerError, match="damaged or changed"):
        make_stable(home, two, None)


def test_a_server_that_starts_with_a_damaged_stable_version_goes_back_by_itself(home):
    assert leave_damaged(home) is None
    one, two, three = release(home), release(home, "two", days=1), release(home, "three", days=2)
    assert leave_damaged(home) is None
    for damaged, good in ((three, two), (two, one)):
        (version_folder(home, damaged) / "saved_model.pb").write_bytes(b"")
        done = leave_damaged(home)
        assert done is not None
        assert (done.left, done.stable, read_served(home).stable) == (damaged, good, good)
        assert "was damaged" in journal.read(home)[-1]["reason"]
    (version_folder(home, one) / "saved_model.pb").write_bytes(b"")
    with pytest.raises(TastemakerError, match="No sound version"):
        leave_damaged(home)


def test_prune_keeps_what_serves_the_newest_and_what_a_rollback_needs(home):
    versions = [release(home, str(day), days=day) for day in range(6)]
    roll_back(home, None, to=versions[1])
    assert prune(home, keep=2) == versions[2:4]
    assert published_versions(home) == [versions[5], versions[4], versions[1], versions[0]]
    assert roll_back(home, None, to=versions[0]).left == versions[1]
    assert prune(home, keep=2) == [versions[1]]
    assert prune(home, keep=2) == []


def test_the_list_and_the_pages_tell_labels_states_and_differences(home):
    one, two = release(home), release(home, "two", days=1)
    roll_back(home, None, reason="wrong prices")
    newest, oldest = releases(home)
    assert (newest.version, newest.labels, newest.release) == (two, [], "two")
    assert "rolled back" in newest.state
    assert (oldest.labels, oldest.metrics) == (["canary", "stable"], {"ndcg@20": 0.25})
    assert [release.state for release in releases(home, "127.0.0.1:1")][1] == "server not reachable"
    put_away(home, two, "wrong prices")
    assert releases(home)[-1].state.startswith("quarantine: wrong prices")
    rows = dict(shown(home, two))
    assert rows["files"] == "sound"
    assert "wrong prices" in rows["quarantine"]
    changed = {name: (a, b) for name, a, b in differences(home, one, two)}
    assert changed["release"] == ("graph", "two")
    assert set(changed) == {"release", "as_of", "files.saved_model.pb"}


def test_the_model_config_says_what_it_was_told_and_no_nonsense_is_taken(home):
    for served in (Served(), Served({"stable": 2, "canary": 3}, frozenset({7}), {"id": "x", "act": "promote"})):
        write_served(home, served)
        assert read_served(home) == served
    home.model_config.write_text("model_config_list { confg { } }")
    with pytest.raises(TastemakerError, match="is no ModelServerConfig"):
        read_served(home)


def test_the_record_of_a_quarantined_version_says_why(home, tmp_path: Path):
    release(home)
    two = release(home, "two", days=1)
    roll_back(home, None)
    put_away(home, two, "wrong prices")
    record = json.loads((home.quarantined_releases / f"{two}.json").read_text())
    assert (record["version"], record["reason"], record["act"]["act"]) == (two, "wrong prices", "quarantine")
