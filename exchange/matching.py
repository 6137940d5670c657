"""How orders meet: an incoming order walks the lines of the other side, and what its trades free wakes blocked purchases.

`walk` moves watts (lines, open quantities, residuals) and says what it did; `book` writes it into the ledger and tells it as
events. So a walk can be tried and taken back (`Undo`): for fill or kill, to compare a proposal with, for all intervals of a block.
The rules are in docs/market.md; the compiled search that finds the next counterpart is in `exchange/search.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from exchange import search
from exchange.book import Order
from exchange.commands import TimeInForce
from exchange.events import Blocked, CancelCause, Cancelled, Event, Leg, PhaseEntered, Shown, Traded
from exchange.ledger import Ledger, cash_of
from exchange.market import Area, Interval
from exchange.receipts import shown_of
from exchange.undo import Undo
from riskcheck.headroom import Headroom

if TYPE_CHECKING:
    from exchange.engine import Engine

NOT_BARRED = -1
_out = np.zeros(3, dtype=np.int64)


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One counterpart of a walk, None for left-over headroom, and what it and the incoming order had open and shown afterwards.

    `remainder_w` of the counterpart is too little to go on and is cancelled; `refilled_w` of it is shown anew.
    """

    maker: Order | None
    bought_w: int
    sold_w: int
    taker_open_w: int
    maker_open_w: int
    maker_shown_w: int
    remainder_w: int
    refilled_w: int


class Walk(msgspec.Struct, frozen=True, gc=False):
    """What a walk traded, whether it ended at an order of the same customer, and the line (or -1) that it crosses and cannot trade with.

    `may_free` is False where all rows had room for a lot of anybody before it: then nobody waits for what it gave back.
    """

    fills: Sequence[Fill] = ()
    met_own: bool = False
    crossed: int = -1
    may_free: bool = True


NOTHING_CROSSED = Walk()


# --- the walk -----------------------------------------------------------------------------------------------------


def walk(area: Area, interval: Interval, taker: Order, shut: int, undo: Undo | None = None, *, passes_own: bool = False) -> Walk:
    """Moves the watts that trade when this order comes now. It stands in no line; `shut` says which books are halted."""
    if area.at_rates:
        return _walk_at_rates(area, interval, taker, shut, undo)
    return _walk_one_to_one(area, interval, taker, shut, undo, passes_own)


