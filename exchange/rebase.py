"""New rows for an interval that is open or in delivery: a switch opened, a limit moved, a device was set, envelopes were shared anew.

The secure set is downward closed, so lowering a limit needs no check. The proposal names for every right the most that it may
hold; these limits are checked here, in integers, against the new rows, and every holding becomes min(holding, limit). So whatever
traded since the proposal was computed, the result is secure. No limit lies below the failsafe, which a silent home falls back to.
More room is shared out on top of that: what each holding grows by is checked with the holdings as they are by now, purchases at
rest counted, so a raise can come too late and is refused then.
Rows can be stale, too: a proposal made before an audit tightened them must not loosen them again. It says what it replaces.

Done in this order: the operator's own headroom is released; sales that no longer fit above the failsafe are cancelled, the last in
priority first; the holding falls, and the operator pays for it, over the whole interval, the price of the book's last trade, at most
the market's `compensation_mct` (and that without a trade); when all have fallen the raises follow and the new rows are in force. Then
every purchase is looked at again, where trading is continuous. Behind a closed gate nothing rests; holdings change there as before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from exchange.blocks import priority
from exchange.book import Order
from exchange.bounds import POWER_W_MAX
from exchange.commands import ChangeRows, DeviceSetting
from exchange.events import Event, Raised, Rebased, RowsChanged
from exchange.ledger import cash_of
from exchange.market import Area, Interval
from exchange.operations import find_interval, refuse
from exchange.rejects import Reason
from exchange.withhold import release_all
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from exchange.engine import Engine, Refusal


def change_rows(engine: Engine, command: ChangeRows, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    rows = area.rows.get(command.rows_hash)
    if rows is None:
        return refuse(engine, command, Reason.UNKNOWN_ROWS, f"no rows with hash {command.rows_hash} are installed", events)
    if command.replaces_hash not in ("", interval.rows_hash):
        detail = f"made to replace rows {command.replaces_hash}, and {interval.rows_hash} are in force"
        return refuse(engine, command, Reason.STALE_ROWS, detail, events)
    refusal = _refuse_limits(command, area, rows) or _refuse_raises(command, area, interval, rows) or _refuse_settings(command, area)
    if refusal is not None:
        return refuse(engine, command, *refusal, events)
    return _change(engine, command, area, interval, rows, events)


def _refuse_limits(command: ChangeRows, area: Area, rows: Polytope) -> Refusal | None:
    if len(command.limit_w) != rows.n_rights:
        return Reason.INVALID_LIMITS, f"{len(command.limit_w)} limits for {rows.n_rights} rights"
    for watts, failsafe, rating in zip(command.limit_w, area.failsafe_w, area.rating_w, strict=True):
        if not failsafe <= watts <= rating:
            return Reason.LIMIT_OUT_OF_BOUNDS, f"a limit of {watts} W is outside its failsafe {failsafe} W and rating {rating} W"
    return (
        _refuse_watts(rows, area.failsafe_w, "failsafe envelopes", Reason.INSECURE_FAILSAFE)
        or _refuse_watts(rows, command.limit_w, "limits", Reason.INSECURE_LIMITS)
    )  # fmt: skip


def _refuse_watts(rows: Polytope, limit_w: Sequence[int], what: str, reason: Reason) -> Refusal | None:
    residual = rows.residual(limit_w)
    if residual.size and residual.min() < 0:
        return reason, f"the {what} break {rows.labels[int(residual.argmin())]}"
    return None


def _refuse_raises(command: ChangeRows, area: Area, interval: Interval, rows: Polytope) -> Refusal | None:
    """Against the holdings as they will be lowered, and what is wanted of them already."""
    if not command.raise_w:
        return None
    if len(command.raise_w) != rows.n_rights:
        return Reason.INVALID_RAISE, f"{len(command.raise_w)} raises for {rows.n_rights} rights"
    ledger = interval.ledger
    raised_w = [min(held, limit) + more for held, limit, more in zip(ledger.holding_w, command.limit_w, command.raise_w, strict=False)]
    for watts, more, wanted, rating in zip(raised_w, command.raise_w, ledger.wanted_w, area.rating_w, strict=False):
        if more < 0 or watts + wanted > rating:
            detail = f"a raise of {more} W to {watts} W, with {wanted} W wanted besides, is negative or above the rating {rating} W"
            return Reason.INVALID_RAISE, detail
    return _refuse_watts(rows, raised_w, "holdings with their raises", Reason.INSECURE_RAISE)


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


def _change(engine: Engine, command: ChangeRows, area: Area, interval: Interval, rows: Polytope, events: list[Event]) -> None:
    release_all(engine, area, interval, command.detail, events)
    changed = RowsChanged(
        engine.sequence + len(events) + 1, area.name, interval.start_ms, command.rows_hash, rows.n_rows, command.cause, command.detail,
        command.settings,
    )  # fmt: skip
    events.append(changed)
    for right, limit_w in enumerate(command.limit_w):
        if interval.ledger.holding_w[right] > limit_w:
            _lower(engine, command, area, interval, right, limit_w, events)
    for right, quantity_w in enumerate(command.raise_w):
        if quantity_w:
            _raise(engine, command, area, interval, right, quantity_w, events)
    interval.install(rows, command.settings)
    interval.mark_all()
    engine.after(area, [interval], events)


def _lower(engine: Engine, command: ChangeRows, area: Area, interval: Interval, right: int, limit_w: int, events: list[Event]) -> None:
    """One holding falls to its limit, the sales that it can no longer cover before it."""
    customer, direction = area.holder(right)
    quantity_w = interval.ledger.holding_w[right] - limit_w
    _cancel_uncovered(engine, area, interval, right, quantity_w, events)
    ceiling_mct = area.settings.compensation_mct
    price_mct = min(interval.last_price_mct.get(direction, ceiling_mct), ceiling_mct)
    cash_mct = cash_of(quantity_w, price_mct, area.settings.interval_ms)
    interval.ledger.rebase(right, quantity_w, cash_mct)
    rebased = Rebased(
        engine.sequence + len(events) + 1, area.name, interval.start_ms, customer, direction, quantity_w, price_mct, cash_mct,
        command.cause, limit_w,
    )  # fmt: skip
    events.append(rebased)


def _cancel_uncovered(engine: Engine, area: Area, interval: Interval, right: int, quantity_w: int, events: list[Event]) -> None:
    """The sales of a right that have to go when its holding falls by so much, whole orders: block orders first, which are tried last,
    then those in the right's line; the last in priority first."""
    lacking_w = quantity_w - interval.ledger.sellable_w(right)
    sales = [block for block in area.blocks if block.side == "sell" and block.right == right and interval.start_ms in area.spanned(block)]
    blocks = _last(sorted(sales, key=priority), lacking_w)
    engine.cancel_blocks(area, blocks, "rebased", "", events)
    orders = _last(list(interval.sells.lines[right]), lacking_w - sum(block.open_w for block in blocks))
    engine.cancel_all(interval, orders, "rebased", "", events)


def _last(sales: list[Order], lacking_w: int) -> list[Order]:
    """As many as cover what is lacking, the last first."""
    gone: list[Order] = []
    while sales and sum(order.open_w for order in gone) < lacking_w:
        gone.append(sales.pop())
    return gone


def _raise(engine: Engine, command: ChangeRows, area: Area, interval: Interval, right: int, quantity_w: int, events: list[Event]) -> None:
    customer, direction = area.holder(right)
    interval.ledger.raise_(right, quantity_w)
    holding_w = interval.ledger.holding_w[right]
    raised = Raised(
        engine.sequence + len(events) + 1, area.name, interval.start_ms, customer, direction, quantity_w, command.cause, holding_w
    )  # fmt: skip
    events.append(raised)


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {ChangeRows: change_rows}
