"""The state of the market: areas, their customers and rows, and their intervals. Data and views; the engine decides."""

from __future__ import annotations

from collections.abc import Iterator

from exchange.book import NEVER_TOLD, Book, Order, Queue
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import DeviceSetting, Direction
from exchange.ledger import Ledger
from exchange.receipts import Account
from riskcheck.headroom import Headroom
from riskcheck.polytope import Polytope


class Interval:
    """One delivery period: its two books share one ledger and the headroom of one set of rows.

    `shut_to` remembers which rights can trade nothing with a given one, so that a book full of blocked crossings is not checked
    again and again while nothing has moved; every trade (`changes`) makes it forget. `last_price_mct` is that of each book's last
    trade; `settings` are the operator's devices as the rows assume them.
    """

    __slots__ = (
        "_shut", "books", "changes", "headroom", "is_closed", "last_price_mct", "ledger", "remembered", "rows_hash", "settings", "start_ms",
    )  # fmt: skip

    def __init__(self, area: str, start_ms: int, rows_hash: str, headroom: Headroom, ledger: Ledger) -> None:
        self.start_ms = start_ms
        self.rows_hash = rows_hash
        self.headroom = headroom
        self.ledger = ledger
        self.books: dict[Direction, Book] = {"export": Book(area, start_ms, "export"), "import": Book(area, start_ms, "import")}
        self.is_closed = False
        self.remembered: list[tuple[Account, str]] = []
        self.last_price_mct: dict[Direction, int] = {}
        self.settings: tuple[DeviceSetting, ...] = ()
        self.changes = 0
        self._shut: dict[int, tuple[int, dict[int, int]]] = {}

    def shut_to(self, right: int, is_buy: bool) -> dict[int, int]:
        """The row that blocks whole trades with other rights, by right, as found since the last trade; the caller adds to it."""
        key = right if is_buy else ~right
        known = self._shut.get(key)
        if known is None or known[0] != self.changes:
            known = self._shut[key] = (self.changes, {})
        return known[1]

    def install(self, rows: Polytope, settings: tuple[DeviceSetting, ...]) -> None:
        """Other rows, and the device settings that they assume. What was known of the old rows is forgotten."""
        self.rows_hash, self.settings = rows.content_hash, settings
        self.headroom = Headroom(rows, self.ledger.holding_w)
        self.changes += 1
        for order in self.orders():
            order.told_row = NEVER_TOLD

    def queues(self) -> Iterator[Queue]:
        """In the order in which a gate closure cancels: export before import, purchases before sales."""
        for book in self.books.values():
            yield book.buys
            yield book.sells

    def orders(self) -> Iterator[Order]:
        for queue in self.queues():
            yield from queue

    def check(self) -> None:
        self.ledger.check()
        assert self.rows_hash == self.headroom.polytope.content_hash, "the headroom is that of other rows"
        self.headroom.check(self.ledger.holding_w)
        offered, wanted = [0] * len(self.ledger.holding_w), [0] * len(self.ledger.holding_w)
        for queue in self.queues():
            queue.check()
            for order in queue:
                (wanted if queue.side == "buy" else offered)[order.right] += order.open_w
        assert (offered, wanted) == (self.ledger.offered_w, self.ledger.wanted_w), "reservations are not the open orders"
        assert not (self.is_closed and (any(offered) or any(wanted))), "an order rests behind a closed gate"


class Area:
    def __init__(self, name: str, settings: MarketSettings, terms: tuple[CustomerTerms, ...]) -> None:
        self.name = name
        self.settings = settings
        self.terms = terms
        self.accounts = {term.customer: Account(term.customer, position) for position, term in enumerate(terms)}
        self.rating_w = [t.rating_export_w for t in terms] + [t.rating_import_w for t in terms]
        self.failsafe_w = [t.failsafe_export_w for t in terms] + [t.failsafe_import_w for t in terms]
        self.rows: dict[str, Polytope] = {}
        self.intervals: dict[int, Interval] = {}
        self.settled_mct = [0] * len(terms)
        self.settled_operator_mct = 0

    def right(self, position: int, direction: Direction) -> int:
        return position if direction == "export" else position + len(self.terms)

    def holder(self, right: int) -> tuple[str, Direction]:
        n = len(self.terms)
        return (self.terms[right].customer, "export") if right < n else (self.terms[right - n].customer, "import")

    def retire(self, interval: Interval) -> None:
        """Cash moves to the settled account; receipts, books and rows that nothing needs any more are forgotten."""
        for account, request_id in interval.remembered:
            account.receipts.pop(request_id, None)
        for position, cash in enumerate(interval.ledger.cash_mct):
            self.settled_mct[position] += cash
        self.settled_operator_mct += interval.ledger.operator_mct
        del self.intervals[interval.start_ms]
        needed = {live.rows_hash for live in self.intervals.values()}
        newest = next(reversed(self.rows))
        self.rows = {name: rows for name, rows in self.rows.items() if name in needed or name == newest}

    def check(self) -> None:
        assert sum(self.settled_mct) + self.settled_operator_mct == 0
        resting = dict.fromkeys(self.accounts, 0)
        for interval in self.intervals.values():
            interval.check()
            for order in interval.orders():
                resting[order.account.customer] += 1
        assert resting == {name: account.open_orders for name, account in self.accounts.items()}
