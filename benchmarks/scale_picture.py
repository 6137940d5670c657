"""The picture of `benchmarks.scale`: time and memory by customers, both logarithmic, each line with its slope. Only layout.

A line that grows like the customers themselves is parallel to the grey ones. Colours are those of `demo/pictures.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scale import Found, slope
from demo.pictures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, bare_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.scale_steps import Point

SKY = "#56B4E9"
SHOWN = {
    "programs": ("one interval, HiGHS", VERMILION, "s"),
    "allocation": ("one interval, limex", BLUE, "o"),
    "rows": ("rows, once", GREEN, "^"),
    "day": ("a day, one area", INK, "D"),
    "apart": ("a day, small areas, a forecast each", ORANGE, "v"),
    "alike": ("a day, small areas, alike", SKY, "o"),
    "large": ("a day, large areas, alike", PURPLE, "s"),
    "exchange": ("opened in an engine", GREY, "^"),
}
RANGE = (30, 200_000)


def draw(path: Path, found: Found) -> None:
    with bare_file(path, 11, 4.8) as figure:
        times, memory = figure.subplots(1, 2)
        _panel(times, found, "Processor time, seconds", is_time=True)
        _panel(memory, found, "Most memory of all processes, MB", is_time=False)
        figure.legend(*times.get_legend_handles_labels(), loc="outside lower center", ncols=4, columnspacing=1.4, handlelength=1.6)


def _panel(axes: Axes, found: Found, title: str, *, is_time: bool) -> None:
    axes.set(title=title, xscale="log", yscale="log", xlabel="customers", xlim=RANGE)
    for line, (name, colour, marker) in SHOWN.items():
        points = found.of(line)
        if not points:
            continue
        done = [(one.customers, one.cpu_s if is_time else one.peak_mb) for one in points if not one.stopped]
        axes.plot([n for n, _ in done], [value for _, value in done], color=colour, marker=marker, markersize=4, linewidth=1.5, label=name)
        if is_time:
            _stopped(axes, [one for one in points if one.stopped], colour)
        _slope(axes, points, done, colour, is_time=is_time)
    axes.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(visible=True, axis="x")
    _ruler(axes)


def _slope(axes: Axes, points: list[Point], done: list[tuple[int, float]], colour: str, *, is_time: bool) -> None:
    fit = slope(points)
    if fit is not None:
        text = f" {fit.time if is_time else fit.memory:.2f}"
        axes.annotate(text, done[-1], xytext=(3, 0), textcoords="offset points", color=colour, va="center", fontweight="bold")


def _stopped(axes: Axes, points: list[Point], colour: str) -> None:
    """An arrow upwards from where HiGHS was stopped."""
    for one in points:
        axes.annotate("", (one.customers, 3 * one.cpu_s), (one.customers, one.cpu_s), arrowprops={"arrowstyle": "->", "color": colour})
        axes.plot([one.customers], [one.cpu_s], color=colour, marker="s", markersize=4, markerfacecolor="white")


def _ruler(axes: Axes) -> None:
    """What grows like the customers, from the lower left corner."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    for start, label in ((low, "slope 1"), (30 * low, None), (900 * low, None)):
        ends = [start, start * RANGE[1] / RANGE[0]]
        axes.plot(RANGE, ends, color=GREY, linewidth=0.6, linestyle=(0, (2, 4)), zorder=0, label=label)
