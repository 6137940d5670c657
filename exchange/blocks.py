"""Block orders: the same watts in several intervals, all or nothing (a car that charges for two hours).

A block stands in no line. It is tried when it comes, and again when one of its intervals has changed: its walks are made in every
interval, and all are taken back unless together they fill it within its limit. `docs/market.md`, "Block orders".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from exchange import matching
from exchange.book import Order
from exchange.events import Event, Leg, Traded
from exchange.ledger import cash_of
from exchange.market import Area, Interval
from exchange.matching import Fill, Walk
from exchange.proposals import unit_price
from exchange.undo import Undo

if TYPE_CHECKING:
    from exchange.engine import Engine


def priority(block: Order) -> tuple[int, int]:
    return block.line.sign * block.price_mct, block.born


def settle(engine: Engine, area: Area, intervals: Iterable[Interval], events: list[Event]) -> None:
    """Tries every block of these intervals that changed since it was last tried, the better price first, until none trades."""
    touched = dict.fromkeys(interval.start_ms for interval in intervals)
    while True:
        near = [block for block in area.blocks if not touched.keys().isdisjoint(area.spanned(block))]
        traded = next((block for block in sorted(near, key=priority) if _trade(engine, area, block, events)), None)
        if traded is None:
            return
        touched.update(dict.fromkeys(area.spanned(traded)))


def _trade(engine: Engine, area: Area, block: Order, events: list[Event]) -> bool:
    """Whether it traded. `arrival` keeps what its intervals were like when it last did not."""
    intervals = [area.intervals[start] for start in area.spanned(block)]
    seen = area.seen(block)
    if block.arrival == seen or not all(is_trading(engine, area, interval) for interval in intervals):
        return False
    walks = _walks(area, block, intervals)
    if walks is None:
        block.arrival = seen
        return False
    area.blocks.remove(block)
    block.account.open_orders -= block.intervals
    block.is_live, block.open_w = False, 0
    for interval, (done, cash) in zip(intervals, walks, strict=True):
        _book(engine, area, interval, block, done, cash, events)
    for interval in intervals:
        interval.freed(interval.before)
        matching.pause(area, interval, engine.sequence, events)
    for interval in intervals:
        matching.wake(engine, area, interval, events)
    return True


def is_trading(engine: Engine, area: Area, interval: Interval) -> bool:
    return interval.phase == "continuous" and not engine.shut(area.name, interval.start_ms)


def _walks(area: Area, block: Order, intervals: list[Interval]) -> list[tuple[Walk, int]] | None:
    """Each interval's walk and its cash, or None, with everything taken back, where they do not fill it within its limit."""
    undos, found = [], []
    for interval in intervals:
        undo = Undo(interval)
        undos.append(undo)
        part = _part(area, interval, block)
        done = matching.walk(area, interval, part, 0, undo, passes_own=True)
        if part.open_w:
            break
        found.append((done, sum(_cash(area, block, fill) for fill in done.fills)))
    limit = block.line.sign * cash_of(block.intervals * block.open_w, block.price_mct, area.settings.interval_ms)
    if len(found) == len(intervals) and sum(cash for _, cash in found) >= limit:
        return found
    for undo in undos:
        undo.take_back()
    return None


def _part(area: Area, interval: Interval, block: Order) -> Order:
    """The block as an incoming order of one interval, at any price: what counts is the sum."""
    is_buy = block.line.side == "buy"
    price = area.settings.price_mct_max if is_buy else area.settings.price_mct_min
    line = interval.side(block.line.side).lines[block.right]
    return Order(block.account, block.order_id, line, block.right, block.quantity_w, block.open_w, price, 0, block.born)


def _cash(area: Area, block: Order, fill: Fill) -> int:
    """What the block earns (positive) or pays: the resting order's price for its own watts."""
    if fill.maker is None:
        return 0
    is_buy = block.line.side == "buy"
    cash = cash_of(fill.sold_w if is_buy else fill.bought_w, fill.maker.price_mct, area.settings.interval_ms)
    return -cash if is_buy else cash


def _book(engine: Engine, area: Area, interval: Interval, block: Order, done: Walk, cash: int, events: list[Event]) -> None:
    base, ledger, is_buy, watts = engine.sequence, interval.ledger, block.line.side == "buy", block.quantity_w
    (ledger.receive if is_buy else ledger.give)(block.right, watts)
    ledger.cash_mct[block.account.position] += cash
    price = unit_price(area, cash, watts, is_buy)
    legs: list[Leg] = [matching.leg_of(interval, block, watts if is_buy else -watts, price, cash, 0, 0)]
    used_up: dict[Order, int] = {}  # in the order of their last parts; what of it is too little to go on
    for fill in done.fills:
        if fill.maker is None:
            continue
        legs.append(_book_maker(area, interval, block, fill, fill.maker))
        if fill.remainder_w or fill.refilled_w:
            used_up.pop(fill.maker, None)
            used_up[fill.maker] = fill.remainder_w
    events.append(Traded(base + len(events) + 1, area.name, interval.start_ms, tuple(legs), "block"))
    matching.count(area, interval, [block, *(fill.maker for fill in done.fills if fill.maker is not None)])
    for maker, remainder_w in used_up.items():  # of what is gone altogether nothing is shown, nor told
        matching.tell_after(area, interval, maker, remainder_w, maker.shown_w, base, events)


def _book_maker(area: Area, interval: Interval, block: Order, fill: Fill, maker: Order) -> Leg:
    ledger, is_buy = interval.ledger, block.line.side == "buy"
    change, earned = -fill.sold_w if is_buy else fill.bought_w, -_cash(area, block, fill)
    (ledger.give if is_buy else ledger.receive)(maker.right, abs(change))
    ledger.cash_mct[maker.account.position] += earned
    interval.tell_price(maker.line.direction, maker.price_mct)
    return matching.leg_of(interval, maker, change, maker.price_mct, earned, fill.maker_open_w, fill.maker_shown_w)
