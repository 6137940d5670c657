"""What opens the market and drives its clock: areas, rows, intervals and time. Refused or done whole.

Handlers are functions of (engine, command, events), listed in HANDLERS; the engine binds them beside its own. How an operator's
command is refused, and how it finds the area and the interval that it names, is here for all files with such handlers: the life of
an interval (`phases.py`), the operator's hand (`control.py`), rows that change (`rebase.py`), headroom of the operator and proposals.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exchange.book import Order
from exchange.commands import (
    Advance,
    AmendSettings,
    AmendTerms,
    ChangeRows,
    CloseGate,
    EnterPhase,
    Halt,
    InstallRows,
    OpenArea,
    OpenInterval,
    OperatorCommand,
    Reinstate,
    Release,
    Resume,
    RetireInterval,
    Suspend,
    Uncross,
    Withhold,
)
from exchange.events import Advanced, AreaOpened, Event, IntervalOpened, Refused, RowsInstalled
from exchange.ledger import Ledger
from exchange.market import OPERATOR, Area, Interval
from exchange.rejects import Reason
from riskcheck.headroom import Headroom
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from exchange.engine import Engine

InInterval = EnterPhase | RetireInterval | ChangeRows | Withhold | Release | Uncross
InArea = InInterval | InstallRows | OpenInterval | Suspend | Reinstate | AmendTerms | AmendSettings
InAreas = CloseGate | Halt | Resume


def refuse(engine: Engine, command: OperatorCommand, reason: Reason, detail: str, events: list[Event]) -> None:
    """Nothing changes, and the operator is told why."""
    tag = command.__struct_config__.tag
    events.append(Refused(engine.sequence + 1, str(tag), reason.value, detail))


def find_area(engine: Engine, command: InArea, events: list[Event]) -> Area | None:
    """The area that a command names; None when it is refused already."""
    area = engine.areas.get(command.area)
    if area is None:
        refuse(engine, command, Reason.UNKNOWN_AREA, f"there is no area {command.area}", events)
    return area


def find_areas(engine: Engine, command: InAreas, events: list[Event]) -> list[Area] | None:
    """The area that a command names, or (None) all by name; None when it is refused already."""
    if command.area is not None and command.area not in engine.areas:
        refuse(engine, command, Reason.UNKNOWN_AREA, f"there is no area {command.area}", events)
        return None
    names = sorted(engine.areas) if command.area is None else [command.area]
    return [engine.areas[name] for name in names]


def find_interval(engine: Engine, command: InInterval, events: list[Event]) -> tuple[Area, Interval] | None:
    """The area and the interval that a command names; None when it is refused already."""
    area = find_area(engine, command, events)
    if area is None:
        return None
    interval = area.intervals.get(command.interval_ms)
    if interval is None:
        refuse(engine, command, Reason.UNKNOWN_INTERVAL, f"interval {command.interval_ms} is not open", events)
        return None
    return area, interval


def open_area(engine: Engine, command: OpenArea, events: list[Event]) -> None:
    problems = command.settings.problems()
    for terms in command.customers:
        problems += terms.problems()
    names = [terms.customer for terms in command.customers]
    problems += [f"customer {name} stands twice" for position, name in enumerate(names) if name in names[:position]]
    if not names:
        problems.append("an area needs at least one customer")
    if OPERATOR in names:
        problems.append(f"{OPERATOR} is the operator's own name")
    if problems:
        return refuse(engine, command, Reason.INVALID_SETTINGS, "; ".join(problems), events)
    if command.area in engine.areas:
        return refuse(engine, command, Reason.AREA_EXISTS, f"area {command.area} is open already", events)
    engine.areas[command.area] = Area(command.area, command.settings, command.customers)
    events.append(AreaOpened(engine.sequence + 1, command.area, len(names)))
    return None


def install_rows(engine: Engine, command: InstallRows, events: list[Event]) -> None:
    """Rows are kept while an interval needs them, and the newest until newer ones come."""
    area = find_area(engine, command, events)
    if area is None:
        return None
    try:
        polytope = Polytope.from_bytes(command.polytope)
    except ValueError as error:
        return refuse(engine, command, Reason.INVALID_ROWS, str(error), events)
    if polytope.n_rights != 2 * len(area.terms):
        detail = f"rows for {polytope.n_rights} rights, the area has {2 * len(area.terms)}"
        return refuse(engine, command, Reason.INVALID_ROWS, detail, events)
    area.rows.pop(polytope.content_hash, None)  # installed again, it is the newest
    area.rows[polytope.content_hash] = polytope
    events.append(RowsInstalled(engine.sequence + 1, command.area, polytope.content_hash, polytope.n_rows))
    return None


def open_interval(engine: Engine, command: OpenInterval, events: list[Event]) -> None:
    area = find_area(engine, command, events)
    if area is None:
        return None
    refusal = _refuse_interval(command, area)
    if refusal is not None:
        return refuse(engine, command, *refusal, events)
    allocation, rows = command.export_w + command.import_w, area.rows[command.rows_hash]
    headroom = Headroom(rows, allocation)
    if headroom.residual.size and headroom.residual.min() < 0:
        detail = f"the allocation breaks {rows.labels[int(headroom.residual.argmin())]}"
        return refuse(engine, command, Reason.INSECURE_ALLOCATION, detail, events)
    ledger = Ledger(allocation, area.failsafe_w, area.rating_w)
    area.intervals[command.interval_ms] = Interval(area, command.interval_ms, command.rows_hash, headroom, ledger, command.phase)
    opened = IntervalOpened(
        engine.sequence + 1, command.area, command.interval_ms, command.rows_hash,
        tuple(area.accounts), command.export_w, command.import_w, command.phase,
    )  # fmt: skip
    events.append(opened)
    return None


def _refuse_interval(command: OpenInterval, area: Area) -> tuple[Reason, str] | None:
    rows, allocation = area.rows.get(command.rows_hash), command.export_w + command.import_w
    if rows is None:
        return Reason.UNKNOWN_ROWS, f"no rows with hash {command.rows_hash} are installed"
    if command.interval_ms in area.intervals:
        return Reason.INTERVAL_EXISTS, f"interval {command.interval_ms} is open already"
    if command.interval_ms < 0 or command.interval_ms % area.settings.interval_ms:
        return Reason.OFF_GRID, f"{command.interval_ms} is not a multiple of {area.settings.interval_ms} ms"
    if len(command.export_w) != len(area.terms) or len(command.import_w) != len(area.terms):
        given = f"{len(command.export_w)} export and {len(command.import_w)} import limits"
        return Reason.INVALID_ALLOCATION, f"{given} for {len(area.terms)} customers"
    for watts, failsafe, rating in zip(allocation, area.failsafe_w, area.rating_w, strict=True):
        if not failsafe <= watts <= rating:
            return Reason.INVALID_ALLOCATION, f"a limit of {watts} W is outside its failsafe {failsafe} W and rating {rating} W"
    return None


def advance(engine: Engine, command: Advance, events: list[Event]) -> None:
    if command.at_ms < engine.now_ms:
        return refuse(engine, command, Reason.TIME_BACKWARDS, f"it is {engine.now_ms} already", events)
    engine.now_ms = command.at_ms
    for area in engine.areas.values():
        for interval in area.intervals.values():
            interval.tell_time(command.at_ms)
    while engine.expiries and engine.expiries[0][0] <= command.at_ms:
        order = heapq.heappop(engine.expiries)[2]
        if order.is_live:
            _expire(engine, order, events)
    events.append(Advanced(engine.sequence + len(events) + 1, command.at_ms))
    return None


def _expire(engine: Engine, order: Order, events: list[Event]) -> None:
    area = engine.areas[order.line.area]
    if order.intervals > 1:
        engine.cancel_blocks(area, [order], "expired", "", events)
    else:
        engine.cancel_all(area.intervals[order.line.interval_ms], [order], "expired", "", events)


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {
    OpenArea: open_area, InstallRows: install_rows, OpenInterval: open_interval, Advance: advance,
}  # fmt: skip
