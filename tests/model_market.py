"""What the naive model remembers of a market: accounts, orders at rest, prices. Every other figure is computed anew at each question.

A right is (customer, direction); exports come first, then imports. Each Withhold is one more right, numbered on from there until the
rows change: its column is zero but for the row's largest coefficient there. The operator is the owner after the last customer.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import mul

import msgspec

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.rejects import Reason

Refusal = Reason | None
OPERATOR = "~operator"
INTERVALS_MAX = 96
GATE_OPEN = ("announced", "auction", "continuous", "frozen")


class Rows(msgspec.Struct, frozen=True):
    """`columns[right]` lists what one watt of the right takes from every row."""

    name: str
    slack: int
    columns: list[list[int]]
    labels: tuple[tuple[str, str, str], ...]

    def largest(self, row: int) -> int:
        return max(column[row] for column in self.columns)

    def named(self, label: tuple[str, str, str]) -> int | None:
        """The first row of a name that takes something from anybody."""
        return next((row for row, known in enumerate(self.labels) if known == label and self.largest(row)), None)

    def residual(self, held: list[int]) -> list[int]:
        return [self.slack - sum(map(mul, held, takes)) for takes in zip(*self.columns, strict=True)]


class Order(msgspec.Struct, eq=False):
    """`arrival` is its place in its line, 0 before it joined one. A block order stands in none; `row` is the operator's."""

    owner: int
    right: int
    order_id: str
    interval_ms: int
    direction: c.Direction
    side: c.Side
    price_mct: int
    total_w: int
    open_w: int
    born: int
    until_ms: int | None = None
    display_w: int = 0
    shown_w: int = 0
    arrival: int = 0
    told_row: int | None = None
    intervals: int = 1
    row: int | None = None
    withheld_w: int = 0

    def show(self) -> None:
        self.shown_w = min(self.open_w, self.display_w) if self.display_w else self.open_w

    def stands_in(self, books: tuple[str, ...]) -> bool:
        """The operator's orders stand in no book."""
        return self.row is None and self.direction in books

    def rank(self) -> tuple[int, int]:
        """Better price first, then earlier arrival."""
        return (-self.price_mct if self.side == "buy" else self.price_mct, self.arrival)


