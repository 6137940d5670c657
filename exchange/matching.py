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


def match(area: Area, interval: Interval, taker: Order, time_in_force: TimeInForce, base: int, events: list[Event]) -> CancelCause | None:
    """Trades what can be traded. Returns why the remainder must not rest, or None when it may."""
    against = interval.books[taker.queue.direction].against(taker.queue.side)
    if not against.crosses(taker.price_mct):
        return "ioc" if time_in_force == "ioc" else "fok" if time_in_force == "fok" else None
    if time_in_force == "fok" and not _fillable(area, interval, taker, against, base, events):
        return "fok"
    stopped_by_self = _walk(area, interval, taker, against, base, events)
    if taker.open_w == 0:
        return None
    return "self_trade" if stopped_by_self else "ioc" if time_in_force == "ioc" else None


def _walk(area: Area, interval: Interval, taker: Order, against: Queue, base: int, events: list[Event]) -> bool:
    """True when it stopped at an order of the same customer."""
    lot, self_trades = area.settings.lot_w, area.settings.self_trade == "allow"
    is_buy, account = taker.queue.side == "buy", taker.account
    untold, stopped = True, False
    filled: list[Order] = []
    shut: dict[int, int] = {}  # rights with which nothing is secure at the headroom of the moment, and the row that blocks
    for maker in against.crossing(taker.price_mct):
        if shut and maker.told_row == shut.get(maker.right):
            continue
        if maker.account is account and not self_trades:
            stopped = True
            break
        wanted = min(taker.open_w, maker.open_w)
        buyer, seller = (taker.right, maker.right) if is_buy else (maker.right, taker.right)
        secure, row = _secure_part(interval, buyer, seller, wanted, lot)
        if secure < wanted:
            if maker.told_row != row:
                events.append(_blocked(area, interval, maker, row, wanted, secure, base + len(events) + 1))
            if untold:
                untold = False
                events.append(_blocked(area, interval, taker, row, wanted, secure, base + len(events) + 1))
            if secure == 0:
                shut[maker.right] = row
                continue
        shut.clear()
        events.append(_fill(area, interval, taker, maker, secure, base + len(events) + 1))
        if maker.open_w == 0:
            filled.append(maker)
        if taker.open_w == 0:
            break
    for maker in filled:
        against.remove(maker)
        maker.account.open_orders -= 1
    return stopped


def _secure_part(interval: Interval, buyer: int, seller: int, wanted_w: int, lot_w: int) -> tuple[int, int]:
    """How much of a candidate trade is secure, committed to the headroom, and the blocking row (-1 when all of it is)."""
    if interval.blocked:
        known = interval.blocked.get((buyer, seller))
        if known is not None and known[1] == interval.changes:
            return 0, known[0]
    secure, row = interval.headroom.trade_or_row(buyer, seller, wanted_w, lot_w)
    if secure == 0:
        interval.blocked[buyer, seller] = (row, interval.changes)
    return secure, row


def _fillable(area: Area, interval: Interval, taker: Order, against: Queue, base: int, events: list[Event]) -> bool:
    """Whether the whole of a fill-or-kill order would trade now. Leaves the headroom as it was."""
    headroom, lot, self_trades = interval.headroom, area.settings.lot_w, area.settings.self_trade == "allow"
    is_buy, left = taker.queue.side == "buy", taker.open_w
    tried: list[tuple[int, int, int]] = []
    blocked: Blocked | None = None
    shut: dict[int, None] = {}
    for maker in against.crossing(taker.price_mct):
        if maker.right in shut:
            continue
        if maker.account is taker.account and not self_trades:
            break
        wanted = min(left, maker.open_w)
        buyer, seller = (taker.right, maker.right) if is_buy else (maker.right, taker.right)
        secure, row = headroom.trade_or_row(buyer, seller, wanted, lot)
        if secure < wanted and blocked is None:
            blocked = _blocked(area, interval, taker, row, wanted, secure, base + len(events) + 1)
        if secure == 0:
            shut[maker.right] = None
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
