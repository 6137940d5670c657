"""The market clock: what is due at a time, from the intervals that are live. Times in minutes; intervals of 15."""

from __future__ import annotations

import pytest

from exchange.commands import Advance, CloseGate, Command, OpenInterval, RetireInterval
from gateway.clock import Schedule, due

MINUTE = 60_000
SCHEDULE = Schedule(15 * MINUTE, 60 * MINUTE, 5 * MINUTE, first_ms=0, end_ms=90 * MINUTE)


def opening(start_ms: int) -> OpenInterval:
    return OpenInterval("lv", start_ms, "hash", (), ())


def words(commands: list[Command]) -> str:
    said = []
    for command in commands:
        match command:
            case OpenInterval():
                said.append(f"open {command.interval_ms // MINUTE}")
            case CloseGate():
                said.append(f"close {command.interval_ms // MINUTE}")
            case RetireInterval():
                said.append(f"retire {command.interval_ms // MINUTE}")
            case Advance():
                said.append("time")
    return ", ".join(said)


# now in minutes; live intervals, c = its gate is closed; what is due
CASES = [
    (-61, "", ""),
    (-60, "", "time, open 0"),
    (-44, "0", "time, open 15"),
    (-5, "0 15 30 45", "time, close 0"),
    (0, "0c 15 30 45", "time, open 60"),
    (10, "0c 15 30 45 60", "time, close 15"),
    (15, "0c 15c 30 45 60", "time, open 75, retire 0"),
    (30, "15c 30c 45 60 75", "time, retire 15"),  # 90 is the end: nothing more opens
    (90, "75c", "time, retire 75"),
    (91, "", ""),
    # after an outage: what is over is retired, what is running is opened and closed at once, nothing is skipped
    (31, "0", "time, open 30, open 45, open 60, open 75, close 0, close 30, retire 0"),
]


@pytest.mark.parametrize(("now", "live", "expected"), CASES)
def test_what_is_due(now: int, live: str, expected: str) -> None:
    gates = {int(name.rstrip("c")) * MINUTE: name.endswith("c") for name in live.split()}
    assert words(due(SCHEDULE, "lv", now * MINUTE, gates, None, opening)) == expected


@pytest.mark.parametrize(("expiry", "expected"), [(None, ""), (1001, ""), (1000, "time")])
def test_time_advances_when_an_order_expires(expiry: int | None, expected: str) -> None:
    gates = {start * 15 * MINUTE: start == 0 for start in range(5)}
    assert words(due(SCHEDULE, "lv", 1000, gates, expiry, opening)) == expected


def test_the_next_envelope_is_there_before_the_current_one_ends() -> None:
    """Over a simulated day, stepping by odd amounts: whatever is being delivered, its successor is live already."""
    schedule = Schedule(15 * MINUTE, 16 * MINUTE, 5 * MINUTE)
    gates: dict[int, bool] = {}
    for now in range(0, 24 * 60 * MINUTE, 7_321):
        for command in due(schedule, "lv", now, gates, None, opening):
            match command:
                case OpenInterval():
                    gates[command.interval_ms] = False
                case CloseGate():
                    gates[command.interval_ms] = True
                case RetireInterval():
                    del gates[command.interval_ms]
        current = now // schedule.interval_ms * schedule.interval_ms
        assert gates[current]
        ends_in = current + schedule.interval_ms - now
        assert ends_in > 16 * MINUTE or current + schedule.interval_ms in gates


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (Schedule(interval_ms=0), "interval_ms 0 must be positive"),
        (Schedule(first_ms=1), "first_ms 1 is not a multiple"),
        (Schedule(close_lead_ms=3_600_000), "not 0 <= close < open"),
        (Schedule(open_lead_ms=600_000), "the next envelope would come after the current one ends"),
    ],
)
def test_schedules_that_cannot_work_say_why(schedule: Schedule, problem: str) -> None:
    assert any(problem in found for found in schedule.problems())
