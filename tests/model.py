"""An independent, naive limex: no book, no ledger, no running totals. Every question is answered from what was ever said.

It shares with the engine only the nouns: commands, events, reasons. An interval is its allocation, the list of changes that
trades made, and the list of orders in the order they came; holdings, reservations, cash, residuals and priority are computed
anew whenever they are asked for, in Python's unbounded integers. Slow and plain on purpose: what the two agree on is the rule.
`detail` texts are for people and stay empty here; compare with `without_details`.
"""

from __future__ import annotations

import msgspec

from exchange import commands as c
from exchange import events as e
from exchange.rejects import Reason
from tests.model_market import Area, Candidate, Interval, Order, Refusal
from tests.model_operator import Operator


class Model(Operator):
    """`apply` answers every command with the events that the engine must give, `detail` left empty."""

    def __init__(self) -> None:
        self.sequence = 0
        self.now_ms = 0
        self.areas: dict[str, Area] = {}
        self.halts: list[tuple[str | None, int | None]] = []
        self.answers: dict[tuple[str, str, str], tuple[int, c.CustomerCommand, e.Answer]] = {}  # (area, customer, id) -> (interval, ...)
        self._events: list[e.Event] = []

    def apply(self, command: c.Command) -> list[e.Event]:
        self._events = []
        getattr(self, "_" + command.__struct_config__.tag)(command)
        return self._events

    def _say(self, kind: type, *fields: object) -> None:
        self.sequence += 1
        self._events.append(kind(self.sequence, *fields))

    # customers

    def _place(self, command: c.Place) -> None:
        found = self._known(command)
        if found is None:
            return None
        area, owner = found
        interval = area.intervals.get(command.interval_ms)
        if interval is None:
            return self._reject_unknown(area, command, Reason.UNKNOWN_INTERVAL)
        if interval.closed:
            self._reject(command, Reason.GATE_CLOSED)
            return self._keep(command, interval)
        reason = self._refuse_place(command, area, owner, interval)
        if reason is not None:
            self._reject(command, reason)
            return self._keep(command, interval)
        self._say(
            e.Accepted, area.name, command.customer, command.request_id, interval.start_ms, command.direction, command.side,
            command.quantity_w, command.price_mct,
        )  # fmt: skip
        self._keep(command, interval)
        order = Order(
            owner, command.request_id, interval.start_ms, command.direction, command.side, command.price_mct, command.quantity_w,
            command.quantity_w, self.sequence, self.sequence, command.until_ms if command.time_in_force == "until" else None,
        )  # fmt: skip
        interval.orders.append(order)
        return self._meet(area, interval, order, command.time_in_force)

    def _refuse_place(self, command: c.Place, area: Area, owner: int, interval: Interval) -> Refusal:
        if self._is_halted(area.name, interval.start_ms):
            return Reason.HALTED
        if command.time_in_force == "until" and not command.until_ms > self.now_ms:
            return Reason.EXPIRED
        if command.quantity_w < 1 or command.quantity_w % area.settings.lot_w != 0:
            return Reason.OFF_LOT
        reason = area.refuse_quantity(owner, command.price_mct, command.quantity_w)
        if reason is None and area.open_orders(owner) + 1 > area.terms[owner].open_orders_max:
            reason = Reason.TOO_MANY_OPEN_ORDERS
        return reason or area.refuse_cover(interval, owner, command.direction, command.side, command.quantity_w, None)

    def _replace(self, command: c.Replace) -> None:
        found = self._known_order(command)
        if found is None:
            return None
        area, interval, order = found
        traded = order.total_w - order.open_w
        reason = None
        if self._is_halted(area.name, interval.start_ms):
            reason = Reason.HALTED
        elif command.quantity_w < 0 or command.quantity_w % area.settings.lot_w != 0:
            reason = Reason.OFF_LOT
        else:
            reason = area.refuse_quantity(order.owner, command.price_mct, command.quantity_w)
        reason = reason or area.refuse_cover(interval, order.owner, order.direction, order.side, command.quantity_w - traded, order)
        if reason is not None:
            self._reject(command, reason)
            return self._keep(command, interval)
        if command.quantity_w <= traded:
            self._end(area, order, "replace", command.request_id)
            return self._keep(command, interval)
        keeps = order.price_mct == command.price_mct and command.quantity_w <= order.total_w
        order.price_mct, order.total_w, order.open_w = command.price_mct, command.quantity_w, command.quantity_w - traded
        self._say(
            e.Replaced, area.name, command.customer, command.request_id, order.order_id, interval.start_ms, order.direction, order.side,
            order.total_w, order.open_w, order.price_mct, keeps,
        )  # fmt: skip
        self._keep(command, interval)
        if not keeps:
            order.live, order.came = False, self.sequence
            self._meet(area, interval, order, "gate")
        return None

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
        mine = [order for start in starts for order in area.intervals[start].all_live() if order.owner == owner]
        for order in mine:
            self._end(area, order, "mass" if command.cause == "request" else command.cause, command.request_id)
        self._say(e.MassCancelled, area.name, command.customer, command.request_id, len(mine))
        return self._keep(command, area.intervals[starts[-1]], self._events[-1]) if starts else None

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
        for interval in area.intervals.values():
            for order in interval.orders:
                if order.live and (order.owner, order.order_id) == (owner, command.order_id):
                    return area, interval, order
        return self._reject_unknown(area, command, Reason.UNKNOWN_ORDER)

    def _reject(self, command: c.CustomerCommand, reason: Reason) -> None:
        self._say(e.Rejected, command.area, command.customer, command.request_id, reason.value, "")

    def _reject_unknown(self, area: Area, command: c.CustomerCommand, reason: Reason) -> None:
        self._reject(command, reason)
        if area.intervals:
            self._keep(command, area.intervals[max(area.intervals)])

    def _keep(self, command: c.CustomerCommand, interval: Interval, answer: e.Event | None = None) -> None:
        kept = (interval.start_ms, command, answer or self._events[0])
        self.answers[command.area, command.customer, command.request_id] = kept

    def _is_halted(self, area: str, interval_ms: int) -> bool:
        return any(name in (None, area) and start in (None, interval_ms) for name, start in self.halts)

    def _end(self, area: Area, order: Order, cause: e.CancelCause, request_id: str = "") -> None:
        order.live = False
        self._say(
            e.Cancelled, area.name, area.terms[order.owner].customer, request_id, order.order_id, order.interval_ms, order.direction,
            order.side, order.open_w, cause,
        )  # fmt: skip

    # matching

    def _meet(self, area: Area, interval: Interval, taker: Order, force: str) -> None:
        candidates, met_self = self._walk(area, interval, taker)
        if force == "fok" and sum(candidate.secure_w for candidate in candidates) < taker.open_w:
            blocked = next((candidate for candidate in candidates if candidate.row is not None), None)
            if blocked:
                self._tell(area, interval, taker, blocked)
            return self._end(area, taker, "fok")
        told = False
        for candidate in candidates:
            if candidate.row is not None:
                if candidate.maker.told_row != candidate.row:
                    self._tell(area, interval, candidate.maker, candidate)
                if not told:
                    self._tell(area, interval, taker, candidate)
                told = True
            if candidate.secure_w:
                self._trade(area, interval, taker, candidate.maker, candidate.secure_w)
        if taker.open_w == 0:
            return None
        if met_self or force == "ioc":
            return self._end(area, taker, "self_trade" if met_self else "ioc")
        taker.live = True
        return None

    def _walk(self, area: Area, interval: Interval, taker: Order) -> tuple[list[Candidate], bool]:
        """What would trade with whom, and whether the walk stopped at the customer's own order."""
        against = "sell" if taker.side == "buy" else "buy"
        found: list[Candidate] = []
        open_w, residual, right = taker.open_w, interval.residual(), area.right(taker.owner, taker.direction)
        for maker in interval.live(taker.direction, against):
            beyond = maker.price_mct > taker.price_mct if against == "sell" else maker.price_mct < taker.price_mct
            if beyond or open_w == 0:
                break
            if maker.owner == taker.owner and area.settings.self_trade != "allow":
                return found, True
            other = area.right(maker.owner, maker.direction)
            buyer, seller = (right, other) if taker.side == "buy" else (other, right)
            takes = [b - s for b, s in zip(interval.rows.takes[buyer], interval.rows.takes[seller], strict=True)]
            room = [(max(left, 0) // take, row) for row, (left, take) in enumerate(zip(residual, takes, strict=True)) if take > 0]
            wanted = min(open_w, maker.open_w)
            most, row = min(room, default=(wanted, None))
            secure = min(wanted, most) // area.settings.lot_w * area.settings.lot_w
            residual = [left - take * secure for left, take in zip(residual, takes, strict=True)]
            found.append(Candidate(maker, wanted, secure, row if secure < wanted else None))
            open_w -= secure
        return found, False

    def _tell(self, area: Area, interval: Interval, order: Order, candidate: Candidate) -> None:
        assert candidate.row is not None
        order.told_row = candidate.row
        self._say(
            e.Blocked, area.name, area.terms[order.owner].customer, order.order_id, interval.start_ms, order.direction,
            *interval.rows.labels[candidate.row], candidate.wanted_w, candidate.secure_w,
        )  # fmt: skip

    def _trade(self, area: Area, interval: Interval, taker: Order, maker: Order, quantity_w: int) -> None:
        mct = quantity_w * maker.price_mct * area.settings.interval_ms // 3_600_000_000
        signs = [1 if order.side == "buy" else -1 for order in (taker, maker)]
        for order, sign in zip((taker, maker), signs, strict=True):
            order.open_w -= quantity_w
            order.live = order.live and order.open_w > 0
            interval.changes.append((area.right(order.owner, order.direction), sign * quantity_w))
            interval.payments.append((order.owner, -sign * mct))
        interval.prices.append((taker.direction, maker.price_mct))
        held = interval.holding()
        legs = []
        for order, sign in zip((taker, maker), signs, strict=True):
            mine = (area.terms[order.owner].customer, order.order_id, order.side, order.direction)
            holding_w = held[area.right(order.owner, order.direction)]
            legs.append(e.Leg(*mine, sign * quantity_w, maker.price_mct, -sign * mct, order.open_w, holding_w))
        self._say(e.Traded, area.name, interval.start_ms, tuple(legs))

    # views, to compare states and not only events

    def holdings(self, area: str, interval_ms: int) -> tuple[list[int], list[int]]:
        held, n = self.areas[area].intervals[interval_ms].holding(), len(self.areas[area].terms)
        return held[:n], held[n:]

    def cash(self, area: str) -> dict[str, int]:
        known = self.areas[area]
        paid = known.settled + [payment for interval in known.intervals.values() for payment in interval.payments]
        return {terms.customer: sum(mct for owner, mct in paid if owner == position) for position, terms in enumerate(known.terms)}

    def operator_cash(self, area: str) -> int:
        known = self.areas[area]
        paid = known.settled + [payment for interval in known.intervals.values() for payment in interval.payments]
        return sum(mct for owner, mct in paid if owner == len(known.terms))

    def queue(self, area: str, interval_ms: int, direction: str, side: str) -> list[tuple[str, str, int, int]]:
        known = self.areas[area]
        orders = known.intervals[interval_ms].live(direction, side)
        return [(known.terms[order.owner].customer, order.order_id, order.price_mct, order.open_w) for order in orders]


def without_details(events: list[e.Event]) -> list[e.Event]:
    """The engine's events without the words that reasons are explained with."""
    plain: list[e.Event] = []
    for event in events:
        if isinstance(event, e.Rejected | e.Refused) and event.detail:
            plain.append(msgspec.structs.replace(event, detail=""))
        elif isinstance(event, e.Repeated) and isinstance(event.first, e.Rejected):
            plain.append(msgspec.structs.replace(event, first=msgspec.structs.replace(event.first, detail="")))
        else:
            plain.append(event)
    return plain
