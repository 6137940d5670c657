"""The operator's hand: what trades is halted and resumed, who trades is suspended and reinstated, and the bounds are amended.

A halt has a scope: everything, an area, an interval (in one area or all), or one of its books; a scope that contains another
does not replace it. While it lasts nothing is placed, replaced or matched; cancels work, and the interval stays in its phase. When a
halt ends, all purchases are looked at again; with `call_auctions` an interval collects orders for an auction first, when its last ends.
A suspension takes a customer's orders out and lets no new ones in. All reasons are kept with the state, for people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from exchange.bounds import FIXED_SETTINGS, MarketSettings
from exchange.commands import AmendSettings, AmendTerms, Halt, Reinstate, Resume, Suspend
from exchange.events import Event, Halted, Reinstated, Resumed, SettingsAmended, Suspended, TermsAmended
from exchange.market import Area, Interval
from exchange.operations import find_area, find_areas, refuse
from exchange.phases import enter
from exchange.rejects import Reason

if TYPE_CHECKING:
    from exchange.engine import Engine


def halt(engine: Engine, command: Halt, events: list[Event]) -> None:
    if _scope(engine, command, events) is None:
        return
    engine.halts[command.area, command.interval_ms, command.direction] = command.reason
    events.append(Halted(engine.sequence + 1, command.area, command.interval_ms, command.reason, command.direction))


def resume(engine: Engine, command: Resume, events: list[Event]) -> None:
    areas = _scope(engine, command, events)
    if areas is None:
        return None
    scope = (command.area, command.interval_ms, command.direction)
    if scope not in engine.halts:
        return refuse(engine, command, Reason.NOT_HALTED, "no halt of exactly this scope is in force", events)
    del engine.halts[scope]
    events.append(Resumed(engine.sequence + 1, command.area, command.interval_ms, command.reason, command.direction))
    going_on = [(area, _reopen(engine, area, command, events)) for area in areas]
    for area, intervals in going_on:
        engine.after(area, intervals, events)
    return None


def _scope(engine: Engine, command: Halt | Resume, events: list[Event]) -> list[Area] | None:
    """The areas concerned; None when the command is refused already."""
    areas = find_areas(engine, command, events)
    if areas is not None and command.direction is not None and command.interval_ms is None:
        refuse(engine, command, Reason.UNKNOWN_INTERVAL, f"the {command.direction} book of which interval?", events)
        return None
    return areas


def _reopen(engine: Engine, area: Area, command: Resume, events: list[Event]) -> list[Interval]:
    """Intervals in the scope that traded when they were halted: those that trade again at once. The others collect orders first."""
    named = sorted(area.intervals) if command.interval_ms is None else [command.interval_ms]
    going_on = []
    for interval in [area.intervals[start_ms] for start_ms in named if start_ms in area.intervals]:
        if interval.phase != "continuous":
            continue
        if area.settings.call_auctions and not engine.shut(area.name, interval.start_ms):
            enter(engine, area, interval, "auction", command.reason, events)
        else:
            interval.mark_all()
            going_on.append(interval)
    return going_on


def suspend(engine: Engine, command: Suspend, events: list[Event]) -> None:
    area = _area_of(engine, command, events)
    if area is None:
        return
    _cancel_orders(engine, area, command.customer, events)
    area.suspended[command.customer] = command.reason
    events.append(Suspended(engine.sequence + len(events) + 1, area.name, command.customer, command.reason))


def _cancel_orders(engine: Engine, area: Area, customer: str | None, events: list[Event]) -> None:
    """Interval by interval in time what rests of a customer, or (None) of all; then block orders. What the operator withholds stays."""
    account = None if customer is None else area.accounts[customer]
    for start_ms in sorted(area.intervals):
        interval = area.intervals[start_ms]
        theirs = (order for order in interval.orders() if order.account is not area.operator)
        engine.cancel_all(interval, theirs if account is None else interval.orders_of(account), "suspended", "", events)
    engine.cancel_blocks(area, [order for order in area.blocks if account in (None, order.account)], "suspended", "", events)


def reinstate(engine: Engine, command: Reinstate, events: list[Event]) -> None:
    area = _area_of(engine, command, events)
    if area is None:
        return None
    if area.suspended.pop(command.customer, None) is None:
        return refuse(engine, command, Reason.NOT_SUSPENDED, "no suspension of exactly this scope is in force", events)
    events.append(Reinstated(engine.sequence + 1, area.name, command.customer, command.reason))
    return None


def amend_terms(engine: Engine, command: AmendTerms, events: list[Event]) -> None:
    area = _area_of(engine, command, events)
    if area is None:
        return None
    position = area.accounts[command.customer].position
    terms = msgspec.structs.replace(area.terms[position], order_w_max=command.order_w_max, open_orders_max=command.open_orders_max)
    problems = terms.problems()
    if problems:
        return refuse(engine, command, Reason.INVALID_SETTINGS, "; ".join(problems), events)
    area.terms[position] = terms
    amended = TermsAmended(
        engine.sequence + 1, area.name, command.customer, command.order_w_max, command.open_orders_max, command.reason
    )  # fmt: skip
    events.append(amended)
    return None


def _area_of(engine: Engine, command: Suspend | Reinstate | AmendTerms, events: list[Event]) -> Area | None:
    """The area, if it has the customer that the command names; None when it is refused already."""
    area = find_area(engine, command, events)
    if area is not None and command.customer is not None and command.customer not in area.accounts:
        refuse(engine, command, Reason.UNKNOWN_CUSTOMER, f"area {area.name} has no customer {command.customer}", events)
        return None
    return area


def amend_settings(engine: Engine, command: AmendSettings, events: list[Event]) -> None:
    area = find_area(engine, command, events)
    if area is None:
        return None
    problems = command.settings.problems() + _fixed(area.settings, command.settings)
    if problems:
        return refuse(engine, command, Reason.INVALID_SETTINGS, "; ".join(problems), events)
    area.settings = command.settings
    events.append(SettingsAmended(engine.sequence + 1, area.name, command.settings, command.reason))
    return None


def _fixed(old: MarketSettings, new: MarketSettings) -> list[str]:
    """What would change and cannot."""
    changed = [name for name in FIXED_SETTINGS if getattr(old, name) != getattr(new, name)]
    return [f"{name} is {getattr(old, name)} for as long as the area lives" for name in changed]


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {
    Halt: halt, Resume: resume, Suspend: suspend, Reinstate: reinstate, AmendTerms: amend_terms, AmendSettings: amend_settings,
}  # fmt: skip
