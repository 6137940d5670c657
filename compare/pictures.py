"""Three pictures of a comparison, each to be read in ten seconds. Figures in, one SVG out; nothing is computed here but layout.

Paradigms stand in the order of `verdict.ranked`, the best on top. Colours are Okabe and Ito's (2008), one per paradigm in all pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compare.paradigms import NAMES
from compare.score import BY_KEY, Mean, Metric, Scored, over_days
from compare.verdict import keeps, promises, ranked
from demo.pictures import GREEN, GREY, INK, ORANGE, figure_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"rating": GREY, "5kw": "#CC79A7", "equal": GREEN, "anm": "#D55E00", "doe": "#56B4E9", "market": "#0072B2"}
LOSSES = (
    ("curtailed_kwh", "sun curtailed", ORANGE),
    ("unserved_kwh", "demand unserved", INK),
    ("car_missing_kwh", "car charge missing", GREY),
)
BREACHES = (("above_kvah", "above ratings, kVAh", INK), ("outside_kwh", "homes out of the voltage range, kWh", ORANGE))
PICTURES = {
    "security.svg": "How long and by how much actual powers break a limit, and whether the worst corner of all that is allowed would.",
    "energy.svg": "What homes did not get, and what the rest was worth to them.",
    "fairness.svg": "Every home on every day, from the worst served to the best.",
}
LOST = tuple(key for key, _, _ in LOSSES)
WIDTH, THICK, ROOM = 12.5, 0.66, 1.2
SHARES = np.linspace(0, 1, 101)


def draw(folder: Path, days: Sequence[Scored], caption: str) -> None:
    """All three."""
    for name, picture in zip(PICTURES, (_security, _energy, _fairness), strict=True):
        picture(folder / name, days, caption)


def _bars(axes: Axes, days: Sequence[Scored], metric: Metric, title: str) -> None:
    """A bar with its interval and its figure per paradigm."""
    order = ranked(days)
    found = [over_days(days, name, metric) for name in order]
    reach = max(one.mean + (one.half or 0.0) for one in found) or 1.0
    for place, (name, one) in enumerate(zip(order, found, strict=True)):
        axes.barh(place, one.mean, xerr=one.half or None, color=COLOURS[name], ecolor=INK, capsize=3, height=THICK)
        axes.text(one.mean + (one.half or 0.0) + 0.015 * reach, place, _short(one), va="center", fontweight="bold")
    _laid_out(axes, order, title, ROOM * reach)


def _stacked(axes: Axes, days: Sequence[Scored], parts: Sequence[tuple[str, str, str]], title: str, units: int = 1) -> None:
    """A bar per paradigm made of parts (metric, words, colour), with the sum as its figure, or every part's where units differ."""
    order = ranked(days)
    means = np.array([[over_days(days, name, BY_KEY[key]).mean for name in order] for key, _, _ in parts])
    ends = means.cumsum(axis=0)
    for (_, words, colour), part, end in zip(parts, means, ends, strict=True):
        axes.barh(range(len(order)), part, left=end - part, color=colour, height=THICK, label=words)
    reach = ends[-1].max() or 1.0
    for place, total in enumerate(ends[-1]):
        figures = means[:, place] if units > 1 and total else [total]
        text = " + ".join(_short(Mean(figure, None)) for figure in figures)
        axes.text(total + 0.015 * reach, place, text, va="center", fontweight="bold")
    _laid_out(axes, order, title, (ROOM + 0.1 * (units - 1)) * reach)
    axes.legend(loc="best", fontsize=8)


def _laid_out(axes: Axes, order: Sequence[str], title: str, right: float) -> None:
    axes.set_title(title)
    axes.set_xlim(0, right)
    axes.set_yticks(range(len(order)), [NAMES[name] for name in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def _short(one: Mean) -> str:
    return f"{one.mean:,.0f}" if one.mean >= 10 or one.mean == 0 else f"{one.mean:.1f}" if one.mean >= 0.1 else f"{one.mean:.2g}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(NAMES[name] for name in names) or "none"


def _security(path: Path, days: Sequence[Scored], caption: str) -> None:
    kept = [name for name in ranked(days) if keeps(days, name)]
    with figure_file(path, f"Limits are kept by: {_named(kept)}", caption, WIDTH, 4.6) as figure:
        minutes, energy, corners = figure.subplots(1, 3, sharey=True)
        _bars(minutes, days, BY_KEY["minutes_broken"], "Minutes a day with a broken limit")
        _stacked(energy, days, BREACHES, "Violations a day, kVAh and kWh", units=2)
        _corners(corners, days, "Limits that some corner breaks, %")


def _corners(axes: Axes, days: Sequence[Scored], title: str) -> None:
    order = ranked(days)
    for place, name in enumerate(order):
        made = promises(days, name)
        share = 100 * made[0] / made[1] if made else 0.0
        words = "no promise" if made is None else f"{share:.0f} % can be broken" if share else "none found"
        axes.barh(place, share, color=COLOURS[name], height=THICK)
        axes.text(3, place, words, va="center", fontweight="bold")
    _laid_out(axes, order, title, 105)


def _energy(path: Path, days: Sequence[Scored], caption: str) -> None:
    first, *_ = ranked(days)
    lost, welfare = (sum(over_days(days, first, BY_KEY[key]).mean for key in keys) for keys in (LOST, ("welfare_eur",)))
    title = f"{NAMES[first].capitalize()}: homes miss {lost:,.0f} kWh a day, the rest is worth {welfare:,.0f} EUR to them"
    with figure_file(path, title, caption, WIDTH, 4.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _stacked(left, days, LOSSES, "Not served, kWh a day")
        _bars(right, days, BY_KEY["welfare_eur"], "Welfare by the homes' own valuations, EUR a day")


def _fairness(path: Path, days: Sequence[Scored], caption: str) -> None:
    order = ranked(days)
    worst = {name: over_days(days, name, BY_KEY["smallest_share"]).mean for name in order}
    first, second = (f"{NAMES[name]} {worst[name]:.0f} %" for name in order[:2])
    with figure_file(path, f"The worst served home of a day gets: {first}, {second}", caption, WIDTH, 5.2) as figure:
        axes = figure.subplots()
        for name in order:
            shares = [share for day in days for score in day.scores if score.paradigm == name for share in score.shares]
            label = f"{NAMES[name]}: {worst[name]:.0f} %, {over_days(days, name, BY_KEY['jain']).mean:.3f}"
            axes.plot(100 * SHARES, 100 * np.quantile(shares, SHARES), color=COLOURS[name], linewidth=2.6, label=label)
        axes.set_xlabel("homes of all days, from the worst served, %")
        axes.set_ylabel("served share of what there was or was wanted, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 101)
        axes.legend(loc="lower right", title="means of the days: the worst served home, Jain's index", alignment="left")
