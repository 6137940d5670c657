"""The life of an interval: announced, auction, continuous, frozen, closed, in delivery, settled. The table of moves is MOVES.

What may be done in which phase is asked where it is done. Trading continuously begins with nothing remembered of earlier prices
and with every purchase looked at again: what rested while others were frozen or only collected may trade now. An auction leads
there by an Uncross (`proposals.py`), a gate closes from anywhere, and what is retired is settled and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exchange.commands import CloseGate, EnterPhase, Phase, RetireInterval
from exchange.events import Event, GateClosed, IntervalRetired, PhaseEntered, Settled
from exchange.market import Area, Interval
from exchange.operations import find_areas, find_interval, refuse
from exchange.rejects import Reason

if TYPE_CHECKING:
    from exchange.engine import Engine

MOVES: dict[Phase, tuple[Phase, ...]] = {
    "announced": ("auction", "continuous", "frozen"),
    "auction": ("frozen",),
    "continuous": ("auction", "frozen"),
    "frozen": ("auction", "continuous"),
    "closed": ("delivery",),
    "delivery": (),
}


def enter_phase(engine: Engine, command: EnterPhase, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    moves = MOVES[interval.phase]
    if command.phase not in moves:
        detail = f"from {interval.phase} an interval moves to {' or '.join(moves) or 'no other phase'}, not to {command.phase}"
        return refuse(engine, command, Reason.WRONG_PHASE, detail, events)
    return enter(engine, area, interval, command.phase, command.reason, events)


def enter(engine: Engine, area: Area, interval: Interval, phase: Phase, reason: str, events: list[Event]) -> None:
    """Does a move that is allowed."""
    events.append(PhaseEntered(engine.sequence + len(events) + 1, area.name, interval.start_ms, phase, reason))
    if phase != "continuous":
        interval.enter(phase)
        return
    interval.begin_continuous()
    engine.after(area, [interval], events)


def close_gate(engine: Engine, command: CloseGate, events: list[Event]) -> None:
    areas = find_areas(engine, command, events)
    if areas is None:
        return None
    found = [(area, interval) for area in areas if (interval := area.intervals.get(command.interval_ms)) is not None]
    if not found:
        return refuse(engine, command, Reason.UNKNOWN_INTERVAL, f"interval {command.interval_ms} is not open", events)
    still_open = [(area, interval) for area, interval in found if not interval.is_closed]
    if not still_open:
        return refuse(engine, command, Reason.GATE_CLOSED, f"interval {command.interval_ms} is closed already", events)
    for area, interval in still_open:
        _close(engine, area, interval, events)
    return None


def _close(engine: Engine, area: Area, interval: Interval, events: list[Event]) -> None:
    """What rests in the interval goes, and so does every block order that contains it."""
    engine.cancel_all(interval, interval.orders(), "gate", "", events)
    engine.cancel_blocks(area, [block for block in area.blocks if interval.start_ms in area.spanned(block)], "gate", "", events)
    interval.enter("closed")
    events.append(GateClosed(engine.sequence + len(events) + 1, area.name, interval.start_ms))


def retire_interval(engine: Engine, command: RetireInterval, events: list[Event]) -> None:
    found = find_interval(engine, command, events)
    if found is None:
        return None
    area, interval = found
    if not interval.is_closed:
        return refuse(engine, command, Reason.GATE_OPEN, f"interval {command.interval_ms} still trades", events)
    events.append(_settled(engine.sequence + 1, area, interval))
    area.retire(interval)
    engine.forget_interval(command.area, command.interval_ms)
    events.append(IntervalRetired(engine.sequence + 2, command.area, command.interval_ms))
    return None


def _settled(sequence: int, area: Area, interval: Interval) -> Settled:
    """The account of the customers' rights; the operator's have their cash in it, and nothing to deliver."""
    ledger = interval.ledger
    watts = (ledger.allocation_w, ledger.raised_w, ledger.bought_w, ledger.sold_w, ledger.rebased_w)
    allocation_w, raised_w, bought_w, sold_w, rebased_w = (tuple(figures[: ledger.customers_rights]) for figures in watts)
    return Settled(
        sequence, area.name, interval.start_ms, tuple(area.accounts), allocation_w, raised_w, bought_w, sold_w, rebased_w,
        tuple(ledger.cash_mct[:-1]), tuple(ledger.compensated_mct), ledger.operator_mct,
    )  # fmt: skip


HANDLERS: dict[type, Callable[[Engine, Any, list[Event]], None]] = {
    EnterPhase: enter_phase, CloseGate: close_gate, RetireInterval: retire_interval,
}  # fmt: skip
