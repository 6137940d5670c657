"""When what is due: gate opening, gate closure, retirement and time itself, as commands. Pure; the time is an argument.

An interval [start, start + length) opens `open_lead_ms` before its start and closes `close_lead_ms` before it. It is retired
when its delivery is over. What is due follows from the intervals that are live, so a restart needs no memory of its own:
an interval that should have been opened while the exchange was down is opened (and closed at once, if its gate is past),
because a home without an envelope falls back to its failsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from exchange.commands import Advance, CloseGate, Command, OpenInterval, RetireInterval


class Schedule(msgspec.Struct, frozen=True):
    """Market times in milliseconds. Intervals from `first_ms` to before `end_ms` (None: for ever)."""

    interval_ms: int = 900_000
    open_lead_ms: int = 3_600_000
    close_lead_ms: int = 300_000
    first_ms: int = 0
    end_ms: int | None = None

    def problems(self) -> list[str]:
        found = []
        if self.interval_ms <= 0:
            found.append(f"interval_ms {self.interval_ms} must be positive")
        elif self.first_ms % self.interval_ms:
            found.append(f"first_ms {self.first_ms} is not a multiple of interval_ms {self.interval_ms}")
        if not 0 <= self.close_lead_ms < self.open_lead_ms:
            found.append(f"close_lead_ms {self.close_lead_ms} and open_lead_ms {self.open_lead_ms} are not 0 <= close < open")
        if self.open_lead_ms < self.interval_ms:
            found.append("open_lead_ms is shorter than an interval: the next envelope would come after the current one ends")
        return found


def due(
    schedule: Schedule,
    area: str,
    now_ms: int,
    live: Mapping[int, bool],
    next_expiry_ms: int | None,
    allocate: Callable[[int], OpenInterval],
) -> list[Command]:
    """The commands to submit now, time first. `live` maps the start of each live interval to whether its gate is closed.

    `next_expiry_ms` is when the next order in force until a time expires; `allocate` gives the opening of an interval.
    """
    length = schedule.interval_ms
    starts = range(max(schedule.first_ms, now_ms // length * length), now_ms + schedule.open_lead_ms + 1, length)
    openings = [start for start in starts if start not in live and (schedule.end_ms is None or start < schedule.end_ms)]
    known = sorted([*live, *openings])
    commands: list[Command] = [allocate(start) for start in openings]
    commands += [CloseGate(None, start) for start in known if not live.get(start, False) and start - schedule.close_lead_ms <= now_ms]
    commands += [RetireInterval(area, start) for start in known if start + length <= now_ms]
    if commands or (next_expiry_ms is not None and next_expiry_ms <= now_ms):
        commands.insert(0, Advance(now_ms))
    return commands
