"""The state machine: `Engine.apply(command) -> events`. No I/O, no clock, no randomness, no float, no set, no logging.

Every command is decided completely before anything changes: guards in the order of `rejects.Reason`, each with an early
return. What customers ask is here; what the operator and the clock order is in `operations.py`, rows that change while an
interval lives in `rebase.py`, how orders meet in `matching.py`. The same commands give the same events, on any machine,
whatever the batches were.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple, cast

from exchange import operations, rebase
from exchange.book import Order, Queue
from exchange.commands import Cancel, Command, CustomerCommand, Direction, MassCancel, Place, Replace, Side
from exchange.events import Accepted, Answer, CancelCause, Cancelled, Event, MassCancelled, Rejected, Repeated, Replaced
from exchange.market import Area, Interval
from exchange.matching import match
from exchange.receipts import Account, Receipt
from exchange.rejects import Reason

Refusal = tuple[Reason, str]


class OpenOrder(NamedTuple):
    """A resting order as its owner sees it."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    open_w: int
    price_mct: int


class Engine:
    def __init__(self) -> None:
        self.sequence = 0
        self.now_ms = 0
        self.areas: dict[str, Area] = {}
        self.halts: dict[tuple[str | None, int | None], str] = {}
        self.expiries: list[tuple[int, int, Order]] = []
        self._handlers: dict[type, Callable[[Any, list[Event]], None]] = {
            Place: self._place, Replace: self._replace, Cancel: self._cancel, MassCancel: self._mass_cancel,
        }  # fmt: skip
        for command_type, handler in (operations.HANDLERS | rebase.HANDLERS).items():
            self._handlers[command_type] = handler.__get__(self)

    def apply(self, command: Command) -> list[Event]:
        """The single entrance. Events come in the order in which things happened, numbered without a gap."""
        events: list[Event] = []
        self._handlers[type(command)](command, events)
        self.sequence += len(events)
        return events

    # --- customers' commands --------------------------------------------------------------------------------------

    def _place(self, command: Place, events: list[Event]) -> None:
        found = self._admit(command, events)
        if found is None:
            return None
        area, account = found
        interval = area.intervals.get(command.interval_ms)
        if interval is None:
            return self._reject_unknown(area, account, command, Reason.UNKNOWN_INTERVAL, f"no interval {command.interval_ms}", events)
        if interval.is_closed:
            self._reject(command, Reason.GATE_CLOSED, f"trading of interval {command.interval_ms} has ended", events)
            return self._remember(interval, account, command, cast(Answer, events[0]))
        right = account.position if command.direction == "export" else account.position + len(area.terms)
        refusal = self._refuse(command, area, account, interval, command.side, right, 0, 0)
        if refusal is not None:
            self._reject(command, *refusal, events)
            return self._remember(interval, account, command, cast(Answer, events[0]))
        sequence = self.sequence + 1
        book = interval.books[command.direction]
        if command.side == "buy":
            queue, against, reserved = book.buys, book.sells, interval.ledger.wanted_w
        else:
            queue, against, reserved = book.sells, book.buys, interval.ledger.offered_w
        order = Order(
            account, command.request_id, queue, right, command.quantity_w, command.quantity_w, command.price_mct, command.until_ms, sequence
        )
        accepted = Accepted(
            sequence, command.area, command.customer, command.request_id, command.interval_ms,
            command.direction, command.side, command.quantity_w, command.price_mct,
        )  # fmt: skip
        events.append(accepted)
        account.receipts[command.request_id] = Receipt(command, accepted, order)
        interval.remembered.append((account, command.request_id))
        reserved[right] += command.quantity_w
        if command.time_in_force == "gate":
            self._rest_or_match(area, interval, order, against, events)
            return None
        cause = match(area, interval, order, against, command.time_in_force, self.sequence, events)
        self._settle_remainder(interval, order, cause, events)
        if command.time_in_force == "until" and order.is_live:
            heapq.heappush(self.expiries, (command.until_ms, order.born, order))
        return None

    def _replace(self, command: Replace, events: list[Event]) -> None:
        found = self._admit_order(command, events)
        if found is None:
            return None
        area, account, order = found
        interval = area.intervals[order.queue.interval_ms]
        traded = order.quantity_w - order.open_w
        refusal = self._refuse(command, area, account, interval, order.queue.side, order.right, traded, order.open_w)
        if refusal is not None:
            self._reject(command, *refusal, events)
        elif command.quantity_w <= traded:
            self._take_out(interval, order)
            events.append(self._cancelled(order, "replace", command.request_id, events))
        else:
            self._amend(command, area, interval, order, traded, events)
        return self._remember(interval, account, command, cast(Answer, events[0]))

    def _refuse(
        self, command: Place | Replace, area: Area, account: Account, interval: Interval,
        side: Side, right: int, traded_w: int, reserved_w: int,
    ) -> Refusal | None:  # fmt: skip
        """The first reason against an order's new terms, in the order of `Reason`. It has traded and reserved so much already."""
        settings, terms, price, quantity = area.settings, area.terms[account.position], command.price_mct, command.quantity_w
        is_new = isinstance(command, Place)
        if self.halts and self.is_halted(command.area, interval.start_ms):
            return Reason.HALTED, "the market is halted; cancels still work"
        if isinstance(command, Place) and command.time_in_force == "until" and command.until_ms <= self.now_ms:
            return Reason.EXPIRED, f"in force until {command.until_ms}, and it is {self.now_ms}"
        if quantity % settings.lot_w or quantity < is_new:
            return Reason.OFF_LOT, f"{quantity} W is not a {'positive ' * is_new}multiple of the lot of {settings.lot_w} W"
        if price % settings.tick_mct:
            return Reason.OFF_TICK, f"{price} mct/kWh is not a multiple of the tick of {settings.tick_mct} mct/kWh"
        if not settings.price_mct_min <= price <= settings.price_mct_max:
            return Reason.PRICE_OUT_OF_BAND, f"{price} mct/kWh is outside [{settings.price_mct_min}, {settings.price_mct_max}]"
        if quantity > terms.order_w_max:
            return Reason.QUANTITY_OVER_BOUND, f"{quantity} W is over the bound of {terms.order_w_max} W for one order"
        if is_new and account.open_orders >= terms.open_orders_max:
            return Reason.TOO_MANY_OPEN_ORDERS, f"{account.open_orders} orders rest already, the bound is {terms.open_orders_max}"
        ledger, needed = interval.ledger, quantity - traded_w
        free = reserved_w + (ledger.sellable_w(right) if side == "sell" else ledger.buyable_w(right))
        if needed <= free:
            return None
        if side == "sell":
            return Reason.NOT_COVERED, f"{needed} W offered, {max(free, 0)} W can be sold above the failsafe and earlier offers"
        return Reason.ABOVE_RATING, f"{needed} W wanted, {max(free, 0)} W fit below the rating with earlier purchases"

    def _amend(self, command: Replace, area: Area, interval: Interval, order: Order, traded_w: int, events: list[Event]) -> None:
        queue, open_w = order.queue, command.quantity_w - traded_w
        keeps = command.price_mct == order.price_mct and command.quantity_w <= order.quantity_w
        reserved = interval.ledger.wanted_w if queue.side == "buy" else interval.ledger.offered_w
        reserved[order.right] += open_w - order.open_w
        if not keeps:
            queue.remove(order)
            order.account.open_orders -= 1
        order.quantity_w, order.open_w, order.price_mct = command.quantity_w, open_w, command.price_mct
        replaced = Replaced(
            self.sequence + 1, command.area, command.customer, command.request_id, command.order_id, interval.start_ms,
            queue.direction, queue.side, command.quantity_w, open_w, command.price_mct, keeps,
        )  # fmt: skip
        events.append(replaced)
        if not keeps:
            self._rest_or_match(area, interval, order, interval.books[queue.direction].against(queue.side), events)

    def _cancel(self, command: Cancel, events: list[Event]) -> None:
        found = self._admit_order(command, events)
        if found is None:
            return None
        area, account, order = found
        interval = area.intervals[order.queue.interval_ms]
        self._take_out(interval, order)
        events.append(self._cancelled(order, "request", command.request_id, events))
        return self._remember(interval, account, command, cast(Answer, events[0]))

    def _mass_cancel(self, command: MassCancel, events: list[Event]) -> None:
        """Remembered with the interval that it names, or with the area's last one; with none open there is nothing to repeat."""
        found = self._admit(command, events)
        if found is None:
            return None
        area, account = found
        if command.interval_ms is not None and command.interval_ms not in area.intervals:
            return self._reject_unknown(area, account, command, Reason.UNKNOWN_INTERVAL, f"no interval {command.interval_ms}", events)
        named = [command.interval_ms] if command.interval_ms is not None else sorted(area.intervals)
        cause: CancelCause = "mass" if command.cause == "request" else command.cause
        for start_ms in named:
            interval = area.intervals[start_ms]
            mine = [order for order in interval.orders() if order.account is account] if account.open_orders else []
            self.cancel_all(interval, mine, cause, command.request_id, events)
        answer = MassCancelled(self.sequence + len(events) + 1, command.area, command.customer, command.request_id, len(events))
        events.append(answer)
        if named:
            self._remember(area.intervals[named[-1]], account, command, answer)
        return None

    # --- shared steps ---------------------------------------------------------------------------------------------

    def _admit(self, command: CustomerCommand, events: list[Event]) -> tuple[Area, Account] | None:
        """The guards that every customer's command meets first; None when the answer is given already."""
        area = self.areas.get(command.area)
        if area is None:
            self._reject(command, Reason.UNKNOWN_AREA, f"there is no area {command.area}", events)
            return None
        account = area.accounts.get(command.customer)
        if account is None:
            self._reject(command, Reason.UNKNOWN_CUSTOMER, f"area {command.area} has no customer {command.customer}", events)
            return None
        receipt = account.receipts.get(command.request_id)
        if receipt is None:
            return area, account
        if receipt.command == command:
            events.append(Repeated(self.sequence + 1, command.area, command.customer, command.request_id, receipt.answer))
        else:
            self._reject(command, Reason.ID_REUSED, f"id {command.request_id} was used for another request", events)
        return None

    def _admit_order(self, command: Replace | Cancel, events: list[Event]) -> tuple[Area, Account, Order] | None:
        """The same, and the live order that the command names."""
        found = self._admit(command, events)
        if found is None:
            return None
        area, account = found
        order = account.live_order(command.order_id)
        if order is None:
            detail = f"order {command.order_id} is {account.fate(command.order_id)}"
            self._reject_unknown(area, account, command, Reason.UNKNOWN_ORDER, detail, events)
            return None
        return area, account, order

    def _reject(self, command: CustomerCommand, reason: Reason, detail: str, events: list[Event]) -> None:
        events.append(Rejected(self.sequence + 1, command.area, command.customer, command.request_id, reason.value, detail))

    def _reject_unknown(
        self, area: Area, account: Account, command: CustomerCommand, reason: Reason, detail: str, events: list[Event]
    ) -> None:
        """What concerns nothing known is remembered with the area's last interval; without any there is nothing it could change."""
        self._reject(command, reason, detail, events)
        if area.intervals:
            self._remember(area.intervals[max(area.intervals)], account, command, cast(Answer, events[0]))

    def _remember(self, interval: Interval, account: Account, command: CustomerCommand, answer: Answer) -> None:
        account.receipts[command.request_id] = Receipt(command, answer)
        interval.remembered.append((account, command.request_id))

    def _rest_or_match(self, area: Area, interval: Interval, order: Order, against: Queue, events: list[Event]) -> None:
        """An order until gate closure; most meet nobody and rest at once."""
        if against.best > against.sign * order.price_mct:
            order.queue.add(order)
            order.account.open_orders += 1
        else:
            self._settle_remainder(interval, order, match(area, interval, order, against, "gate", self.sequence, events), events)

    def _settle_remainder(self, interval: Interval, order: Order, cause: CancelCause | None, events: list[Event]) -> None:
        if order.open_w == 0:
            return
        if cause is None:
            order.queue.add(order)
            order.account.open_orders += 1
        else:
            _release(interval, order)
            events.append(self._cancelled(order, cause, "", events))

    def _take_out(self, interval: Interval, order: Order) -> None:
        order.queue.remove(order)
        order.account.open_orders -= 1
        _release(interval, order)

    def _cancelled(self, order: Order, cause: CancelCause, request_id: str, events: list[Event]) -> Cancelled:
        queue = order.queue
        return Cancelled(
            self.sequence + len(events) + 1, queue.area, order.account.customer, request_id, order.order_id,
            queue.interval_ms, queue.direction, queue.side, order.open_w, cause,
        )  # fmt: skip

    def cancel_all(self, interval: Interval, orders: Iterable[Order], cause: CancelCause, request_id: str, events: list[Event]) -> None:
        for order in list(orders):
            self._take_out(interval, order)
            events.append(self._cancelled(order, cause, request_id, events))

    def forget_interval(self, area: str, interval_ms: int) -> None:
        """Halts and expiries of an interval that is retired."""
        self.halts.pop((area, interval_ms), None)
        if not any(interval_ms in other.intervals for other in self.areas.values()):
            self.halts.pop((None, interval_ms), None)
        self.expiries = [expiry for expiry in self.expiries if expiry[2].is_live]
        heapq.heapify(self.expiries)

    def is_halted(self, area: str, interval_ms: int) -> bool:
        halts = self.halts
        return (None, None) in halts or (area, None) in halts or (None, interval_ms) in halts or (area, interval_ms) in halts

    # --- views ----------------------------------------------------------------------------------------------------

    def customers(self, area: str) -> tuple[str, ...]:
        return tuple(self.areas[area].accounts)

    def intervals(self, area: str) -> list[int]:
        """Starts of the intervals that are not retired yet."""
        return sorted(self.areas[area].intervals)

    def gates(self, area: str) -> dict[int, bool]:
        """Start of each live interval, and whether its gate is closed."""
        return {start: interval.is_closed for start, interval in self.areas[area].intervals.items()}

    def next_expiry_ms(self) -> int | None:
        """When the next order in force until a time expires; it may have gone already."""
        return self.expiries[0][0] if self.expiries else None

    def holdings(self, area: str, interval_ms: int) -> tuple[list[int], list[int]]:
        """(export_w, import_w) of every customer."""
        holding, n = self.areas[area].intervals[interval_ms].ledger.holding_w, len(self.areas[area].terms)
        return holding[:n], holding[n:]

    def open_orders(self, area: str, customer: str) -> list[OpenOrder]:
        account = self.areas[area].accounts[customer]
        orders = (order for interval in self.areas[area].intervals.values() for order in interval.orders())
        return [
            OpenOrder(o.order_id, o.queue.interval_ms, o.queue.direction, o.queue.side, o.quantity_w, o.open_w, o.price_mct)
            for o in orders
            if o.account is account
        ]

    def cash(self, area: str) -> dict[str, int]:
        """Milli-cents earned (positive) or paid by each customer since the area opened."""
        state = self.areas[area]
        totals = list(state.settled_mct)
        for interval in state.intervals.values():
            totals = [total + cash for total, cash in zip(totals, interval.ledger.cash_mct, strict=True)]
        return dict(zip(state.accounts, totals, strict=True))

    def operator_cash(self, area: str) -> int:
        """Milli-cents that the operator has earned (it has paid, where negative): the customers' cash and this sum to zero."""
        state = self.areas[area]
        return state.settled_operator_mct + sum(interval.ledger.operator_mct for interval in state.intervals.values())

    def queue(self, area: str, interval_ms: int, direction: Direction, side: Side) -> list[tuple[str, str, int, int]]:
        """(customer, order_id, price_mct, open_w) in priority."""
        queue = self.areas[area].intervals[interval_ms].books[direction].queue(side)
        return [(order.account.customer, order.order_id, order.price_mct, order.open_w) for order in queue]

    def book(self, area: str, interval_ms: int, direction: Direction) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """(bids, asks), each a list of (price_mct, open_w, orders), best first."""
        book = self.areas[area].intervals[interval_ms].books[direction]
        bids, asks = ([(price, sum(open_w), len(open_w)) for price, open_w in _levels(queue)] for queue in (book.buys, book.sells))
        return bids, asks

    def check(self) -> None:
        """Every invariant, recomputed from scratch. AssertionError names the one that does not hold."""
        for area in self.areas.values():
            area.check()


def _levels(queue: Queue) -> list[tuple[int, list[int]]]:
    return [(price, [order.open_w for order in orders]) for price, orders in groupby(queue, lambda order: order.price_mct)]


def _release(interval: Interval, order: Order) -> None:
    reserved = interval.ledger.wanted_w if order.queue.side == "buy" else interval.ledger.offered_w
    reserved[order.right] -= order.open_w
