"""The lines of one interval: who is first, by right and side. Knows prices, watts and arrival; nothing of money, rows or time.

Orders of one right and side take the same from every row, so only the first of a line can trade: better price, then earlier
arrival. A line is a plain sorted list of (key, arrival, order); it is short, for a customer may hold only so many open orders.
The key is the price for sales and the negated price for purchases, so the first is always the smallest. `heads` repeats the
first orders for the compiled search (`exchange/search.py`): price, shown watts and arrival, by right.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec
import numpy as np

from exchange.commands import Direction, Side
from exchange.receipts import Account
from exchange.search import NONE

NEVER_TOLD = -1


class Order(msgspec.Struct, eq=False, gc=False):
    """A limit order while it matters. `born` is the sequence of its acceptance, `arrival` its place in the interval's order of time;
    `told_row` is the row that its owner was last told. A struct because it is made for every order, and compared by identity."""

    account: Account
    order_id: str
    line: Line
    right: int
    quantity_w: int
    open_w: int
    price_mct: int
    until_ms: int
    born: int
    display_w: int = 0
    intervals: int = 1
    arrival: int = 0
    shown_w: int = 0
    told_row: int = NEVER_TOLD
    is_live: bool = False

    @property
    def side(self) -> Side:
        return self.line.side

    @property
    def direction(self) -> Direction:
        return self.line.direction

    @property
    def fate(self) -> str:
        """What has become of it, for people: resting, filled or cancelled."""
        return "resting" if self.is_live else "cancelled" if self.open_w else "filled"

    def next_shown_w(self) -> int:
        """What is shown when it joins its line, or its shown part is used up."""
        return min(self.display_w, self.open_w) if self.display_w else self.open_w


class Line:
    """The orders of one right and side, in priority."""

    __slots__ = ("area", "direction", "entries", "interval_ms", "right", "side", "sign")

    def __init__(self, area: str, interval_ms: int, direction: Direction, side: Side, right: int) -> None:
        self.area = area
        self.interval_ms = interval_ms
        self.direction: Direction = direction
        self.side: Side = side
        self.right = right
        self.sign = 1 if side == "sell" else -1
        self.entries: list[tuple[int, int, Order]] = []

    @property
    def first(self) -> Order:
        return self.entries[0][2]

    def __iter__(self) -> Iterator[Order]:
        for _, _, order in self.entries:
            yield order

    def check(self) -> None:
        places = [entry[:2] for entry in self.entries]
        assert places == sorted(set(places)), "the line is out of order"
        for key, arrival, order in self.entries:
            assert order.arrival == arrival and order.line is self and order.is_live and order.right == self.right
            assert self.sign * order.price_mct == key and 0 < order.open_w <= order.quantity_w
            assert 0 < order.shown_w <= order.open_w and order.shown_w <= (order.display_w or order.open_w)


class Lines:
    """All lines of one side of an interval, by right; operator's lines are added at the end."""

    __slots__ = ("heads", "lines", "side")

    def __init__(self, area: str, interval_ms: int, side: Side, customers: int) -> None:
        self.side = side
        self.lines = [Line(area, interval_ms, "export" if right < customers else "import", side, right) for right in range(2 * customers)]
        self.heads = np.full((3, 2 * customers), NONE, dtype=np.int64)

    def grow(self, direction: Direction) -> None:
        """One more line, without an order."""
        first = self.lines[0]
        self.lines.append(Line(first.area, first.interval_ms, direction, self.side, len(self.lines)))
        self.heads = np.ascontiguousarray(np.hstack([self.heads, np.full((3, 1), NONE, dtype=np.int64)]))

    def add(self, order: Order) -> None:
        """Into its line, by its price and its arrival."""
        line = order.line
        entry = (line.sign * order.price_mct, order.arrival, order)
        insort(line.entries, entry)
        if line.entries[0] is entry:
            self.show(line)

    def remove(self, order: Order) -> None:
        line = order.line
        place = bisect_left(line.entries, (line.sign * order.price_mct, order.arrival))
        assert line.entries[place][2] is order
        del line.entries[place]
        if place == 0:
            self.show(line)

    def show(self, line: Line) -> None:
        """Repeats the first order of a line for the search."""
        heads, right = self.heads, line.right
        if line.entries:
            order = line.entries[0][2]
            heads[0, right], heads[1, right], heads[2, right] = order.price_mct, order.shown_w, order.arrival
        else:
            heads[0, right] = NONE

    def __iter__(self) -> Iterator[Order]:
        for line in self.lines:
            yield from line

    def check(self) -> None:
        for line in self.lines:
            line.check()
            head = self.heads[:, line.right].tolist()
            if line.entries:
                assert head == [line.first.price_mct, line.first.shown_w, line.first.arrival], "a head is stale"
            else:
                assert head[0] == NONE, "a head without an order"
