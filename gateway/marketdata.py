"""Public market data: folds events into what anyone may see of each book, and renders the books that changed.

A book's levels are kept by price: watts shown and orders there; block orders and hidden watts are in none. Trades, totals and the
count of blocked crossings are those since the book opened, or since this process started (they are shown, not relied on). Blocked
watts are those of orders that were told of a row and still cross another in price. Nothing here names a customer or an order.
Rendering is conflated: however many events a book saw, it is published once per call of `render`, whole, under the next `update` of its
topic; a retired interval is published empty, which removes what the broker retained.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from exchange.commands import Direction, Side
from exchange.events import (
    Accepted,
    Blocked,
    Cancelled,
    Event,
    GateClosed,
    Halted,
    IntervalOpened,
    IntervalRetired,
    Leg,
    PhaseEntered,
    Replaced,
    Resumed,
    RowsChanged,
    SettingsAmended,
    Shown,
    Traded,
)
from gateway import topics, wire
from gateway.message import Message
from gateway.mirror import Mirror, Resting

LEVELS = 20
TRADES = 10
BookKey = tuple[str, int, Direction]
DIRECTIONS: tuple[Direction, Direction] = ("export", "import")


class Updates:
    """The running number of each topic's messages, from 1."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def next(self, topic: str) -> int:
        self._counts[topic] += 1
        return self._counts[topic]

    def forget(self, topic: str) -> None:
        self._counts.pop(topic, None)


class PublicBook:
    """Watts shown and orders by price on both sides, last trades and totals; `blocked` are the orders that were told of a row."""

    __slots__ = ("blocked", "blocked_count", "levels", "trade_count", "traded_w", "trades")

    def __init__(self) -> None:
        self.levels: dict[Side, dict[int, list[int]]] = {"buy": {}, "sell": {}}
        self.trades: deque[wire.PublicTrade] = deque(maxlen=TRADES)
        self.traded_w = 0
        self.trade_count = 0
        self.blocked_count = 0
        self.blocked: dict[tuple[str, str], None] = {}

    def change(self, side: Side, price_mct: int, watts: int, orders: int) -> None:
        level = self.levels[side].setdefault(price_mct, [0, 0])
        level[0] += watts
        level[1] += orders
        assert level[0] >= 0 and level[1] >= 0, f"level {price_mct} fell to {level}"
        if level[1] == 0:
            assert level[0] == 0, f"{level[0]} W without an order at {price_mct}"
            del self.levels[side][price_mct]

    def best(self, side: Side) -> tuple[wire.Level, ...]:
        ladder = self.levels[side]
        prices = sorted(ladder, reverse=side == "buy")[:LEVELS]
        return tuple(wire.Level(price, *ladder[price]) for price in prices)

    def shown_w(self, side: Side) -> int:
        return sum(level[0] for level in self.levels[side].values())

    def is_crossed_by(self, side: Side, price_mct: int) -> bool:
        """Whether an order of this side and price meets one of the other side in price."""
        if side == "buy":
            return any(price <= price_mct for price in self.levels["sell"])
        return any(price >= price_mct for price in self.levels["buy"])


