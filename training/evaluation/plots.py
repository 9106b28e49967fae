"""The report's pictures: figures to SVG text that follows the page's own colors and asks nothing of the network."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.evaluation.systems import CHAMPION, RELEASE, RETRIEVER

INK = "#0a0b0c"  # replaced by currentColor: one drawing for a light and a dark page
COLORS = {RELEASE: "#2f7de1", RETRIEVER: "#7fb2f0", CHAMPION: "#1f3f77"}
OTHERS = ("#e08a1e", "#3aa387", "#b069c9", "#d1556b", "#8a8f98")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tastemaker",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "legend.frameon": False,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}color": INK for part in ("edge", "label")},
}


def color_of(systems: Sequence[str]) -> dict[str, str]:
    """Each system's color, the same in every picture."""
    others = [system for system in systems if system not in COLORS]
    return {system: COLORS.get(system) or OTHERS[others.index(system) % len(OTHERS)] for system in systems}


def svg(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """What `draw` puts on a figure of so many inches, as one `<svg>` element without outward references."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # inline in HTML an svg element needs no namespace
    return re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", re.sub(r' height="[^"]*pt"', "", text, count=1)).replace(
        INK, "currentColor"
    )


def systems(figures: Mapping[str, Any]) -> str:
    """NDCG and recall of every system, with intervals."""
    found = figures["systems"]
    names = list(found)
    colors = [color_of(names)[name] for name in names]

    def draw(figure: Figure) -> None:
        for axes, metric in zip(_row(figure, 2, sharey=True), ("ndcg", "recall"), strict=True):
            values, errors = _with_errors([found[name][metric] for name in names])
            bars = axes.barh(names, values, xerr=errors, color=colors, error_kw={"ecolor": INK, "lw": 1, "capsize": 3})
            axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=6)
            axes.set_title(f"{_called(metric)}@{figures['k']}")
            axes.margins(x=0.15)
            axes.set_xlim(left=0)
            axes.invert_yaxis() if metric == "ndcg" else None
            axes.grid(axis="x")

    return svg(9.5, 0.45 * len(names) + 0.7, draw)


def slices(figures: Mapping[str, Any], rival: str) -> str:
    """NDCG of the release and of its closest rival in every slice, and their difference."""
    parts = figures["slices"]
    labels = [f"{part['name']}  ({part['requests_with_positives']:,})" for part in parts]
    places = np.arange(len(parts), dtype=float)
    places += np.cumsum([0.0, *(0.6 * (a["dimension"] != b["dimension"]) for a, b in pairwise(parts))])
    colors = color_of(list(figures["systems"]))

    def draw(figure: Figure) -> None:
        left, right = _row(figure, 2, sharey=True)
        for system, shift in ((RELEASE, -0.15), (rival, 0.15)):
            values, errors = _with_errors([part["ndcg"][system] for part in parts])
            left.errorbar(values, places + shift, xerr=errors, fmt="o", ms=5, color=colors[system], label=system)
        left.set_yticks(places, labels)
        left.set_title(f"NDCG@{figures['k']} (requests)")
        left.set_xlim(left=0)
        left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2)
        values, errors = _with_errors([part["release_minus"][rival] for part in parts])
        right.errorbar(values, places, xerr=errors, fmt="o", ms=5, color=COLORS[RELEASE])
        right.axvline(0, color=INK, lw=1)
        right.set_title(f"release minus {rival}")
        left.invert_yaxis()
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.grid(axis="x")

    return svg(9.5, 0.34 * len(parts) + 1.2, draw)


def reliability(probabilities: Mapping[str, Any]) -> str:
    """Predicted against observed rate in bins of equal numbers, above the histogram of the probabilities."""
    predicted, observed = np.array(probabilities["predicted"]), np.array(probabilities["observed"])
    edges, counts = np.array(probabilities["histogram"]["edges"]), np.array(probabilities["histogram"]["counts"])

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        floor = min(*predicted[predicted > 0], *observed[observed > 0], 0.5) / 1.5
        above.plot([floor, 1], [floor, 1], color=INK, lw=1, ls=":", label="as predicted")
        above.plot(predicted, np.maximum(observed, floor), "o-", color=COLORS[RELEASE], label="observed")
        above.set(xscale="log", yscale="log", ylabel="share taken")
        above.set_title(f"each point: {probabilities['counts'][0]:,} pairs")
        above.legend()
        below.stairs(counts, edges, fill=True, color=COLORS[RELEASE], alpha=0.6)
        below.set(xlabel="predicted probability", ylabel="pairs", xlim=(floor, 1))
        below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        for axis in (above.xaxis, above.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        for axes in (above, below):
            axes.grid()

    return svg(4.7, 4.2, draw)


def days(figures: Mapping[str, Any]) -> str:
    """NDCG of every system, and the number of requests, day by day."""
    parts = figures["days"]
    labels = [part["day"][5:] for part in parts]
    colors = color_of(list(figures["systems"]))

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        for system, color in colors.items():
            values = [np.nan if part["ndcg"][system] is None else part["ndcg"][system] for part in parts]
            ours = system == RELEASE
            above.plot(labels, values, color=color, lw=2.5 if ours else 1.3, marker="o", ms=3, label=system)
        above.set_ylabel(f"NDCG@{figures['k']}")
        above.set_ylim(bottom=0)
        above.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        below.bar(labels, [part["requests"] for part in parts], color=INK, alpha=0.35)
        below.set_ylabel("requests")
        below.tick_params(axis="x", rotation=90)
        for axes in (above, below):
            axes.grid(axis="y")

    return svg(9.5, 3.9, draw)


def bars(values: Mapping[str, float], label: str) -> str:
    """Horizontal bars, in the order given."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(list(values), list(values.values()), color=COLORS[RELEASE])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.grid(axis="x")

    return svg(4.7, 0.25 * len(values) + 0.6, draw)


def curve(values: Sequence[float], title: str) -> str:
    """A value after every epoch; the best is marked."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        epochs = np.arange(1, len(values) + 1)
        best = int(np.argmax(values))
        axes.plot(epochs, values, "o-", color=COLORS[RELEASE], ms=4)
        axes.plot(epochs[best], values[best], "o", ms=11, mfc="none", mec=INK)
        axes.annotate(f"{values[best]:.4f}", (epochs[best], values[best]), (0, -18), textcoords="offset points")
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.2)
        axes.grid()

    return svg(4.7, 3.0, draw)


def popularity(shares: Mapping[str, np.ndarray]) -> str:
    """How the places of the lists fall on the items, most popular first.

    Args:
        shares: system → cumulative share `[items + 1]`, from 0 to 1.
    """
    colors = color_of([name for name in shares if name != TAKEN])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, share in shares.items():
            taken = name == TAKEN
            at = np.unique(np.linspace(0, len(share) - 1, 200).astype(int))
            color, style, width = (INK, ":", 2) if taken else (colors[name], "-", 2.5 if name == RELEASE else 1.3)
            axes.plot(100 * at / (len(share) - 1), 100 * share[at], color=color, ls=style, lw=width, label=name)
        axes.set(xlabel="items, most popular first, %", ylabel="of all list places, %", xlim=(0, 100), ylim=(0, 101))
        axes.legend(fontsize=9)
        axes.grid()

    return svg(4.7, 3.6, draw)


TAKEN = "what was taken"


def _row(figure: Figure, count: int, **options: Any) -> list[Axes]:
    return list(np.atleast_1d(figure.subplots(1, count, **options)))


def _with_errors(estimates: Sequence[Mapping[str, float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Values `[n]` and distances to both ends of the interval `[2, n]`; null is NaN, which is not drawn."""
    table = np.array([[e["value"], e["low"], e["high"]] for e in estimates], float)
    errors = np.stack([table[:, 0] - table[:, 1], table[:, 2] - table[:, 0]])
    return table[:, 0], np.maximum(errors, 0)


def _called(metric: str) -> str:
    return {"ndcg": "NDCG", "recall": "recall", "map": "MAP"}[metric]
