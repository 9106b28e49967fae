"""The page of a run: it stands alone, says what was found, and accounts for every step before it."""

import html
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from toys import two_tastes as toy
from toys.judged_answers import answers, judged

from tastemaker import names
from tastemaker.config import ReleaseGateConfig
from tastemaker.errors import TastemakerError
from tastemaker.steps import StepReport, run_step
from training.evaluation.examples import examples_of
from training.evaluation.files import METRICS, PAGE, evaluation_folder
from training.evaluation.judgement import quality_table, verdict
from training.evaluation.pictures import pictures_of
from training.evaluation.report import STEPS, render, write_report
from training.gate.judge import verdict_of
from training.gate.rules import rulings
from training.release.manifest import described_windows
from training.splits import plan_windows

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
MANIFEST = {
    "release": "r1",
    "items": {"known": 40, "available": 40},
    "feature_service": {"name": "recommend_v1", "schema_hash": "0" * 64},
    "ranker_features": ["a"],
    "seeds": {"ranker": 1},
    "signatures": {"rank": {}},
    "code": {"git_commit": None, "packages": {}},
    "files": {"saved_model.pb": "0" * 64},
    "windows": described_windows(plan_windows(toy.CONFIG.split, AS_OF)),
}
REPORTS = {step: StepReport(step, "", 10.0 + place, 0.5, 300.0 + place, {}) for place, step in enumerate(names.STEPS)}


def page_of(figures, made, title="lamp"):
    titles = {toy.item_id(n): title for n in range(toy.ITEMS)}
    drawn = pictures_of(figures, made, {"history_count": 2.0}, {"validation_recall@20": [0.1, 0.2]})
    page = {
        "pictures": drawn,
        "examples": [asdict(one) for one in examples_of(made, titles)],
        "rows_from": "candidates",
    }
    return json.loads(json.dumps(page))


def drawn(title="lamp"):
    made, figures, _ = judged(release=0.9, retriever_alone=0.5, popularity=0.1, ALS=0.4)
    figures |= {"release": "r1", "compared_with_saved_model": 16, "requests_in_window": len(made.requests)}
    figures |= {"verdict": verdict(figures), "quality": quality_table(figures)}
    return figures, page_of(figures, made, title)


@pytest.fixture(scope="module")
def page():
    figures, parts = drawn()
    return figures, render(figures, parts, MANIFEST, REPORTS, AS_OF)


@pytest.fixture
def run(home):
    """A home whose run was judged; two of its steps have left a report."""
    figures, parts = drawn()
    folder = evaluation_folder(home, AS_OF)
    folder.mkdir(parents=True)
    (folder / METRICS).write_text(json.dumps(figures))
    (folder / PAGE).write_text(json.dumps(parts))
    home.candidate(AS_OF).mkdir(parents=True)
    (home.candidate(AS_OF) / "manifest.json").write_text(json.dumps(MANIFEST))
    for step in ("ingest", "evaluate"):
        run_step(home, AS_OF, step, dict, inputs={}, outputs=[])
    return home


def test_the_page_asks_nothing_of_the_network(page):
    _, text = page
    assert not re.findall(r"""(?:https?:)?//[a-z]|@import|url\((?!["']?#)|<(?:script|link|img|iframe)\b""", text)
    assert text.count("<svg") == 7


def test_the_page_says_what_was_found(page):
    figures, text = page
    assert figures["verdict"] in text
    assert "counts\nas missed" in text and "<b>candidates</b>" in text
    assert text.count("<h3>Customer") == 3
    for row in figures["quality"]["rows"]:
        assert f"<td>{row[0]}</td>" in text
    for window in ("retriever_train", "validation", "ranker", "calibration", "test"):
        assert f"<td>{window}</td>" in text


def test_every_rule_of_the_gate_is_on_the_page(page):
    figures, text = page
    assert "May it be published?" not in text  # nobody has judged it yet
    _, parts = drawn()
    rules = rulings({**figures, "champion": None}, ReleaseGateConfig(min_users=5, max_calibration_error=0.001))
    blocked = verdict_of("r1", "0" * 64, None, rules, None)
    told = render(figures, parts, MANIFEST, REPORTS, AS_OF, blocked)
    for rule in rules:
        assert f"<td>{rule.rule}</td><td>{html.escape(rule.subject, quote=True)}</td>" in told
        assert html.escape(rule.sentence, quote=True).replace("&#x27;", "&#39;") in told
    assert ">No</span>: " in told and told.count(">no</td>") == len([rule for rule in rules if not rule.passed]) > 0
    override = {"who": "ada <root>", "why": "a sale", "until": "2026-03-02T00:00:00+00:00"}
    let_pass = render(figures, parts, MANIFEST, REPORTS, AS_OF, {**blocked, "override": override})
    assert "ada &lt;root&gt; lets it pass\nuntil 2026-03-02T00:00:00+00:00: a sale" in let_pass
    passed = verdict_of("r1", "0" * 64, None, [rule for rule in rules if rule.passed], None)
    assert "Yes: it passed all" in render(figures, parts, MANIFEST, REPORTS, AS_OF, passed)


def test_every_step_before_the_page_has_its_seconds_and_memory(page):
    _, text = page
    number = r'<td class="n">([\d.]+)</td>'
    rows = re.findall(rf'<tr><td>(\w+)</td>{number}<td class="n">0.5</td>{number}</tr>', text)
    assert rows == [(step, f"{10.0 + place:.1f}", f"{300 + place}") for place, step in enumerate(STEPS)]
    assert names.STEPS[:-1] == STEPS and names.STEPS[-1] == "report"


def test_a_title_is_text_whatever_it_says():
    figures, parts = drawn("<script>alert(1)</script> $x_1$")
    text = render(figures, parts, MANIFEST, REPORTS, AS_OF)
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_drawing_twice_gives_the_same_bytes(page):
    made = answers(release=0.9, retriever_alone=0.5, popularity=0.1, ALS=0.4)
    assert render(page[0], page_of(page[0], made), MANIFEST, REPORTS, AS_OF) == page[1]


def test_the_step_shows_the_steps_there_were_and_is_not_repeated_for_nothing(run):
    assert not write_report(run, AS_OF).reused
    text = run.report(AS_OF).read_text()
    assert "<td>ingest</td>" in text and "<td>evaluate</td>" in text and "<td>dataset</td>" not in text
    assert write_report(run, AS_OF).reused
    run_step(run, AS_OF, "dataset", dict, inputs={}, outputs=[])
    assert not write_report(run, AS_OF).reused
    assert "<td>dataset</td>" in run.report(AS_OF).read_text()


def test_a_run_that_nobody_judged_has_no_page(home):
    with pytest.raises(TastemakerError, match="Nothing was judged for 2026-03-01 00:00 UTC"):
        write_report(home, AS_OF)
    assert not home.report(AS_OF).exists()


def test_figures_of_another_release_are_not_passed_off_as_this_ones(run):
    (run.candidate(AS_OF) / "manifest.json").write_text(json.dumps({**MANIFEST, "release": "r2"}))
    with pytest.raises(TastemakerError, match="are those of release r1, the candidate is r2"):
        write_report(run, AS_OF)
    assert not run.report(AS_OF).exists()
