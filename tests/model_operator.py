"""The part of the naive model that answers the operator and the clock. Like the rest it computes everything anew when it is asked."""

from __future__ import annotations

from exchange import commands as c
from exchange import events as e
from exchange.bounds import FIXED_SETTINGS
from exchange.rejects import Reason
from riskcheck.polytope import Polytope
from tests.model_guards import is_stopped
from tests.model_market import Area, Interval, Order, Rows
from tests.model_rebase import Rebase

MOVES = {
    "announced": ("auction", "continuous", "frozen"),
    "auction": ("frozen",),
    "continuous": ("auction", "frozen"),
    "frozen": ("auction", "continuous"),
    "closed": ("delivery",),
    "delivery": (),
}


class Operator(Rebase):
    """`Model` has the state and says."""

    now_ms: int
    suspended: list[tuple[str, str | None]]
    answers: dict[tuple[str, str, str], tuple[int, c.CustomerCommand, e.Answer]]

    # areas, rows, intervals

    def _open_area(self, command: c.OpenArea) -> None:
        names = [terms.customer for terms in command.customers]
        sound = not command.settings.problems() and not any(terms.problems() for terms in command.customers)
        if not (sound and names and len(names) == len(set(names))):
            return self._refuse(command, Reason.INVALID_SETTINGS)
        if command.area in self.areas:
            return self._refuse(command, Reason.AREA_EXISTS)
        self.areas[command.area] = Area(command.area, command.settings, list(command.customers), [0] * (len(names) + 1))
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
        area.rows[polytope.content_hash] = known or Rows(polytope.content_hash, polytope.slack, takes, labels)
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
        allocation = command.export_w + command.import_w
        fits = len(command.export_w) == len(command.import_w) == len(area.terms)
        if not fits or not all(low <= given <= high for given, (low, high) in zip(allocation, area.all_limits(), strict=True)):
            return self._refuse(command, Reason.INVALID_ALLOCATION)
        if min(rows.residual(list(allocation)), default=0) < 0:
            return self._refuse(command, Reason.INSECURE_ALLOCATION)
        area.intervals[command.interval_ms] = Interval.opened(command.interval_ms, rows, command.phase, allocation)
        customers = tuple(terms.customer for terms in area.terms)
        given = (command.rows_hash, customers, command.export_w, command.import_w, command.phase)
        return self._say(e.IntervalOpened, area.name, command.interval_ms, *given)

    def _enter_phase(self, command: c.EnterPhase) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        if command.phase not in MOVES[interval.phase]:
            return self._refuse(command, Reason.WRONG_PHASE)
        return self._enter(area, interval, command.phase, command.reason)

    def _close_gate(self, command: c.CloseGate) -> None:
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        areas = [self.areas[name] for name in sorted(self.areas) if command.area in (None, name)]
        known = [(area, area.intervals[command.interval_ms]) for area in areas if command.interval_ms in area.intervals]
        if not known:
            return self._refuse(command, Reason.UNKNOWN_INTERVAL)
        if not any(interval.is_open() for _, interval in known):
            return self._refuse(command, Reason.GATE_CLOSED)
        for area, interval in known:
            if interval.is_open():
                for order in [*interval.by_priority(), *interval.by_priority(True), *area.blocks_in(interval.start_ms)]:
                    self._end(area, order, "gate")
                interval.phase = "closed"
                self._say(e.GateClosed, area.name, interval.start_ms)
        return None

    def _retire_interval(self, command: c.RetireInterval) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        if interval.is_open():
            return self._refuse(command, Reason.GATE_OPEN)
        self._say(
            e.Settled, area.name, interval.start_ms, tuple(term.customer for term in area.terms), interval.allocation,
            tuple(interval.raised), tuple(interval.bought), tuple(interval.sold), tuple(interval.rebased), tuple(interval.cash[:-1]),
            tuple(interval.compensated[:-1]), interval.cash[-1],
        )  # fmt: skip
        area.settled = [before + mct for before, mct in zip(area.settled, interval.cash, strict=True)]
        del area.intervals[interval.start_ms]
        self._forget(area, interval)
        return self._say(e.IntervalRetired, area.name, interval.start_ms)

    def _forget(self, area: Area, interval: Interval) -> None:
        newest, needed = list(area.rows)[-1], [other.rows.name for other in area.intervals.values()]
        area.rows = {name: rows for name, rows in area.rows.items() if name == newest or name in needed}
        elsewhere = any(interval.start_ms in other.intervals for other in self.areas.values())
        ended = [(area.name, interval.start_ms)] + ([] if elsewhere else [(None, interval.start_ms)])
        self.halts = [halt for halt in self.halts if halt[:2] not in ended]
        self.answers = {key: kept for key, kept in self.answers.items() if (key[0], kept[0]) != (area.name, interval.start_ms)}

    # the hand of the operator

    def _halt(self, command: c.Halt) -> None:
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        if command.direction is not None and command.interval_ms is None:
            return self._refuse(command, Reason.UNKNOWN_INTERVAL)
        self.halts.append((command.area, command.interval_ms, command.direction))
        return self._say(e.Halted, command.area, command.interval_ms, command.reason, command.direction)

    def _resume(self, command: c.Resume) -> None:
        scope = (command.area, command.interval_ms, command.direction)
        if command.area is not None and command.area not in self.areas:
            return self._refuse(command, Reason.UNKNOWN_AREA)
        if scope not in self.halts:
            return self._refuse(command, Reason.NOT_HALTED)
        self.halts = [halt for halt in self.halts if halt != scope]
        self._say(e.Resumed, command.area, command.interval_ms, command.reason, command.direction)
        for name in sorted(self.areas):
            area = self.areas[name]
            for start in sorted(area.intervals):
                if command.area in (None, name) and command.interval_ms in (None, start):
                    self._go_on(area, area.intervals[start], command)
        return None

    def _go_on(self, area: Area, interval: Interval, command: c.Resume) -> None:
        """A halt has ended: where nothing is halted any more an auction follows, or else what was halted is woken."""
        if not self._trades(area, interval):
            return None
        if area.settings.call_auctions and not self._closed(area, interval):
            return self._enter(area, interval, "auction", command.reason)
        return self._mark_all(area, interval)

    def _is_suspended(self, area: Area, owner: int) -> bool:
        return (area.name, None) in self.suspended or (area.name, area.terms[owner].customer) in self.suspended

    def _orders_of(self, area: Area, owner: int | None, starts: list[int]) -> list[Order]:
        """A customer's, or all customers', in the order in which they are cancelled: block orders last."""
        found = [order for start in starts for order in area.intervals[start].by_priority()]
        found += [block for block in area.blocks if set(area.span(block.interval_ms, block.intervals)) & set(starts)]
        return [order for order in found if owner in (None, order.owner)]

    def _suspend(self, command: c.Suspend) -> None:
        area = self._known_area(command)
        if area is None:
            return None
        owner = None if command.customer is None else area.owner(command.customer)
        if owner is None and command.customer is not None:
            return self._refuse(command, Reason.UNKNOWN_CUSTOMER)
        for order in self._orders_of(area, owner, sorted(area.intervals)):
            self._end(area, order, "suspended")
        self.suspended.append((area.name, command.customer))
        return self._say(e.Suspended, area.name, command.customer, command.reason)

    def _reinstate(self, command: c.Reinstate) -> None:
        area, scope = self._known_area(command), (command.area, command.customer)
        if area is None:
            return None
        if command.customer is not None and area.owner(command.customer) is None:
            return self._refuse(command, Reason.UNKNOWN_CUSTOMER)
        if scope not in self.suspended:
            return self._refuse(command, Reason.NOT_SUSPENDED)
        self.suspended = [other for other in self.suspended if other != scope]
        return self._say(e.Reinstated, area.name, command.customer, command.reason)

    def _amend_terms(self, command: c.AmendTerms) -> None:
        area = self._known_area(command)
        if area is None:
            return None
        owner = area.owner(command.customer)
        if owner is None:
            return self._refuse(command, Reason.UNKNOWN_CUSTOMER)
        if command.order_w_max <= 0 or command.open_orders_max <= 0:
            return self._refuse(command, Reason.INVALID_SETTINGS)
        old = area.terms[owner]
        limits = (old.rating_export_w, old.rating_import_w, old.failsafe_export_w, old.failsafe_import_w)
        area.terms[owner] = type(old)(old.customer, *limits, command.order_w_max, command.open_orders_max)
        given = (command.order_w_max, command.open_orders_max, command.reason)
        return self._say(e.TermsAmended, area.name, command.customer, *given)

    def _amend_settings(self, command: c.AmendSettings) -> None:
        area = self._known_area(command)
        if area is None:
            return None
        fixed = all(getattr(area.settings, name) == getattr(command.settings, name) for name in FIXED_SETTINGS)
        if command.settings.problems() or not fixed:
            return self._refuse(command, Reason.INVALID_SETTINGS)
        area.settings = command.settings
        return self._say(e.SettingsAmended, area.name, command.settings, command.reason)

    def _uncross(self, command: c.Uncross) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        if not interval.is_open():
            return self._refuse(command, Reason.GATE_CLOSED)
        if is_stopped(self, area, interval, None) or self._closed(area, interval):
            return self._refuse(command, Reason.HALTED)
        if command.rows_hash != interval.rows.name:
            return self._refuse(command, Reason.STALE_ROWS)
        if interval.phase != ("auction" if command.ends_auction else "continuous"):
            return self._refuse(command, Reason.WRONG_PHASE)
        return self._uncross_all(area, interval, command)

    def _advance(self, command: c.Advance) -> None:
        if command.at_ms < self.now_ms:
            return self._refuse(command, Reason.TIME_BACKWARDS)
        self.now_ms = command.at_ms
        for interval in (interval for area in self.areas.values() for interval in area.intervals.values()):
            if interval.phase == "auction" and interval.auction_since_ms is None:
                interval.auction_since_ms = command.at_ms
        everyone = [(area, order) for area in self.areas.values() for order in self._orders_of(area, None, list(area.intervals))]
        due = [(order.until_ms, order.born, area, order) for area, order in everyone if order.until_ms is not None]
        for until_ms, _, area, order in sorted(due, key=lambda entry: entry[:2]):
            if until_ms <= command.at_ms:
                self._end(area, order, "expired")
        return self._say(e.Advanced, command.at_ms)
