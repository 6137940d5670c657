"""The part of the naive model that answers the operator and the clock. Like the rest it computes everything anew when it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exchange import commands as c
from exchange import events as e
from exchange.rejects import Reason
from riskcheck.polytope import Polytope
from tests.model_market import Area, Interval, Rows, refuse_change


class Operator:
    """`Model` has the state and says, ends and matches."""

    now_ms: int
    areas: dict[str, Area]
    halts: list[tuple[str | None, int | None]]
    answers: dict[tuple[str, str, str], Any]
    _say: Callable[..., None]
    _end: Callable[..., None]
    _meet: Callable[..., None]
    _is_halted: Callable[[str, int], bool]

    def _open_area(self, command: c.OpenArea) -> None:
        names = [terms.customer for terms in command.customers]
        sound = not command.settings.problems() and not any(terms.problems() for terms in command.customers)
        if not (sound and names and len(names) == len(set(names))):
            return self._refuse(command, Reason.INVALID_SETTINGS)
        if command.area in self.areas:
            return self._refuse(command, Reason.AREA_EXISTS)
        self.areas[command.area] = Area(command.area, command.settings, command.customers)
        return self._say(e.AreaOpened, command.area, len(names))

    def _install_rows(self, command: c.InstallRows) -> None:
        area = self.areas.get(command.area)
        if area is None:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        try:
            polytope = Polytope.from_bytes(command.polytope)
        except ValueError:
            return self._refuse(command, Reason.INVALID_ROWS)
        takes = [[int(take) for take in column] for column in polytope.columns]
        if len(takes) != 2 * len(area.terms):
            return self._refuse(command, Reason.INVALID_ROWS)
        labels = tuple((label.kind, label.element, label.phase) for label in polytope.labels)
        known = area.rows.pop(polytope.content_hash, None)
        area.rows[polytope.content_hash] = known or Rows(polytope.slack, takes, labels)
        return self._say(e.RowsInstalled, area.name, polytope.content_hash, len(labels))

    def _open_interval(self, command: c.OpenInterval) -> None:
        area = self.areas.get(command.area)
        if area is None:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        rows = area.rows.get(command.rows_hash)
        if rows is None:
            return self._refuse(command, Reason.UNKNOWN_ROWS)
        if command.interval_ms in area.intervals:
            return self._refuse(command, Reason.INTERVAL_EXISTS)
        if command.interval_ms < 0 or command.interval_ms % area.settings.interval_ms != 0:
            return self._refuse(command, Reason.OFF_GRID)
        interval = Interval(command.interval_ms, rows, command.export_w + command.import_w)
        limits = [area.limits(owner, direction) for direction in ("export", "import") for owner in range(len(area.terms))]
        fits = len(command.export_w) == len(command.import_w) == len(area.terms)
        if not fits or not all(low <= given <= high for given, (low, high) in zip(interval.allocation, limits, strict=True)):
            return self._refuse(command, Reason.INVALID_ALLOCATION)
        if min(interval.residual(), default=0) < 0:
            return self._refuse(command, Reason.INSECURE_ALLOCATION)
        area.intervals[interval.start_ms] = interval
        customers = tuple(terms.customer for terms in area.terms)
        return self._say(e.IntervalOpened, area.name, interval.start_ms, command.rows_hash, customers, command.export_w, command.import_w)

    def _close_gate(self, command: c.CloseGate) -> None:
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        areas = [self.areas[name] for name in sorted(self.areas) if command.area in (None, name)]
        known = [(area, area.intervals[command.interval_ms]) for area in areas if command.interval_ms in area.intervals]
        if not known:
            return self._refuse(command, Reason.UNKNOWN_INTERVAL)
        if all(interval.closed for _, interval in known):
            return self._refuse(command, Reason.GATE_CLOSED)
        for area, interval in known:
            if not interval.closed:
                for order in list(interval.all_live()):
                    self._end(area, order, "gate")
                interval.closed = True
                self._say(e.GateClosed, area.name, interval.start_ms)
        return None

    def _retire_interval(self, command: c.RetireInterval) -> None:
        area = self.areas.get(command.area)
        if area is None:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        interval = area.intervals.get(command.interval_ms)
        if interval is None:
            return self._refuse(command, Reason.UNKNOWN_INTERVAL)
        if not interval.closed:
            return self._refuse(command, Reason.GATE_OPEN)
        paid = area.settled + interval.payments
        area.settled = [(owner, sum(mct for payer, mct in paid if payer == owner)) for owner in range(len(area.terms) + 1)]
        del area.intervals[interval.start_ms]
        newest, needed = list(area.rows)[-1], [id(other.rows) for other in area.intervals.values()]
        area.rows = {name: rows for name, rows in area.rows.items() if name == newest or id(rows) in needed}
        elsewhere = any(interval.start_ms in other.intervals for other in self.areas.values())
        ended = [(area.name, interval.start_ms)] + ([] if elsewhere else [(None, interval.start_ms)])
        self.halts = [halt for halt in self.halts if halt not in ended]
        self.answers = {key: kept for key, kept in self.answers.items() if (key[0], kept[0]) != (area.name, interval.start_ms)}
        return self._say(e.IntervalRetired, area.name, interval.start_ms)

    def _change_rows(self, command: c.ChangeRows) -> None:
        area = self.areas.get(command.area)
        if area is None:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        interval = area.intervals.get(command.interval_ms)
        if interval is None:
            return self._refuse(command, Reason.UNKNOWN_INTERVAL)
        if len(command.wake) > 0 and self._is_halted(area.name, interval.start_ms):
            return self._refuse(command, Reason.HALTED)
        in_force = next(name for name, rows in area.rows.items() if rows is interval.rows)
        reason = refuse_change(command, area, interval, in_force)
        if reason is not None:
            return self._refuse(command, reason)
        return self._rebase(command, area, interval, area.rows[command.rows_hash])

    def _rebase(self, command: c.ChangeRows, area: Area, interval: Interval, rows: Rows) -> None:
        told = (command.rows_hash, len(rows.labels), command.cause, command.detail, command.settings)
        self._say(e.RowsChanged, area.name, interval.start_ms, *told)
        interval.rows, interval.settings = rows, command.settings
        for direction in ("export", "import"):
            for owner in range(len(area.terms)):
                limit_w = command.limit_w[area.right(owner, direction)]
                if interval.holding()[area.right(owner, direction)] > limit_w:
                    self._take(area, interval, owner, direction, limit_w, command.cause)
        for order in interval.orders:
            order.told_row = None
        for customer, order_id in ((ref.customer, ref.order_id) for ref in command.wake):
            for order in interval.orders:
                if order.live and (order.owner, order.order_id) == (area.owner(customer), order_id):
                    self._meet(area, interval, order, "gate")
                    break

    def _take(self, area: Area, interval: Interval, owner: int, direction: c.Direction, limit_w: int, cause: c.ChangeCause) -> None:
        right = area.right(owner, direction)
        sales = [order for order in interval.live(direction, "sell") if order.owner == owner]
        while limit_w - sum(order.open_w for order in sales) < area.limits(owner, direction)[0]:
            self._end(area, sales.pop(), "rebased")
        fallen = interval.holding()[right] - limit_w
        traded_at = [price for book, price in interval.prices if book == direction]
        price = traded_at[-1] if traded_at else area.settings.compensation_mct
        mct = fallen * price * area.settings.interval_ms // 3_600_000_000
        interval.changes.append((right, -fallen))
        interval.payments += [(owner, mct), (len(area.terms), -mct)]
        self._say(
            e.Rebased, area.name, interval.start_ms, area.terms[owner].customer, direction, fallen, price, mct, cause,
            interval.holding()[right],
        )  # fmt: skip

    def _halt(self, command: c.Halt) -> None:
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        self.halts.append((command.area, command.interval_ms))
        return self._say(e.Halted, command.area, command.interval_ms, command.reason)

    def _resume(self, command: c.Resume) -> None:
        scope = (command.area, command.interval_ms)
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        if scope not in self.halts:
            return self._refuse(command, Reason.NOT_HALTED)
        self.halts = [halt for halt in self.halts if halt != scope]
        return self._say(e.Resumed, *scope, command.reason)

    def _advance(self, command: c.Advance) -> None:
        if command.at_ms < self.now_ms:
            return self._refuse(command, Reason.TIME_BACKWARDS)
        self.now_ms = command.at_ms
        everyone = [(area, order) for area in self.areas.values() for interval in area.intervals.values() for order in interval.all_live()]
        due = [(order.until_ms, order.born, area, order) for area, order in everyone if order.until_ms is not None]
        for until_ms, _, area, order in sorted(due, key=lambda entry: entry[:2]):
            if until_ms <= command.at_ms:
                self._end(area, order, "expired")
        return self._say(e.Advanced, command.at_ms)

    def _refuse(self, command: c.OperatorCommand, reason: Reason) -> None:
        self._say(e.Refused, command.__struct_config__.tag, reason.value, "")
