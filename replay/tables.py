"""A journal as tables: every command with its answer, every order with its fate, every leg, block, account and phase.

`Tables.take` folds batch after batch and gives the rows that are complete; `Tables.close` gives what was still under way. Rows
of `orders` come when an order has ended, so they stand in the order of their ends; whatever still rests comes last. Times are the
market's, which is what the engine was last told; `recorded` is the exchange's own clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exchange import events as e
from exchange.commands import Advance, Command, CustomerCommand, Place, Sweep
from exchange.recovery import Batch
from replay import orderlog
from replay.settlement import OPERATOR, SETTLEMENT, Books
from replay.tabular import Column, Table, Value

Row = tuple[str, tuple[Value, ...]]  # name of the table, cells

_AREA = Column("area", "text", "", "area")
_TIME = Column("time", "time", "UTC", "market time")
_INTERVAL = Column("interval", "time", "UTC", "start of the delivery interval")
_CUSTOMER = Column("customer", "text", "", "customer")
_DIRECTION = Column("direction", "text", "", "the right: export or import")
_SIDE = Column("side", "text", "", "buy or sell")
_SEQUENCE = Column("sequence", "whole", "", "running number of the event")
_ORDER = Column("order_id", "text", "", "order, unique per customer")

COMMANDS = Table(
    "commands",
    "a command in the journal; the cells that its kind does not have are empty",
    (
        Column("command", "whole", "", "running number in the journal, from 1"),
        Column("batch", "whole", "", "batch in which it was made durable"),
        Column("recorded", "time", "UTC", "the exchange's clock when the batch was taken"),
        _TIME,
        Column("kind", "text", "", "place, cancel, open_interval, ..."),
        _AREA, _CUSTOMER,
        Column("request_id", "text", "", "the request's id"),
        _ORDER, _INTERVAL, _DIRECTION, _SIDE,
        Column("quantity_w", "whole", "W", "watts asked for"),
        Column("price_mct", "whole", "mct/kWh", "limit price"),
        Column("first_sequence", "whole", "", "number of the first event that it led to"),
        Column("events", "whole", "", "how many events it led to"),
        Column("answer", "text", "", "kind of the first event: accepted, rejected, refused, ..."),
        Column("reason", "text", "", "of a reject or refusal"),
    ),
)  # fmt: skip
ORDERS = Table(
    "orders",
    "an order that was accepted",
    (
        _AREA, _CUSTOMER, _ORDER,
        Column("placed", "time", "UTC", "market time at which it was accepted"),
        Column("ended", "time", "UTC", "market time at which nothing was open any more; empty: it rests"),
        _INTERVAL, _DIRECTION, _SIDE,
        Column("quantity_w", "whole", "W", "watts, as last replaced, what has traded included"),
        Column("price_mct", "whole", "mct/kWh", "limit price, as last replaced"),
        Column("intervals", "whole", "", "consecutive intervals of a block order, else 1"),
        Column("traded_w", "whole", "W", "watts traded, in each of its intervals"),
        Column("cash_mct", "whole", "mct", "earned (positive) or paid, over all of its intervals"),
        Column("legs", "whole", "", "legs in trades"),
        Column("replaced", "whole", "", "how often it was replaced"),
        Column("blocked", "whole", "", "how often its owner was told of a row that blocks"),
        Column("blocked_by", "text", "", "the last such row: kind, element and phase"),
        Column("end", "text", "", "filled, open, or the cause of its cancellation"),
    ),
)  # fmt: skip
TRADES = Table(
    "trades",
    "a leg of a trade; rows with one sequence are one trade, and their cash with operator_mct sums to zero",
    (
        _SEQUENCE, _TIME, _AREA, _INTERVAL,
        Column("kind", "text", "", "pair, leftover, sweep, uncross or block"),
        Column("leg", "whole", "", "position in the trade, from 0: the incoming order where there is one"),
        Column("customer", "text", "", f"customer, or {OPERATOR} for headroom of a row"),
        _ORDER, _SIDE, _DIRECTION,
        Column("change_w", "whole", "W", "received (positive) or given"),
        Column("price_mct", "whole", "mct/kWh", "price of this leg"),
        Column("cash_mct", "whole", "mct", "earned (positive) or paid"),
        Column("open_w", "whole", "W", "what stays open of the order"),
        Column("holding_w", "whole", "W", "the limit after the leg"),
        Column("operator_mct", "whole", "mct", "what is left of the trade's cash, the operator's; on leg 0 only"),
    ),
)  # fmt: skip
BLOCKED = Table(
    "blocked",
    "an order's owner was told of a row that blocks it",
    (
        _SEQUENCE, _TIME, _AREA, _INTERVAL, _CUSTOMER, _ORDER, _DIRECTION,
        Column("kind", "text", "", "voltage_max, voltage_min, thermal or interface"),
        Column("element", "text", "", "network element of the row"),
        Column("phase", "text", "", "its phase, or abc"),
        Column("wanted_w", "whole", "W", "open before"),
        Column("secure_w", "whole", "W", "of it, what could trade, and did"),
    ),
)  # fmt: skip
PHASES = Table(
    "phases",
    "an interval entered a phase, or a scope was halted or resumed",
    (
        _SEQUENCE, _TIME, _AREA, _INTERVAL,
        Column("phase", "text", "", "announced, auction, continuous, frozen, closed, delivery, settled; halted, resumed"),
        Column("direction", "text", "", "halted, resumed: one book; empty: both"),
        Column("reason", "text", "", "as given with the command"),
    ),
)  # fmt: skip
TABLES = {table.name: table for table in (COMMANDS, ORDERS, TRADES, BLOCKED, SETTLEMENT, PHASES, orderlog.LOG)}


@dataclass
class _Order:
    """What is known of an order so far."""

    accepted: e.Accepted
    placed_ms: int | None
    quantity_w: int
    price_mct: int
    moved_w: int = 0
    cash_mct: int = 0
    legs: int = 0
    replaced: int = 0
    blocked: int = 0
    blocked_by: str = ""

    def row(self, end: str, ended_ms: int | None) -> Row:
        first = self.accepted
        return ORDERS.name, (
            first.area, first.customer, first.request_id, self.placed_ms, ended_ms, first.interval_ms, first.direction, first.side,
            self.quantity_w, self.price_mct, first.intervals, self.moved_w // first.intervals, self.cash_mct, self.legs, self.replaced,
            self.blocked, self.blocked_by, end,
        )  # fmt: skip


class Tables:
    """The fold. `books.problems` names what does not add up in the accounts."""

    def __init__(self) -> None:
        self.books = Books()
        self._commands = 0
        self._now_ms: int | None = None  # until the engine is told a time
        self._orders: dict[tuple[str, str, str], _Order] = {}

    def take(self, batch: Batch) -> Iterator[Row]:
        for command, events in zip(batch.commands, batch.events, strict=True):
            self._commands += 1
            if isinstance(command, Advance):
                self._now_ms = max(self._now_ms or 0, command.at_ms)
            yield COMMANDS.name, self._command_row(batch, command, events)
            asked = command.place if isinstance(command, Sweep) else command
            if isinstance(asked, CustomerCommand):
                yield orderlog.LOG.name, orderlog.row(self._now_ms or 0, asked, batch.at_ms)
            for event in events:
                yield from self._fold(event)

    def close(self) -> Iterator[Row]:
        """Orders that still rest and intervals that are not settled."""
        for order in self._orders.values():
            yield order.row("open", None)
        for statement in self.books.open():
            yield from ((SETTLEMENT.name, cells) for cells in statement.rows())

    def _command_row(self, batch: Batch, command: Command, events: tuple[e.Event, ...]) -> tuple[Value, ...]:
        body: Any = command.place if isinstance(command, Sweep) else command
        first: Any = events[0] if events else None
        cells = {name: getattr(body, name, None) for name in ("area", "customer", "request_id", "order_id", "direction", "side")}
        asked = {name: getattr(body, name, None) for name in ("quantity_w", "price_mct")}
        order_id = body.request_id if isinstance(body, Place) else cells["order_id"]
        return (
            self._commands, batch.number, batch.at_ms, self._now_ms, _tag(command), cells["area"], cells["customer"], cells["request_id"],
            order_id, getattr(body, "interval_ms", None), cells["direction"], cells["side"], asked["quantity_w"], asked["price_mct"],
            first and first.sequence, len(events), first and _tag(first), getattr(first, "reason", None) if _is_no(first) else None,
        )  # fmt: skip

    def _fold(self, event: e.Event) -> Iterator[Row]:
        statement = self.books.take(event)
        if statement is not None:
            yield from ((SETTLEMENT.name, cells) for cells in statement.rows())
        match event:
            case e.Accepted():
                order = _Order(event, self._now_ms, event.quantity_w, event.price_mct)
                self._orders[event.area, event.customer, event.request_id] = order
            case e.Replaced():
                order = self._orders[event.area, event.customer, event.order_id]
                order.quantity_w, order.price_mct, order.replaced = event.quantity_w, event.price_mct, order.replaced + 1
            case e.Traded():
                yield from self._trade(event)
            case e.Blocked():
                yield from self._blocked(event)
            case e.Cancelled():
                yield from self._end((event.area, event.customer, event.order_id), event.cause)
            case _:
                yield from _phase(event, self._now_ms)

    def _trade(self, event: e.Traded) -> Iterator[Row]:
        for place, leg in enumerate(event.legs):
            yield TRADES.name, (
                event.sequence, self._now_ms, event.area, event.interval_ms, event.kind, place, leg.customer, leg.order_id, leg.side,
                leg.direction, leg.change_w, leg.price_mct, leg.cash_mct, leg.open_w, leg.holding_w, 0 if place else event.operator_mct,
            )  # fmt: skip
            key = event.area, leg.customer, leg.order_id
            order = self._orders.get(key)  # the operator's are none of ours
            if order is None:
                continue
            order.moved_w, order.cash_mct, order.legs = order.moved_w + abs(leg.change_w), order.cash_mct + leg.cash_mct, order.legs + 1
            if leg.open_w == 0 and order.legs >= order.accepted.intervals:
                yield from self._end(key, "filled")

    def _blocked(self, event: e.Blocked) -> Iterator[Row]:
        order = self._orders.get((event.area, event.customer, event.order_id))
        if order is not None:
            order.blocked, order.blocked_by = order.blocked + 1, f"{event.kind} {event.element} {event.phase}"
        yield BLOCKED.name, (
            event.sequence, self._now_ms, event.area, event.interval_ms, event.customer, event.order_id, event.direction, event.kind,
            event.element, event.phase, event.wanted_w, event.secure_w,
        )  # fmt: skip

    def _end(self, key: tuple[str, str, str], end: str) -> Iterator[Row]:
        order = self._orders.pop(key, None)
        if order is not None:
            yield order.row(end, self._now_ms)


def _tag(body: Any) -> str:
    return str(body.__struct_config__.tag)


def _is_no(event: Any) -> bool:
    return isinstance(event, e.Rejected | e.Refused)


def _phase(event: e.Event, now_ms: int | None) -> Iterator[Row]:
    direction: str | None = None
    entered: str
    match event:
        case e.IntervalOpened():
            entered, reason = event.phase, ""
        case e.PhaseEntered():
            entered, reason = event.phase, event.reason
        case e.GateClosed():
            entered, reason = "closed", ""
        case e.IntervalRetired():
            entered, reason = "settled", ""
        case e.Halted() | e.Resumed():
            entered, reason, direction = _tag(event), event.reason, event.direction
        case _:
            return
    yield PHASES.name, (event.sequence, now_ms, event.area, event.interval_ms, entered, direction, reason)
