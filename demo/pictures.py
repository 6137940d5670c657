"""Pictures of a run, each to be read in ten seconds. Plain sequences in, one PNG out; nothing is computed here but layout.

Colours are Okabe and Ito's (2008), which people with any common colour blindness can tell apart: blue is bought or with the
market, orange is sold, vermilion is blocked, grey is before it. matplotlib is imported when the
first picture is drawn, with the Agg backend: no display is needed, and importing this module costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

BLUE, ORANGE, VERMILION, GREEN, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7"
GREY, LIGHT, INK = "#9AA3AB", "#DDE2E6", "#22282D"
DIRECTIONS = ("export", "import")
MINUTE_MS = 60_000
CHANGES: dict[str, dict[str, Any]] = {
    "allocated and kept": {"color": GREY},
    "bought": {"color": BLUE},
    "sold": {"facecolor": "#FBEBC8", "edgecolor": ORANGE, "hatch": "////", "linewidth": 0.6},
}
LOADINGS = (0.25, 0.5, 1.0)
HOMES_NAMED_MAX = 90  # more names than that do not fit along an axis
STYLE = {
    "font.family": ["DejaVu Sans", "sans-serif"], "font.size": 9.5,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.grid": True, "axes.grid.axis": "y", "grid.color": LIGHT, "grid.linewidth": 0.7,
    "axes.axisbelow": True, "legend.frameon": False, "figure.facecolor": "white", "savefig.facecolor": "white",
    "svg.hashsalt": "limex", "svg.fonttype": "none",
}  # fmt: skip
UNDATED = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}


class HomeEnvelope(NamedTuple):
    """One home in the picture of envelopes, watts, in the interval that is shown of each direction."""

    customer: str
    phase: str
    export_before_w: int
    export_after_w: int
    import_before_w: int
    import_after_w: int


class Feeder(NamedTuple):
    """The network as drawn: `margin_pu[bus][phase]` is the least distance of any certified corner to a voltage limit.

    Where the margins do not differ by phase (or there is one figure for all) one panel is drawn instead of three.
    `branches` are (from bus, to bus, worst loading as a share of the rating); `homes` are (bus, phase index), -1 for all phases.
    """

    xy: Mapping[int, tuple[float, float]]
    branches: Sequence[tuple[int, int, float]]
    margin_pu: Mapping[int, Sequence[float]]
    homes: Sequence[tuple[int, int]]
    transformer_bus: int


@contextmanager
def bare_file(path: Path, width: float, height: float, inside: tuple[float, ...] = (0, 0, 1, 1)) -> Iterator[Figure]:
    """A figure with its axes `inside` (left, bottom, width, height), written when the block ends: the same bytes from the same figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(rect=inside)
        try:
            yield figure
            figure.savefig(path, dpi=130, metadata=UNDATED[path.suffix])
        finally:
            plt.close(figure)


@contextmanager
def figure_file(path: Path, title: str, caption: str, width: float, height: float) -> Iterator[Figure]:
    """The same with title and caption."""
    with bare_file(path, width, height, (0.008, 0.06, 0.984, 0.86)) as figure:
        figure.text(0.012, 0.985, title, fontsize=15, fontweight="bold", va="top")
        figure.text(0.012, 0.012, caption, fontsize=8, color="#5B646B", va="bottom")
        yield figure


