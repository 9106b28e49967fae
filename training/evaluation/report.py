"""The step `report`: the HTML page of one run, whole in one file: what it was, how good, how sure, how long it took.

The last step of a run, and one that runs even where an earlier one stopped it. It draws and computes nothing: it sets
what the steps have left on one page, so it needs neither TensorFlow nor NumPy.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.steps import StepReport, digest_files, digest_values, read_reports, run_step, write_atomically
from tastemaker.verdict import read_verdict
from training.evaluation.files import METRICS, PAGE, evaluation_folder
from training.evaluation.systems import RELEASE, closest_rival, interval_text

TEMPLATE = Path(__file__).with_name("report.html.j2")
STEPS = tuple(name for name in names.STEPS if name != "report")
EXPLAINED = {
    "recall": "share of what was taken that is in the list",
    "NDCG": "the same, counting more what is nearer the top; 1 is the best possible list",
    "MAP": "mean precision down to each hit",
    "coverage": "share of the catalogue that is recommended to somebody",
    "novelty": "mean surprise of a recommended item in bits; a best-seller has few",
}
PURPOSES = {
    "retriever_train": "the retriever learns",
    "validation": "the retriever stops early",
    "ranker": "the ranker learns; the served retriever is brought up to date",
    "calibration": "the ranker's probability is calibrated; the served retriever is brought up to date",
    "test": "every figure on this page",
}


def write_report(home: Home, as_of: datetime) -> StepReport:
    """Makes `reports/<as_of>.html` from what the run's steps have left.

    Raises TastemakerError when `evaluate` has not judged the candidate that is there; BusyError when the home is in
    use.
    """
    folder, manifest_file = evaluation_folder(home, as_of), home.candidate(as_of) / "manifest.json"
    if not (folder / PAGE).exists() or not manifest_file.exists():
        raise TastemakerError(
            f"Nothing was judged for {as_of:%Y-%m-%d %H:%M} UTC, so there is nothing to report; "
            f"run `tastemaker evaluate --as-of {as_of:%Y-%m-%dT%H:%M}` first."
        )
    figures = json.loads((folder / METRICS).read_text())
    manifest = json.loads(manifest_file.read_text())
    if figures["release"] != manifest["release"]:
        raise TastemakerError(
            f"The figures in {folder} are those of release {figures['release']}, the candidate is "
            f"{manifest['release']}; run `tastemaker evaluate --as-of {as_of:%Y-%m-%dT%H:%M}` again."
        )
    steps = {name: found for name, found in read_reports(home, as_of).items() if name in STEPS}
    verdict = read_verdict(home, as_of)

    def work() -> dict[str, Any]:
        page = json.loads((folder / PAGE).read_text())
        write_atomically(home.report(as_of), render(figures, page, manifest, steps, as_of, verdict))
        return {"report": str(home.report(as_of).relative_to(home.root))}

    return run_step(
        home,
        as_of,
        "report",
        work,
        inputs={
            "figures": digest_files([folder / METRICS, folder / PAGE]),
            "manifest": digest_files([manifest_file]),
            "verdict": digest_values(verdict),
            "steps": digest_values([[step.step, step.fingerprint, step.seconds] for step in steps.values()]),
        },
        outputs=[home.report(as_of)],
        code=[*code_of(__name__), TEMPLATE],
    )


def render(
    figures: Mapping[str, Any],
    page: Mapping[str, Any],
    manifest: Mapping[str, Any],
    steps: Mapping[str, StepReport],
    as_of: datetime,
    verdict: Mapping[str, Any] | None = None,
) -> str:
    """The page. A pure function of its arguments: the same bytes whenever it is called.

    Args:
        page: `pictures` (name → SVG), `examples` (customers to look at) and `rows_from`, as `evaluate` left them.
        verdict: the gate's; None where it has not judged.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rival = closest_rival(figures)
    return environment.get_template(TEMPLATE.name).render(
        figures=figures,
        verdict=verdict,
        quality=figures["quality"],
        explained=EXPLAINED,
        rival=rival,
        slices=_slice_rows(figures, rival),
        worse=worse_slices(figures, rival),
        pictures={name: Markup(text) for name, text in page["pictures"].items()},
        examples=page["examples"],
        steps=[steps[name] for name in STEPS if name in steps],
        windows=_window_rows(manifest["windows"]),
        manifest=_manifest_rows(manifest),
        rows_from=page["rows_from"],
        as_of=f"{as_of:%Y-%m-%d %H:%M} UTC",
    )


def worse_slices(figures: Mapping[str, Any], rival: str) -> list[str]:
    """The slices in which the rival's NDCG is higher, with an interval that excludes zero."""
    margins = [(f"{part['dimension']} – {part['name']}", part["release_minus"][rival]) for part in figures["slices"]]
    return [
        f"{name} ({interval_text(margin)})"
        for name, margin in margins
        if margin["high"] is not None and margin["high"] < 0
    ]


def _slice_rows(figures: Mapping[str, Any], rival: str) -> list[list[Any]]:
    rows = []
    for part in figures["slices"]:
        margin = part["release_minus"][rival]
        rows.append(
            [
                part["dimension"],
                part["name"],
                part["requests"],
                part["users"],
                part["positives"],
                part["recall"][RELEASE]["value"],
                part["ndcg"][RELEASE]["value"],
                part["ndcg"][rival]["value"],
                "" if margin["value"] is None else interval_text(margin),
            ]
        )
    return rows


def _window_rows(windows: Mapping[str, Mapping[str, str | None]]) -> list[tuple[str, str, str, str]]:
    def day(moment: str | None) -> str:
        return moment[:10] if moment else "first event"

    in_order = sorted(windows, key=lambda name: str(windows[name]["end"]))
    return [(name, day(windows[name]["start"]), day(windows[name]["end"]), PURPOSES[name]) for name in in_order]


def _manifest_rows(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    code = manifest["code"]
    return [
        ("release", manifest["release"]),
        ("items known / available", f"{manifest['items']['known']:,} / {manifest['items']['available']:,}"),
        ("feature service", manifest["feature_service"]["name"]),
        ("its schema", manifest["feature_service"]["schema_hash"][:16]),
        ("ranker features", str(len(manifest["ranker_features"]))),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in manifest["seeds"].items())),
        ("signatures", ", ".join(sorted(manifest["signatures"]))),
        ("git commit", code["git_commit"] or "none: not a repository"),
        ("packages", ", ".join(f"{name} {version}" for name, version in code["packages"].items())),
        ("files", ", ".join(f"{name} ({digest[:8]})" for name, digest in manifest["files"].items())),
    ]
