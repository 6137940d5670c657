"""An independent, naive limex: no book, no running totals, no memory of anything that can be found out by looking.

It is written from docs/market.md and shares with the engine only the nouns: commands, events, reasons. Holdings, reservations,
residuals, lines and priority are computed anew whenever they are asked for, in Python's unbounded integers. Slow and plain on
purpose: what the two agree on is the rule. `detail` texts are for people and stay empty here; compare with `without_details`.

`model_market` remembers, `model_match` walks on a copy, `model_trading` makes trades and their events of it, `model_proposals`
judges, `model_operator` and `model_rebase` answer the operator, `model_invariant` says what must hold between commands.
"""

from __future__ import annotations

from exchange import commands as c
from exchange import events as e
from exchange.rejects import Reason
from tests.model_guards import refuse_place, refuse_replace
from tests.model_market import Area, Interval, Order
from tests.model_operator import Operator
from tests.model_trading import Halt
from tests.model_views import Views


class Model(Operator, Views):
    """`apply` answers every command with the events that the engine must give, `detail` left empty."""

    def __init__(self) -> None:
        self.sequence = 0
        self.now_ms = 0
        self.areas: dict[str, Area] = {}
        self.halts: list[Halt] = []
        self.suspended: list[tuple[str, str | None]] = []
        self.answers: dict[tuple[str, str, str], tuple[int, c.CustomerCommand, e.Answer]] = {}  # (area, customer, id) -> (interval, ...)
        self._events: list[e.Event] = []

    def apply(self, command: c.Command) -> list[e.Event]:
        self._events = []
        getattr(self, "_" + str(command.__struct_config__.tag))(command)
        self._settle()
        return self._events

    def _say(self, kind: type, *fields: object) -> None:
        self.sequence += 1
        self._events.append(kind(self.sequence, *fields))

    # customers

    def _place(self, command: c.Place, changes: tuple[c.Change, ...] | None = None) -> None:
        found = self._known(command)
        if found is None:
            return None
        area, owner = found
        starts = area.span(command.interval_ms, command.intervals)
        if any(start not in area.intervals for start in starts):
            return self._reject_unknown(area, command, Reason.UNKNOWN_INTERVAL)
        interval = area.intervals[starts[0]]
        reason = refuse_place(self, area, owner, [area.intervals[start] for start in starts], command)
        if reason is not None:
            return self._decline(command, interval, reason)
        order = self._accept(area, owner, interval, command)
        self._keep(command, interval)
        if command.intervals > 1:
            return self._wait(area, interval, order, command)
        if changes is not None and self._trades(area, interval):
            refused = self._sweep_proposal(area, interval, order, changes, command.time_in_force)
            if refused is None:
                return None
            self._say(e.Refused, "sweep", refused.value, "")
        return self._come(area, interval, order, command.time_in_force)

    def _accept(self, area: Area, owner: int, interval: Interval, command: c.Place) -> Order:
        order = Order(
            owner, area.right(owner, command.direction), command.request_id, interval.start_ms, command.direction, command.side,
            command.price_mct, command.quantity_w, command.quantity_w, self.sequence + 1,
            command.until_ms if command.time_in_force == "until" else None, command.display_w, intervals=command.intervals,
        )  # fmt: skip
        order.show()
        shown_w = order.shown_w if command.intervals == 1 else 0
        interval.requests[owner] += 1
        self._say(
            e.Accepted, area.name, command.customer, command.request_id, interval.start_ms, command.direction, command.side,
            command.quantity_w, command.price_mct, shown_w, command.intervals,
        )  # fmt: skip
        return order

    def _wait(self, area: Area, interval: Interval, order: Order, command: c.Place) -> None:
        """A block order is tried at once and waits then, if it may."""
        order.shown_w = 0
        area.blocks.append(order)
        self._try_block(area, order, [area.intervals[start] for start in area.span(order.interval_ms, order.intervals)])
        if order in area.blocks and command.time_in_force in ("ioc", "fok"):
            self._end(area, order, command.time_in_force)

    def _sweep(self, command: c.Sweep) -> None:
        self._place(command.place, command.changes)

    def _replace(self, command: c.Replace) -> None:
        found = self._known_order(command)
        if found is None:
            return None
        area, interval, order = found
        traded = order.total_w - order.open_w
        reason = refuse_replace(self, area, interval, order, command)
        if reason is not None:
            return self._decline(command, interval, reason)
        if command.quantity_w - traded < area.settings.lot_w:
            self._end(area, order, "replace", command.request_id)
            return self._keep(command, interval)
        interval.requests[order.owner] += 1
        keeps = order.price_mct == command.price_mct and command.quantity_w <= order.total_w
        order.price_mct, order.total_w, order.open_w = command.price_mct, command.quantity_w, command.quantity_w - traded
        if keeps:
            order.shown_w = min(order.shown_w, order.open_w)
        else:
            interval.leave(order)
            order.show()
        self._say(
            e.Replaced, area.name, command.customer, command.request_id, order.order_id, interval.start_ms, order.direction, order.side,
            order.total_w, order.open_w, order.price_mct, keeps, order.shown_w,
        )  # fmt: skip
        self._keep(command, interval)
        return None if keeps else self._come(area, interval, order, "gate")

    def _cancel(self, command: c.Cancel) -> None:
        found = self._known_order(command)
        if found is not None:
            area, interval, order = found
            self._end(area, order, "request", command.request_id)
            self._keep(command, interval)

    def _mass_cancel(self, command: c.MassCancel) -> None:
        found = self._known(command)
        if found is None:
            return None
        area, owner = found
        if command.interval_ms is not None and command.interval_ms not in area.intervals:
            return self._reject_unknown(area, command, Reason.UNKNOWN_INTERVAL)
        starts = sorted(area.intervals) if command.interval_ms is None else [command.interval_ms]
        mine = self._orders_of(area, owner, starts)
        if starts and not mine and self._is_full(area, area.intervals[starts[-1]], owner):
            return self._reject(command, Reason.TOO_MANY_REQUESTS)
        for order in mine:
            self._end(area, order, "mass" if command.cause == "request" else command.cause, command.request_id)
        self._say(e.MassCancelled, area.name, command.customer, command.request_id, len(mine))
        return self._keep(command, area.intervals[starts[-1]], self._events[-1]) if starts else None

    # who asks, and what was answered

    def _known(self, command: c.CustomerCommand) -> tuple[Area, int] | None:
        area = self.areas.get(command.area)
        owner = area.owner(command.customer) if area else None
        if area is None or owner is None:
            return self._reject(command, Reason.UNKNOWN_AREA if area is None else Reason.UNKNOWN_CUSTOMER)
        _, earlier, answer = self.answers.get((command.area, command.customer, command.request_id), (0, None, None))
        if earlier == command:
            return self._say(e.Repeated, command.area, command.customer, command.request_id, answer)
        if earlier is not None:
            return self._reject(command, Reason.ID_REUSED)
        return area, owner

    def _known_order(self, command: c.Cancel | c.Replace) -> tuple[Area, Interval, Order] | None:
        found = self._known(command)
        if found is None:
            return None
        area, owner = found
        every = [order for interval in area.intervals.values() for order in interval.orders] + area.blocks
        for order in every:
            if (order.owner, order.order_id) == (owner, command.order_id):
                return area, area.intervals[order.interval_ms], order
        return self._reject_unknown(area, command, Reason.UNKNOWN_ORDER)

    def _reject(self, command: c.CustomerCommand, reason: Reason) -> None:
        self._say(e.Rejected, command.area, command.customer, command.request_id, reason.value, "")

    def _reject_unknown(self, area: Area, command: c.CustomerCommand, reason: Reason) -> None:
        if not area.intervals:
            return self._reject(command, reason)
        last, owner = area.intervals[max(area.intervals)], area.owner(command.customer)
        assert owner is not None
        return self._decline(command, last, Reason.TOO_MANY_REQUESTS if self._is_full(area, last, owner) else reason)

    def _decline(self, command: c.CustomerCommand, interval: Interval, reason: Reason) -> None:
        self._reject(command, reason)
        if reason != Reason.TOO_MANY_REQUESTS:
            self._keep(command, interval)

    def _is_full(self, area: Area, interval: Interval, owner: int) -> bool:
        """Whether the interval remembers as many requests of a customer as it may."""
        whose = area.name, area.terms[owner].customer
        kept = [start for name, (start, _, _) in self.answers.items() if name[:2] == whose and start == interval.start_ms]
        return len(kept) >= area.settings.requests_max

    def _keep(self, command: c.CustomerCommand, interval: Interval, answer: e.Event | None = None) -> None:
        kept = (interval.start_ms, command, answer or self._events[0])
        self.answers[command.area, command.customer, command.request_id] = kept
