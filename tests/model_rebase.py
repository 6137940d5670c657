"""The part of the naive model that moves headroom by the operator's hand: new rows, headroom withheld and released."""

from __future__ import annotations

from exchange import commands as c
from exchange import events as e
from exchange.rejects import Reason
from tests.model_market import GATE_OPEN, Area, Interval, Order, Refusal, Rows
from tests.model_trading import Trading

OnInterval = c.EnterPhase | c.RetireInterval | c.Withhold | c.Release | c.ChangeRows | c.Uncross
OnArea = OnInterval | c.Suspend | c.Reinstate | c.AmendTerms | c.AmendSettings


class Rebase(Trading):
    """`Model` has the state and says."""

    sequence: int

    def _refuse(self, command: c.OperatorCommand, reason: Reason) -> None:
        self._say(e.Refused, command.__struct_config__.tag, reason.value, "")

    def _known_area(self, command: OnArea) -> Area | None:
        area = self.areas.get(command.area)
        return self._refuse(command, Reason.UNKNOWN_AREA) if area is None else area

    def _known_interval(self, command: OnInterval) -> tuple[Area, Interval] | None:
        area = self._known_area(command)
        if area is None:
            return None
        interval = area.intervals.get(command.interval_ms)
        return self._refuse(command, Reason.UNKNOWN_INTERVAL) if interval is None else (area, interval)

    # new rows

    def _change_rows(self, command: c.ChangeRows) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        rows = area.rows.get(command.rows_hash)
        if rows is None:
            return self._refuse(command, Reason.UNKNOWN_ROWS)
        reason = refuse_change(command, area, interval, rows)
        if reason is not None:
            return self._refuse(command, reason)
        for order in list(interval.withheld):
            self._give_back(area, interval, order, command.detail)
        told = (command.rows_hash, len(rows.labels), command.cause, command.detail, command.settings)
        self._say(e.RowsChanged, area.name, interval.start_ms, *told)
        interval.rows, interval.settings, interval.lines = rows, command.settings, []
        self._rebase(command, area, interval)
        for order in interval.orders:
            order.told_row = None
        return self._mark_all(area, interval)

    def _rebase(self, command: c.ChangeRows, area: Area, interval: Interval) -> None:
        for direction in ("export", "import"):
            for owner in range(len(area.terms)):
                limit_w = command.limit_w[area.right(owner, direction)]
                if interval.holding()[area.right(owner, direction)] > limit_w:
                    self._take(area, interval, owner, direction, limit_w, command.cause)
        for right, watts in enumerate(command.raise_w):
            if watts:
                owner, direction = right % len(area.terms), "export" if right < len(area.terms) else "import"
                interval.raised[right] += watts
                held_w = interval.holding()[right]
                self._say(e.Raised, area.name, interval.start_ms, area.terms[owner].customer, direction, watts, command.cause, held_w)

    def _take(self, area: Area, interval: Interval, owner: int, direction: c.Direction, limit_w: int, cause: c.ChangeCause) -> None:
        right = area.right(owner, direction)
        blocks = [block for block in area.blocks_in(interval.start_ms) if (block.right, block.side) == (right, "sell")]
        sales = interval.in_line(right, "sell") + sorted(blocks, key=lambda block: (block.price_mct, block.born))
        while limit_w - sum(order.open_w for order in sales) < area.limits(owner, direction)[0]:
            self._end(area, sales.pop(), "rebased")
        fallen = interval.holding()[right] - limit_w
        most = area.settings.compensation_mct
        price = min(most, interval.last_mct.get(direction, most))
        mct = area.cash_of(fallen, price)
        interval.rebased[right] += fallen
        interval.cash[owner] += mct
        interval.compensated[owner] += mct
        interval.cash[-1] -= mct
        self._say(
            e.Rebased, area.name, interval.start_ms, area.terms[owner].customer, direction, fallen, price, mct, cause,
            interval.holding()[right],
        )  # fmt: skip

    # headroom of one row

    def _withhold(self, command: c.Withhold) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        row = interval.rows.named((command.kind, command.element, command.phase))
        reason = self._refuse_withhold(command, area, interval, row)
        if reason is not None:
            return self._refuse(command, reason)
        assert row is not None
        is_sale = command.side == "sell"
        taken_w = left_over(area, interval, row, command.quantity_w) if is_sale else 0
        open_w = taken_w if is_sale else command.quantity_w
        right = 2 * len(area.terms) + len(interval.lines)
        order = Order(
            len(area.terms), right, command.request_id, interval.start_ms, "export", command.side, command.price_mct, open_w, open_w,
            self.sequence + 1, row=row, withheld_w=taken_w,
        )  # fmt: skip
        interval.withheld.append(order)
        interval.lines.append(row)
        interval.is_stirred = interval.is_stirred or taken_w > 0
        given = (command.kind, command.element, command.phase, command.side, open_w, command.price_mct)
        self._say(e.Withheld, area.name, command.request_id, interval.start_ms, *given, taken_w, command.reason)
        return self._come(area, interval, order, "gate")

    def _refuse_withhold(self, command: c.Withhold, area: Area, interval: Interval, row: int | None) -> Refusal:
        settings = area.settings
        if any(order.order_id == command.request_id for order in interval.withheld):
            return Reason.ID_REUSED
        if interval.phase not in GATE_OPEN:
            return Reason.GATE_CLOSED
        if interval.phase == "announced":
            return Reason.NOT_YET_OPEN
        if interval.phase == "frozen" or self._closed(area, interval):
            return Reason.HALTED
        if command.quantity_w < 1 or command.quantity_w % settings.lot_w != 0:
            return Reason.OFF_LOT
        if command.price_mct % settings.tick_mct != 0:
            return Reason.OFF_TICK
        if command.price_mct < settings.price_mct_min or command.price_mct > settings.price_mct_max:
            return Reason.PRICE_OUT_OF_BAND
        if row is None:
            return Reason.UNKNOWN_ROW
        is_empty = command.side == "sell" and left_over(area, interval, row, command.quantity_w) == 0
        return Reason.NO_HEADROOM if is_empty else None

    def _release(self, command: c.Release) -> None:
        found = self._known_interval(command)
        if found is None:
            return None
        area, interval = found
        order = next((order for order in interval.withheld if order.order_id == command.request_id), None)
        if order is None:
            return self._refuse(command, Reason.UNKNOWN_REQUEST)
        before = interval.residual()
        self._give_back(area, interval, order, command.reason)
        return self._mark(area, interval, before)

    def _give_back(self, area: Area, interval: Interval, order: Order, reason: str) -> None:
        open_w = order.open_w if order in interval.orders else 0
        interval.leave(order)
        interval.withheld.remove(order)
        self._say(e.Released, area.name, order.order_id, interval.start_ms, order.withheld_w, open_w, reason)