class MarketData:
    """Call `fold` with each released event BEFORE the mirror folds it: the mirror still knows the order as it was."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.updates = Updates()
        self.books: dict[BookKey, PublicBook] = {}
        self._dirty: dict[BookKey, None] = {}
        self._retired: list[BookKey] = []
        self._changed_areas: dict[str, None] = {}
        for name, area in mirror.areas.items():
            for start_ms in area.intervals:
                self._open(name, start_ms)
            for customer, orders in area.orders.items():
                for order_id, order in orders.items():
                    self._add(name, order, 1)
                    if order.blocked_by is not None:
                        self.books[name, order.interval_ms, order.direction].blocked[customer, order_id] = None

    def fold(self, event: Event) -> None:
        match event:
            case Accepted():
                self._add(event.area, _accepted(event), 1)
            case Replaced() | Cancelled() | Shown() | Blocked():
                self._change(event)
            case Traded():
                self._trade(event)
            case IntervalOpened():
                self._open(event.area, event.interval_ms)
            case RowsChanged():
                self._changed_areas[event.area] = None
                self._dirty.update(((event.area, event.interval_ms, direction), None) for direction in DIRECTIONS)
            case GateClosed() | PhaseEntered() | SettingsAmended():
                self._changed_areas[event.area] = None
            case IntervalRetired():
                self._retire(event)
            case Halted() | Resumed():
                self._changed_areas.update(dict.fromkeys(self._mirror.areas if event.area is None else (event.area,)))
            case _:
                pass  # concerns one customer or the operator only

    def _open(self, area: str, interval_ms: int) -> None:
        self._changed_areas[area] = None
        for direction in DIRECTIONS:
            key = (area, interval_ms, direction)
            self.books[key] = PublicBook()
            self._dirty[key] = None

    def _retire(self, event: IntervalRetired) -> None:
        self._changed_areas[event.area] = None
        for direction in DIRECTIONS:
            key = (event.area, event.interval_ms, direction)
            del self.books[key]
            self._dirty.pop(key, None)
            self._retired.append(key)

    def _touch(self, key: BookKey) -> PublicBook:
        """A book's prices also say whether the orders of its twin are still blocked."""
        self._dirty[key] = None
        twin = (*key[:2], DIRECTIONS[key[2] == "export"])
        if self.books[twin].blocked:
            self._dirty[twin] = None
        return self.books[key]

    def _add(self, area: str, order: Resting, sign: int) -> None:
        if not order.is_block:
            book = self._touch((area, order.interval_ms, order.direction))
            book.change(order.side, order.price_mct, sign * order.shown_w, sign)

    def _change(self, event: Replaced | Cancelled | Shown | Blocked) -> None:
        """What happened to one order; the operator's own are not in any book."""
        order = self._mirror.order(event.area, event.customer, event.order_id)
        if order is None:
            return
        if isinstance(event, Blocked):
            book = self._touch((event.area, event.interval_ms, event.direction))
            book.blocked_count += 1
            book.blocked[event.customer, event.order_id] = None
            return
        self._add(event.area, order, -1)
        if isinstance(event, Replaced):
            order = order._replace(open_w=event.open_w, price_mct=event.price_mct)
        if not isinstance(event, Cancelled):
            self._add(event.area, order._replace(shown_w=event.shown_w), 1)

    def _trade(self, event: Traded) -> None:
        last = {(leg.customer, leg.order_id): leg for leg in event.legs}  # an order may serve a block twice
        for leg in last.values():
            order = self._mirror.order(event.area, leg.customer, leg.order_id)
            if order is not None and not order.is_block:
                book = self._touch((event.area, event.interval_ms, leg.direction))
                book.change(leg.side, order.price_mct, leg.shown_w - order.shown_w, 0 if leg.open_w else -1)
        customers = self._mirror.areas[event.area].position
        for direction in DIRECTIONS:
            legs = [leg for leg in event.legs if leg.direction == direction and leg.customer in customers]
            if legs:
                self._print(event, direction, legs)

    def _print(self, event: Traded, direction: Direction, legs: list[Leg]) -> None:
        """One line of the public's list of trades. Of one incoming order it is the price of its part, of orders at rest their mean."""
        received_w = sum(leg.change_w for leg in legs if leg.change_w > 0)
        given_w = -sum(leg.change_w for leg in legs if leg.change_w < 0)
        price_mct = _mean_mct(legs) if event.kind == "uncross" else event.legs[0].price_mct
        book = self._touch((event.area, event.interval_ms, direction))
        trade = wire.PublicTrade(event.sequence, self._mirror.market_ms, price_mct, received_w, given_w, event.kind)
        book.trades.appendleft(trade)
        book.traded_w += received_w
        book.trade_count += 1

    def mark_all(self) -> None:
        """Everything counts as changed: after a reconnect the broker may have forgotten what it retained."""
        self._dirty.update(dict.fromkeys(self.books))
        self._changed_areas.update(dict.fromkeys(self._mirror.areas))

    def render(self) -> list[Message]:
        """The changed books, each once; retired ones removed; the state of areas whose intervals or phases changed."""
        messages = [self.removal(topics.book(*key)) for key in self._retired]
        messages += [self._render_book(key) for key in self._dirty]
        messages += [self.render_state(area, self._mirror.market_ms) for area in self._changed_areas]
        self._retired.clear()
        self._dirty.clear()
        self._changed_areas.clear()
        return messages

    def removal(self, topic: str) -> Message:
        """Takes a topic from the broker."""
        self.updates.forget(topic)
        return Message(topic, b"", 1, True)

    def _render_book(self, key: BookKey) -> Message:
        topic = topics.book(*key)
        return Message(topic, wire.encode(self.book(key, self.updates.next(topic))), 0, True)

    def book(self, key: BookKey, update: int = 0) -> wire.Book:
        book = self.books[key]
        blocked_w = self._blocked_w(key)
        return wire.Book(
            update=update, sequence=self._mirror.sequence, interval_ms=key[1], direction=key[2],
            bids=book.best("buy"), offers=book.best("sell"), trades=tuple(book.trades), shown_buy_w=book.shown_w("buy"),
            shown_sell_w=book.shown_w("sell"), traded_w=book.traded_w, trade_count=book.trade_count, blocked_count=book.blocked_count,
            blocked_buy_w=blocked_w["buy"], blocked_sell_w=blocked_w["sell"],
        )  # fmt: skip

    def _blocked_w(self, key: BookKey) -> dict[Side, int]:
        """Shown watts of the orders that are blocked now; those that are gone, or look at other rows, are forgotten."""
        area, interval_ms, _ = key
        book = self.books[key]
        total: dict[Side, int] = {"buy": 0, "sell": 0}
        if self._mirror.areas[area].intervals[interval_ms].phase == "auction":
            return total  # there, orders that cross only wait
        against = self._met_by(key)
        for customer, order_id in list(book.blocked):
            order = self._mirror.order(area, customer, order_id)
            if order is None or order.blocked_by is None:
                del book.blocked[customer, order_id]
            elif any(other.is_crossed_by(order.side, order.price_mct) for other in against):
                total[order.side] += order.shown_w
        return total

    def _met_by(self, key: BookKey) -> Iterable[PublicBook]:
        """The books whose orders an order of this book may meet."""
        if self._mirror.areas[key[0]].settings.matching == "one_to_one":
            return (self.books[key],)
        return tuple(self.books[(*key[:2], direction)] for direction in DIRECTIONS)

    def render_state(self, area: str, market_ms: int) -> Message:
        """The area's rules, intervals and phases, and what its clock shows."""
        mirrored, topic = self._mirror.areas[area], topics.state(area)
        rules = mirrored.settings
        state = wire.State(
            update=self.updates.next(topic), area=area, sequence=self._mirror.sequence, market_ms=market_ms,
            interval_length_ms=rules.interval_ms, tick_mct=rules.tick_mct, lot_w=rules.lot_w, price_mct_min=rules.price_mct_min,
            price_mct_max=rules.price_mct_max, matching=rules.matching, auction_pricing=rules.auction_pricing,
            intervals=tuple(self._interval_state(area, start_ms) for start_ms in sorted(mirrored.intervals)),
        )  # fmt: skip
        return Message(topic, wire.encode(state), 1, True)

    def _interval_state(self, area: str, start_ms: int) -> wire.IntervalState:
        interval = self._mirror.areas[area].intervals[start_ms]
        halted = [direction for direction in DIRECTIONS if self._mirror.is_halted(area, start_ms, direction)]
        taps = [wire.Tap(setting.device, setting.value) for setting in interval.settings if setting.kind == "tap"]
        return wire.IntervalState(start_ms, interval.phase, interval.rows_hash, halted, taps)


def _accepted(event: Accepted) -> Resting:
    return Resting(event.interval_ms, event.direction, event.side, event.quantity_w, event.price_mct, event.shown_w, event.intervals)


def _mean_mct(legs: list[Leg]) -> int:
    """By watts, rounded down: to be shown, and nobody pays it."""
    return sum(leg.price_mct * abs(leg.change_w) for leg in legs) // max(1, sum(abs(leg.change_w) for leg in legs))
