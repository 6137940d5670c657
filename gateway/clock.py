"""When what is due: the life of each interval and time itself, as commands. Pure; the time is an argument.

An interval [start, start + length) lives by leads, all counted back from its start:

    announced    from `announce_lead_ms`   its envelopes are known, no orders yet       (0: not before it opens)
    auction      from `auction_lead_ms`    orders collect, nothing trades               (0: no opening auction)
    continuous   from `open_lead_ms`       the auction ends, orders meet as they come
    closed       from `close_lead_ms`      trading is over
    delivery     from its start
    retired      when its delivery is over

What is due follows from the intervals that are live and their phases, so a restart needs no memory of its own: an interval that should
have been opened while the exchange was down is opened (and closed at once, if its gate is past), because a home without an envelope
falls back to its failsafe. An interval that somebody froze stays so until somebody opens it, or its gate closes.

An auction ends at `open_lead_ms`. One that began later (a volatility pause, a halt that ended) lasts `pause_ms`, counted from the first
time that the engine was told after it began. The engine asks for that time as for an expiry, and keeps it: no restart doubles a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from exchange.commands import Advance, CloseGate, Command, EnterPhase, OpenInterval, Phase, RetireInterval

OVER: tuple[Phase, Phase] = ("closed", "delivery")


def _minutes(lead_ms: int) -> str:
    return f"{lead_ms / 60_000:g} minutes"


class Schedule(msgspec.Struct, frozen=True):
    """Market times in milliseconds. Intervals from `first_ms` to before `end_ms` (None: for ever)."""

    interval_ms: int = 900_000
    open_lead_ms: int = 3_600_000
    close_lead_ms: int = 300_000
    first_ms: int = 0
    end_ms: int | None = None
    announce_lead_ms: int = 0
    auction_lead_ms: int = 0
    pause_ms: int = 60_000

    @property
    def first_lead_ms(self) -> int:
        """When an interval is first heard of."""
        return max(self.announce_lead_ms, self.auction_lead_ms, self.open_lead_ms)

    def problems(self) -> list[str]:
        found = []
        if self.interval_ms <= 0:
            found.append(f"interval_ms {self.interval_ms} must be positive")
        elif self.first_ms % self.interval_ms:
            found.append(f"first_ms {self.first_ms} is not a multiple of interval_ms {self.interval_ms}")
        if not 0 <= self.close_lead_ms < self.open_lead_ms:
            found.append(f"close lead {_minutes(self.close_lead_ms)} and open lead {_minutes(self.open_lead_ms)} are not 0 <= close < open")
        if self.open_lead_ms < self.interval_ms:
            found.append("the open lead is shorter than an interval: the next envelope would come after the current one ends")
        if self.auction_lead_ms and self.auction_lead_ms <= self.open_lead_ms:
            auction, opening = _minutes(self.auction_lead_ms), _minutes(self.open_lead_ms)
            found.append(f"auction lead {auction} is not before open lead {opening}, where the auction ends")
        if self.announce_lead_ms and self.announce_lead_ms < max(self.auction_lead_ms, self.open_lead_ms):
            found.append(f"announce lead {_minutes(self.announce_lead_ms)} is after orders are taken")
        if self.pause_ms <= 0:
            found.append(f"pause_ms {self.pause_ms} must be positive")
        return found

    def phase_at(self, start_ms: int, now_ms: int) -> Phase:
        """The phase that an interval should have come to by itself, auctions of the operator's and of prices' apart."""
        left_ms = start_ms - now_ms
        if left_ms <= 0:
            return "delivery"
        if left_ms <= self.close_lead_ms:
            return "closed"
        if left_ms <= self.open_lead_ms:
            return "continuous"
        return "auction" if left_ms <= self.auction_lead_ms else "announced"


def due(
    schedule: Schedule,
    area: str,
    now_ms: int,
    live: Mapping[int, Phase | bool],
    next_expiry_ms: int | None,
    allocate: Callable[[int], OpenInterval],
) -> list[Command]:
    """The commands to submit now, time first. `live` maps the start of each live interval to its phase; for who only opens and
    closes gates, to whether its gate is closed.

    `next_expiry_ms` is when the engine waits for time next; `allocate` gives the opening of an interval.
    """
    phases = {start: _phase(told) for start, told in live.items()}
    commands = _openings(schedule, now_ms, phases, allocate)
    phases |= {command.interval_ms: command.phase for command in commands}
    moves = [move for start in sorted(phases) if (move := _move(schedule, area, start, now_ms, phases[start])) is not None]
    retired = [RetireInterval(area, start) for start in sorted(phases) if start + schedule.interval_ms <= now_ms]
    found: list[Command] = [*commands, *moves, *retired]
    if found or (next_expiry_ms is not None and next_expiry_ms <= now_ms):
        found.insert(0, Advance(now_ms))
    return found


def auctions_over(schedule: Schedule, now_ms: int, phases: Mapping[int, Phase], since_ms: Mapping[int, int]) -> list[int]:
    """The intervals whose auction is to end now. `since_ms`: when each began, as the engine was told; none ends before that."""
    collecting = [start for start, phase in sorted(phases.items()) if phase == "auction"]
    return [start for start in collecting if now_ms >= _auction_end_ms(schedule, start, since_ms.get(start, now_ms))]


def _auction_end_ms(schedule: Schedule, start_ms: int, since_ms: int) -> int:
    opening_ms = start_ms - schedule.open_lead_ms
    return opening_ms if since_ms < opening_ms else since_ms + schedule.pause_ms


def _phase(told: Phase | bool) -> Phase:
    if isinstance(told, bool):
        return "delivery" if told else "continuous"
    return told


def _openings(schedule: Schedule, now_ms: int, phases: Mapping[int, Phase], allocate: Callable[[int], OpenInterval]) -> list[OpenInterval]:
    """What is missing, in the phase that it should be in; where its gate is past it trades for no time at all."""
    length = schedule.interval_ms
    starts = range(max(schedule.first_ms, now_ms // length * length), now_ms + schedule.first_lead_ms + 1, length)
    missing = [start for start in starts if start not in phases and (schedule.end_ms is None or start < schedule.end_ms)]
    return [msgspec.structs.replace(allocate(start), phase=_first_phase(schedule.phase_at(start, now_ms))) for start in missing]


def _first_phase(phase: Phase) -> Phase:
    return phase if phase in ("announced", "auction") else "continuous"


def _move(schedule: Schedule, area: str, start_ms: int, now_ms: int, phase: Phase) -> Command | None:
    """The next step of one interval's life, where it is time."""
    should = schedule.phase_at(start_ms, now_ms)
    if should in OVER and phase not in OVER:
        return CloseGate(None, start_ms)
    if should == "delivery" and phase == "closed":
        return EnterPhase(area, start_ms, "delivery", "its delivery begins")
    if phase == "announced" and should in ("auction", "continuous"):
        return EnterPhase(area, start_ms, should, "the gate opens")
    return None