def _walk_one_to_one(area: Area, interval: Interval, taker: Order, shut: int, undo: Undo | None, passes_own: bool) -> Walk:
    line, n, is_buy = taker.line, len(area.terms), taker.line.side == "buy"
    against, limit = interval.sells if is_buy else interval.buys, -line.sign * taker.price_mct
    if against.floors[line.direction] > limit or taker.right >= 2 * n or (shut >> (taker.right // n)) & 1:
        return NOTHING_CROSSED  # an operator's order has no book of its own here
    fills: list[Fill] = []
    may_free, find, headroom, lot = False, search.one_to_one(), interval.headroom, area.settings.lot_w
    barred = NOT_BARRED if area.settings.self_trade == "allow" else taker.account.position
    while taker.open_w:
        packed = find(
            headroom.columns, headroom.residual, interval.rows, against.heads, taker.right, is_buy, taker.price_mct, taker.open_w, lot,
            barred, passes_own, n, len(fills),
        )  # fmt: skip
        found, is_near, right, quantity = search.unpacked(packed)
        if found != search.PAIR:
            if found == search.NOTHING and right < 0 and not passes_own:
                against.nothing_below(line.direction, limit + 1)
                return Walk(fills, False, -1, may_free) if fills else NOTHING_CROSSED
            return Walk(fills, found == search.OWN, right, may_free)
        may_free = may_free or is_near
        fills.append(_fill(area, interval, taker, against.lines[right].first, quantity, quantity, undo))
    return Walk(fills, False, -1, may_free)


def _walk_at_rates(area: Area, interval: Interval, taker: Order, shut: int, undo: Undo | None) -> Walk:
    n, headroom, is_buy, lot = len(area.terms), interval.headroom, taker.line.side == "buy", area.settings.lot_w
    if taker.right < 2 * n and (shut >> (taker.right // n)) & 1:
        return NOTHING_CROSSED
    fills: list[Fill] = []
    against, find = (interval.sells, search.seller_at_rates()) if is_buy else (interval.buys, search.buyer_at_rates())
    barred = NOT_BARRED if area.settings.self_trade == "allow" else taker.account.position
    while taker.open_w:
        found = find(
            headroom.columns, headroom.residual, interval.rows, against.heads, taker.right, taker.price_mct, taker.open_w, lot, barred,
            shut, n, len(fills), _out,
        )  # fmt: skip
        right, bought, sold = _out.tolist()
        if found == search.NOTHING:
            return Walk(fills, False, right) if fills or right >= 0 else NOTHING_CROSSED
        if found == search.LEFTOVER:
            taker.open_w -= bought
            fills.append(Fill(None, bought, 0, taker.open_w, 0, 0, 0, 0))
        else:
            fills.append(_fill(area, interval, taker, against.lines[right].first, bought, sold, undo))
    return Walk(fills)


def _fill(area: Area, interval: Interval, taker: Order, maker: Order, bought_w: int, sold_w: int, undo: Undo | None) -> Fill:
    if undo is not None:
        undo.keep(maker)
    taken_w, given_w = (bought_w, sold_w) if taker.line.side == "buy" else (sold_w, bought_w)
    taker.open_w = left_w = taker.open_w - taken_w
    return Fill(maker, bought_w, sold_w, left_w, *consume(area, interval, maker, given_w))


def consume(area: Area, interval: Interval, order: Order, watts: int) -> tuple[int, int, int, int]:
    """Takes watts from a resting order. (open, shown) after it; what is cancelled as a remainder; what is shown anew."""
    order.open_w = open_w = order.open_w - watts
    if open_w < area.settings.lot_w:
        interval.take_out(order)
        return open_w, 0, open_w, 0
    shown_w = order.shown_w - watts
    if shown_w < area.settings.lot_w:
        interval.take_out(order)
        interval.rest(order)
        return open_w, 0, 0, order.shown_w
    order.shown_w = shown_w
    line = order.line
    (interval.buys if line.side == "buy" else interval.sells).show(line)
    return open_w, shown_w, 0, 0


# --- books and events ---------------------------------------------------------------------------------------------


def book_walk(area: Area, interval: Interval, taker: Order, done: Walk, base: int, events: list[Event]) -> None:
    """Holdings, cash and events of a walk, in its order."""
    for fill in done.fills:
        if fill.maker is None:
            _book_leftover(area, interval, taker, fill, base, events)
        else:
            _book_pair(area, interval, taker, fill.maker, fill, base, events)
            if fill.remainder_w or fill.refilled_w:
                tell_after(area, interval, fill.maker, fill.remainder_w, fill.refilled_w, base, events)


def _book_leftover(area: Area, interval: Interval, taker: Order, fill: Fill, base: int, events: list[Event]) -> None:
    interval.ledger.receive(taker.right, fill.bought_w)
    leg = leg_of(interval, taker, fill.bought_w, 0, 0, fill.taker_open_w, shown_of(taker.display_w, fill.taker_open_w))
    events.append(Traded(base + len(events) + 1, area.name, interval.start_ms, (leg,), "leftover"))
    count(area, interval, (taker,))


def _book_pair(area: Area, interval: Interval, taker: Order, maker: Order, fill: Fill, base: int, events: list[Event]) -> None:
    ledger, length, price = interval.ledger, area.settings.interval_ms, maker.price_mct
    interval.tell_price(maker.line.direction, price)
    bought, sold = fill.bought_w, fill.sold_w
    if taker.line.side == "buy":
        cash = min(cash_of(sold, price, length), cash_of(bought, taker.price_mct, length))
        taken, given, taker_cash = bought, -sold, -cash
        taker_price = -(-price * sold // bought)
        ledger.trade(taker.right, bought, maker.right, sold)
    else:
        cash = cash_of(bought, price, length)
        taken, given, taker_cash = -sold, bought, cash
        taker_price = price * bought // sold
        ledger.trade(maker.right, bought, taker.right, sold)
    ledger.cash_mct[taker.account.position] += taker_cash
    ledger.cash_mct[maker.account.position] -= taker_cash
    open_w = fill.taker_open_w
    legs = (
        leg_of(interval, taker, taken, taker_price, taker_cash, open_w, shown_of(taker.display_w, open_w)),
        leg_of(interval, maker, given, price, -taker_cash, fill.maker_open_w, fill.maker_shown_w),
    )
    events.append(Traded(base + len(events) + 1, area.name, interval.start_ms, legs))
    count(area, interval, (taker, maker))


def count(area: Area, interval: Interval, orders: Iterable[Order]) -> None:
    for order in orders:
        if order.account is not area.operator:
            interval.trades[order.account.position] += 1


def leg_of(
    interval: Interval, order: Order, change_w: int, price_mct: int, cash_mct: int, open_w: int, shown_w: int
) -> Leg:  # fmt: skip
    line = order.line
    return Leg(
        order.account.customer, order.order_id, line.side, line.direction, change_w, price_mct, cash_mct, open_w,
        interval.ledger.holding_w[order.right], shown_w,
    )  # fmt: skip


def tell_after(area: Area, interval: Interval, order: Order, remainder_w: int, refilled_w: int, base: int, events: list[Event]) -> None:
    """What becomes of a resting order after a fill: a remainder that goes, or a next part that is shown."""
    if remainder_w:
        release(interval.ledger, order, remainder_w)
        tell_cancelled(order, remainder_w, "remainder", "", base, events)
    elif refilled_w:
        line = order.line
        shown = Shown(
            base + len(events) + 1, area.name, order.account.customer, order.order_id, interval.start_ms, line.direction, line.side,
            order.price_mct, refilled_w,
        )  # fmt: skip
        events.append(shown)


def release(ledger: Ledger, order: Order, watts: int) -> None:
    (ledger.wanted_w if order.line.side == "buy" else ledger.offered_w)[order.right] -= watts


def tell_cancelled(order: Order, quantity_w: int, cause: CancelCause, request_id: str, base: int, events: list[Event]) -> None:
    line = order.line
    cancelled = Cancelled(
        base + len(events) + 1, line.area, order.account.customer, request_id, order.order_id, line.interval_ms, line.direction, line.side,
        quantity_w, cause,
    )  # fmt: skip
    events.append(cancelled)


# --- an order comes, or is woken ----------------------------------------------------------------------------------


def meet(engine: Engine, area: Area, interval: Interval, taker: Order, time_in_force: TimeInForce, events: list[Event]) -> None:
    """Walks with an order that stands in no line, tells what came of it, and lets the rest of it rest, or cancels that."""
    base, shut = engine.sequence, engine.shut(area.name, interval.start_ms) if engine.halts else 0
    wanted, arrival, is_now = taker.open_w, taker.arrival or None, time_in_force in ("ioc", "fok")
    undo = Undo(interval) if time_in_force == "fok" else None
    done = walk(area, interval, taker, shut, undo)
    if done is NOTHING_CROSSED and not is_now:
        return interval.rest(taker, arrival)
    if undo is not None and taker.open_w:
        _tell_blocked(area, interval, taker, done.crossed, wanted, wanted - taker.open_w, base, events, alone=True)
        undo.take_back()
        taker.open_w = wanted
        return end(interval, taker, "self_trade" if done.met_own else "fok", base, events)
    return _conclude(area, interval, taker, done, wanted, is_now, base, events)


def _conclude(
    area: Area, interval: Interval, taker: Order, done: Walk, wanted_w: int, is_now: bool, base: int, events: list[Event]
) -> None:  # fmt: skip
    """Books what a walk did for an order that wanted so much and stands in no line (any more), and says what becomes of the rest."""
    traded, arrival = wanted_w - taker.open_w, taker.arrival or None
    book_walk(area, interval, taker, done, base, events)
    taker.shown_w = 0 if done.fills else taker.shown_w
    if taker.open_w and done.crossed >= 0:
        _tell_blocked(area, interval, taker, done.crossed, wanted_w, traded, base, events)
    if 0 < taker.open_w < area.settings.lot_w:
        end(interval, taker, "remainder", base, events)
    elif taker.open_w and done.met_own:
        end(interval, taker, "self_trade", base, events)
    elif taker.open_w and is_now:
        end(interval, taker, "ioc", base, events)
    elif taker.open_w:
        interval.rest(taker, arrival)
    if done.fills:
        interval.version += 1
    if done.fills and done.may_free:
        interval.freed(interval.before)
    if area.settings.pause_mct and any(fill.maker is not None for fill in done.fills):
        pause(area, interval, base, events)


def end(interval: Interval, order: Order, cause: CancelCause, base: int, events: list[Event]) -> None:
    release(interval.ledger, order, order.open_w)
    tell_cancelled(order, order.open_w, cause, "", base, events)


def pause(area: Area, interval: Interval, base: int, events: list[Event]) -> None:
    """Prices that ran away lead into an auction."""
    most, last, anchor = area.settings.pause_mct, interval.last_price_mct, interval.anchor_mct
    if most and interval.phase == "continuous" and any(abs(last[book] - price) > most for book, price in anchor.items()):
        interval.enter("auction")
        reason = f"prices moved by more than {most} mct/kWh"
        events.append(PhaseEntered(base + len(events) + 1, area.name, interval.start_ms, "auction", reason))


def wake(engine: Engine, area: Area, interval: Interval, events: list[Event]) -> None:
    """Matches the marked purchases again, the best-priced first, until nothing that was freed can be used."""
    n = len(area.terms)
    while interval.is_marked and interval.phase == "continuous" and not engine.halts_all(area.name, interval.start_ms):
        shut = engine.shut(area.name, interval.start_ms)
        right = search.next_marked(interval.marks, interval.buys.heads, n, shut)
        if right < 0:
            interval.is_marked = False
            return
        order = interval.buys.lines[right].first
        wanted, done = order.open_w, walk(area, interval, order, shut)
        if done.fills or done.met_own:
            shown_w = order.shown_w
            interval.take_out(order)
            order.shown_w = shown_w
            _conclude(area, interval, order, done, wanted, False, engine.sequence, events)
        elif done.crossed >= 0:
            _tell_blocked(area, interval, order, done.crossed, wanted, 0, engine.sequence, events)
        if not order.is_live:
            interval.marks[right] = 1  # the next in its line
            interval.is_marked = True


# --- blocked ------------------------------------------------------------------------------------------------------


def _tell_blocked(
    area: Area, interval: Interval, taker: Order, crossed: int, wanted_w: int, traded_w: int, base: int, events: list[Event], *,
    alone: bool = False,
) -> None:  # fmt: skip
    if crossed < 0:
        return
    is_buy = taker.line.side == "buy"
    other = (interval.sells if is_buy else interval.buys).lines[crossed].first
    row = blocking_row(area, interval, *((taker, other) if is_buy else (other, taker)))
    if row is None:
        return
    if taker.told_row != row:
        events.append(_blocked(area, interval, taker, row, wanted_w, traded_w, base + len(events) + 1))
    if other.told_row != row and not alone:
        events.append(_blocked(area, interval, other, row, other.open_w, 0, base + len(events) + 1))


def blocking_row(area: Area, interval: Interval, buyer: Order, seller: Order) -> int | None:
    """The row that keeps two orders that cross apart, or None where it is not the network."""
    headroom: Headroom = interval.headroom
    if not area.at_rates:
        return headroom.blocking_row(buyer.right, seller.right)
    rate, row = search.rate_and_row(headroom.columns, headroom.residual, buyer.right, seller.right, area.settings.lot_w)
    accepts = rate > 0 and search.accepts(rate, area.settings.lot_w, seller.price_mct, buyer.price_mct)
    return None if accepts or row < 0 else int(row)


def _blocked(area: Area, interval: Interval, order: Order, row: int, wanted_w: int, secure_w: int, sequence: int) -> Blocked:
    order.told_row = row
    label = interval.headroom.polytope.labels[row]
    return Blocked(
        sequence, area.name, order.account.customer, order.order_id, interval.start_ms, order.line.direction,
        label.kind, label.element, label.phase, wanted_w, secure_w,
    )  # fmt: skip


# --- the invariant ------------------------------------------------------------------------------------------------


def check_stable(engine: Engine, area: Area, interval: Interval) -> None:
    """No purchase at rest can trade with anybody: tried by the walk itself, and taken back."""
    if interval.phase != "continuous" or engine.halts_all(area.name, interval.start_ms):
        return
    shut = engine.shut(area.name, interval.start_ms)
    for line in interval.buys.lines:
        if line.entries:
            order, undo = line.first, Undo(interval)
            undo.keep(order)
            interval.take_out(order)
            done = walk(area, interval, order, shut, undo, passes_own=True)
            undo.take_back()
            assert not done.fills, f"{order.account.customer} {order.order_id} rests, and could trade"
