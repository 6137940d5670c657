"""Tables of behaviour: what is asked on the left, what comes of it after two or more spaces on the right.

    place A1 alice sell 2500 @ 12300              rested 2500
    place B1 bob buy 1000 @ 12400                 traded 1000 @ 12300 maker A1
    cancel x1 alice A1                            cancelled A1 1500 request
    asks                                          12300: A1 1500

Asked: `place ID CUSTOMER SIDE QUANTITY @ PRICE [import] [ioc|fok|until MS] [show WATTS] [times INTERVALS] [in INTERVAL] [area AREA]`,
`replace ID CUSTOMER ORDER to TOTAL @ PRICE`, `cancel ID CUSTOMER ORDER`, `cancel_all ID CUSTOMER [CAUSE] [in INTERVAL]`, `close|retire
INTERVAL`, `halt|resume [AREA|all] [INTERVAL] [BOOK]`, `enter PHASE [in INTERVAL]`, `suspend|reinstate CUSTOMER|all`, `withhold ID
KIND/ELEMENT/PHASE SIDE QUANTITY @ PRICE`, `release ID`, `advance MS`; views are `bids`, `asks` (of the import book: `bids import`),
`holding CUSTOMER` and `cash`. A line that starts with `; ` goes on with the outcome of the line above.
"""

from __future__ import annotations

import re
from typing import Any

from exchange import commands as c
from exchange import events as e
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.engine import Engine
from riskcheck.polytope import Polytope

AREA, CLOSED, UNKNOWN, OPEN = "feeder", 900_000, 1_800_000, 2_700_000
CUSTOMERS = ("alice", "bob", "carol")
Terms = tuple[CustomerTerms, ...]
SETTINGS = MarketSettings(interval_ms=900_000, tick_mct=10, lot_w=10, price_mct_min=0, price_mct_max=100_000)


def terms_of(*customers: str, failsafe_w: int = 1_000, rating_w: int = 10_000, open_orders_max: int = 20) -> Terms:
    return tuple(CustomerTerms(name, rating_w, rating_w, failsafe_w, failsafe_w, 20_000, open_orders_max) for name in customers)


