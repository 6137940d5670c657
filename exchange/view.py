"""Views of the market that no event depends on: an owner's open orders, price levels, and the market as one right sees it: what a watt
of its own would cost or bring, and how much of it would be secure.

At exchange rates every right has its own view of the same orders, as every zone has its own in coupled intraday markets. A home is
shown this, not the plain book: prices are per watt of its own right, best first, each with the watts that this one counterpart
could trade now if the home took it alone.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exchange import search
from exchange.book import Order
from exchange.commands import Direction, Side
from exchange.market import Area, Interval

LEVELS_MAX = 20


class OpenOrder(NamedTuple):
    """An order at rest as its owner sees it. `blocked_by` is (kind, element, phase) of the row that it was told last."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    open_w: int
    price_mct: int
    shown_w: int
    intervals: int
    blocked_by: tuple[str, str, str] | None


class Offer(NamedTuple):
    """`price_mct` per kWh of the viewer's own right; `direction` is the counterpart's."""

    price_mct: int
    secure_w: int
    direction: str


class LocalView(NamedTuple):
    """`left_over_w` it could have for nothing; then `offers` it could buy from, `bids` it could sell to, best first."""

    left_over_w: int
    offers: list[Offer]
    bids: list[Offer]


def local_view(area: Area, interval: Interval, position: int, right: int) -> LocalView:
    """What is left over is had first, so offers are those of whoever wants more."""
    left_over_w = _left_over_w(area, interval, right)
    residual = interval.headroom.residual
    after = residual - interval.headroom.columns[right].astype(np.int64) * left_over_w
    offers = _counterparts(area, interval, after, position, right, "buy")
    bids = _counterparts(area, interval, residual, position, right, "sell")
    return LocalView(left_over_w, sorted(offers)[:LEVELS_MAX], sorted(bids, key=lambda bid: (-bid.price_mct, -bid.secure_w))[:LEVELS_MAX])


def _left_over_w(area: Area, interval: Interval, right: int) -> int:
    if not area.at_rates:
        return 0
    room = interval.headroom.room_w(right)
    return room - room % area.settings.lot_w


def _counterparts(
    area: Area, interval: Interval, residual: npt.NDArray[np.int64], position: int, right: int, side: Side
) -> list[Offer]:  # fmt: skip
    """Every first order of the other side as the counterpart of an order of this right that takes any price."""
    against = interval.sells if side == "buy" else interval.buys
    pairs = [
        _pair(area, interval, residual, right, line.first, side)
        for line in against.lines
        if line.entries and (interval.owners[line.right] != position or area.settings.self_trade == "allow")
    ]
    return [pair for pair in pairs if pair is not None]


def _pair(area: Area, interval: Interval, residual: npt.NDArray[np.int64], right: int, other: Order, side: Side) -> Offer | None:
    buyer, seller = (right, other.right) if side == "buy" else (other.right, right)
    if area.at_rates:
        return _pair_at_rate(area, interval, residual, buyer, seller, other, side)
    if other.direction != interval.side(side).lines[right].direction or other.right >= 2 * len(area.terms):
        return None
    secure_w = interval.headroom.secure_w(buyer, seller, other.shown_w, area.settings.lot_w)
    return Offer(other.price_mct, secure_w, other.direction) if secure_w else None


def _pair_at_rate(
    area: Area, interval: Interval, residual: npt.NDArray[np.int64], buyer: int, seller: int, other: Order, side: Side
) -> Offer | None:  # fmt: skip
    columns, lot = interval.headroom.columns, area.settings.lot_w
    rate, row = search.rate_and_row(columns, residual, buyer, seller, lot)
    if rate == 0 or row < 0:
        return None
    bought_w = (other.shown_w << search.RATE_BITS) // rate if side == "buy" else other.shown_w
    out = np.zeros(3, dtype=np.int64)
    search.book_at_rate(columns[buyer], columns[seller], residual.copy(), rate, bought_w, lot, out)
    _, bought_w, sold_w = out.tolist()
    if not bought_w or not sold_w:
        return None
    if side == "buy":
        return Offer(-(-other.price_mct * rate >> search.RATE_BITS), bought_w, other.direction)
    return Offer((other.price_mct << search.RATE_BITS) // rate, sold_w, other.direction)


def open_order(area: Area, order: Order) -> OpenOrder:
    line, row = order.line, order.told_row
    blocked_by = None
    if row >= 0:
        label = area.intervals[line.interval_ms].headroom.polytope.labels[row]
        blocked_by = (label.kind, label.element, label.phase)
    return OpenOrder(
        order.order_id, line.interval_ms, line.direction, line.side, order.quantity_w, order.open_w, order.price_mct, order.shown_w,
        order.intervals, blocked_by,
    )  # fmt: skip


def levels(orders: list[Order]) -> list[tuple[int, int, int]]:
    grouped = [(price, [order.shown_w for order in level]) for price, level in groupby(orders, lambda order: order.price_mct)]
    return [(price, sum(shown), len(shown)) for price, shown in grouped]
