"""What speaks against a customer's order: guards in the order of `rejects.Reason`, each with what would have been accepted.

The first that holds is the answer. They look and change nothing; area, customer, request id and order were found before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange.commands import Direction, Place, Replace, Side
from exchange.market import Area, Interval
from exchange.receipts import Account
from exchange.rejects import Reason

if TYPE_CHECKING:
    from exchange.book import Order
    from exchange.engine import Engine, Refusal

INTERVALS_MAX = 96  # of one block order
PARTS_MAX = 20  # of an iceberg: each that is used up is an event of its own
ORDER = {reason: place for place, reason in enumerate(Reason)}


def refuse_place(engine: Engine, command: Place, area: Area, account: Account, intervals: list[Interval], right: int) -> Refusal | None:
    first = intervals[0]
    is_full = first.receipts[account.position] >= area.settings.requests_max
    if is_full or command.intervals != 1 or first.phase != "continuous" or engine.halts or area.suspended or command.display_w:
        refusal = _refuse_circumstances(engine, command, area, account, intervals)
        if refusal is not None:
            return refusal
    if command.time_in_force == "until" and command.until_ms <= engine.now_ms:
        return Reason.EXPIRED, f"in force until {command.until_ms}, and it is {engine.now_ms}"
    if len(intervals) == 1:
        return refuse_terms(command, area, account, first, command.direction, command.side, right, 0, 0)
    terms = [refuse_terms(command, area, account, each, command.direction, command.side, right, 0, 0) for each in intervals]
    return earliest(terms)


def refuse_replace(engine: Engine, command: Replace, area: Area, account: Account, order: Order) -> Refusal | None:
    line, traded_w = order.line, order.quantity_w - order.open_w
    intervals = [area.intervals[start_ms] for start_ms in area.spanned(order)]
    refusal = refuse_more(area, intervals[0], account) or _refuse_stopped(engine, area, intervals, line.direction)
    if refusal is not None:
        return refusal
    if order.intervals > 1:
        return Reason.BLOCK_ORDER, "an order over several intervals is cancelled and placed anew"
    if order.display_w and command.quantity_w - traded_w > PARTS_MAX * order.display_w:
        return _too_many_parts(command.quantity_w - traded_w, order.display_w)
    return refuse_terms(command, area, account, intervals[0], line.direction, line.side, order.right, traded_w, order.open_w)


def refuse_more(area: Area, interval: Interval, account: Account) -> Refusal | None:
    """A customer of whom the interval remembers so many requests already."""
    if interval.receipts[account.position] < area.settings.requests_max:
        return None
    return Reason.TOO_MANY_REQUESTS, f"{interval.receipts[account.position]} requests are remembered already; cancels of orders still work"


def _refuse_circumstances(engine: Engine, command: Place, area: Area, account: Account, intervals: list[Interval]) -> Refusal | None:
    """What is rarely wrong: how much was asked, where intervals are in their life, who is halted, the form of icebergs and blocks."""
    refusal = refuse_more(area, intervals[0], account)
    if refusal is not None:
        return refusal
    if any(interval.is_closed for interval in intervals):
        return Reason.GATE_CLOSED, f"trading of interval {next(i.start_ms for i in intervals if i.is_closed)} has ended"
    if any(interval.phase == "announced" for interval in intervals):
        return Reason.NOT_YET_OPEN, f"interval {next(i.start_ms for i in intervals if i.phase == 'announced')} is announced only"
    refusal = _refuse_stopped(engine, area, intervals, command.direction)
    if refusal is not None:
        return refusal
    if area.suspended and (None in area.suspended or account.customer in area.suspended):
        reason = area.suspended.get(account.customer) or area.suspended[None]
        return Reason.SUSPENDED, f"the operator takes no orders: {reason}"
    if command.time_in_force in ("ioc", "fok") and any(interval.phase == "auction" for interval in intervals):
        return Reason.IN_AUCTION, "orders only collect until the auction's end; nothing can trade at once"
    return _refuse_form(command, area)


def earliest(refusals: list[Refusal | None]) -> Refusal | None:
    """Of several intervals' refusals the one that comes first among the reasons."""
    found = [refusal for refusal in refusals if refusal is not None]
    return min(found, key=lambda refusal: ORDER[refusal[0]]) if found else None


