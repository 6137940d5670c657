"""How a scenario of another exchange becomes limex: one area, one interval, the export book, no network row.

scenario                        limex
owner                           customer with an allocation and a rating that never bind (nobody's order: one default customer;
                                where self-trades matter every order without an owner gets a customer of its own)
id                              request id of the Place; a repeated id is answered Repeated or id_reused: both `rejected`
GTC, IOC, FOK                   gate, ioc, fok
market order                    a limit at the edge of the price band that never rests: IOC unless FOK; a peer's market order
                                that stays in the book is skipped
max_slippage                    a limit that many ticks beyond the opposite best, IOC
reduce, qty, qty_delta          Replace with the TOTAL that leaves the wanted open quantity
replace_total                   Replace
new_id                          a second name: limex orders keep theirs
budget                          skipped: the limit price and the quantity already bound what a home pays
"""

from __future__ import annotations

from typing import Any

import msgspec

from exchange.bounds import POWER_W_MAX, PRICE_MCT_MAX, CustomerTerms, MarketSettings
from exchange.commands import Cancel, InstallRows, OpenArea, OpenInterval, Place, Replace
from exchange.engine import Engine
from exchange.events import Accepted, Blocked, Cancelled, Event, Rejected, Repeated, Replaced, RowsInstalled, Traded
from riskcheck.polytope import Polytope

Json = dict[str, Any]
Level = list[int]

AREA, INTERVAL_MS, NOBODY = "scenario", 0, "nobody"
TIME_IN_FORCE = {"GTC": "gate", "IOC": "ioc", "FOK": "fok"}
FIELDS = {
    "new": {"id", "side", "type", "price", "qty", "tif", "owner", "budget", "max_slippage"},
    "cancel": {"id", "owner"},
    "reduce": {"id", "owner", "qty"},
    "replace": {"id", "owner", "price", "qty_delta", "qty", "new_id"},
    "replace_total": {"id", "owner", "price", "total_qty", "new_id"},
}


class SkippedError(Exception):
    """The scenario needs an operation that limex deliberately does not have; the message says why."""


class Order(msgspec.Struct):
    """What the events have told about one order. `name` is what the scenario calls it now."""

    name: str
    customer: str
    order_id: str
    side: str
    price: int
    open_w: int
    traded_w: int = 0
    state: str = "resting"


class Fill(msgspec.Struct, frozen=True):
    taker: str
    maker: str
    price: int
    qty: int


class Step(msgspec.Struct):
    """What one step did. `order_was` tells of a refused order what had become of it before."""

    fills: list[Fill] = []
    cancelled_qty: int = 0
    status: str = ""
    order_was: str | None = None


