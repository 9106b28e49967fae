"""The rules: what a release must be by itself, and what it must not lose against whom it replaces.

A pure function of what `evaluate` found and of `release_gate` in the config file. A difference counts when its paired
interval lies wholly on the bad side of zero. Where there is no champion, or none that can be compared, nothing can be
lost: then the release has to be better than popularity, and the other differences are shown without being judged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tastemaker.config import ReleaseGateConfig
from training.evaluation.current_champion import INCOMPARABLE
from training.evaluation.systems import CHAMPION, CONSTANT, NO_BASELINES, POPULARITY, RELEASE, interval_text

ENOUGH_USERS = "enough users"
COMPARABLE = "champion"
BETTER = "better than popularity"
NO_METRIC_WORSE = "no metric worse"
NO_SLICE_WORSE = "no slice worse"
CALIBRATED = "calibrated"
COVERAGE = "coverage"
COVERAGE_KEPT = "coverage kept"

HIGHER_IS_BETTER = {"ndcg": True, "recall": True, "log_loss": False, "calibration_error": False}


@dataclass(frozen=True)
class Ruling:
    """One rule held against one figure.

    Attributes:
        rule, subject: which rule, and about what.
        observed, low, high: the figure, and its interval where it has one.
        bound: what it is held against.
        passed: whether the release may go on as far as this rule is concerned.
        sentence: all of it in words.
    """

    rule: str
    subject: str
    observed: float | None
    bound: float | None
    passed: bool
    sentence: str
    low: float | None = None
    high: float | None = None


def rulings(figures: Mapping[str, Any], config: ReleaseGateConfig) -> list[Ruling]:
    """Every rule, in the order of the page.

    Args:
        figures: `metrics.json` of the evaluation.
    """
    facing = comparable_champion(figures, config)
    found = [_enough_users(figures, config)]
    if figures["champion"] is not None:
        found.append(_champion(figures, facing))
    found.append(_better(figures))
    found += _metrics(figures, config, facing)
    found += _slices(figures, config, facing)
    found += [_calibrated(figures, config), _coverage(figures, config)]
    if facing:
        found.append(_coverage_kept(figures, config))
    found += _coverage_beside(figures)
    return found


def comparable_champion(figures: Mapping[str, Any], config: ReleaseGateConfig) -> bool:
    """Whether there is a champion whose answers, to enough users, can be held against the release's."""
    champion = figures["champion"]
    if champion is None or champion["how"] == INCOMPARABLE:
        return False
    return int(figures["against"][CHAMPION]["ndcg"]["users"]) >= config.min_users


def _enough_users(figures: Mapping[str, Any], config: ReleaseGateConfig) -> Ruling:
    users = int(figures["against"][POPULARITY]["ndcg"]["users"])
    passed = users >= config.min_users
    return Ruling(
        ENOUGH_USERS,
        "test window",
        users,
        config.min_users,
        passed,
        f"{users} users took something in the test window; "
        + ("enough to judge by." if passed else f"at least {config.min_users} are needed to judge by."),
    )


def _champion(figures: Mapping[str, Any], facing: bool) -> Ruling:
    """Never a reason to stop: a champion that cannot be compared would else stand for ever."""
    champion = figures["champion"]
    who = f"The champion is version {champion['version']}"
    if facing:
        told = f"{who}, {champion['how']} on {champion['requests']} requests. {champion['why']}"
    elif champion["how"] == INCOMPARABLE:
        told = f"{who}, and incomparable; the rules of a first release hold. {champion['why']}"
    else:
        told = f"{who}, and could be asked about too few users; the rules of a first release hold. {champion['why']}"
    return Ruling(COMPARABLE, f"version {champion['version']}", champion["requests"], None, True, told.strip())


def _better(figures: Mapping[str, Any]) -> Ruling:
    found = figures["against"][POPULARITY]["ndcg"]
    margin = found["difference"]
    passed = margin["low"] is not None and margin["low"] > 0
    text = "no figure" if margin["value"] is None else _compared("ndcg", found, figures["k"])
    told = "better than the best-sellers." if passed else "not better than the best-sellers by more than chance."
    return _ruling(BETTER, _named("ndcg", figures["k"]), margin, 0.0, passed, f"{text}: {told}")


def _metrics(figures: Mapping[str, Any], config: ReleaseGateConfig, facing: bool) -> Iterator[Ruling]:
    """Every figure against everyone who has it; coverage, of which more is not always better, has rules of its own."""
    others = [CHAMPION] if facing else []
    others += [name for name in figures["systems"] if name not in NO_BASELINES]
    must_not_lose = (POPULARITY, CONSTANT, *((CHAMPION, *config.baselines) if facing else ()))
    for other in (*others, CONSTANT):
        for metric, higher in HIGHER_IS_BETTER.items():
            found = figures["against"].get(other, {}).get(metric)
            if found is None or (other == CONSTANT and metric != "log_loss"):
                continue
            subject = f"{_named(metric, figures['k'])} against {other}"
            margin = found["difference"]
            if margin["value"] is None:
                yield _ruling(NO_METRIC_WORSE, subject, margin, 0.0, True, f"{subject}: no figure to compare.")
                continue
            worse = margin["high"] < 0 if higher else margin["low"] > 0
            told = f"{_compared(metric, found, figures['k'])} against {other}: "
            told += "worse, and not by chance" if worse else "not worse by more than chance"
            if other in must_not_lose:
                yield _ruling(NO_METRIC_WORSE, subject, margin, 0.0, not worse, f"{told}.")
            else:
                yield _ruling(NO_METRIC_WORSE, subject, margin, None, True, f"{told}; shown, not judged.")