class Market:
    """One area with an open interval and a closed one; every customer was given 5,000 W each way."""

    def __init__(self, rows: Polytope | None = None, settings: MarketSettings = SETTINGS, terms: Terms | None = None) -> None:
        self.engine = Engine()
        self.terms = terms or terms_of(*CUSTOMERS)
        n = len(self.terms)
        self.rows = rows or Polytope.unlimited(2 * n)
        self.allocation = (5_000,) * n
        self.do(c.OpenArea(AREA, settings, self.terms))
        self.do(c.InstallRows(AREA, self.rows.to_bytes()))
        for start_ms in (CLOSED, OPEN):
            opened = self.do(c.OpenInterval(AREA, start_ms, self.rows.content_hash, self.allocation, self.allocation))
            assert isinstance(opened[0], e.IntervalOpened), opened
        self.do(c.CloseGate(AREA, CLOSED))

    def do(self, command: c.Command) -> list[e.Event]:
        """Every invariant holds after every command."""
        events = self.engine.apply(command)
        self.engine.check()
        return events

    def tell(self, command: c.Command) -> str:
        return self.told(self.do(command))

    def told(self, events: list[e.Event]) -> str:
        phrases = [phrase for event in events if (phrase := _PHRASES[type(event)](event))]
        first = events[0]
        if isinstance(first, e.Accepted | e.Replaced) and not (isinstance(first, e.Replaced) and first.kept_priority):
            order_id = first.request_id if isinstance(first, e.Accepted) else first.order_id
            resting = [order.open_w for order in self.engine.open_orders(first.area, first.customer) if order.order_id == order_id]
            phrases += [f"rested {open_w}" for open_w in resting]
        return "; ".join(phrases)

    def play(self, table: str) -> Market:
        """Runs the table and compares it with what happened, line by line."""
        joined = re.sub(r"\n\s*; ", "; ", table)
        lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in joined.strip().splitlines() if line.strip()]
        written = [(line[0], line[1] if len(line) > 1 else "") for line in lines]
        happened = [(asked, self.ask(asked)) for asked, _ in written]
        assert happened == written, "\n" + "\n".join(f"{asked:<60}{told}" for asked, told in happened)
        return self

    def ask(self, line: str) -> str:
        words = line.split()
        if words[0] in ("bids", "asks"):
            return self._side("buy" if words[0] == "bids" else "sell", "import" if "import" in words else "export")
        if words[0] == "holding":
            export, imported = self.engine.holdings(AREA, OPEN)
            position = [term.customer for term in self.terms].index(words[1])
            return f"export {export[position]} import {imported[position]}"
        if words[0] == "cash":
            return " ".join(f"{customer} {cash:+d}" for customer, cash in self.engine.cash(AREA).items() if cash)
        return self.tell(command_of(line))

    def _side(self, side: c.Side, direction: c.Direction) -> str:
        """`price: order open, order open; price: ...` in priority, and consistent with the book's levels."""
        levels: dict[int, list[tuple[str, int]]] = {}
        for _, order_id, price_mct, open_w in self.engine.queue(AREA, OPEN, direction, side):
            levels.setdefault(price_mct, []).append((order_id, open_w))
        book = self.engine.book(AREA, OPEN, direction)[0 if side == "buy" else 1]
        assert [(price, count) for price, _, count in book] == [(price, len(orders)) for price, orders in levels.items()]
        assert all(0 < shown_w <= sum(open_w for _, open_w in levels[price]) for price, shown_w, _ in book)
        told = {price: ", ".join(f"{name} {open_w}" for name, open_w in orders) for price, orders in levels.items()}
        return "; ".join(f"{price}: {orders}" for price, orders in told.items()) or "none"


def command_of(line: str) -> c.Command:
    verb, *words = line.split()
    area = _after(words, "area", AREA)
    interval_ms = int(_after(words, "in", OPEN))
    if verb == "place":
        until_ms = int(_after(words, "until", 0))
        force: Any = next((word for word in ("until", "ioc", "fok") if word in words), "gate")
        direction: c.Direction = "import" if "import" in words else "export"
        name, customer, side, quantity, at, price = words[:6]
        assert at == "@" and side in ("buy", "sell"), line
        display_w, intervals = int(_after(words, "show", 0)), int(_after(words, "times", 1))
        bounds = int(quantity), int(price), force, until_ms, display_w, intervals
        return c.Place(area, customer, name, interval_ms, direction, side, *bounds)
    if verb == "replace":
        return c.Replace(area, words[1], words[0], words[2], int(words[4]), int(words[6]))
    if verb == "cancel":
        return c.Cancel(area, words[1], words[0], words[2])
    if verb == "cancel_all":
        cause: Any = next((word for word in ("disconnect", "silence") if word in words), "request")
        return c.MassCancel(area, words[1], words[0], interval_ms if "in" in words else None, cause)
    if verb in ("close", "retire"):
        return c.CloseGate(AREA, int(words[0])) if verb == "close" else c.RetireInterval(AREA, int(words[0]))
    if verb in ("halt", "resume"):
        scope = None if not words or words[0] == "all" else words[0], int(words[1]) if len(words) > 1 else None
        book: Any = words[2] if len(words) > 2 else None
        return c.Halt(*scope, "storm", book) if verb == "halt" else c.Resume(*scope, "calm", book)
    return c.Advance(int(words[0])) if verb == "advance" else _operator_command(verb, words, line)