def _refuse_stopped(engine: Engine, area: Area, intervals: list[Interval], direction: Direction) -> Refusal | None:
    if any(interval.phase == "frozen" for interval in intervals):
        return Reason.HALTED, "envelopes are being shared out anew; cancels still work"
    if engine.halts and any(engine.is_halted(area.name, interval.start_ms, direction) for interval in intervals):
        return Reason.HALTED, "the market is halted; cancels still work"
    return None


def refuse_terms(
    command: Place | Replace, area: Area, account: Account, interval: Interval, direction: Direction,
    side: Side, right: int, traded_w: int, reserved_w: int,
) -> Refusal | None:  # fmt: skip
    """The first reason against an order's new terms, in the order of `Reason`. It has traded and reserved so much already."""
    settings, terms, price, quantity = area.settings, area.terms[account.position], command.price_mct, command.quantity_w
    is_new = isinstance(command, Place)
    if (quantity % settings.lot_w and (is_new or not area.at_rates)) or quantity < is_new:
        return Reason.OFF_LOT, f"{quantity} W is not a {'positive ' * is_new}multiple of the lot of {settings.lot_w} W"
    if price % settings.tick_mct:
        return Reason.OFF_TICK, f"{price} mct/kWh is not a multiple of the tick of {settings.tick_mct} mct/kWh"
    if not settings.price_mct_min <= price <= settings.price_mct_max:
        return Reason.PRICE_OUT_OF_BAND, f"{price} mct/kWh is outside [{settings.price_mct_min}, {settings.price_mct_max}]"
    last = interval.last_price_mct.get(direction)
    if settings.collar_mct and last is not None and abs(price - last) > settings.collar_mct:
        return Reason.OUTSIDE_COLLAR, f"{price} mct/kWh is more than {settings.collar_mct} from the last trade at {last}"
    if quantity > terms.order_w_max:
        return Reason.QUANTITY_OVER_BOUND, f"{quantity} W is over the bound of {terms.order_w_max} W for one order"
    if isinstance(command, Place) and account.open_orders + command.intervals > terms.open_orders_max:
        bound = f"the bound is {terms.open_orders_max}, a block counts in each interval"
        return Reason.TOO_MANY_OPEN_ORDERS, f"{account.open_orders} orders rest already, {bound}"
    if settings.requests_free and interval.requests[account.position] >= _requests_max(area, account, interval):
        return Reason.ORDER_TO_TRADE, f"{interval.requests[account.position]} requests for {interval.trades[account.position]} trades"
    ledger, needed = interval.ledger, quantity - traded_w
    free = reserved_w + (ledger.sellable_w(right) if side == "sell" else ledger.buyable_w(right))
    if needed <= free:
        return None
    if side == "sell":
        return Reason.NOT_COVERED, f"{needed} W offered, {max(free, 0)} W can be sold above the failsafe and earlier offers"
    return Reason.ABOVE_RATING, f"{needed} W wanted, {max(free, 0)} W fit below the rating with earlier purchases"


def _requests_max(area: Area, account: Account, interval: Interval) -> int:
    return area.settings.requests_free + area.settings.requests_per_trade * interval.trades[account.position]


def _refuse_form(command: Place, area: Area) -> Refusal | None:
    """Shown parts and blocks that make no sense."""
    lot = area.settings.lot_w
    if not 0 < command.intervals <= INTERVALS_MAX:
        return Reason.INVALID_ORDER, f"{command.intervals} intervals are not 1 to {INTERVALS_MAX}"
    if command.display_w < 0 or command.display_w % lot or command.display_w > max(command.quantity_w, 0):
        return (
            Reason.INVALID_ORDER,
            f"{command.display_w} W to show are not a multiple of {lot} W, at most the order's {command.quantity_w} W",
        )
    if command.display_w and command.quantity_w > PARTS_MAX * command.display_w:
        return _too_many_parts(command.quantity_w, command.display_w)
    if command.display_w and command.intervals > 1:
        return Reason.INVALID_ORDER, "an order over several intervals shows nothing"
    return None


def _too_many_parts(open_w: int, display_w: int) -> Refusal:
    return Reason.INVALID_ORDER, f"{open_w} W are more than {PARTS_MAX} times the {display_w} W to show at a time"
