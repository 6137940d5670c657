"""The state of the market: areas, their customers and rows, and their intervals. Data and views; the engine decides."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from exchange import search
from exchange.book import NEVER_TOLD, Line, Lines, Order
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import DeviceSetting, Direction, Phase, Side, Withhold
from exchange.ledger import Ledger
from exchange.receipts import Account, Receipt
from riskcheck.headroom import Headroom
from riskcheck.polytope import Polytope

OPERATOR = "~operator"  # `~` is in no customer's alphabet
SIDES: tuple[Side, Side] = ("buy", "sell")
DIRECTIONS: tuple[Direction, Direction] = ("export", "import")


class Withholding(msgspec.Struct, eq=False, gc=False):
    """An order of the operator for headroom of a row, under a right of its own."""

    command: Withhold
    row: int
    right: int
    order: Order


class Interval:
    """One delivery period: its lines share one ledger and the headroom of one set of rows.

    `marks` are the purchases that freed headroom may have unblocked; `before` is where a walk leaves the residuals that it
    found. `auction_since_ms` is the first time that was told since its auction began. `last_price_mct` is that of each book's last trade,
    `anchor_mct` that of its first since continuous trading began. `requests`, `trades` and `receipts` count by customer; `version` counts
    whatever may help a block order; `settings` are the operator's devices as the rows assume them.
    """

    __slots__ = (
        "anchor_mct", "area", "arrivals", "auction_since_ms", "before", "buys", "headroom", "is_marked", "last_price_mct", "ledger",
        "marks", "phase", "receipts", "remembered", "requests", "row_largest", "rows", "rows_hash", "sells", "settings", "start_ms",
        "trades", "version", "withheld",
    )  # fmt: skip

    def __init__(self, area: Area, start_ms: int, rows_hash: str, headroom: Headroom, ledger: Ledger, phase: Phase = "continuous") -> None:
        n = len(area.terms)
        self.area = area
        self.start_ms = start_ms
        self.rows_hash = rows_hash
        self.headroom = headroom
        self.ledger = ledger
        self.phase: Phase = phase
        self.auction_since_ms: int | None = None
        self.buys, self.sells = (Lines(area.name, start_ms, side, n) for side in SIDES)
        self.marks = np.zeros(2 * n, dtype=np.int8)
        self.is_marked = False
        self.arrivals = 0
        self.version = 0
        self.remembered: list[Receipt] = []
        self.last_price_mct: dict[Direction, int] = {}
        self.anchor_mct: dict[Direction, int] = {}
        self.requests, self.trades, self.receipts = [0] * n, [0] * n, [0] * n
        self.settings: tuple[DeviceSetting, ...] = ()
        self.withheld: dict[str, Withholding] = {}
        self._measure_rows()

    def _measure_rows(self) -> None:
        columns = self.headroom.polytope.columns
        self.rows = np.zeros((3, columns.shape[1]), dtype=np.int64)
        self.row_largest, self.before = self.rows[search.LARGEST], self.rows[search.BEFORE]
        self.row_largest[:] = columns.max(axis=0, initial=0)

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """The position of each right's owner; the operator's comes after all customers'."""
        owners: npt.NDArray[np.int64] = self.buys.heads[search.OWNER]
        return owners

    @property
    def is_closed(self) -> bool:
        return self.phase in ("closed", "delivery")

    @property
    def is_timeless(self) -> bool:
        """In an auction of which nobody knows yet since when."""
        return self.phase == "auction" and self.auction_since_ms is None

    def side(self, side: Side) -> Lines:
        return self.buys if side == "buy" else self.sells

    def remember(self, account: Account, receipt: Receipt) -> None:
        account.receipts[receipt.command.request_id] = receipt
        self.remembered.append(receipt)
        self.receipts[account.position] += 1

    def begin_continuous(self) -> None:
        """Orders meet at once from now on; what rests is to be matched."""
        self.enter("continuous")
        self.anchor_mct.clear()
        self.mark_all()

    def enter(self, phase: Phase) -> None:
        self.phase, self.auction_since_ms = phase, None

    def tell_price(self, direction: Direction, price_mct: int) -> None:
        """A book's last trade, and its first since continuous trading began."""
        self.last_price_mct[direction] = price_mct
        self.anchor_mct.setdefault(direction, price_mct)

    def tell_time(self, now_ms: int) -> None:
        if self.is_timeless:
            self.auction_since_ms = now_ms

    def mark_all(self) -> None:
        self.marks.fill(1)
        self.is_marked = True
        self.version += 1

    def freed(self, before: npt.NDArray[np.int64]) -> None:
        """Marks what may be unblocked, given the residuals before a change."""
        found = search.mark()(
            self.headroom.columns, before, self.headroom.residual, self.row_largest, self.buys.heads, self.area.settings.lot_w,
            self.area.at_rates, self.marks,
        )  # fmt: skip
        self.is_marked = self.is_marked or found
        self.version += 1

    def rest(self, order: Order, arrival: int | None = None) -> None:
        """Into its line: last in its price, or with the arrival that it had."""
        if arrival is None:
            arrival = self.arrivals = self.arrivals + 1
        order.arrival, order.is_live = arrival, True
        if not order.shown_w:
            order.shown_w = order.next_shown_w()
        (self.buys if order.line.side == "buy" else self.sells).add(order)
        order.account.open_orders += 1
        self.version += 1

    def take_out(self, order: Order) -> None:
        """Out of its line; its reservation stays."""
        (self.buys if order.line.side == "buy" else self.sells).remove(order)
        order.account.open_orders -= 1
        order.is_live, order.shown_w = False, 0

    def add_row_right(self, row: int, holding_w: int) -> int:
        """A right of the operator whose column is the row's largest coefficient there; holds so much of the row's headroom."""
        column = np.zeros(self.headroom.polytope.n_rows, dtype=np.int32)
        column[row] = self.row_largest[row]
        self.headroom.add_column(column, holding_w)
        right = self.ledger.add_right(holding_w)
        for lines in (self.buys, self.sells):
            lines.grow("export", len(self.area.terms))
        self.marks = np.append(self.marks, np.int8(0))
        return right

    def drop_row_rights(self) -> None:
        """The operator's rights end with their rows; nothing may rest or be held under them."""
        n = 2 * len(self.area.terms)
        self.ledger.drop_rights()
        for lines in (self.buys, self.sells):
            lines.shrink(n)
        self.marks = self.marks[:n].copy()
        self.withheld.clear()

    def install(self, rows: Polytope, settings: tuple[DeviceSetting, ...]) -> None:
        """Other rows, and the device settings that they assume. What was told of the old rows is forgotten."""
        self.drop_row_rights()
        self.rows_hash, self.settings = rows.content_hash, settings
        self.headroom = Headroom(rows, self.ledger.holding_w)
        self._measure_rows()
        for order in self.orders():
            order.told_row = NEVER_TOLD

    def lines(self, direction: Direction, side: Side) -> list[Line]:
        n, lines = len(self.area.terms), self.side(side).lines
        return lines[:n] if direction == "export" else lines[n : 2 * n]

    def in_priority(self, lines: list[Line]) -> list[Order]:
        """The orders of several lines of one side, by price, then arrival."""
        return [order for _, _, order in sorted((entry for line in lines for entry in line.entries), key=_place)]

    def orders_of(self, account: Account) -> Iterator[Order]:
        """One customer's, in the order in which a gate closure cancels."""
        for direction in DIRECTIONS:
            for side in SIDES:
                yield from self.side(side).lines[self.area.right(account.position, direction)]

    def orders(self) -> Iterator[Order]:
        """In the order in which a gate closure cancels: export before import, purchases before sales; the operator's last."""
        for direction in DIRECTIONS:
            for side in SIDES:
                yield from self.in_priority(self.lines(direction, side))
        for side in SIDES:
            yield from self.in_priority(self.side(side).lines[2 * len(self.area.terms) :])

    def check(self) -> None:
        self.ledger.check()
        assert self.rows_hash == self.headroom.polytope.content_hash, "the headroom is that of other rows"
        self.headroom.check(self.ledger.holding_w)
        assert self.headroom.residual.min(initial=0) >= 0, "the holdings break a row"
        for side, reserved in zip(SIDES, (self.ledger.wanted_w, self.ledger.offered_w), strict=True):
            lines = self.side(side)
            lines.check()
            found = [sum(order.open_w for order in line) for line in lines.lines]
            for block in self.area.blocks:
                if block.line.side == side and self.start_ms in self.area.spanned(block):
                    found[block.right] += block.open_w
            assert found == reserved, "reservations are not the open orders"
        assert not (self.is_closed and any(True for _ in self.orders())), "an order rests behind a closed gate"