def _operator_command(verb: str, words: list[str], line: str) -> c.Command:
    if verb == "enter":
        phase: Any = words[0]
        return c.EnterPhase(AREA, int(_after(words, "in", OPEN)), phase, "plan")
    if verb in ("suspend", "reinstate"):
        customer = None if words[0] == "all" else words[0]
        return c.Suspend(AREA, customer, "unpaid") if verb == "suspend" else c.Reinstate(AREA, customer, "paid")
    if verb == "withhold":
        name, row, side, quantity, _, price = words[:6]
        kind, element, phase = row.split("/")
        sides: Any = side
        return c.Withhold(AREA, name, OPEN, kind, element, phase, sides, int(quantity), int(price), "reserve")
    assert verb == "release", line
    return c.Release(AREA, words[0], OPEN, "no need")


def _after(words: list[str], word: str, otherwise: Any) -> Any:
    return words[words.index(word) + 1] if word in words else otherwise


def _traded(event: e.Traded) -> str:
    """Of a pair what the maker gave or received, and for how much the taker's watts when they are others; else every leg."""
    assert sum(leg.cash_mct for leg in event.legs) + event.operator_mct == 0
    taker, *makers = event.legs
    if event.kind == "leftover":
        return f"took {taker.change_w} left over"
    if event.kind != "pair":
        legs = ", ".join(f"{leg.order_id} {leg.change_w:+d} @ {leg.price_mct}" for leg in event.legs)
        return f"{event.kind} {legs}" + (f" operator {event.operator_mct:+d}" if event.operator_mct else "")
    assert taker.side != makers[0].side
    others = f" for {abs(taker.change_w)}" if taker.change_w + makers[0].change_w else ""
    return f"traded {abs(makers[0].change_w)}{others} @ {makers[0].price_mct} maker {makers[0].order_id}"


_PHRASES: dict[type, Any] = {
    e.Accepted: lambda event: "",
    e.Replaced: lambda event: f"replaced {event.open_w} of {event.quantity_w} {'kept' if event.kept_priority else 'lost'}",
    e.Traded: _traded,
    e.Blocked: lambda event: f"blocked {event.order_id} {event.secure_w} of {event.wanted_w} by {event.element}",
    e.Cancelled: lambda event: f"cancelled {event.order_id} {event.quantity_w} {event.cause}",
    e.MassCancelled: lambda event: f"{event.orders} orders",
    e.Rejected: lambda event: f"rejected {event.reason}",
    e.Repeated: lambda event: "again " + type(event.first).__name__.lower() + f" {event.first.sequence}",
    e.Refused: lambda event: f"refused {event.reason}",
    e.AreaOpened: lambda event: "opened",
    e.RowsInstalled: lambda event: f"installed {event.rows}",
    e.IntervalOpened: lambda event: "opened",
    e.RowsChanged: lambda event: f"changed {event.cause}",
    e.Rebased: lambda event: f"rebased {event.customer} {event.direction} to {event.holding_w} paid {event.cash_mct} @ {event.price_mct}",
    e.Raised: lambda event: f"raised {event.customer} {event.direction} to {event.holding_w}",
    e.PhaseEntered: lambda event: f"{event.phase} {event.interval_ms}" if event.interval_ms != OPEN else event.phase,
    e.Uncrossed: lambda event: f"uncrossed {'as proposed' if event.is_proposal else 'pair by pair'}",
    e.Shown: lambda event: f"shown {event.order_id} {event.shown_w}",
    e.Settled: lambda event: "",
    e.Suspended: lambda event: "suspended",
    e.Reinstated: lambda event: "reinstated",
    e.TermsAmended: lambda event: "amended",
    e.SettingsAmended: lambda event: "amended",
    e.Withheld: lambda event: f"withheld {event.holding_w}",
    e.Released: lambda event: f"released {event.request_id} {event.released_w} and {event.cancelled_w}",
    e.GateClosed: lambda event: "closed",
    e.IntervalRetired: lambda event: "retired",
    e.Halted: lambda event: "halted",
    e.Resumed: lambda event: "resumed",
    e.Advanced: lambda event: "advanced",
}
