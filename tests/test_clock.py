"""The market clock: what is due at a time, from the intervals that are live. Times in minutes; intervals of 15."""

from __future__ import annotations

import msgspec
import pytest

from exchange.commands import (
    Advance,
    CloseGate,
    Command,
    EnterPhase,
    InstallRows,
    OpenArea,
    OpenInterval,
    Phase,
    Place,
    RetireInterval,
)
from exchange.engine import Engine
from exchange.snapshot import dump, load
from gateway.clock import Schedule, auctions_over, due
from riskcheck.polytope import Polytope
from tests.rulebook import AREA, CUSTOMERS, SETTINGS, terms_of

MINUTE, DAY = 60_000, 86_400_000
SCHEDULE = Schedule(15 * MINUTE, 60 * MINUTE, 5 * MINUTE, first_ms=0, end_ms=90 * MINUTE)


def opening(start_ms: int) -> OpenInterval:
    return OpenInterval("lv", start_ms, "hash", (), ())


def words(commands: list[Command]) -> str:
    said = []
    for command in commands:
        match command:
            case OpenInterval():
                said.append(f"open {command.interval_ms // MINUTE}" + (f" {command.phase}" if command.phase != "continuous" else ""))
            case EnterPhase():
                said.append(f"{command.interval_ms // MINUTE} {command.phase}")
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
        (Schedule(auction_lead_ms=3_600_000), "auction lead 60 minutes is not before open lead 60 minutes"),
        (Schedule(announce_lead_ms=90_000), "announce lead 1.5 minutes is after orders are taken"),
        (Schedule(pause_ms=0), "pause_ms 0 must be positive"),
    ],
)
def test_schedules_that_cannot_work_say_why(schedule: Schedule, problem: str) -> None:
    assert any(problem in found for found in schedule.problems())


LIFE = Schedule(15 * MINUTE, 60 * MINUTE, 5 * MINUTE, 0, 15 * MINUTE, announce_lead_ms=120 * MINUTE, auction_lead_ms=70 * MINUTE)

# now in minutes; the phase that the interval is in ("" not open yet); what the clock orders
STEPS = [
    (-121, "", ""),
    (-120, "", "time, open 0 announced"),
    (-71, "announced", ""),
    (-70, "announced", "time, 0 auction"),
    (-70, "", "time, open 0 auction"),  # after an outage it is opened in the phase of the moment
    (-60, "auction", ""),  # an auction is ended by an Uncross, which `auctions_over` asks for
    (-60, "announced", "time, 0 continuous"),
    (-30, "", "time, open 0"),
    (-30, "frozen", ""),  # whoever froze it opens it again
    (-5, "continuous", "time, close 0"),
    (-5, "auction", "time, close 0"),
    (-5, "frozen", "time, close 0"),
    (-4, "closed", ""),
    (0, "closed", "time, 0 delivery"),
    (14, "delivery", ""),
    (15, "delivery", "time, retire 0"),
]


@pytest.mark.parametrize(("now", "phase", "expected"), STEPS)
def test_the_life_of_an_interval(now: int, phase: Phase, expected: str) -> None:
    assert words(due(LIFE, "lv", now * MINUTE, {0: phase} if phase else {}, None, opening)) == expected


# now and when the auction began, in minutes; whether it is over
AUCTIONS = [
    (-61, -70, False),
    (-60, -70, True),  # the opening auction ends when the gate opens
    (-30, -31, True),  # a pause lasts a minute
    (-30, -30.5, False),
    (-60, -60, False),  # one that begins there is a pause
    (-59, -60, True),
]


@pytest.mark.parametrize(("now", "since", "is_over"), AUCTIONS)
def test_when_an_auction_is_over(now: float, since: float, is_over: bool) -> None:
    over = auctions_over(LIFE, int(now * MINUTE), {0: "auction", 15 * MINUTE: "continuous"}, {0: int(since * MINUTE)})
    assert over == ([0] if is_over else [])


def test_an_auction_whose_beginning_the_engine_was_not_told_the_time_of_goes_on() -> None:
    assert auctions_over(LIFE, -30 * MINUTE, {0: "auction"}, {}) == []


def test_a_pause_is_as_long_as_it_would_be_without_the_restart_in_it() -> None:
    """Prices run away at minute -40, which the engine is told a quarter of a minute later; it is restarted half a minute after that. What
    the engine knew of time before is of minute -60."""
    engine = paused(DAY - 60 * MINUTE)
    told_ms = DAY - 40 * MINUTE + 15_000
    life = msgspec.structs.replace(LIFE, first_ms=DAY, end_ms=DAY + 1)
    (told,) = due(life, AREA, told_ms, engine.phases(AREA), engine.next_expiry_ms(), opening)
    assert told == Advance(told_ms)
    engine.apply(told)
    assert due(life, AREA, told_ms + 1, engine.phases(AREA), engine.next_expiry_ms(), opening) == []
    engine = load(dump(engine))
    for now_ms, over in ((told_ms + life.pause_ms - 1, []), (told_ms + life.pause_ms, [DAY])):
        assert auctions_over(life, now_ms, engine.phases(AREA), engine.auctions_since_ms(AREA)) == over


def paused(now_ms: int) -> Engine:
    """Two trades of which the second moved the price too far."""
    engine, rows = Engine(), Polytope.unlimited(2 * len(CUSTOMERS))
    settings, limits = msgspec.structs.replace(SETTINGS, pause_mct=1_000), (5_000,) * len(CUSTOMERS)
    opened = OpenInterval(AREA, DAY, rows.content_hash, limits, limits)
    for command in (OpenArea(AREA, settings, terms_of(*CUSTOMERS)), InstallRows(AREA, rows.to_bytes()), Advance(now_ms), opened):
        engine.apply(command)
    for price_mct in (9_000, 10_010):
        engine.apply(Place(AREA, "alice", f"A{price_mct}", DAY, "export", "sell", 10, price_mct))
        engine.apply(Place(AREA, "bob", f"B{price_mct}", DAY, "export", "buy", 10, price_mct))
    assert (engine.phases(AREA), engine.auctions_since_ms(AREA), engine.next_expiry_ms()) == ({DAY: "auction"}, {}, now_ms)
    return engine
