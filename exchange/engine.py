"""The state machine: `Engine.apply(command) -> events`. No I/O, no clock, no randomness, no float, no set, no logging.

Every command is decided completely before anything changes: guards in the order of `rejects.Reason`, each with an early
return. What customers ask is here; how orders meet is in `matching.py`, `proposals.py` and `blocks.py`; what the operator and the
clock order is in `operations.py`, `phases.py`, `control.py`, `withhold.py` and `rebase.py`. The same commands give the same events,
on any machine, whatever the batches were.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, cast

from exchange import blocks, control, guards, matching, operations, phases, proposals, rebase, withhold
from exchange.book import Order
from exchange.commands import (
    Cancel,
    Command,
    CustomerCommand,
    Direction,
    MassCancel,
    Phase,
    Place,
    Replace,
    Side,
    Sweep,
)  # fmt: skip
from exchange.events import Answer, CancelCause, Event, MassCancelled, Rejected, Repeated, Replaced
from exchange.market import DIRECTIONS, Area, Interval
from exchange.receipts import Account, Receipt, accepted
from exchange.rejects import Reason
from exchange.view import LocalView, OpenOrder, levels, local_view, open_order

Refusal = tuple[Reason, str]


class Engine:
    def __init__(self) -> None:
        self.sequence = 0
        self.now_ms = 0
        self.areas: dict[str, Area] = {}
        self.halts: dict[tuple[str | None, int | None, Direction | None], str] = {}
        self.expiries: list[tuple[int, int, Order]] = []
        self._handlers: dict[type, Callable[[Any, list[Event]], None]] = {
            Place: self._place, Sweep: self._sweep, Replace: self._replace, Cancel: self._cancel, MassCancel: self._mass_cancel,
        }  # fmt: skip
        for part in (operations, phases, control, withhold, rebase, proposals):
            for command_type, handler in part.HANDLERS.items():
                self._handlers[command_type] = handler.__get__(self)

    def apply(self, command: Command) -> list[Event]:
        """The single entrance. Events come in the order in which things happened, numbered without a gap."""
        events: list[Event] = []
        self._handlers[type(command)](command, events)
        self.sequence += len(events)
        return events

    # --- customers' commands --------------------------------------------------------------------------------------

    def _sweep(self, command: Sweep, events: list[Event]) -> None:
        self._place(command.place, events, command)

    def _place(self, command: Place, events: list[Event], proposal: Sweep | None = None) -> None:
        found = self._admit(command, events)
        if found is None:
            return None
        area, account = found
        intervals = self._intervals_of(area, command)
        if intervals is None:
            detail = f"no interval {command.interval_ms}" if command.intervals == 1 else f"{command.intervals} intervals are not open"
            return self._reject_unknown(area, account, command, (Reason.UNKNOWN_INTERVAL, detail), events)
        interval = intervals[0]
        right = account.position if command.direction == "export" else account.position + len(area.terms)
        refusal = guards.refuse_place(self, command, area, account, intervals, right)
        if refusal is not None:
            return self._decline(interval, account, command, refusal, events)
        sequence = self.sequence + 1
        is_buy = command.side == "buy"
        line = (interval.buys if is_buy else interval.sells).lines[right]
        order = Order(
            account, command.request_id, line, right, command.quantity_w, command.quantity_w, command.price_mct, command.until_ms, sequence,
            command.display_w, command.intervals,
        )  # fmt: skip
        events.append(accepted(command, sequence))
        interval.remember(account, Receipt(command, None, order))
        interval.requests[account.position] += 1
        for each in intervals:
            (each.ledger.wanted_w if is_buy else each.ledger.offered_w)[right] += command.quantity_w
        if command.intervals > 1:
            self._place_block(area, order, command, events)
        else:
            self._enter(area, interval, order, command, proposal, events)
        if command.time_in_force == "until" and order.is_live:
            heapq.heappush(self.expiries, (command.until_ms, order.born, order))
        return None

    def _intervals_of(self, area: Area, command: Place) -> list[Interval] | None:
        """The intervals that an order is for; None where one of them is not open. Nonsense counts are left to the guards."""
        count = command.intervals
        if count == 1 or not 0 < count <= guards.INTERVALS_MAX:
            interval = area.intervals.get(command.interval_ms)
            return None if interval is None else [interval]
        length = area.settings.interval_ms
        starts = range(command.interval_ms, command.interval_ms + count * length, length)
        found = [area.intervals[start] for start in starts if start in area.intervals]
        return found if len(found) == count else None

    def _enter(self, area: Area, interval: Interval, order: Order, command: Place, proposal: Sweep | None, events: list[Event]) -> None:
        """An accepted order meets the others, or waits for the auction's end. What a proposal leaves of it walks as any order does."""
        if interval.phase == "auction":
            return interval.rest(order)
        is_swept = proposal is not None and proposals.sweep(self, area, interval, proposal, order, events)
        if order.open_w >= area.settings.lot_w:
            matching.meet(self, area, interval, order, command.time_in_force, events)
        if is_swept:
            matching.pause(area, interval, self.sequence, events)
        if interval.is_marked or area.blocks:
            self.after(area, [interval], events)
        return None

    def _place_block(self, area: Area, block: Order, command: Place, events: list[Event]) -> None:
        block.is_live = True
        block.account.open_orders += block.intervals
        area.blocks.append(block)
        blocks.settle(self, area, [area.intervals[start_ms] for start_ms in area.spanned(block)], events)
        if block.is_live and command.time_in_force in ("ioc", "fok"):
            self.cancel_blocks(area, [block], cast(CancelCause, command.time_in_force), "", events)

    def _replace(self, command: Replace, events: list[Event]) -> None:
        found = self._admit_order(command, events)
        if found is None:
            return None
        area, account, order = found
        interval, traded = area.intervals[order.line.interval_ms], order.quantity_w - order.open_w
        refusal = guards.refuse_replace(self, command, area, account, order)
        if refusal is not None:
            return self._decline(interval, account, command, refusal, events)
        if command.quantity_w < traded + area.settings.lot_w:
            self._take_out(interval, order)
            matching.tell_cancelled(order, order.open_w, "replace", command.request_id, self.sequence, events)
        else:
            self._amend(command, area, interval, order, traded, events)
        return self._remember(interval, account, command, cast(Answer, events[0]))

    def _amend(self, command: Replace, area: Area, interval: Interval, order: Order, traded_w: int, events: list[Event]) -> None:
        line, open_w = order.line, command.quantity_w - traded_w
        keeps = command.price_mct == order.price_mct and command.quantity_w <= order.quantity_w
        release = order.open_w - open_w
        matching.release(interval.ledger, order, release)
        if not keeps:
            interval.take_out(order)
            order.arrival = 0
        order.quantity_w, order.open_w, order.price_mct = command.quantity_w, open_w, command.price_mct
        if keeps:
            order.shown_w = min(order.shown_w, open_w)
            interval.side(line.side).show(line)
        replaced = Replaced(
            self.sequence + 1, command.area, command.customer, command.request_id, command.order_id, interval.start_ms,
            line.direction, line.side, command.quantity_w, open_w, command.price_mct, keeps,
            order.shown_w if keeps else order.next_shown_w(),
        )  # fmt: skip
        events.append(replaced)
        interval.requests[order.account.position] += 1
        if keeps:
            return
        if interval.phase == "auction":
            interval.rest(order)
        else:
            matching.meet(self, area, interval, order, "gate", events)
            self.after(area, [interval], events)

    def _cancel(self, command: Cancel, events: list[Event]) -> None:
        found = self._admit_order(command, events)
        if found is None:
            return None
        area, account, order = found
        interval = area.intervals[order.line.interval_ms]
        if order.intervals > 1:
            self.cancel_blocks(area, [order], "request", command.request_id, events)
        else:
            self._take_out(interval, order)
            matching.tell_cancelled(order, order.open_w, "request", command.request_id, self.sequence, events)
        return self._remember(interval, account, command, cast(Answer, events[0]))

    def _mass_cancel(self, command: MassCancel, events: list[Event]) -> None:
        """Remembered with the interval that it names, or with the area's last one; with none open there is nothing to repeat."""
        found = self._admit(command, events)
        if found is None:
            return None
        area, account = found
        if command.interval_ms is not None and command.interval_ms not in area.intervals:
            detail = f"no interval {command.interval_ms}"
            return self._reject_unknown(area, account, command, (Reason.UNKNOWN_INTERVAL, detail), events)
        named = [command.interval_ms] if command.interval_ms is not None else sorted(area.intervals)
        cause: CancelCause = "mass" if command.cause == "request" else command.cause
        for start_ms in named:
            interval = area.intervals[start_ms]
            self.cancel_all(interval, interval.orders_of(account), cause, command.request_id, events)
        wide = [block for block in area.blocks if block.account is account and not set(named).isdisjoint(area.spanned(block))]
        self.cancel_blocks(area, wide, cause, command.request_id, events)
        refusal = guards.refuse_more(area, area.intervals[named[-1]], account) if named and not events else None
        if refusal is not None:
            return self._reject(command, *refusal, events)
        answer = MassCancelled(self.sequence + len(events) + 1, command.area, command.customer, command.request_id, len(events))
        events.append(answer)
        if named:
            self._remember(area.intervals[named[-1]], account, command, answer)
        return None

    # --- shared steps ---------------------------------------------------------------------------------------------

    def after(self, area: Area, intervals: list[Interval], events: list[Event]) -> None:
        """What headroom that was freed, and orders that came, make possible: purchases wake, then block orders are tried."""
        for interval in intervals:
            matching.wake(self, area, interval, events)
        if area.blocks:
            blocks.settle(self, area, intervals, events)

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
            events.append(Repeated(self.sequence + 1, command.area, command.customer, command.request_id, receipt.first_answer()))
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
            self._reject_unknown(area, account, command, (Reason.UNKNOWN_ORDER, detail), events)
            return None
        return area, account, order

    def _reject(self, command: CustomerCommand, reason: Reason, detail: str, events: list[Event]) -> None:
        events.append(Rejected(self.sequence + 1, command.area, command.customer, command.request_id, reason.value, detail))

    def _reject_unknown(self, area: Area, account: Account, command: CustomerCommand, refusal: Refusal, events: list[Event]) -> None:
        """What concerns nothing known is remembered with the area's last interval; without any there is nothing it could change."""
        if not area.intervals:
            return self._reject(command, *refusal, events)
        last = area.intervals[max(area.intervals)]
        return self._decline(last, account, command, guards.refuse_more(area, last, account) or refusal, events)

    def _decline(self, interval: Interval, account: Account, command: CustomerCommand, refusal: Refusal, events: list[Event]) -> None:
        """A reject that is remembered, unless it is one too many: that was not decided."""
        self._reject(command, *refusal, events)
        if refusal[0] is not Reason.TOO_MANY_REQUESTS:
            self._remember(interval, account, command, cast(Answer, events[0]))

    def _remember(self, interval: Interval, account: Account, command: CustomerCommand, answer: Answer) -> None:
        interval.remember(account, Receipt(command, answer))

    def _take_out(self, interval: Interval, order: Order) -> None:
        interval.take_out(order)
        matching.release(interval.ledger, order, order.open_w)

    def cancel_all(self, interval: Interval, orders: Iterable[Order], cause: CancelCause, request_id: str, events: list[Event]) -> None:
        for order in list(orders):
            self._take_out(interval, order)
            matching.tell_cancelled(order, order.open_w, cause, request_id, self.sequence, events)

    def cancel_blocks(self, area: Area, orders: Iterable[Order], cause: CancelCause, request_id: str, events: list[Event]) -> None:
        for block in list(orders):
            area.blocks.remove(block)
            block.account.open_orders -= block.intervals
            block.is_live = False
            for start_ms in area.spanned(block):
                matching.release(area.intervals[start_ms].ledger, block, block.open_w)
            matching.tell_cancelled(block, block.open_w, cause, request_id, self.sequence, events)

    def forget_interval(self, area: str, interval_ms: int) -> None:
        """Halts and expiries of an interval that is retired."""
        gone = [key for key in self.halts if key[:2] == (area, interval_ms)]
        if not any(interval_ms in other.intervals for other in self.areas.values()):
            gone += [key for key in self.halts if key[:2] == (None, interval_ms)]
        for key in gone:
            del self.halts[key]
        self.expiries = [expiry for expiry in self.expiries if expiry[2].is_live]
        heapq.heapify(self.expiries)

    def is_halted(self, area: str, interval_ms: int, direction: Direction) -> bool:
        return (
            self.halts_all(area, interval_ms)
            or (area, interval_ms, direction) in self.halts
            or (None, interval_ms, direction) in self.halts
        )

    def halts_all(self, area: str, interval_ms: int) -> bool:
        """Whether both books of an interval are halted by a halt of the whole."""
        halts = self.halts
        if not halts:
            return False
        return any(key in halts for key in ((None, None, None), (area, None, None), (None, interval_ms, None), (area, interval_ms, None)))

    def shut(self, area: str, interval_ms: int) -> int:
        """Which books of an interval are halted: bit 0 the export book, bit 1 the import book."""
        if not self.halts:
            return 0
        return sum(self.is_halted(area, interval_ms, direction) << bit for bit, direction in enumerate(DIRECTIONS))

    # --- views ----------------------------------------------------------------------------------------------------

    def customers(self, area: str) -> tuple[str, ...]:
        return tuple(self.areas[area].accounts)

    def intervals(self, area: str) -> list[int]:
        """Starts of the intervals that are not retired yet."""
        return sorted(self.areas[area].intervals)

    def phases(self, area: str) -> dict[int, Phase]:
        """The phase of each live interval."""
        return {start: interval.phase for start, interval in self.areas[area].intervals.items()}

    def auctions_since_ms(self, area: str) -> dict[int, int]:
        """Start of each interval in auction, and the first time that was told since it began; those without are left out."""
        intervals = self.areas[area].intervals.items()
        return {start: interval.auction_since_ms for start, interval in intervals if interval.auction_since_ms is not None}

    def gates(self, area: str) -> dict[int, bool]:
        """Start of each live interval, and whether its gate is closed."""
        return {start: interval.is_closed for start, interval in self.areas[area].intervals.items()}

    def next_expiry_ms(self) -> int | None:
        """When time is to be told: an order in force until then expires (it may have gone already), or at once an auction has begun."""
        if any(interval.is_timeless for area in self.areas.values() for interval in area.intervals.values()):
            return self.now_ms
        return self.expiries[0][0] if self.expiries else None

    def holdings(self, area: str, interval_ms: int) -> tuple[list[int], list[int]]:
        """(export_w, import_w) of every customer."""
        holding, n = self.areas[area].intervals[interval_ms].ledger.holding_w, len(self.areas[area].terms)
        return holding[:n], holding[n : 2 * n]

    def open_orders(self, area: str, customer: str) -> list[OpenOrder]:
        state = self.areas[area]
        account = state.accounts[customer]
        orders = [order for interval in state.intervals.values() for order in interval.orders()] + state.blocks
        return [open_order(state, order) for order in orders if order.account is account]

    def local_view(self, area: str, interval_ms: int, customer: str, direction: Direction) -> LocalView:
        """The interval's orders as this right sees them."""
        state = self.areas[area]
        position = state.accounts[customer].position
        return local_view(state, state.intervals[interval_ms], position, state.right(position, direction))

    def cash(self, area: str) -> dict[str, int]:
        """Milli-cents earned (positive) or paid by each customer since the area opened."""
        return dict(zip(self.areas[area].accounts, self._cash(area), strict=False))

    def operator_cash(self, area: str) -> int:
        """Milli-cents that the operator has earned (it has paid, where negative): the customers' cash and this sum to zero."""
        return self._cash(area)[-1]

    def _cash(self, area: str) -> list[int]:
        totals = list(self.areas[area].settled_mct)
        for interval in self.areas[area].intervals.values():
            totals = [total + cash for total, cash in zip(totals, interval.ledger.cash_mct, strict=True)]
        return totals

    def queue(self, area: str, interval_ms: int, direction: Direction, side: Side) -> list[tuple[str, str, int, int]]:
        """(customer, order_id, price_mct, open_w) in priority."""
        interval = self.areas[area].intervals[interval_ms]
        orders = interval.in_priority(interval.lines(direction, side))
        return [(order.account.customer, order.order_id, order.price_mct, order.open_w) for order in orders]

    def book(self, area: str, interval_ms: int, direction: Direction) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """(bids, asks), each a list of (price_mct, shown_w, orders), best first."""
        interval = self.areas[area].intervals[interval_ms]
        sides: tuple[Side, Side] = ("buy", "sell")
        bids, asks = (levels(interval.in_priority(interval.lines(direction, side))) for side in sides)
        return bids, asks

    def check(self) -> None:
        """Every invariant, recomputed from scratch. AssertionError names the one that does not hold."""
        for area in self.areas.values():
            area.check()
            for interval in area.intervals.values():
                matching.check_stable(self, area, interval)