def clock(at_ms: int) -> str:
    """Time of day as hh:mm, UTC."""
    minutes = at_ms // MINUTE_MS % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def draw_envelopes(path: Path, homes: Sequence[HomeEnvelope], shown_ms: Mapping[str, int], caption: str) -> None:
    """Every home's limits before and after trading; homes in the order given, grouped by phase. `shown_ms` by direction."""
    places = _places([home.phase for home in homes])
    with figure_file(path, "Envelopes before and after trading", caption, 13, 6.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for axes, direction in ((upper, "export"), (lower, "import")):
            before = [getattr(home, f"{direction}_before_w") / 1000 for home in homes]
            after = [getattr(home, f"{direction}_after_w") / 1000 for home in homes]
            _change_bars(axes, places, before, after)
            bought, sold = (sum(max(0.0, sign * (new - old)) for old, new in zip(before, after, strict=True)) for sign in (1, -1))
            shown = f"{direction.capitalize()} limits of the interval at {clock(shown_ms[direction])}"
            axes.set_title(f"{shown}: {bought:.1f} kW bought, {sold:.1f} kW sold")
            axes.set_ylabel(f"{direction} limit, kW")
        lower.invert_yaxis()
        if len(homes) <= HOMES_NAMED_MAX:
            lower.set_xticks(places, _short([home.customer for home in homes]), fontsize=7)
        else:
            lower.set_xticks([])
        lower.set_xlim(min(places) - 1, max(places) + 1)
        for phase in dict.fromkeys(home.phase for home in homes):
            mine = [place for place, home in zip(places, homes, strict=True) if home.phase == phase]
            lower.annotate(
                f"phase {phase}: homes from near to far", ((mine[0] + mine[-1]) / 2, 0), xycoords=lower.get_xaxis_transform(),
                xytext=(0, -26), textcoords="offset points", ha="center",
            )  # fmt: skip
        _key_of_changes(figure)


def _short(names: Sequence[str]) -> list[str]:
    """The numbers at the end of the names where these tell them apart, else the names' last six letters."""
    numbers = [name[len(name.rstrip("0123456789")) :] for name in names]
    return numbers if all(numbers) and len(set(numbers)) == len(names) else [name[-6:] for name in names]


def _places(groups: Sequence[str]) -> list[float]:
    """Positions along the axis with a gap between groups."""
    places: list[float] = []
    for index, group in enumerate(groups):
        gap = 1.0 if index == 0 or groups[index - 1] == group else 2.5
        places.append((places[-1] if places else 0.0) + gap)
    return places


def _change_bars(axes: Axes, places: Sequence[float], before: Sequence[float], after: Sequence[float]) -> None:
    bars = list(zip(places, before, after, strict=True))
    bought = [(place, old, new - old) for place, old, new in bars if new > old]
    sold = [(place, new, old - new) for place, old, new in bars if new < old]
    axes.bar(places, [min(old, new) for _, old, new in bars], width=0.82, **CHANGES["allocated and kept"])
    for moved, name in ((bought, "bought"), (sold, "sold")):
        axes.bar([bar[0] for bar in moved], [bar[2] for bar in moved], bottom=[bar[1] for bar in moved], width=0.82, **CHANGES[name])


def _key_of_changes(figure: Figure) -> None:
    """All three, also where nothing was bought or sold."""
    from matplotlib.patches import Patch

    figure.legend(handles=[Patch(label=name, **look) for name, look in CHANGES.items()], loc="upper right", ncols=3)


def draw_feeder(path: Path, feeder: Feeder, caption: str) -> None:
    """Colour is the least voltage margin of any certified corner, width the branch's worst loading; a panel per phase, or one."""
    is_single = all(len(set(phases)) == 1 for phases in feeder.margin_pu.values())
    reach = max(1.0, 100 * max(margin for phases in feeder.margin_pu.values() for margin in phases))
    loading = 100 * max(loading for _, _, loading in feeder.branches)
    with figure_file(path, "Where the network is tight", caption, *((11.5, 8) if is_single else (13, 5.7))) as figure:
        panels = [figure.subplots()] if is_single else list(figure.subplots(1, 3, sharex=True, sharey=True))
        for phase, axes in enumerate(panels):
            lines = _feeder_panel(axes, feeder, phase, reach, {0, 1, 2} if is_single else {phase})
            least = min(100 * phases[phase] for phases in feeder.margin_pu.values())
            axes.set_title(f"{'All phases' if is_single else 'Phase ' + 'abc'[phase]}: least margin {least:.2f} %")
        ticks = [tick for tick in (0, 0.25, 0.5, 1, 2, 4, 8, 16) if tick <= reach]
        bar = figure.colorbar(lines, ax=panels, orientation="horizontal", shrink=0.5, aspect=45, pad=0.02, ticks=ticks, format="%g")
        bar.set_label("distance of the worst certified corner to a voltage limit, % of nominal")
        bar.outline.set_visible(False)
        _width_key(figure)
        homes = "homes: ○ phase a  △ phase b  ◇ phase c" if is_single else "○ △ ◇ homes on this phase"
        note = f"■ transformer    {homes}    fullest branch: {loading:.0f} % of its rating"
        figure.text(0.988, 0.985, note, ha="right", va="top", fontsize=9)


def _width_pt(loading: float) -> float:
    return 1.6 + 6 * min(1.0, loading)


def _width_key(figure: Figure) -> None:
    """What the widths of branches mean, beside the scale of colours."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color="#5B646B", linewidth=_width_pt(loading), label=f"{100 * loading:.0f} %") for loading in LOADINGS]
    title = "width: worst loading\nof the branch's rating"
    figure.legend(handles=lines, title=title, loc="lower right", bbox_to_anchor=(0.99, 0.05), alignment="left")


def _feeder_panel(axes: Axes, feeder: Feeder, phase: int, reach: float, phases: set[int]) -> LineCollection:
    """One drawing of the feeder, coloured by the margins of `phase`, with the homes of `phases`. Returns what was coloured."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.5, 0, reach)  # the tight end of the scale is the one to be told apart
    segments = [[feeder.xy[a], feeder.xy[b]] for a, b, _ in feeder.branches]
    widths = [_width_pt(loading) for _, _, loading in feeder.branches]
    axes.add_collection(LineCollection(segments, colors="#5B646B", linewidths=[width + 1 for width in widths]))
    lines = LineCollection(segments, cmap="RdYlBu", norm=norm, linewidths=widths, capstyle="round")
    lines.set_array([100 * feeder.margin_pu[b][phase] for _, b, _ in feeder.branches])
    axes.add_collection(lines)
    for of_phase in sorted(phases):
        mine = [bus for bus, home_phase in feeder.homes if home_phase == of_phase or (home_phase < 0 and of_phase == 0)]
        axes.scatter(
            [feeder.xy[bus][0] for bus in mine], [feeder.xy[bus][1] for bus in mine], s=46, zorder=4, marker="o^D"[of_phase],
            c=[100 * feeder.margin_pu[bus][phase] for bus in mine], cmap="RdYlBu", norm=norm, edgecolors=INK, linewidths=0.9,
        )  # fmt: skip
    axes.scatter(*feeder.xy[feeder.transformer_bus], marker="s", s=90, color=INK, zorder=5)
    tightest = min(feeder.margin_pu, key=lambda bus: feeder.margin_pu[bus][phase])
    axes.annotate(
        "tightest", feeder.xy[tightest], xytext=(0, -34), textcoords="offset points", ha="center", fontsize=9,
        arrowprops={"arrowstyle": "->", "color": INK, "shrinkB": 6},
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.axis("off")
    return lines


def say_none(axis: Axis, words: str = "none") -> None:
    """A panel with nothing to measure along this axis says so, and has no scale."""
    axis.set_ticks([])
    axis.axes.text(0.5, 0.5, words, transform=axis.axes.transAxes, ha="center", va="center", fontsize=12)


def label_times(axes: Axes, intervals_ms: Sequence[int], most: int) -> None:
    """Intervals along the axis, about `most` of them with their time."""
    every = max(1, len(intervals_ms) // most)
    axes.set_xticks(range(0, len(intervals_ms), every), [clock(interval_ms) for interval_ms in intervals_ms[::every]])
    axes.set_xlim(0, len(intervals_ms))


def draw_energy(
    path: Path, intervals_ms: Sequence[int], panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], caption: str
) -> None:
    """Energy per interval without and with the market; `panels[title]` is (without, with) in kWh per interval."""
    with figure_file(path, "What the market changed", caption, 13, 4.6) as figure:
        for axes, (title, (without, with_market)) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            edges = list(range(len(intervals_ms) + 1))
            axes.stairs(with_market, edges, fill=True, color=BLUE, alpha=0.75, label="with the market")
            axes.stairs(without, edges, color=INK, linewidth=1.6, label="without the market")
            axes.set_title(f"{title}\n{sum(without):.1f} → {sum(with_market):.1f} kWh")
            axes.set_ylabel("kWh per interval")
            axes.set_xlabel("delivery interval, UTC")
            label_times(axes, intervals_ms, 5)
            axes.set_ylim(bottom=0)
            if not any((*without, *with_market)):
                say_none(axes.yaxis)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="upper right", ncols=2, bbox_to_anchor=(0.99, 0.985))


def draw_nothing(path: Path, title: str, reason: str) -> None:
    """A picture that says why there is none: a run without trades still has a complete report."""
    with figure_file(path, title, "", 13, 2.2) as figure:
        figure.text(0.012, 0.45, reason, fontsize=11)