class Interval(msgspec.Struct, eq=False):
    """`first_mct` and `last_mct`: by book, the first trade since continuous trading began, and the last. `requests` and `legs` are
    by customer, `lines` the row of each Withhold since the rows changed. `marked` and `is_stirred` last for one command."""

    start_ms: int
    rows: Rows
    phase: c.Phase
    allocation: tuple[int, ...]
    raised: list[int]
    bought: list[int]
    sold: list[int]
    rebased: list[int]
    cash: list[int]
    compensated: list[int]
    requests: list[int]
    legs: list[int]
    arrivals: int = 0
    lines: list[int] = []
    orders: list[Order] = []
    withheld: list[Order] = []
    first_mct: dict[str, int] = {}
    last_mct: dict[str, int] = {}
    settings: tuple[c.DeviceSetting, ...] = ()
    auction_since_ms: int | None = None
    marked: set[int] = set()
    is_stirred: bool = False

    @classmethod
    def opened(cls, start_ms: int, rows: Rows, phase: c.Phase, allocation: tuple[int, ...]) -> Interval:
        rights, owners = [0] * len(allocation), [0] * (len(allocation) // 2 + 1)
        accounts = [list(rights) for _ in range(4)] + [list(owners) for _ in range(4)]
        return cls(start_ms, rows, phase, allocation, *accounts)

    def holding(self) -> list[int]:
        accounts = zip(self.allocation, self.raised, self.bought, self.sold, self.rebased, strict=True)
        return [given + raised + bought - sold - rebased for given, raised, bought, sold, rebased in accounts]

    def residual(self) -> list[int]:
        left = self.rows.residual(self.holding())
        for order in self.withheld:
            assert order.row is not None
            left[order.row] -= order.withheld_w * self.rows.largest(order.row)
        return left

    def columns(self) -> list[list[int]]:
        rows = range(len(self.rows.labels))
        return self.rows.columns + [[self.rows.largest(line) if row == line else 0 for row in rows] for line in self.lines]

    def is_open(self) -> bool:
        return self.phase in GATE_OPEN

    def queue(self, direction: str, side: str) -> list[Order]:
        return sorted((o for o in self.orders if o.direction == direction and o.side == side), key=Order.rank)

    def in_line(self, right: int, side: str) -> list[Order]:
        return sorted((o for o in self.orders if o.right == right and o.side == side), key=Order.rank)

    def by_priority(self, is_operators: bool = False) -> Iterator[Order]:
        """The customers' orders, or the operator's, book by book, purchases first."""
        for direction in ("export", "import"):
            for side in ("buy", "sell"):
                yield from (order for order in self.queue(direction, side) if (order.row is not None) == is_operators)

    def join(self, order: Order) -> None:
        self.arrivals += 1
        order.arrival = self.arrivals
        if order not in self.orders:
            self.orders.append(order)
        self.is_stirred = True

    def leave(self, order: Order) -> None:
        if order in self.orders:
            self.orders.remove(order)


class Area(msgspec.Struct, eq=False):
    """`blocks` are the block orders that wait, in the order they came; `settled` is the cash of retired intervals, by owner."""

    name: str
    settings: MarketSettings
    terms: list[CustomerTerms]
    settled: list[int]
    rows: dict[str, Rows] = {}
    intervals: dict[int, Interval] = {}
    blocks: list[Order] = []

    def owner(self, customer: str) -> int | None:
        return next((position for position, term in enumerate(self.terms) if term.customer == customer), None)

    def name_of(self, order: Order) -> str:
        return self.terms[order.owner].customer if order.owner < len(self.terms) else OPERATOR

    def right(self, owner: int, direction: str) -> int:
        return owner if direction == "export" else owner + len(self.terms)

    def limits(self, owner: int, direction: str) -> tuple[int, int]:
        """(failsafe, rating)."""
        term = self.terms[owner]
        return (term.failsafe_export_w, term.rating_export_w) if direction == "export" else (term.failsafe_import_w, term.rating_import_w)

    def all_limits(self) -> list[tuple[int, int]]:
        return [self.limits(owner, direction) for direction in ("export", "import") for owner in range(len(self.terms))]

    def span(self, start_ms: int, intervals: int) -> list[int]:
        """Starts of the intervals that an order is for; of a nonsensical number the first alone."""
        steps = range(intervals if 1 <= intervals <= INTERVALS_MAX else 1)
        return [start_ms + step * self.settings.interval_ms for step in steps]

    def blocks_in(self, start_ms: int) -> list[Order]:
        return [block for block in self.blocks if start_ms in self.span(block.interval_ms, block.intervals)]

    def reserved(self, interval: Interval, right: int, side: str, without: Order | None = None) -> int:
        """Watts that open orders of a right may still give or receive."""
        every = interval.orders + self.blocks_in(interval.start_ms)
        return sum(o.open_w for o in every if o.right == right and o.side == side and o is not without)

    def open_orders(self, owner: int) -> int:
        every = [order for interval in self.intervals.values() for order in interval.orders] + self.blocks
        return sum(order.intervals for order in every if order.owner == owner)

    def cash_of(self, quantity_w: int, price_mct: int) -> int:
        return quantity_w * price_mct * self.settings.interval_ms // 3_600_000_000

    def price_of(self, order: Order, cash_mct: int, quantity_w: int) -> int:
        """What one watt cost, rounded up, or brought, rounded down."""
        scaled, scale = cash_mct * 3_600_000_000, quantity_w * self.settings.interval_ms
        return -(-scaled // scale) if order.side == "buy" else scaled // scale
