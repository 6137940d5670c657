"""From an order log to everything that an exchange is told: the area, its rows, intervals, gates and time, around the orders.

A log knows orders only. When gates open and close follows from a schedule (`gateway/clock.py`, the one that the live exchange
keeps), so the same log gives the same commands. Its gates open earlier and close later where an order of the log comes too early or
too late for them: none is refused for coming at a time at which its own market took it. Before each order the engine is told the
time, so that what was in force until then has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from exchange.commands import Advance, CloseGate, Command, InstallRows, OpenArea, OpenInterval, Place, RetireInterval
from gateway.clock import Schedule, due
from replay.orderlog import Entry

Told = tuple[int, Command]  # market time in milliseconds, command


class Ready(Protocol):
    """An area that is ready to trade: `envelopes.refresh.Plan`."""

    @property
    def area(self) -> str: ...
    def opening(self) -> tuple[OpenArea, InstallRows]: ...
    def open_interval(self, interval_ms: int) -> OpenInterval: ...


def schedule_of(entries: Sequence[Entry], interval_ms: int) -> Schedule:
    """The live exchange's gates (an hour and five minutes before delivery), wider where an order of the log needs it."""
    usual = Schedule(interval_ms)
    leads = [start - entry.time_ms for entry in entries for start in _intervals(entry, interval_ms)] or [interval_ms]
    close_lead_ms = max(0, min(usual.close_lead_ms, min(leads) - 1))
    open_lead_ms = max(usual.open_lead_ms, -(-max(leads) // interval_ms) * interval_ms)
    return Schedule(interval_ms, open_lead_ms, close_lead_ms, *_span(entries, interval_ms))


def _span(entries: Iterable[Entry], interval_ms: int) -> tuple[int, int]:
    """From the first interval that an order names to the end of the last."""
    starts = [start for entry in entries for start in _intervals(entry, interval_ms)] or [0]
    return min(starts), max(starts) + interval_ms


def _intervals(entry: Entry, interval_ms: int) -> tuple[int, ...]:
    """The first and the last interval of an order, on the grid; of other requests none."""
    command = entry.command
    if not isinstance(command, Place):
        return ()
    first = command.interval_ms // interval_ms * interval_ms
    return first, first + (command.intervals - 1) * interval_ms


def commands(entries: Sequence[Entry], ready: Ready, schedule: Schedule) -> Iterator[Told]:
    """The opening of the area, then the clock and the orders, in order of time, until the last interval is retired."""
    first_ms, end_ms = _span(entries, schedule.interval_ms)
    clock = _Clock(ready, Schedule(schedule.interval_ms, schedule.open_lead_ms, schedule.close_lead_ms, first_ms, end_ms))
    begin_ms = min([first_ms - schedule.open_lead_ms, *(entry.time_ms for entry in entries)])
    yield from ((begin_ms, command) for command in ready.opening())
    now_ms = -1
    for entry in entries:
        yield from clock.until(entry.time_ms)
        if entry.time_ms > now_ms:
            now_ms = entry.time_ms
            yield now_ms, Advance(now_ms)
        yield entry.time_ms, entry.command
    yield from clock.until(end_ms + schedule.interval_ms)


class _Clock:
    """The schedule's commands, each at the moment at which it is due; remembers which intervals live."""

    def __init__(self, ready: Ready, schedule: Schedule) -> None:
        self._ready = ready
        self._schedule = schedule
        self._live: dict[int, bool] = {}
        self._opening_ms = schedule.first_ms  # the next interval to open

    def until(self, now_ms: int) -> Iterator[Told]:
        while (moment_ms := self._next_ms()) is not None and moment_ms <= now_ms:
            ordered = due(self._schedule, self._ready.area, moment_ms, self._live, None, self._ready.open_interval)
            assert ordered, "a moment of the schedule at which nothing is due"
            for command in ordered:
                self._note(command)
                yield moment_ms, command

    def _next_ms(self) -> int | None:
        """When something is due next; None when the last interval is over."""
        plan, moments = self._schedule, []
        if plan.end_ms is None or self._opening_ms < plan.end_ms:
            moments.append(max(0, self._opening_ms - plan.open_lead_ms))
        for start_ms, is_closed in self._live.items():
            moments.append(start_ms + plan.interval_ms if is_closed else max(0, start_ms - plan.close_lead_ms))
        return min(moments, default=None)

    def _note(self, command: Command) -> None:
        match command:
            case OpenInterval():
                self._live[command.interval_ms] = False
                self._opening_ms = command.interval_ms + self._schedule.interval_ms
            case CloseGate():
                self._live[command.interval_ms] = True
            case RetireInterval():
                del self._live[command.interval_ms]
            case _:
                pass