def _place(entry: tuple[int, int, Order]) -> tuple[int, int]:
    return entry[:2]


class Area:
    def __init__(self, name: str, settings: MarketSettings, terms: tuple[CustomerTerms, ...]) -> None:
        self.name = name
        self.settings = settings
        self.terms = list(terms)
        self.accounts = {term.customer: Account(term.customer, position) for position, term in enumerate(terms)}
        self.operator = Account(OPERATOR, len(terms))
        self.rating_w = [t.rating_export_w for t in terms] + [t.rating_import_w for t in terms]
        self.failsafe_w = [t.failsafe_export_w for t in terms] + [t.failsafe_import_w for t in terms]
        self.rows: dict[str, Polytope] = {}
        self.intervals: dict[int, Interval] = {}
        self.at_rates = settings.matching == "exchange_rate"
        self.blocks: list[Order] = []
        self.suspended: dict[str | None, str] = {}
        self.settled_mct = [0] * (len(terms) + 1)

    def right(self, position: int, direction: Direction) -> int:
        return position if direction == "export" else position + len(self.terms)

    def holder(self, right: int) -> tuple[str, Direction]:
        n = len(self.terms)
        return (self.terms[right].customer, "export") if right < n else (self.terms[right - n].customer, "import")

    def spanned(self, order: Order) -> range:
        """The intervals of an order, one or, for a block, several."""
        start, length = order.line.interval_ms, self.settings.interval_ms
        return range(start, start + order.intervals * length, length)

    def seen(self, block: Order) -> int:
        """What tells the state of a block's intervals from any other since: kept in its `arrival` when it was tried in vain."""
        return sum(self.intervals[start_ms].version for start_ms in self.spanned(block)) + 1

    def retire(self, interval: Interval) -> None:
        """Cash moves to the settled account; receipts, books and rows that nothing needs any more are forgotten."""
        for receipt in interval.remembered:
            self.accounts[receipt.command.customer].receipts.pop(receipt.command.request_id, None)
        for position, cash in enumerate(interval.ledger.cash_mct):
            self.settled_mct[position] += cash
        del self.intervals[interval.start_ms]
        needed = {live.rows_hash for live in self.intervals.values()}
        newest = next(reversed(self.rows))
        self.rows = {name: rows for name, rows in self.rows.items() if name in needed or name == newest}

    def check(self) -> None:
        assert sum(self.settled_mct) == 0
        resting = dict.fromkeys([*self.accounts, OPERATOR], 0)
        for interval in self.intervals.values():
            interval.check()
            for order in interval.orders():
                resting[order.account.customer] += 1
        for block in self.blocks:
            assert block.is_live and block.intervals > 1
            resting[block.account.customer] += block.intervals
        found = {name: account.open_orders for name, account in self.accounts.items()} | {OPERATOR: self.operator.open_orders}
        assert resting == found, "open orders are miscounted"
        assert not any(resting[name] for name in self.accounts if {None, name} & self.suspended.keys()), "who is suspended has an order"
