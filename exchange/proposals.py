"""What a solver proposes, and integers dispose of: joint fills for an order that comes (Sweep) or for those that rest (Uncross).

A proposal names watts by right. They are dealt to orders (`dealing.py`); the deal must be secure in every row, paid for by the limits
of those who buy, and worth more than what the walk would do; else the walk happens. Nothing here trusts a solver: docs/market.md has
the rules, under "Sweeps".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from exchange import matching
from exchange.book import Order
from exchange.commands import Sweep, TimeInForce, Uncross
from exchange.dealing import Deal, Part, classes, deal, due, earns, refuse_insecure, welfare
from exchange.events import Event, Leg, PhaseEntered, Refused, Traded, TradeKind, Uncrossed
from exchange.ledger import MCT_W_MS_PER_KWH, cash_of
from exchange.market import Area, Interval
from exchange.operations import find_interval, refuse
from exchange.rejects import Reason
from exchange.undo import Undo

if TYPE_CHECKING:
    from exchange.engine import Engine, Refusal

Priced = Callable[[Part], int]


def walk_worth(area: Area, interval: Interval, taker: Order, time_in_force: TimeInForce, shut: int) -> int:
    """The welfare of the walk that would happen otherwise, at the orders' limits. Takes everything back."""
    undo, open_w = Undo(interval), taker.open_w
    done = matching.walk(area, interval, taker, shut, undo)
    worth = sum(_fill_worth(taker, fill) for fill in done.fills)
    is_killed = time_in_force == "fok" and taker.open_w > 0
    undo.take_back()
    taker.open_w = open_w
    return 0 if is_killed else worth


def _fill_worth(taker: Order, fill: matching.Fill) -> int:
    if fill.maker is None:
        return taker.price_mct * fill.bought_w
    buyer, seller = (taker, fill.maker) if taker.line.side == "buy" else (fill.maker, taker)
    return buyer.price_mct * fill.bought_w - seller.price_mct * fill.sold_w


# --- an order that comes with a proposal --------------------------------------------------------------------------


def sweep(engine: Engine, area: Area, interval: Interval, command: Sweep, taker: Order, events: list[Event]) -> bool:
    """Trades as proposed, and says whether it did. A lot or more that is left of the order is still to walk."""
    shut, base = engine.shut(area.name, interval.start_ms), engine.sequence
    judged = _judge_sweep(area, interval, command, taker, shut)
    if not isinstance(judged, list):
        events.append(Refused(base + len(events) + 1, "sweep", judged[0].value, judged[1]))
        return False
    before = interval.headroom.residual.copy()
    resting = [part for part in judged if part.order is not taker]
    mine = sum(part.watts for part in judged if part.order is taker)
    balance = -sum(earns(area, part, part.order.price_mct) for part in resting)
    cash, rest = _taker_cash(area, taker, mine, balance)
    taker.open_w -= mine
    _trade(area, interval, judged, taker, (cash, mine), lambda part: part.order.price_mct, "sweep", rest, base, events)
    interval.freed(before)
    if 0 < taker.open_w < area.settings.lot_w:
        matching.end(interval, taker, "remainder", base, events)
    return True


def _judge_sweep(area: Area, interval: Interval, command: Sweep, taker: Order, shut: int) -> Deal | Refusal:
    if shut:
        return Reason.HALTED, "a book of the interval is halted"
    dealt = deal(area, interval, command.changes, taker)
    if not isinstance(dealt, list):
        return dealt
    mine = sum(part.watts for part in dealt if part.order is taker)
    if command.place.time_in_force == "fok" and mine < taker.open_w:
        return Reason.INVALID_PROPOSAL, "it does not fill an order that is to be filled or killed"
    broken = refuse_insecure(interval, dealt)
    if broken is not None:
        return broken
    balance = -sum(earns(area, part, part.order.price_mct) for part in dealt if part.order is not taker)
    if _taker_cash(area, taker, mine, balance)[1] < 0:
        return Reason.UNPAID_PROPOSAL, "the buyers' limits do not cover what the sellers ask"
    worth, walked = welfare(dealt), walk_worth(area, interval, taker, command.place.time_in_force, shut)
    if worth <= max(0, walked):
        return Reason.WORSE_PROPOSAL, f"worth {worth}, pairs are worth {walked} (mct/kWh W)"
    return dealt