def _slices(figures: Mapping[str, Any], config: ReleaseGateConfig, facing: bool) -> Iterator[Ruling]:
    """Against popularity none is judged: for those who want best-sellers it is the best list there can be."""
    other = CHAMPION if facing else POPULARITY
    for part in figures["slices"]:
        subject = f"{part['dimension']}: {part['name']}"
        margin, users = part["release_minus"][other], part["users_compared"][other]
        if users < config.min_users or margin["value"] is None:
            told = f"{subject}: {users} users to compare, fewer than the {config.min_users} that a judgement needs."
            yield _ruling(NO_SLICE_WORSE, subject, margin, None, True, told)
            continue
        bound = -config.slice_margin * part["ndcg"][other]["value"]
        worse = margin["value"] < bound and margin["high"] < 0
        told = f"{subject}: NDCG@{figures['k']} minus that of {other} is {interval_text(margin)}; "
        if not facing:
            yield _ruling(NO_SLICE_WORSE, subject, margin, None, True, f"{told}shown, not judged.")
            continue
        told += (
            f"worse by more than {100 * config.slice_margin:g} % ({bound:+.4f}), and not by chance."
            if worse
            else f"not worse by more than {100 * config.slice_margin:g} % ({bound:+.4f})."
        )
        yield _ruling(NO_SLICE_WORSE, subject, margin, bound, not worse, told)


def _calibrated(figures: Mapping[str, Any], config: ReleaseGateConfig) -> Ruling:
    found = figures["probabilities"]
    if not found["pairs"]:
        return Ruling(CALIBRATED, "probabilities", None, None, False, "There is no pair to judge a probability by.")
    error, bound = found["calibration_error"], config.max_calibration_error * found["share_of_positives"]
    passed = error <= bound
    told = f"Calibration error {error:.4f}, {'at' if passed else 'not at'} most {bound:.4f}: "
    told += f"{100 * config.max_calibration_error:g} % of the {found['share_of_positives']:.4f} that were taken."
    return Ruling(CALIBRATED, "probabilities", error, bound, passed, told)


def _coverage(figures: Mapping[str, Any], config: ReleaseGateConfig) -> Ruling:
    """Of a large catalogue and few requests no lists could hold more than so much."""
    possible = min(1.0, figures["requests"] * figures["k"] / figures["catalogue"])
    share, bound = figures["systems"][RELEASE]["coverage"], config.min_coverage * possible
    passed = share >= bound
    told = f"{100 * share:.1f} % of the catalogue is recommended to somebody, "
    told += f"{'at least' if passed else 'less than'} {100 * bound:.1f} %."
    return Ruling(COVERAGE, "catalogue", share, bound, passed, told)


def _coverage_kept(figures: Mapping[str, Any], config: ReleaseGateConfig) -> Ruling:
    found = figures["against"][CHAMPION]["coverage"]
    bound = config.kept_coverage * found["other"]
    passed = found["release"] >= bound
    told = f"{100 * found['release']:.1f} % of the catalogue against the champion's {100 * found['other']:.1f} %: "
    told += f"{'at least' if passed else 'less than'} {100 * config.kept_coverage:g} % of it."
    return _ruling(COVERAGE_KEPT, "catalogue", found["difference"], bound, passed, told, observed=found["release"])


def _coverage_beside(figures: Mapping[str, Any]) -> Iterator[Ruling]:
    """Of the baselines' coverage none is judged: lists drawn by lot would have the most."""
    for other in (name for name in figures["systems"] if name not in NO_BASELINES):
        found = figures["against"][other]["coverage"]
        told = f"{100 * found['release']:.1f} % of the catalogue to the {100 * found['other']:.1f} % of {other}, "
        told += f"{interval_text(found['difference'])}; shown, not judged."
        yield _ruling(COVERAGE, f"coverage against {other}", found["difference"], None, True, told)


def _ruling(
    rule: str,
    subject: str,
    margin: Mapping[str, float | None],
    bound: float | None,
    passed: bool,
    sentence: str,
    observed: float | None = None,
) -> Ruling:
    seen = margin["value"] if observed is None else observed
    return Ruling(rule, subject, seen, bound, passed, sentence, margin["low"], margin["high"])


def _compared(metric: str, found: Mapping[str, Any], k: int) -> str:
    return f"{_named(metric, k)} {found['release']:.4f} to {found['other']:.4f}, {interval_text(found['difference'])}"


def _named(metric: str, k: int) -> str:
    """As people write it.

    >>> _named("ndcg", 20), _named("log_loss", 20)
    ('NDCG@20', 'log-loss')
    """
    return {"ndcg": f"NDCG@{k}", "recall": f"recall@{k}"}.get(
        metric, metric.replace("log_loss", "log-loss").replace("_", " ")
    )
