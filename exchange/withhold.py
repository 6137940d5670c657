"""The operator in the market: headroom of single rows, set aside to be sold, or bought back (docs/market.md, "The operator's hand").

Each Withhold gets a right of its own whose column is zero but for its row. What it holds is taken out of the row's headroom, so
nobody can use it until it is sold or released. It rests, trades and is paid like any order; the account is the operator's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exchange import matching
from exchange.book import Order
from exchange.bounds import POWER_W_MAX
from exchange.commands import Release, Withhold
from exchange.events import Event, Released, Withheld
from exchange.market import Area, Interval, Withholding
from exchange.operations import find_interval, refuse
from exchange.rejects import Reason

if TYPE_CHECKING:
    from exchange.engine import Engine, Refusal


def withhold(engine: Engine, command: Withhold, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    refusal = _refuse(engine, area, interval, command)
    if refusal is not None:
        return refuse(engine, command, *refusal, events)
    row = _row(interval, command)
    assert row is not None
    held_w = min(command.quantity_w, _left_over(area, interval, row)) if command.side == "sell" else 0
    quantity_w = held_w if command.side == "sell" else command.quantity_w
    right = interval.add_row_right(row, held_w)
    line = interval.side(command.side).lines[right]
    order = Order(
        area.operator, command.request_id, line, right, quantity_w, quantity_w, command.price_mct, 0, engine.sequence + 1
    )  # fmt: skip
    interval.withheld[command.request_id] = Withholding(command, row, right, order)
    reserved = interval.ledger.offered_w if command.side == "sell" else interval.ledger.wanted_w
    reserved[right] += quantity_w
    withheld = Withheld(
        engine.sequence + 1, area.name, command.request_id, interval.start_ms, command.kind, command.element, command.phase, command.side,
        quantity_w, command.price_mct, held_w, command.reason,
    )  # fmt: skip
    events.append(withheld)
    if interval.phase == "continuous":
        matching.meet(engine, area, interval, order, "gate", events)
    else:
        interval.rest(order)
    engine.after(area, [interval], events)
    return None


def _refuse(engine: Engine, area: Area, interval: Interval, command: Withhold) -> Refusal | None:
    lot, tick = area.settings.lot_w, area.settings.tick_mct
    if command.request_id in interval.withheld:
        return Reason.ID_REUSED, f"{command.request_id} withholds already"
    if interval.is_closed:
        return Reason.GATE_CLOSED, f"trading of interval {interval.start_ms} has ended"
    if interval.phase == "announced":
        return Reason.NOT_YET_OPEN, f"interval {interval.start_ms} is announced only"
    if interval.phase == "frozen" or engine.shut(area.name, interval.start_ms):
        return Reason.HALTED, "the market is halted or frozen"
    if not 0 < command.quantity_w <= POWER_W_MAX or command.quantity_w % lot:
        return Reason.OFF_LOT, f"{command.quantity_w} W is not a positive multiple of the lot of {lot} W"
    if command.price_mct % tick:
        return Reason.OFF_TICK, f"{command.price_mct} mct/kWh is not a multiple of the tick of {tick} mct/kWh"
    if not area.settings.price_mct_min <= command.price_mct <= area.settings.price_mct_max:
        band = f"[{area.settings.price_mct_min}, {area.settings.price_mct_max}]"
        return Reason.PRICE_OUT_OF_BAND, f"{command.price_mct} mct/kWh is outside {band}"
    row = _row(interval, command)
    if row is None:
        return Reason.UNKNOWN_ROW, f"no row in force is {command.kind} of {command.element} phase {command.phase}"
    if command.side == "sell" and _left_over(area, interval, row) < lot:
        return Reason.NO_HEADROOM, f"less than a lot of {lot} W is left over"
    return None


def _row(interval: Interval, command: Withhold) -> int | None:
    """The first of this name with a coefficient."""
    named = (command.kind, command.element, command.phase)
    labels = enumerate(interval.headroom.polytope.labels)
    return next((row for row, label in labels if (label.kind, label.element, label.phase) == named and interval.row_largest[row]), None)


def _left_over(area: Area, interval: Interval, row: int) -> int:
    """Whole lots of the row's headroom that nobody holds, in watts of its largest user."""
    left = min(int(interval.headroom.residual[row]) // int(interval.row_largest[row]), POWER_W_MAX)
    return left - left % area.settings.lot_w


def release(engine: Engine, command: Release, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    if command.request_id not in interval.withheld:
        return refuse(engine, command, Reason.UNKNOWN_REQUEST, f"nothing is withheld under {command.request_id}", events)
    before = interval.headroom.residual.copy()
    if _release(engine, area, interval, command.request_id, command.reason, events):
        interval.freed(before)
    engine.after(area, [interval], events)
    return None


def release_all(engine: Engine, area: Area, interval: Interval, reason: str, events: list[Event]) -> None:
    """Before rows change: whatever is withheld is named in rows that end."""
    for request_id in list(interval.withheld):
        _release(engine, area, interval, request_id, reason, events)


def _release(engine: Engine, area: Area, interval: Interval, request_id: str, reason: str, events: list[Event]) -> int:
    """The watts that the row has back. The right stays, empty, until the rows change: indices of others do not move."""
    kept = interval.withheld.pop(request_id)
    cancelled_w = kept.order.open_w if kept.order.is_live else 0
    if kept.order.is_live:
        interval.take_out(kept.order)
        matching.release(interval.ledger, kept.order, cancelled_w)
    held_w = interval.ledger.holding_w[kept.right]
    interval.headroom.change(kept.right, -held_w)
    interval.ledger.lower(kept.right, held_w)
    events.append(
        Released(engine.sequence + len(events) + 1, area.name, request_id, interval.start_ms, held_w, cancelled_w, reason)
    )  # fmt: skip
    return held_w


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {Withhold: withhold, Release: release}
