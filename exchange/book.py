"""Price-time queues of one book. Knows prices, quantities and arrival order; nothing of money, network or time.

Rule 1: the better price goes first. Rule 2: within a price, who came first goes first. A queue's key is the price for
sales and the negated price for purchases, so the best key is always the smallest. A queue is one sorted list of
(key, arrival, order), not a map of price levels: among homes nearly every order makes a price of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sortedcontainers import SortedList

from exchange.commands import Direction, Side
from exchange.receipts import Account

NEVER_TOLD = -1
NOTHING = 2**62  # the best key of an empty queue: worse than any price


class Order(msgspec.Struct, eq=False, gc=False):
    """A limit order while it matters. `born` is the sequence of its acceptance, `arrival` its place in the queue's time order;
    `told_row` is the row that its owner was last told. A struct because it is made for every order, and compared by identity."""

    account: Account
    order_id: str
    queue: Queue
    right: int
    quantity_w: int
    open_w: int
    price_mct: int
    until_ms: int
    born: int
    arrival: int = 0
    told_row: int = NEVER_TOLD
    is_live: bool = False

    @property
    def fate(self) -> str:
        """What has become of it, for people: resting, filled or cancelled."""
        return "resting" if self.is_live else "cancelled" if self.open_w else "filled"


class Queue:
    """One side of a book, in priority."""

    __slots__ = ("area", "arrivals", "best", "direction", "entries", "interval_ms", "side", "sign")

    def __init__(self, area: str, interval_ms: int, direction: Direction, side: Side) -> None:
        self.area = area
        self.interval_ms = interval_ms
        self.direction: Direction = direction
        self.side: Side = side
        self.sign = 1 if side == "sell" else -1
        self.entries: SortedList[tuple[int, int, Order]] = SortedList()
        self.best = NOTHING
        self.arrivals = 0

    def add(self, order: Order) -> None:
        """Last in its price."""
        key = self.sign * order.price_mct
        self.arrivals = order.arrival = self.arrivals + 1
        self.entries.add((key, order.arrival, order))
        if key < self.best:
            self.best = key
        order.is_live = True

    def remove(self, order: Order) -> None:
        key = self.sign * order.price_mct
        self.entries.remove((key, order.arrival, order))
        order.is_live = False
        if key == self.best:
            self.best = self.entries[0][0] if self.entries else NOTHING

    def crosses(self, price_mct: int) -> bool:
        """Whether an order of the other side at this price meets the best of this queue: whose key is at most sign * price."""
        return self.best <= self.sign * price_mct

    def __iter__(self) -> Iterator[Order]:
        for _, _, order in self.entries:
            yield order

    def check(self) -> None:
        assert self.best == (self.entries[0][0] if self.entries else NOTHING), "the cached best price is stale"
        places = [entry[:2] for entry in self.entries]
        assert places == sorted(set(places)), "the queue is out of order"
        for key, arrival, order in self.entries:
            assert order.arrival == arrival and order.queue is self and order.is_live
            assert self.sign * order.price_mct == key and 0 < order.open_w <= order.quantity_w


class Book:
    """The two queues of one (area, interval, direction)."""

    __slots__ = ("buys", "sells")

    def __init__(self, area: str, interval_ms: int, direction: Direction) -> None:
        self.buys = Queue(area, interval_ms, direction, "buy")
        self.sells = Queue(area, interval_ms, direction, "sell")

    def queue(self, side: Side) -> Queue:
        return self.buys if side == "buy" else self.sells

    def against(self, side: Side) -> Queue:
        return self.sells if side == "buy" else self.buys
