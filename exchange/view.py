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
    """`offers` it could buy from, `bids` it could sell to, best first; `left_over_w` it could have for nothing."""

    left_over_w: int
    offers: list[Offer]
    bids: list[Offer]


def local_view(area: Area, interval: Interval, position: int, right: int) -> LocalView:
    offers, left_over_w = _side(area, interval, position, right, "buy")
    bids, _ = _side(area, interval, position, right, "sell")
    return LocalView(left_over_w, sorted(offers)[:LEVELS_MAX], sorted(bids, key=lambda bid: (-bid.price_mct, -bid.secure_w))[:LEVELS_MAX])


def _side(area: Area, interval: Interval, position: int, right: int, side: Side) -> tuple[list[Offer], int]:
    """Every first order of the other side as the counterpart of an order of this right that takes any price."""
    against = interval.sells if side == "buy" else interval.buys
    found, left_over_w = [], 0
    for line in against.lines:
        if not line.entries or (interval.owners[line.right] == position and area.settings.self_trade != "allow"):
            continue
        pair = _pair(area, interval, right, line.first, side)
        if pair is not None:
            found.append(pair)
    if side == "buy" and area.at_rates:
        room = interval.headroom.room_w(right)
        left_over_w = room - room % area.settings.lot_w
    return found, left_over_w


def _pair(area: Area, interval: Interval, right: int, other: Order, side: Side) -> Offer | None:
    buyer, seller = (right, other.right) if side == "buy" else (other.right, right)
    if not area.at_rates:
        if other.direction != interval.side(side).lines[right].direction or other.right >= 2 * len(area.terms):
            return None
        secure_w = interval.headroom.secure_w(buyer, seller, other.shown_w, area.settings.lot_w)
        return Offer(other.price_mct, secure_w, other.direction) if secure_w else None
    return _pair_at_rate(area, interval, buyer, seller, other, side)


def _pair_at_rate(area: Area, interval: Interval, buyer: int, seller: int, other: Order, side: Side) -> Offer | None:
    headroom, lot = interval.headroom, area.settings.lot_w
    rate, row = search.rate_and_row(headroom.columns, headroom.residual, buyer, seller, lot)
    if rate == 0 or row < 0:
        return None
    bought_w = (other.shown_w << search.RATE_BITS) // rate if side == "buy" else other.shown_w
    out = np.zeros(3, dtype=np.int64)
    search.book_at_rate(headroom.columns[buyer], headroom.columns[seller], headroom.residual.copy(), rate, bought_w, lot, out)
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
