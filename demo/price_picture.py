"""Prices and quantities of a run: every purchase as a bubble, in the order of trading, and below what traded and what was blocked.

Bubbles have an area in proportion to their watts and the colour of their kind of trade, by the names that the tables use. A price far above
all others is a triangle at the upper edge, and named in the title: on the scale, it would flatten the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from demo.pictures import BLUE, DIRECTIONS, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, figure_file, label_times, say_none

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"pair": GREEN, "sweep": BLUE, "uncross": PURPLE, "block": ORANGE}
BUBBLES_W = {100: "100 W", 1_000: "1 kW", 5_000: "5 kW"}


class TradePoint(NamedTuple):
    """One purchase: delivery interval, direction, what it moved, at what price, in which kind of trade, in the order of trading."""

    interval_ms: int
    direction: str
    watts: int
    price_mct: int
    kind: str = "pair"


def draw_prices(
    path: Path, trades: Sequence[TradePoint], blocked_w: Mapping[tuple[int, str], int], intervals_ms: Sequence[int], caption: str
) -> None:
    """Trades by delivery interval and direction, in order of trading; below, watts traded and watts blocked by the network.

    `blocked_w[(interval_ms, direction)]` is what crossed in price and was not secure.
    """
    with figure_file(path, "Prices and quantities", caption, 13, 6.6) as figure:
        grid = figure.subplots(2, 2, sharex=True, gridspec_kw={"height_ratios": [2.3, 1]})
        for column, direction in enumerate(DIRECTIONS):
            mine = [trade for trade in trades if trade.direction == direction]
            _price_panel(grid[0][column], mine, intervals_ms, direction)
            _quantity_panel(grid[1][column], mine, blocked_w, intervals_ms, direction)
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="upper right", ncols=8, bbox_to_anchor=(0.99, 0.99), columnspacing=1.2)


def _price_panel(axes: Axes, trades: Sequence[TradePoint], intervals_ms: Sequence[int], direction: str) -> None:
    paid = [trade for trade in trades if trade.kind != "leftover"]
    highest_mct, above = _scale([trade.price_mct for trade in paid])
    placed = _along(paid, intervals_ms)
    for kind, colour in KINDS.items():
        _bubbles(axes, [(place, trade) for place, trade in placed if trade.kind == kind and trade.price_mct <= highest_mct], colour)
        beyond = [place for place, trade in placed if trade.kind == kind and trade.price_mct > highest_mct]
        axes.scatter(beyond, [1] * len(beyond), marker="^", s=50, color=colour, transform=axes.get_xaxis_transform(), clip_on=False)
        axes.scatter([], [], s=40, color=colour, alpha=0.6, linewidths=0, label=kind)
    means = [_mean_ct([trade for trade in paid if trade.interval_ms == at]) for at in intervals_ms]
    begins = range(len(means))
    axes.hlines(means, [begin + 0.04 for begin in begins], [begin + 0.96 for begin in begins], color=INK, lw=2, label="mean by watts")
    for watts, name in BUBBLES_W.items():
        axes.scatter([], [], s=_bubble(watts), color=GREY, linewidths=0, label=name)
    dearest = f"; ▲ {len(above)} above the scale, up to {max(above) / 1000:.1f} ct" if above else ""
    axes.set_title(f"{direction.capitalize()}: {len(paid)} purchase{'s' * (len(paid) != 1)}{dearest}")
    axes.set_ylabel("price, cent per kWh of envelope")
    axes.set_ylim(0, 1.06 * highest_mct / 1000 if above else None)
    if not paid:
        say_none(axes.yaxis)


def _scale(prices_mct: Sequence[int]) -> tuple[int, list[int]]:
    """The highest price to be drawn, and those above it: over twice what 98 % stay below, and over a cent.

    A single dear purchase would flatten all others.
    """
    ordered = sorted(prices_mct)
    ceiling = max(1000, 2 * ordered[int(0.98 * (len(ordered) - 1))]) if ordered else 0
    return max((price for price in ordered if price <= ceiling), default=0), [price for price in ordered if price > ceiling]


def _along(trades: Sequence[TradePoint], intervals_ms: Sequence[int]) -> list[tuple[float, TradePoint]]:
    """Where each trade stands along the axis: in its interval, and there in the order of trading."""
    placed: list[tuple[float, TradePoint]] = []
    for index, interval_ms in enumerate(intervals_ms):
        mine = [trade for trade in trades if trade.interval_ms == interval_ms]
        placed += [(index + 0.06 + 0.88 * (rank + 0.5) / len(mine), trade) for rank, trade in enumerate(mine)]
    return placed


def _bubbles(axes: Axes, placed: Sequence[tuple[float, TradePoint]], colour: str) -> None:
    prices, sizes = [trade.price_mct / 1000 for _, trade in placed], [_bubble(trade.watts) for _, trade in placed]
    axes.scatter([place for place, _ in placed], prices, s=sizes, color=colour, alpha=0.4, linewidths=0)


def _bubble(watts: int) -> float:
    """An area in square points, in proportion to watts, and never too small to be seen."""
    return 6 + watts / 20


def _mean_ct(trades: Sequence[TradePoint]) -> float:
    watts = sum(trade.watts for trade in trades)
    return sum(trade.watts * trade.price_mct for trade in trades) / watts / 1000 if watts else float("nan")


def _quantity_panel(
    axes: Axes, trades: Sequence[TradePoint], blocked_w: Mapping[tuple[int, str], int], intervals_ms: Sequence[int], direction: str
) -> None:
    places = [index + 0.5 for index in range(len(intervals_ms))]
    paid, free = (
        [sum(t.watts for t in trades if t.interval_ms == at and (t.kind == "leftover") == is_free) / 1000 for at in intervals_ms]
        for is_free in (False, True)
    )
    blocked = [blocked_w.get((interval_ms, direction), 0) / 1000 for interval_ms in intervals_ms]
    for shift, bottom, height, colour, name in (
        (-0.2, 0.0, paid, INK, "bought"),
        (-0.2, paid, free, BLUE, "leftover, free"),
        (0.2, 0.0, blocked, VERMILION, "blocked"),
    ):
        label = f"{name}: {sum(height):.1f} kW"
        axes.bar([place + shift for place in places], height, width=0.38, bottom=bottom, color=colour, label=label)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.015, 0.97), ncols=3, handlelength=1, handletextpad=0.5, columnspacing=1.4, fontsize=9)
    axes.set_ylabel("kW")
    if not any((*paid, *free, *blocked)):
        say_none(axes.yaxis)
    label_times(axes, intervals_ms, 8)
    axes.set_xlabel("delivery interval, UTC; within it, in the order of trading")
