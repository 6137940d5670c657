"""Public market data: folds events into what anyone may see of each book, and renders the books that changed.

A book's levels are kept by price: watts open and orders there. Trades, totals and the count of blocked crossings are those since
the book opened, or since this process started (they are shown, not relied on). Nothing here names a customer or an order.
Rendering is conflated: however many events a book saw, it is published once per call of `render`; a retired interval is
published empty, which removes what the broker retained.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

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
    Replaced,
    Resumed,
    RowsChanged,
    Traded,
)
from gateway import topics, wire
from gateway.message import Message
from gateway.mirror import Mirror, Resting

LEVELS = 5
TRADES = 10
BookKey = tuple[str, int, Direction]
DIRECTIONS: tuple[Direction, Direction] = ("export", "import")


class PublicBook:
    """Watts and orders by price on both sides, last trades and totals."""

    __slots__ = ("blocked_count", "levels", "trade_count", "traded_w", "trades")

    def __init__(self) -> None:
        self.levels: dict[Side, dict[int, list[int]]] = {"buy": {}, "sell": {}}
        self.trades: deque[wire.PublicTrade] = deque(maxlen=TRADES)
        self.traded_w = 0
        self.trade_count = 0
        self.blocked_count = 0

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

    def open_w(self, side: Side) -> int:
        return sum(level[0] for level in self.levels[side].values())


class MarketData:
    """Call `fold` with each released event BEFORE the mirror folds it: the mirror still knows the order as it was."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.books: dict[BookKey, PublicBook] = {}
        self._dirty: dict[BookKey, None] = {}
        self._retired: list[BookKey] = []
        self._changed_areas: dict[str, None] = {}
        for name, area in mirror.areas.items():
            for start_ms in area.intervals:
                self._open(name, start_ms)
            for orders in area.orders.values():
                for order in orders.values():
                    self._add(name, order, 1)

    def fold(self, event: Event) -> None:
        match event:
            case Accepted():
                self._add(event.area, Resting(event.interval_ms, event.direction, event.side, event.quantity_w, event.price_mct), 1)
            case Replaced():
                self._add(event.area, self._mirror.areas[event.area].orders[event.customer][event.order_id], -1)
                self._add(event.area, Resting(event.interval_ms, event.direction, event.side, event.open_w, event.price_mct), 1)
            case Cancelled():
                self._add(event.area, self._mirror.areas[event.area].orders[event.customer][event.order_id], -1)
            case Traded():
                self._trade(event)
            case Blocked():
                self._touch((event.area, event.interval_ms, event.direction)).blocked_count += 1
            case IntervalOpened():
                self._open(event.area, event.interval_ms)
            case RowsChanged():
                self._changed_areas[event.area] = None
                self._dirty.update(((event.area, event.interval_ms, direction), None) for direction in DIRECTIONS)
            case GateClosed():
                self._changed_areas[event.area] = None
            case IntervalRetired():
                self._changed_areas[event.area] = None
                for direction in DIRECTIONS:
                    key = (event.area, event.interval_ms, direction)
                    del self.books[key]
                    self._dirty.pop(key, None)
                    self._retired.append(key)
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

    def _touch(self, key: BookKey) -> PublicBook:
        self._dirty[key] = None
        return self.books[key]

    def _add(self, area: str, order: Resting, sign: int) -> None:
        self._touch((area, order.interval_ms, order.direction)).change(order.side, order.price_mct, sign * order.open_w, sign)

    def _trade(self, event: Traded) -> None:
        """The price shown is leg 0's, that of the incoming order's part."""
        moved: dict[Direction, list[int]] = {}
        for leg in event.legs:
            order = self._mirror.areas[event.area].orders[leg.customer][leg.order_id]
            book = self._touch((event.area, event.interval_ms, leg.direction))
            book.change(leg.side, order.price_mct, leg.open_w - order.open_w, 0 if leg.open_w else -1)
            moved.setdefault(leg.direction, [0, 0])[0 if leg.change_w > 0 else 1] += abs(leg.change_w)
        price_mct = event.legs[0].price_mct
        for direction, (received_w, given_w) in moved.items():
            book = self.books[event.area, event.interval_ms, direction]
            book.trades.appendleft(wire.PublicTrade(event.sequence, self._mirror.market_ms, price_mct, received_w, given_w))
            book.traded_w += received_w
            book.trade_count += 1

    def mark_all(self) -> None:
        """Everything counts as changed: after a reconnect the broker may have forgotten what it retained."""
        self._dirty.update(dict.fromkeys(self.books))
        self._changed_areas.update(dict.fromkeys(self._mirror.areas))

    def render(self) -> list[Message]:
        """The changed books, each once; retired ones removed; the state of areas whose intervals or phases changed."""
        messages = [Message(topics.book(*key), b"", 1, True) for key in self._retired]
        messages += [Message(topics.book(*key), wire.encode(self.book(key)), 0, True) for key in self._dirty]
        messages += [self.render_state(area, self._mirror.market_ms) for area in self._changed_areas]
        self._retired.clear()
        self._dirty.clear()
        self._changed_areas.clear()
        return messages

    def book(self, key: BookKey) -> wire.Book:
        book = self.books[key]
        return wire.Book(
            sequence=self._mirror.sequence, interval_ms=key[1], direction=key[2], bids=book.best("buy"), offers=book.best("sell"),
            trades=tuple(book.trades), open_buy_w=book.open_w("buy"), open_sell_w=book.open_w("sell"),
            traded_w=book.traded_w, trade_count=book.trade_count, blocked_count=book.blocked_count,
        )  # fmt: skip

    def render_state(self, area: str, market_ms: int) -> Message:
        """The area's rules, intervals and phases, and what its clock shows."""
        mirrored = self._mirror.areas[area]
        rules = mirrored.settings
        intervals = []
        for start_ms, interval in sorted(mirrored.intervals.items()):
            phase: Literal["open", "halted", "closed"] = "halted" if self._mirror.is_halted(area, start_ms) else "open"
            taps = [wire.Tap(setting.device, setting.value) for setting in interval.settings if setting.kind == "tap"]
            intervals.append(wire.IntervalState(start_ms, "closed" if interval.is_closed else phase, interval.rows_hash, taps))
        state = wire.State(
            area=area, sequence=self._mirror.sequence, market_ms=market_ms, interval_length_ms=rules.interval_ms, tick_mct=rules.tick_mct,
            lot_w=rules.lot_w, price_mct_min=rules.price_mct_min, price_mct_max=rules.price_mct_max, intervals=tuple(intervals),
        )  # fmt: skip
        return Message(topics.state(area), wire.encode(state), 1, True)
