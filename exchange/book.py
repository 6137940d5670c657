"""The lines of one interval: who is first, by right and side. Knows prices, watts and arrival; nothing of money, rows or time.

Orders of one right and side take the same from every row, so only the first of a line can trade: better price, then earlier
arrival. A line is a plain sorted list of (key, arrival, order); it is short, for a customer may hold only so many open orders.
The key is the price for sales and the negated price for purchases, so the first is always the smallest. `heads` repeats the
first orders for the compiled search (`exchange/search.py`): price, shown watts, arrival and owner, by right.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from exchange.commands import Direction, Side
from exchange.receipts import Account, shown_of
from exchange.search import ARRIVAL, NONE, OWNER, PASSED, PRICE, SHOWN

NEVER_TOLD = -1
NO_KEY = 2**62


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
        return shown_of(self.display_w, self.open_w)


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
    """All lines of one side of an interval, by right; operator's lines are added at the end.

    `floors` says for each direction a key below which no first order lies: what does not reach it need not be searched for. It follows
    every order that comes at once, and one that goes only when somebody has searched in vain (`nothing_below`).
    """

    __slots__ = ("arrivals", "customers_rights", "floors", "heads", "lines", "prices", "shown", "side")

    def __init__(self, area: str, interval_ms: int, side: Side, customers: int) -> None:
        self.side = side
        self.lines = [Line(area, interval_ms, "export" if right < customers else "import", side, right) for right in range(2 * customers)]
        self.customers_rights = 2 * customers
        self.floors: dict[Direction, int] = {"export": NO_KEY, "import": NO_KEY}
        heads = np.full((PASSED + 1, 2 * customers), NONE, dtype=np.int64)
        heads[OWNER] = np.tile(np.arange(customers), 2)
        self._repeat_in(heads)

    def _repeat_in(self, heads: npt.NDArray[np.int64]) -> None:
        """Writing one number through a view takes a third of what numpy takes."""
        self.heads = np.ascontiguousarray(heads)
        self.prices, self.shown, self.arrivals = (memoryview(self.heads[row]) for row in (PRICE, SHOWN, ARRIVAL))

    def grow(self, direction: Direction, owner: int) -> None:
        """One more line, without an order."""
        first = self.lines[0]
        self.lines.append(Line(first.area, first.interval_ms, direction, self.side, len(self.lines)))
        head = np.full((PASSED + 1, 1), NONE, dtype=np.int64)
        head[OWNER] = owner
        self._repeat_in(np.hstack([self.heads, head]))

    def shrink(self, rights: int) -> None:
        """Without the lines from this right on; they must be empty."""
        assert not any(line.entries for line in self.lines[rights:]), "an order for a row outlives it"
        del self.lines[rights:]
        self._repeat_in(self.heads[:, :rights])

    def nothing_below(self, direction: Direction, key: int) -> None:
        """Somebody has looked: no first order of this direction has a smaller key."""
        self.floors[direction] = key

    def add(self, order: Order) -> None:
        """Into its line, by its price and its arrival."""
        line = order.line
        entries, entry = line.entries, (line.sign * order.price_mct, order.arrival, order)
        insort(entries, entry)
        if entries[0] is entry:
            self.show(line)

    def remove(self, order: Order) -> None:
        line = order.line
        entries = line.entries
        place = bisect_left(entries, (line.sign * order.price_mct, order.arrival))
        assert entries[place][2] is order
        del entries[place]
        if place == 0:
            self.show(line)

    def show(self, line: Line) -> None:
        """Repeats the first order of a line for the search."""
        right = line.right
        if not line.entries:
            self.prices[right] = NONE
            return
        key, arrival, order = line.entries[0]
        self.prices[right], self.shown[right], self.arrivals[right] = order.price_mct, order.shown_w, arrival
        if key < self.floors[line.direction]:
            self.floors[line.direction] = key

    def __iter__(self) -> Iterator[Order]:
        for line in self.lines:
            yield from line

    def check(self) -> None:
        for line in self.lines:
            line.check()
            head = self.heads[:OWNER, line.right].tolist()
            if line.entries:
                assert head == [line.first.price_mct, line.first.shown_w, line.first.arrival], "a head is stale"
                is_customers = line.right < self.customers_rights  # the operator's are in no book
                assert not is_customers or line.entries[0][0] >= self.floors[line.direction], "an order would not be found"
            else:
                assert head[0] == NONE, "a head without an order"