def left_over(area: Area, interval: Interval, row: int, wanted_w: int) -> int:
    """Whole lots of a row that nobody holds."""
    room = interval.residual()[row] // interval.rows.largest(row)
    return min(wanted_w, room // area.settings.lot_w * area.settings.lot_w)


def refuse_change(command: c.ChangeRows, area: Area, interval: Interval, rows: Rows) -> Refusal:
    """What speaks against new rows of an interval, once area, interval and rows are known."""
    if command.replaces_hash and command.replaces_hash != interval.rows.name:
        return Reason.STALE_ROWS
    bounds = area.all_limits()
    if len(command.limit_w) != len(bounds):
        return Reason.INVALID_LIMITS
    if any(limit < low or limit > high for limit, (low, high) in zip(command.limit_w, bounds, strict=True)):
        return Reason.LIMIT_OUT_OF_BOUNDS
    if min(rows.residual([low for low, _ in bounds]), default=0) < 0:
        return Reason.INSECURE_FAILSAFE
    if min(rows.residual(list(command.limit_w)), default=0) < 0:
        return Reason.INSECURE_LIMITS
    return refuse_raise(command, area, interval, rows) or refuse_settings(command, area)


def refuse_raise(command: c.ChangeRows, area: Area, interval: Interval, rows: Rows) -> Refusal:
    if not command.raise_w:
        return None
    if len(command.raise_w) != len(command.limit_w) or min(command.raise_w) < 0:
        return Reason.INVALID_RAISE
    limits = zip(interval.holding(), command.limit_w, command.raise_w, strict=True)
    held = [min(holding, limit) + more for holding, limit, more in limits]
    for right, (watts, (_, rating)) in enumerate(zip(held, area.all_limits(), strict=True)):
        if command.raise_w[right] and watts + area.reserved(interval, right, "buy") > rating:
            return Reason.INVALID_RAISE
    return Reason.INSECURE_RAISE if min(rows.residual(held), default=0) < 0 else None


def refuse_settings(command: c.ChangeRows, area: Area) -> Refusal:
    customers, devices = [term.customer for term in area.terms], [(setting.kind, setting.device) for setting in command.settings]
    known = all(setting.device in customers if setting.kind == "reactive_var" else setting.device != "" for setting in command.settings)
    sound = known and len(set(devices)) == len(devices) and all(abs(setting.value) < 2**31 for setting in command.settings)
    return None if sound else Reason.INVALID_DEVICE_SETTING