def _taker_cash(area: Area, taker: Order, mine_w: int, balance_mct: int) -> tuple[int, int]:
    """(what the incoming order earns or pays, what is left for the operator) of what the resting orders paid less what they earned."""
    if not mine_w:
        return 0, balance_mct
    limit = taker.line.sign * cash_of(mine_w, taker.price_mct, area.settings.interval_ms)
    cash = min(max(balance_mct, limit), 0) if taker.line.side == "buy" else max(balance_mct, limit)
    return cash, balance_mct - cash


# --- the orders at rest -------------------------------------------------------------------------------------------


def uncross(engine: Engine, command: Uncross, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    refusal = _refuse_uncross(engine, area, interval, command)
    if refusal is not None:
        return refuse(engine, command, *refusal, events)
    base = engine.sequence
    judged = _judge_uncross(engine, area, interval, command)
    if not isinstance(judged, list):
        if not command.ends_auction:
            return refuse(engine, command, *judged, events)
        if command.changes or command.row_price_mct:
            refuse(engine, command, *judged, events)
        dealt, is_proposal = greedy(engine, area, interval), False
    else:
        dealt, is_proposal = judged, True
    _uncross(area, interval, command, dealt, is_proposal, base, events)
    engine.after(area, [interval], events)
    return None


def _refuse_uncross(engine: Engine, area: Area, interval: Interval, command: Uncross) -> Refusal | None:
    if interval.is_closed:
        return Reason.GATE_CLOSED, f"trading of interval {interval.start_ms} has ended"
    if interval.phase == "frozen" or engine.shut(area.name, interval.start_ms):
        return Reason.HALTED, "the interval is frozen, or a book of it is halted"
    if command.rows_hash != interval.rows_hash:
        return Reason.STALE_ROWS, f"made for rows {command.rows_hash}, and {interval.rows_hash} are in force"
    if interval.phase != ("auction" if command.ends_auction else "continuous"):
        return Reason.WRONG_PHASE, f"the interval is in phase {interval.phase}"
    return None


def _judge_uncross(engine: Engine, area: Area, interval: Interval, command: Uncross) -> Deal | Refusal:
    rows = interval.headroom.polytope.n_rows
    if command.row_price_mct and (len(command.row_price_mct) != rows or min(command.row_price_mct) < 0):
        return Reason.INVALID_PROPOSAL, f"{len(command.row_price_mct)} prices for {rows} rows, none may be negative"
    dealt = deal(area, interval, command.changes, None)
    if not isinstance(dealt, list):
        return dealt
    broken = refuse_insecure(interval, dealt)
    if broken is not None:
        return broken
    if due(area, dealt) > 0:
        return Reason.UNPAID_PROPOSAL, "the buyers' limits do not cover what the sellers ask"
    worth = welfare(dealt)
    walked = welfare(greedy(engine, area, interval)) if command.ends_auction else 0
    if worth <= walked:
        return Reason.WORSE_PROPOSAL, f"worth {worth}, pairs are worth {walked} (mct/kWh W)"
    return dealt


def still_stands(engine: Engine, command: Uncross) -> bool:
    """Whether the orders that it fills are there, and the rows have room for it: both may have changed while it was solved."""
    area = engine.areas[command.area]
    interval = area.intervals[command.interval_ms]
    dealt = deal(area, interval, command.changes, None)
    return isinstance(dealt, list) and refuse_insecure(interval, dealt) is None


def greedy(engine: Engine, area: Area, interval: Interval) -> Deal:
    """What purchases would get, the best-priced first, each walking as if it had just come. Takes everything back.

    Nothing where rounding makes the operator pay, or the welfare negative: then pairs trade when the auction has ended.
    """
    undo, shut = Undo(interval), engine.shut(area.name, interval.start_ms)
    taken: dict[int, int] = {}
    orders: dict[int, Order] = {}
    for order in interval.in_priority(interval.buys.lines):
        undo.keep(order)
        interval.take_out(order)
        before = order.open_w
        done = matching.walk(area, interval, order, shut, undo, passes_own=True)
        _add(taken, orders, order, before - order.open_w)
        for fill in done.fills:
            if fill.maker is not None:
                _add(taken, orders, fill.maker, fill.sold_w)
    undo.take_back()
    kinds = classes(interval)

    def place(key: int) -> tuple[int, bool, int, int]:
        order = orders[key]
        return kinds.of(order.right), order.line.side == "sell", order.line.sign * order.price_mct, order.arrival

    dealt = [Part(orders[key], taken[key]) for key in sorted(taken, key=place) if taken[key]]
    return dealt if welfare(dealt) >= 0 and due(area, dealt) <= 0 else []


def _add(taken: dict[int, int], orders: dict[int, Order], order: Order, watts: int) -> None:
    taken[id(order)] = taken.get(id(order), 0) + watts
    orders[id(order)] = order


def _uncross(area: Area, interval: Interval, command: Uncross, dealt: Deal, is_proposal: bool, base: int, events: list[Event]) -> None:
    worth = welfare(dealt) * area.settings.interval_ms // MCT_W_MS_PER_KWH
    events.append(Uncrossed(base + len(events) + 1, area.name, interval.start_ms, is_proposal, command.ends_auction, worth))
    before = interval.headroom.residual.copy()
    priced = _pricing(area, interval, command, dealt) if is_proposal else _as_bid
    operator = -sum(earns(area, part, priced(part)) for part in dealt)
    if dealt:
        _trade(area, interval, dealt, None, (0, 0), priced, "uncross", operator, base, events)
    if command.ends_auction:
        interval.begin_continuous()
        reason = "the auction has ended"
        events.append(PhaseEntered(base + len(events) + 1, area.name, interval.start_ms, "continuous", reason))
    else:
        interval.freed(before)
        matching.pause(area, interval, base, events)


def _pricing(area: Area, interval: Interval, command: Uncross, dealt: Deal) -> Priced:
    """Everybody's own limit, or the price of its right where the market clears uniformly and that pays for itself."""
    if area.settings.auction_pricing == "pay_as_bid" or not command.row_price_mct:
        return _as_bid
    prices = {part.order.right: right_price(interval, command.row_price_mct, part.order.right) for part in dealt}

    def uniform(part: Part) -> int:
        if part.order.line.side == "buy":
            return min(part.order.price_mct, ceil(prices[part.order.right]))
        return max(part.order.price_mct, floor(prices[part.order.right]))

    return uniform if sum(earns(area, part, uniform(part)) for part in dealt) <= 0 else _as_bid


def _as_bid(part: Part) -> int:
    return part.order.price_mct


def right_price(interval: Interval, row_price_mct: Sequence[int], right: int) -> Fraction:
    """The sum over rows of the row's price times what the right takes of it, as a share of its largest user."""
    column, largest = interval.headroom.columns[right].tolist(), interval.row_largest.tolist()
    priced = zip(row_price_mct, column, largest, strict=True)
    return sum((Fraction(price * take, most) for price, take, most in priced if price and take), Fraction(0))


# --- booking a deal -----------------------------------------------------------------------------------------------


def _trade(
    area: Area, interval: Interval, dealt: Deal, taker: Order | None, taken: tuple[int, int], priced: Priced, kind: TradeKind,
    operator_mct: int, base: int, events: list[Event],
) -> None:  # fmt: skip
    """One trade of many legs: `taken` is the incoming order's (cash, watts)."""
    legs: list[Leg] = []
    after: list[tuple[Order, int, int]] = []
    for order, watts in dealt:
        change = -order.line.sign * watts
        interval.headroom.change(order.right, change)
        (interval.ledger.receive if change > 0 else interval.ledger.give)(order.right, watts)
        if order is taker:
            cash, price = taken[0], unit_price(area, taken[0], watts, change > 0)
            open_w, shown_w = order.open_w, order.next_shown_w()
        else:
            price = priced(Part(order, watts))
            cash = earns(area, Part(order, watts), price)
            interval.tell_price(order.line.direction, price)
            open_w, shown_w, remainder_w, refilled_w = matching.consume(area, interval, order, watts)
            after.append((order, remainder_w, refilled_w))
        interval.ledger.cash_mct[order.account.position] += cash
        legs.append(matching.leg_of(interval, order, change, price, cash, open_w, shown_w))
    interval.ledger.cash_mct[-1] += operator_mct
    events.append(Traded(base + len(events) + 1, area.name, interval.start_ms, tuple(legs), kind, operator_mct))
    matching.count(area, interval, [part.order for part in dealt])
    for order, remainder_w, refilled_w in after:
        matching.tell_after(area, interval, order, remainder_w, refilled_w, base, events)


def unit_price(area: Area, cash_mct: int, watts: int, is_buy: bool) -> int:
    """What one watt cost (rounded up) or brought (rounded down), from the cash."""
    scaled, energy = abs(cash_mct) * MCT_W_MS_PER_KWH, watts * area.settings.interval_ms
    return -(-scaled // energy) if is_buy else scaled // energy


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {Uncross: uncross}
