"""Why the naive model says no to a customer, in the order of `rejects.Reason`: the first that holds is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from exchange import commands as c
from exchange.rejects import Reason
from tests.model_market import INTERVALS_MAX, Area, Interval, Order, Refusal


class Market(Protocol):
    now_ms: int

    def _is_halted(self, area: str, start_ms: int, direction: str | None = None) -> bool: ...

    def _is_full(self, area: Area, interval: Interval, owner: int) -> bool: ...

    def _is_suspended(self, area: Area, owner: int) -> bool: ...


def refuse_place(market: Market, area: Area, owner: int, intervals: list[Interval], command: c.Place) -> Refusal:
    return next(_place(market, area, owner, intervals, command), None)


def _place(market: Market, area: Area, owner: int, intervals: list[Interval], command: c.Place) -> Iterator[Reason]:
    phases, is_kill = [interval.phase for interval in intervals], command.time_in_force in ("ioc", "fok")
    lot, quantity_w = area.settings.lot_w, command.quantity_w
    if market._is_full(area, intervals[0], owner):
        yield Reason.TOO_MANY_REQUESTS
    if not all(interval.is_open() for interval in intervals):
        yield Reason.GATE_CLOSED
    if "announced" in phases:
        yield Reason.NOT_YET_OPEN
    if any(is_stopped(market, area, interval, command.direction) for interval in intervals):
        yield Reason.HALTED
    if market._is_suspended(area, owner):
        yield Reason.SUSPENDED
    if "auction" in phases and is_kill:
        yield Reason.IN_AUCTION
    if is_invalid(command, lot):
        yield Reason.INVALID_ORDER
    if command.time_in_force == "until" and command.until_ms <= market.now_ms:
        yield Reason.EXPIRED
    if quantity_w < 1 or quantity_w % lot != 0:
        yield Reason.OFF_LOT
    yield from _bounds(area, owner, intervals, command.direction, command.price_mct, quantity_w)
    if area.open_orders(owner) + command.intervals > area.terms[owner].open_orders_max:
        yield Reason.TOO_MANY_OPEN_ORDERS
    yield from _throttle(area, owner, intervals)
    yield from _cover(area, owner, intervals, command.direction, command.side, quantity_w, None)


def refuse_replace(market: Market, area: Area, interval: Interval, order: Order, command: c.Replace) -> Refusal:
    return next(_replace(market, area, interval, order, command), None)


def _replace(market: Market, area: Area, interval: Interval, order: Order, command: c.Replace) -> Iterator[Reason]:
    intervals = [area.intervals[start] for start in area.span(order.interval_ms, order.intervals)]
    more_w = command.quantity_w - (order.total_w - order.open_w)
    if market._is_full(area, intervals[0], order.owner):
        yield Reason.TOO_MANY_REQUESTS
    if any(is_stopped(market, area, one, order.direction) for one in intervals):
        yield Reason.HALTED
    if order.intervals > 1:
        yield Reason.BLOCK_ORDER
    if shows_too_little(order.display_w, more_w):
        yield Reason.INVALID_ORDER
    is_whole = area.settings.matching == "exchange_rate" or command.quantity_w % area.settings.lot_w == 0
    if command.quantity_w < 0 or not is_whole:
        yield Reason.OFF_LOT
    yield from _bounds(area, order.owner, intervals, order.direction, command.price_mct, command.quantity_w)
    yield from _throttle(area, order.owner, intervals)
    yield from _cover(area, order.owner, intervals, order.direction, order.side, more_w, order)


def is_stopped(market: Market, area: Area, interval: Interval, direction: str | None) -> bool:
    return interval.phase == "frozen" or market._is_halted(area.name, interval.start_ms, direction)


def is_invalid(command: c.Place, lot_w: int) -> bool:
    """What is shown is nothing (all), or whole lots of the order; a block order shows nothing."""
    display = command.display_w
    is_part = 0 <= display <= max(command.quantity_w, 0) and display % lot_w == 0 and not shows_too_little(display, command.quantity_w)
    is_known = 1 <= command.intervals <= INTERVALS_MAX
    return not is_known or (display != 0 and (not is_part or command.intervals > 1))


def shows_too_little(display_w: int, open_w: int) -> bool:
    """An iceberg of more than 20 parts."""
    return display_w != 0 and open_w > 20 * display_w


def _bounds(area: Area, owner: int, intervals: list[Interval], direction: str, price_mct: int, quantity_w: int) -> Iterator[Reason]:
    settings = area.settings
    if price_mct % settings.tick_mct != 0:
        yield Reason.OFF_TICK
    if price_mct < settings.price_mct_min or price_mct > settings.price_mct_max:
        yield Reason.PRICE_OUT_OF_BAND
    last = [interval.last_mct[direction] for interval in intervals if direction in interval.last_mct]
    if settings.collar_mct and any(abs(price_mct - price) > settings.collar_mct for price in last):
        yield Reason.OUTSIDE_COLLAR
    if quantity_w > area.terms[owner].order_w_max:
        yield Reason.QUANTITY_OVER_BOUND


def _throttle(area: Area, owner: int, intervals: list[Interval]) -> Iterator[Reason]:
    free, more = area.settings.requests_free, area.settings.requests_per_trade
    if free and any(interval.requests[owner] >= free + more * interval.legs[owner] for interval in intervals):
        yield Reason.ORDER_TO_TRADE


def _cover(
    area: Area, owner: int, intervals: list[Interval], direction: str, side: str, quantity_w: int, without: Order | None
) -> Iterator[Reason]:
    """A sale stays above the failsafe, a purchase below the rating, with all other open orders of the right filled."""
    failsafe, rating = area.limits(owner, direction)
    right = area.right(owner, direction)
    for interval in intervals:
        held, rest = interval.holding()[right], area.reserved(interval, right, side, without)
        if side == "sell" and held - rest - quantity_w < failsafe:
            yield Reason.NOT_COVERED
        if side == "buy" and held + rest + quantity_w > rating:
            yield Reason.ABOVE_RATING