class Market:
    """One scenario's engine, fed with the scenario's operations."""

    def __init__(self, scenario: Json) -> None:
        self.self_trade = scenario.get("self_trade", "allow")
        self.engine = Engine()
        self.orders: dict[tuple[str, str], Order] = {}
        self.names: dict[tuple[str, str], Order] = {}  # by owner and present name
        self.steps: list[Step] = []
        self._open(sorted({self._owner(step["do"]) for step in scenario["steps"]} | {NOBODY}))

    def _open(self, customers: list[str]) -> None:
        half = POWER_W_MAX // 2
        terms = tuple(CustomerTerms(name, POWER_W_MAX, POWER_W_MAX, 0, 0, POWER_W_MAX, POWER_W_MAX) for name in customers)
        settings = MarketSettings(tick_mct=1, lot_w=1, price_mct_max=PRICE_MCT_MAX, self_trade=self.self_trade)
        allocation = (half,) * len(customers)
        self.engine.apply(OpenArea(AREA, settings, terms))
        (installed,) = self.engine.apply(InstallRows(AREA, Polytope.unlimited(2 * len(customers)).to_bytes()))
        assert isinstance(installed, RowsInstalled), installed
        self.engine.apply(OpenInterval(AREA, INTERVAL_MS, installed.rows_hash, allocation, allocation))

    def _owner(self, do: Json) -> str:
        if do.get("owner") is not None:
            return f"owner {do['owner']}"
        return NOBODY if self.self_trade == "allow" else f"{NOBODY} {do['id']}"

    def take(self, do: Json, expect: Json) -> Step:
        """Does one step and remembers what it did."""
        operation = do["op"]
        if operation not in FIELDS:
            raise SkippedError(f"limex has no operation {operation!r}")
        strange = sorted(field for field in do.keys() - FIELDS[operation] - {"op"} if do[field] is not None)
        if strange:
            raise SkippedError(f"limex has no {', '.join(strange)} in {operation!r}")
        self.steps.append(Step(fills=[]))
        {"new": self._new, "cancel": self._cancel}.get(operation, self._replace)(do, expect)
        self.engine.check()
        return self.steps[-1]

    # operations

    def _new(self, do: Json, expect: Json) -> None:
        self._refuse_new(do, expect)
        name, customer = str(do["id"]), self._owner(do)
        price, time_in_force = self._price_and_force(do)
        self._apply(Place(AREA, customer, name, INTERVAL_MS, "export", do["side"], do["qty"], price, time_in_force), None)
        remainder = do.get("type") == "market" and (do.get("tif") or "GTC") == "GTC" and self.steps[-1].status == "cancelled"
        if remainder and expect.get("status") != "cancelled":
            raise SkippedError("a market order never rests in limex: what does not trade at once is cancelled")

    def _refuse_new(self, do: Json, expect: Json) -> None:
        if do.get("budget") is not None:
            raise SkippedError("limex has no notional budget: the limit price and the quantity already bound what a home pays")
        owners, told = {owner for owner, name in self.names if name == str(do["id"])}, expect.get("status")
        if told == "rejected" and owners and self._owner(do) not in owners:
            raise SkippedError("order ids belong to a customer in limex: two owners may use the same one")
        if told not in (None, "rejected") and self._owner(do) in owners:
            raise SkippedError("an order id names one order as long as its interval lives: limex does not take it again")

    def _price_and_force(self, do: Json) -> tuple[int, Any]:
        force = TIME_IN_FORCE[do.get("tif") or "GTC"]
        if do.get("type", "limit") == "limit":
            return do["price"], force
        if do["type"] != "market":
            raise SkippedError(f"limex has no order type {do['type']!r}")
        sign, edge = (1, PRICE_MCT_MAX) if do["side"] == "buy" else (-1, 0)
        opposite = self.levels("sell" if do["side"] == "buy" else "buy")
        if do.get("max_slippage") is not None and opposite:
            reach = opposite[0][0] + sign * do["max_slippage"]
            edge = max(0, min(PRICE_MCT_MAX, reach))
        return edge, "fok" if force == "fok" else "ioc"

    def _cancel(self, do: Json, expect: Json) -> None:
        customer, order = self._find(do)
        self._apply(Cancel(AREA, customer, self._request_id(), order.order_id if order else self._stranger(do)), order)

    def _replace(self, do: Json, expect: Json) -> None:
        customer, order = self._find(do)
        price = do["price"] if do.get("price") is not None else (order.price if order else 0)
        order_id = order.order_id if order else self._stranger(do)
        self._apply(Replace(AREA, customer, self._request_id(), order_id, self._total(do, order), price), order)
        if do.get("new_id") is not None and order and self.steps[-1].status not in ("unknown_order", "rejected"):
            del self.names[customer, order.name]
            order.name = str(do["new_id"])
            self.names[customer, order.name] = order

    @staticmethod
    def _total(do: Json, order: Order | None) -> int:
        traded, resting = (order.traded_w, order.open_w) if order else (0, 0)
        if do["op"] == "replace_total":
            return do["total_qty"]
        if do["op"] == "reduce":
            return traded + max(0, resting - do["qty"]) if do["qty"] > 0 else -1  # a cut by nothing or less is refused
        return traded + (do["qty"] if do.get("qty") is not None else max(0, resting + do.get("qty_delta", 0)))

    def _find(self, do: Json) -> tuple[str, Order | None]:
        """The customer who asks, and the order by its present name; a request without an owner is its owner's."""
        named = {owner: order for (owner, name), order in self.names.items() if name == str(do["id"])}
        order = named.get(self._owner(do)) or next(iter(named.values()), None)
        if do.get("owner") is None and order:
            return order.customer, order
        return self._owner(do), order

    def _stranger(self, do: Json) -> str:
        """An order id that limex has never seen, for a name that nothing bears (any more)."""
        return f"nothing named {do['id']}"

    def _request_id(self) -> str:
        return f"step {len(self.steps)}"

    # events

    def _apply(self, command: Place | Cancel | Replace, order: Order | None) -> None:
        step = self.steps[-1]
        was = order.state if order else "unknown"
        for event in self.engine.apply(command):
            self._fold(event, step)
        order_id = command.request_id if isinstance(command, Place) else command.order_id
        if not step.status:
            step.status = self.orders[command.customer, order_id].state
        if step.status == "unknown_order":
            step.order_was = was

    def _fold(self, event: Event, step: Step) -> None:
        if isinstance(event, Accepted):
            key = (event.customer, event.request_id)
            self.orders[key] = self.names[key] = Order(event.request_id, *key, event.side, event.price_mct, event.quantity_w)
        elif isinstance(event, Replaced):
            order = self.orders[event.customer, event.order_id]
            step.cancelled_qty += max(0, order.open_w - event.open_w)
            order.price, order.open_w = event.price_mct, event.open_w
        elif isinstance(event, Cancelled):
            order = self.orders[event.customer, event.order_id]
            step.cancelled_qty += event.quantity_w
            order.open_w, order.state = 0, "cancelled"
        elif isinstance(event, Traded):
            self._fold_trade(event, step)
        elif isinstance(event, Rejected):
            step.status = "unknown_order" if event.reason == "unknown_order" else "rejected"
        elif isinstance(event, Repeated):
            step.status = "rejected"
        else:
            assert not isinstance(event, Blocked), f"no network row exists, yet {event}"

    def _fold_trade(self, event: Traded, step: Step) -> None:
        taker = self.orders[event.legs[0].customer, event.legs[0].order_id]
        for leg in event.legs:
            order = self.orders[leg.customer, leg.order_id]
            order.traded_w, order.open_w = order.traded_w + abs(leg.change_w), leg.open_w
            if leg.open_w == 0:
                order.state = "filled"
            if order is not taker:
                step.fills.append(Fill(taker.name, order.name, leg.price_mct, abs(leg.change_w)))

    # views

    def leaves(self, name: str) -> int | None:
        return next((order.open_w for (_, known), order in self.names.items() if known == name), None)

    def filled(self, steps: int) -> dict[str, dict[str, int]]:
        """Gains by order over the last steps; orders that gained nothing are left out."""
        gained: dict[str, dict[str, int]] = {}
        for fill in (fill for step in self.steps[-steps:] for fill in step.fills):
            for name in (fill.taker, fill.maker):
                gain = gained.setdefault(name, {"qty": 0, "notional": 0})
                gain["qty"] += fill.qty
                gain["notional"] += fill.qty * fill.price
        return gained

    def levels(self, side: str) -> list[Level]:
        bids, asks = self.engine.book(AREA, INTERVAL_MS, "export")
        return [list(level) for level in (bids if side == "buy" else asks)]

    def head(self, side: str) -> str | None:
        queue = self.engine.queue(AREA, INTERVAL_MS, "export", side)
        return self.orders[queue[0][0], queue[0][1]].name if queue else None
