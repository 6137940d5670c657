"""How an incoming order meets a book: candidates by price, then time; each asks the network how much of it is secure.

A candidate that the network blocks is skipped and stays in the book. Its owner is told the blocking row when that row is
news, the incoming order's owner once. Whatever whole lots are secure are traded at the resting order's price. Fill or kill
tries the walk on the headroom first and takes it back, bit for bit, if the whole quantity cannot be had.

Events are numbered `base + position`; the caller advances its sequence by as many as were appended.
"""

from __future__ import annotations

from exchange.book import Order, Queue
from exchange.commands import TimeInForce
from exchange.events import Blocked, CancelCause, Event, Leg, Traded
from exchange.ledger import cash_of
from exchange.market import Area, Interval

RESTING = ("gate", "until")


def match(
    area: Area, interval: Interval, taker: Order, against: Queue, time_in_force: TimeInForce, base: int, events: list[Event]
) -> CancelCause | None:
    """Trades what can be traded `against` the other side. Returns why the remainder must not rest, or None when it may."""
    if not against.crosses(taker.price_mct):
        return None if time_in_force in RESTING else time_in_force  # type: ignore[return-value]
    if time_in_force == "fok" and not _fillable(area, interval, taker, against, base, events):
        return "fok"
    stopped_by_self = _walk(area, interval, taker, against, base, events)
    if taker.open_w == 0:
        return None
    assert time_in_force != "fok", "a fill-or-kill order that was found fillable was not filled"
    return "self_trade" if stopped_by_self else "ioc" if time_in_force == "ioc" else None


def _walk(area: Area, interval: Interval, taker: Order, against: Queue, base: int, events: list[Event]) -> bool:
    """True when it stopped at an order of the same customer."""
    lot, self_trades, trade = area.settings.lot_w, area.settings.self_trade == "allow", interval.headroom.trade_or_row
    is_buy, account, right, worst = taker.queue.side == "buy", taker.account, taker.right, against.sign * taker.price_mct
    shut = interval.shut_to(right, is_buy)
    untold, stopped = True, False
    filled: list[Order] = []
    for key, _, maker in against.entries:
        if key > worst:
            break
        row = shut.get(maker.right)
        if row is not None and row == maker.told_row and not untold:
            continue
        if maker.account is account and not self_trades:
            stopped = True
            break
        wanted = min(taker.open_w, maker.open_w)
        secure = 0
        if row is None:
            secure, row = trade(right, maker.right, wanted, lot) if is_buy else trade(maker.right, right, wanted, lot)
        if secure < wanted:
            if maker.told_row != row:
                events.append(_blocked(area, interval, maker, row, wanted, secure, base + len(events) + 1))
            if untold:
                untold = False
                events.append(_blocked(area, interval, taker, row, wanted, secure, base + len(events) + 1))
            if secure == 0:
                shut[maker.right] = row
                continue
        events.append(_fill(area, interval, taker, maker, secure, base + len(events) + 1))
        shut = interval.shut_to(right, is_buy)
        if maker.open_w == 0:
            filled.append(maker)
        if taker.open_w == 0:
            break
    for maker in filled:
        against.remove(maker)
        maker.account.open_orders -= 1
    return stopped


def _fillable(area: Area, interval: Interval, taker: Order, against: Queue, base: int, events: list[Event]) -> bool:
    """Whether the whole of a fill-or-kill order would trade now. Leaves the headroom as it was."""
    headroom, lot, self_trades = interval.headroom, area.settings.lot_w, area.settings.self_trade == "allow"
    is_buy, left = taker.queue.side == "buy", taker.open_w
    tried: list[tuple[int, int, int]] = []
    blocked: Blocked | None = None
    shut, worst = dict(interval.shut_to(taker.right, is_buy)), against.sign * taker.price_mct
    for key, _, maker in against.entries:
        if key > worst:
            break
        if maker.right in shut and blocked is not None:
            continue
        if maker.account is taker.account and not self_trades:
            break
        wanted = min(left, maker.open_w)
        buyer, seller = (taker.right, maker.right) if is_buy else (maker.right, taker.right)
        secure, row = headroom.trade_or_row(buyer, seller, wanted, lot)
        if secure < wanted and blocked is None:
            blocked = _blocked(area, interval, taker, row, wanted, secure, base + len(events) + 1)
        if secure == 0:
            shut[maker.right] = row
            continue
        shut.clear()
        tried.append((buyer, seller, secure))
        left -= secure
        if left == 0:
            break
    for buyer, seller, quantity in tried:
        headroom.change(buyer, -quantity)
        headroom.change(seller, quantity)
    if left and blocked is not None:
        events.append(blocked)
    return left == 0


def _blocked(area: Area, interval: Interval, order: Order, row: int, wanted_w: int, secure_w: int, sequence: int) -> Blocked:
    order.told_row = row
    label = interval.headroom.polytope.labels[row]
    return Blocked(
        sequence, area.name, order.account.customer, order.order_id, interval.start_ms, order.queue.direction,
        label.kind, label.element, label.phase, wanted_w, secure_w,
    )  # fmt: skip


def _fill(area: Area, interval: Interval, taker: Order, maker: Order, quantity_w: int, sequence: int) -> Traded:
    ledger, price = interval.ledger, maker.price_mct
    interval.changes += 1
    interval.last_price_mct[maker.queue.direction] = price
    taker.open_w -= quantity_w
    maker.open_w -= quantity_w
    cash = cash_of(quantity_w, price, area.settings.interval_ms)
    if taker.queue.side == "buy":
        ledger.receive(taker.right, quantity_w)
        ledger.give(maker.right, quantity_w)
        change = quantity_w
    else:
        ledger.give(taker.right, quantity_w)
        ledger.receive(maker.right, quantity_w)
        change, cash = -quantity_w, -cash
    ledger.cash_mct[taker.account.position] -= cash
    ledger.cash_mct[maker.account.position] += cash
    return Traded(
        sequence, area.name, interval.start_ms,
        (_leg(interval, taker, change, price, -cash), _leg(interval, maker, -change, price, cash)),
    )  # fmt: skip


def _leg(interval: Interval, order: Order, change_w: int, price_mct: int, cash_mct: int) -> Leg:
    queue = order.queue
    return Leg(
        order.account.customer, order.order_id, queue.side, queue.direction, change_w, price_mct, cash_mct,
        order.open_w, interval.ledger.holding_w[order.right],
    )  # fmt: skip
