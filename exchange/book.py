"""Price-time queues of one book. Knows prices, quantities and arrival order; nothing of money, network or time.

Rule 1: the better price goes first. Rule 2: within a price, who came first goes first. A queue's key is the price for
sales and the negated price for purchases, so the best key is always the smallest. Levels are ordered dicts, because
taking from the front and cancelling in the middle must both be constant in time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from sortedcontainers import SortedDict

from exchange.commands import Direction, Side
from exchange.receipts import Account

NEVER_TOLD = -1


class Order:
    """A limit order while it matters. `born` is the sequence of its acceptance; `told_row` the row its owner was last told."""

    __slots__ = ("account", "born", "is_live", "open_w", "order_id", "price_mct", "quantity_w", "queue", "right", "told_row", "until_ms")

    def __init__(
        self, account: Account, order_id: str, queue: Queue, right: int, quantity_w: int, price_mct: int, until_ms: int, born: int
    ) -> None:
        self.account = account
        self.order_id = order_id
        self.queue = queue
        self.right = right
        self.quantity_w = quantity_w
        self.open_w = quantity_w
        self.price_mct = price_mct
        self.until_ms = until_ms
        self.born = born
        self.told_row = NEVER_TOLD
        self.is_live = False

    @property
    def fate(self) -> str:
        """What has become of it, for people: resting, filled or cancelled."""
        return "resting" if self.is_live else "cancelled" if self.open_w else "filled"


class Queue:
    """One side of a book, in priority."""

    __slots__ = ("area", "best", "direction", "interval_ms", "levels", "side", "sign")

    def __init__(self, area: str, interval_ms: int, direction: Direction, side: Side) -> None:
        self.area = area
        self.interval_ms = interval_ms
        self.direction: Direction = direction
        self.side: Side = side
        self.sign = 1 if side == "sell" else -1
        self.levels: SortedDict[int, OrderedDict[int, Order]] = SortedDict()
        self.best: int | None = None

    def add(self, order: Order) -> None:
        """Last in its price."""
        key = self.sign * order.price_mct
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = OrderedDict()
            if self.best is None or key < self.best:
                self.best = key
        level[order.born] = order
        order.is_live = True

    def remove(self, order: Order) -> None:
        key = self.sign * order.price_mct
        level = self.levels[key]
        del level[order.born]
        order.is_live = False
        if not level:
            del self.levels[key]
            if key == self.best:
                self.best = next(iter(self.levels)) if self.levels else None

    def crosses(self, price_mct: int) -> bool:
        """Whether an order of the other side at this price meets the best of this queue."""
        return self.best is not None and self.best <= self.sign * price_mct

    def crossing(self, price_mct: int) -> Iterator[Order]:
        """Those that an order of the other side at this price may trade with, by priority. Change the queue after, not during."""
        if self.best is None or self.best > self.sign * price_mct:
            return
        yield from self.levels[self.best].values()
        for key in self.levels.irange(self.best, self.sign * price_mct, inclusive=(False, True)):
            yield from self.levels[key].values()

    def __iter__(self) -> Iterator[Order]:
        for level in self.levels.values():
            yield from level.values()

    def check(self) -> None:
        assert self.best == (next(iter(self.levels)) if self.levels else None), "cached best price is stale"
        for key, level in self.levels.items():
            assert level, "an empty level stayed in the book"
            for born, order in level.items():
                assert order.born == born and order.queue is self and order.is_live
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
