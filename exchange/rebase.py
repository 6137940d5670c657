"""New rows for an interval that is open or in delivery: a switch opened, a limit moved, a device was set, an audit found too little.

The secure set is downward closed, so lowering a limit needs no check. The proposal names for every right the most that it may
hold; these limits are checked here, in integers, against the new rows, and every holding becomes min(holding, limit). So whatever
traded since the proposal was computed, the result is secure. No limit lies below the failsafe, which a silent home falls back to.
Rows can be stale, though: a proposal made before an audit tightened them must not loosen them again. It says what it replaces.

Done in this order: the sales that no longer fit above the failsafe are cancelled, the last in priority first; the holding falls, and
the operator pays the price of the book's last trade for it (without one, the market's `compensation_mct`) over the whole interval;
when all have fallen the new rows are in force, and the orders that are to be woken are matched as if they had just come.
Behind a closed gate nothing rests and nobody can be woken; holdings fall there as before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from exchange.book import Order
from exchange.bounds import POWER_W_MAX
from exchange.commands import ChangeRows, DeviceSetting, Direction, OrderRef
from exchange.events import Event, Rebased, RowsChanged
from exchange.ledger import cash_of
from exchange.market import Area, Interval
from exchange.matching import match
from exchange.operations import refuse
from exchange.rejects import Reason
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from exchange.engine import Engine, Refusal


def change_rows(engine: Engine, command: ChangeRows, events: list[Event]) -> None:
    area = engine.areas.get(command.area)
    if area is None:
        return refuse(engine, command, Reason.UNKNOWN_AREA, f"there is no area {command.area}", events)
    interval = area.intervals.get(command.interval_ms)
    if interval is None:
        return refuse(engine, command, Reason.UNKNOWN_INTERVAL, f"interval {command.interval_ms} is not open", events)
    if command.wake and engine.is_halted(area.name, interval.start_ms):
        return refuse(engine, command, Reason.HALTED, "the market is halted: no order can be woken", events)
    rows = area.rows.get(command.rows_hash)
    if rows is None:
        return refuse(engine, command, Reason.UNKNOWN_ROWS, f"no rows with hash {command.rows_hash} are installed", events)
    if command.replaces_hash not in ("", interval.rows_hash):
        detail = f"made to replace rows {command.replaces_hash}, and {interval.rows_hash} are in force"
        return refuse(engine, command, Reason.STALE_ROWS, detail, events)
    refusal = _refuse_limits(command, area, rows) or _refuse_wake(command, area, interval) or _refuse_settings(command, area)
    if refusal is not None:
        return refuse(engine, command, *refusal, events)
    return _change(engine, command, area, interval, rows, events)


def _refuse_limits(command: ChangeRows, area: Area, rows: Polytope) -> Refusal | None:
    if len(command.limit_w) != rows.n_rights:
        return Reason.INVALID_LIMITS, f"{len(command.limit_w)} limits for {rows.n_rights} rights"
    for watts, failsafe, rating in zip(command.limit_w, area.failsafe_w, area.rating_w, strict=True):
        if not failsafe <= watts <= rating:
            return Reason.LIMIT_OUT_OF_BOUNDS, f"a limit of {watts} W is outside its failsafe {failsafe} W and rating {rating} W"
    for limits, what, reason in (
        (area.failsafe_w, "failsafe envelopes", Reason.INSECURE_FAILSAFE),
        (command.limit_w, "limits", Reason.INSECURE_LIMITS),
    ):
        residual = rows.residual(limits)
        if residual.size and residual.min() < 0:
            return reason, f"the {what} break {rows.labels[int(residual.argmin())]}"
    return None


def _refuse_wake(command: ChangeRows, area: Area, interval: Interval) -> Refusal | None:
    for ref in command.wake:
        if _resting(area, interval, ref) is None:
            return Reason.UNKNOWN_WOKEN, f"order {ref.order_id} of {ref.customer} does not rest in interval {interval.start_ms}"
    return None


def _refuse_settings(command: ChangeRows, area: Area) -> Refusal | None:
    named = [(setting.kind, setting.device) for setting in command.settings]
    for position, setting in enumerate(command.settings):
        problem = _problem(setting, area) or ("stands twice" if named[position] in named[:position] else "")
        if problem:
            return Reason.INVALID_DEVICE_SETTING, f"{setting.kind} of {setting.device!r} {problem}"
    return None


def _problem(setting: DeviceSetting, area: Area) -> str:
    if not -POWER_W_MAX <= setting.value <= POWER_W_MAX:
        return f"is {setting.value}, outside +-{POWER_W_MAX}"
    if setting.kind == "reactive_var" and setting.device not in area.accounts:
        return "names no customer of the area"
    return "" if setting.device else "names no device"


def _resting(area: Area, interval: Interval, ref: OrderRef) -> Order | None:
    """The order, where it rests in this interval."""
    account = area.accounts.get(ref.customer)
    order = account.live_order(ref.order_id) if account is not None else None
    return order if order is not None and order.queue.interval_ms == interval.start_ms else None


def _change(engine: Engine, command: ChangeRows, area: Area, interval: Interval, rows: Polytope, events: list[Event]) -> None:
    changed = RowsChanged(
        engine.sequence + 1, area.name, interval.start_ms, command.rows_hash, rows.n_rows, command.cause, command.detail,
        command.settings,
    )  # fmt: skip
    events.append(changed)
    for right, limit_w in _exceeded(interval, command.limit_w):
        _lower(engine, command, area, interval, right, limit_w, events)
    interval.install(rows, command.settings)
    for ref in command.wake:
        order = _resting(area, interval, ref)
        if order is not None:
            _wake(engine, area, interval, order, events)


def _exceeded(interval: Interval, limits_w: tuple[int, ...]) -> list[tuple[int, int]]:
    """The rights that hold more than their limit, and the limit."""
    held = interval.ledger.holding_w
    return [(right, limit_w) for right, limit_w in enumerate(limits_w) if held[right] > limit_w]


def _lower(engine: Engine, command: ChangeRows, area: Area, interval: Interval, right: int, limit_w: int, events: list[Event]) -> None:
    """One holding falls to its limit, the sales that it can no longer cover before it."""
    customer, direction = area.holder(right)
    quantity_w = interval.ledger.holding_w[right] - limit_w
    engine.cancel_all(interval, _uncovered(interval, direction, right, quantity_w), "rebased", "", events)
    price_mct = interval.last_price_mct.get(direction, area.settings.compensation_mct)
    cash_mct = cash_of(quantity_w, price_mct, area.settings.interval_ms)
    interval.ledger.rebase(right, quantity_w, cash_mct)
    rebased = Rebased(
        engine.sequence + len(events) + 1, area.name, interval.start_ms, customer, direction, quantity_w, price_mct, cash_mct,
        command.cause, limit_w,
    )  # fmt: skip
    events.append(rebased)


def _uncovered(interval: Interval, direction: Direction, right: int, quantity_w: int) -> Iterator[Order]:
    """The sales of a right that have to go when its holding falls by so much: the last in priority first, whole orders."""
    lacking_w = quantity_w - interval.ledger.sellable_w(right)
    sales = [order for order in interval.books[direction].sells if order.right == right]
    while lacking_w > 0:
        order = sales.pop()
        lacking_w -= order.open_w
        yield order


def _wake(engine: Engine, area: Area, interval: Interval, order: Order, events: list[Event]) -> None:
    """Matches a resting order as if it had just come with its rest; what is left keeps its place."""
    queue = order.queue
    cause = match(area, interval, order, interval.books[queue.direction].against(queue.side), "gate", engine.sequence, events)
    assert cause is None, "a resting order crossed another of its own customer"
    if order.open_w == 0:
        queue.remove(order)
        order.account.open_orders -= 1


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {ChangeRows: change_rows}
