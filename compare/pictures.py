"""Three pictures of a comparison, each to be read in ten seconds. Figures in, one PNG out; nothing is computed here but layout.

Colours are Okabe and Ito's (2008), one per paradigm in all pictures. matplotlib is imported when a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compare.paradigms import NAMES
from compare.score import BY_KEY, Mean, Metric, Scored, over_days
from compare.verdict import promises

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, LIGHT, INK = "#9AA3AB", "#DDE2E6", "#22282D"
COLOURS = {"rating": GREY, "5kw": "#CC79A7", "equal": "#009E73", "anm": "#D55E00", "doe": "#56B4E9", "market": "#0072B2"}
LOSSES = (
    ("curtailed_kwh", "sun curtailed", "#E69F00"),
    ("unserved_kwh", "demand unserved", INK),
    ("car_missing_kwh", "car charge missing", GREY),
)
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10.5, "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.grid": True, "grid.color": LIGHT, "grid.linewidth": 0.7, "axes.axisbelow": True,
    "legend.frameon": False, "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip
PICTURES = {
    "security.png": "Left: how long actual powers break a limit. Right: what the worst corner of all that is allowed would do.",
    "energy.png": "What homes did not get, and what the rest was worth to them.",
    "fairness.png": "Every home on every day, from the worst served to the best.",
}


def draw(folder: Path, days: Sequence[Scored], caption: str) -> None:
    """All three."""
    for name, picture in (("security.png", _security), ("energy.png", _energy), ("fairness.png", _fairness)):
        picture(folder / name, days, caption)


@contextmanager
def _figure(path: Path, title: str, caption: str, height: float) -> Iterator[Figure]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=(12.5, height), layout="constrained")
        figure.get_layout_engine().set(rect=(0.008, 0.06, 0.984, 0.86))
        figure.text(0.012, 0.985, title, fontsize=15, fontweight="bold", va="top")
        figure.text(0.012, 0.012, caption, fontsize=8, color="#5B646B", va="bottom")
        try:
            yield figure
            figure.savefig(path, dpi=120, metadata={"Software": None})
        finally:
            plt.close(figure)


def _bars(axes: Axes, days: Sequence[Scored], metric: Metric, title: str) -> None:
    """A bar with its interval and its figure per paradigm, the first one on top."""
    found = [over_days(days, name, metric) for name in NAMES]
    reach = max(one.mean + (one.half or 0.0) for one in found) or 1.0
    for place, (name, one) in enumerate(zip(NAMES, found, strict=True)):
        axes.barh(place, one.mean, xerr=one.half, color=COLOURS[name], ecolor=INK, capsize=3, height=0.66)
        axes.text(one.mean + (one.half or 0.0) + 0.015 * reach, place, _short(one), va="center", fontweight="bold")
    axes.set_title(title)
    axes.set_xlim(0, 1.16 * reach)
    _named(axes)


def _named(axes: Axes) -> None:
    axes.set_yticks(range(len(NAMES)), list(NAMES.values()))
    axes.set_ylim(len(NAMES) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _short(one: Mean) -> str:
    return f"{one.mean:,.0f}" if one.mean >= 10 or one.mean == 0 else f"{one.mean:.1f}"


def _security(path: Path, days: Sequence[Scored], caption: str) -> None:
    with _figure(path, "Who keeps the network inside its limits?", caption, 4.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _bars(left, days, BY_KEY["minutes_broken"], "Minutes a day with a broken limit, in AC at actual powers")
        for place, name in enumerate(NAMES):
            kept = promises(days, name)
            share = 100 * kept[0] / kept[1] if kept else 0.0
            words = "no promise" if kept is None else f"{share:.0f} % can be broken" if share else "no corner found that does"
            right.barh(place, share, color=COLOURS[name], height=0.66)
            right.text(share + 2 if share < 60 else 3, place, words, va="center", fontweight="bold", color="white" if share >= 60 else INK)
        right.set_xlim(0, 105)
        right.grid(visible=False, axis="y")
        right.set_title("Quarter hours whose limits some corner breaks, %")


def _energy(path: Path, days: Sequence[Scored], caption: str) -> None:
    with _figure(path, "What does security cost the homes?", caption, 4.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        totals = np.zeros(len(NAMES))
        for key, words, colour in LOSSES:
            means = np.array([over_days(days, name, BY_KEY[key]).mean for name in NAMES])
            left.barh(range(len(NAMES)), means, left=totals, color=colour, height=0.66, label=words)
            totals += means
        for place, total in enumerate(totals):
            left.text(total + 0.012 * max(totals.max(), 1.0), place, f"{total:,.0f}", va="center", fontweight="bold")
        left.set_title("Not served, kWh a day")
        left.set_xlim(0, 1.14 * max(totals.max(), 1.0))
        _named(left)
        left.legend(loc="upper right")
        _bars(right, days, BY_KEY["welfare_eur"], "Welfare by the homes' own valuations, EUR a day")


def _fairness(path: Path, days: Sequence[Scored], caption: str) -> None:
    with _figure(path, "How evenly are homes served?", caption, 5.2) as figure:
        axes = figure.subplots()
        for name, words in NAMES.items():
            shares = np.sort([share for day in days for score in day.scores if score.paradigm == name for share in score.shares])
            smallest, jain = (over_days(days, name, BY_KEY[key]).mean for key in ("smallest_share", "jain"))
            label = f"{words}: smallest {smallest:.0f} %, Jain {jain:.3f}"
            axes.plot(100 * (np.arange(len(shares)) + 0.5) / len(shares), 100 * shares, color=COLOURS[name], linewidth=2.6, label=label)
        axes.set_xlabel("homes, from the worst served, %")
        axes.set_ylabel("served share of what there was or was wanted, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 101)
        axes.legend(loc="lower right", title="mean of the days", alignment="left")
