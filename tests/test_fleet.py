"""The fleet as a process: real homes at a real exchange through a real broker, and how it ends when it is told to, or left alone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from demo import figures
from demo.homes import DAY_MS, MINUTE_MS
from demo.timetable import Clock, FleetResult, FleetSpec, HomeSpec
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import InstallRows, OpenArea, OpenInterval
from exchange.events import Event
from exchange.recovery import Batch
from gateway.broker import Broker, start_broker
from gateway.clock import Schedule
from gateway.host import Host
from riskcheck.polytope import Polytope

LENGTH_MS = 15 * MINUTE_MS
START_MS = 20_000 * DAY_MS + 13 * 60 * MINUTE_MS
INTERVALS = 2
SPEED = 1_000.0  # an interval in 0.9 s
NAMES = [f"home-{number}" for number in range(1, 13)]
TERMS = tuple(CustomerTerms(name, 10_000, 14_000, 500, 800) for name in NAMES)
ROWS = Polytope.unlimited(2 * len(NAMES))
# The gate closes a whole interval ahead: on a busy machine the last envelope must still arrive before its interval begins.
SCHEDULE = Schedule(LENGTH_MS, 3 * LENGTH_MS, LENGTH_MS, START_MS, START_MS + INTERVALS * LENGTH_MS)
BEFORE_MS = START_MS - SCHEDULE.open_lead_ms - 1


class Area:
    area = "lv"
    rows = ROWS

    def opening(self) -> tuple[OpenArea, InstallRows]:
        return OpenArea("lv", MarketSettings(), TERMS), InstallRows("lv", ROWS.to_bytes())

    def open_interval(self, interval_ms: int) -> OpenInterval:
        limits = (1_500,) * len(NAMES)
        return OpenInterval("lv", interval_ms, ROWS.content_hash, limits, limits)


def errand(broker: Broker) -> FleetSpec:
    homes = []
    for terms in TERMS:
        user, password = broker.credentials(terms.customer)
        limits = terms.rating_export_w, terms.rating_import_w, terms.failsafe_export_w, terms.failsafe_import_w
        homes.append(HomeSpec(terms.customer, password, *limits, user))
    market = MarketSettings()
    return FleetSpec(
        broker.host, broker.port, "lv", 1, START_MS, INTERVALS, LENGTH_MS, SCHEDULE.open_lead_ms, SCHEDULE.close_lead_ms,
        market.lot_w, market.tick_mct, market.price_mct_max, tuple(homes),
    )  # fmt: skip


async def process_of(spec: FleetSpec) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.fleet", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(spec) + b"\n")
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    return process


async def trade(folder: Path, then: Callable[[asyncio.subprocess.Process], Awaitable[None]]) -> tuple[FleetResult, int, list[Event]]:
    """(result, exit code, events) of a fleet at an exchange of its own; `then` is done to it once it is ready."""
    events: list[Event] = []
    clock: Clock | None = None

    def listen(batch: Batch) -> None:
        events.extend(event for of_command in batch.events for event in of_command)

    def market_ms() -> int:
        return BEFORE_MS if clock is None else clock.market(time.time() * 1000)

    with start_broker(None, "lv", NAMES, folder, kind="amqtt") as broker:
        async with Host(folder / "journal.sqlite", broker, Area(), SCHEDULE, market_ms, listen):
            process = await process_of(errand(broker))
            clock = Clock(BEFORE_MS, time.time() * 1000 + 200, SPEED)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(clock) + b"\n")
            await then(process)
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            return msgspec.json.decode(line, type=FleetResult), await process.wait(), events


async def nothing(_process: asyncio.subprocess.Process) -> None:
    """Leaves the fleet to itself."""


def test_homes_trade_and_live_through_exactly_what_the_ledger_says(tmp_path):
    result, code, events = asyncio.run(trade(tmp_path, nothing))
    assert result.errors == []
    assert (result.complete, code) == (True, 0)
    market = figures.fold(events, LENGTH_MS)
    assert market.problems == []
    assert market.trades
    lived = [one for home in result.homes for one in home.delivered]
    assert len(lived) == INTERVALS * len(NAMES)
    connections = [home.connection() for home in (HomeSpec(t.customer, "", 10_000, 14_000, 500, 800) for t in TERMS)]
    assert sorted(map(repr, lived)) == sorted(map(repr, figures.counterfactual(market, connections, 1, traded=True)))
    assert sum(home.lost + home.missing_envelopes for home in result.homes) == 0
    assert sum(home.requests for home in result.homes) == sum(len(home.latencies_us) for home in result.homes)
    assert sum(home.fills for home in result.homes) == 2 * len(market.trades)


def test_told_to_stop_it_says_what_it_has_and_that_it_is_not_all(tmp_path):
    async def terminate(process: asyncio.subprocess.Process) -> None:
        await asyncio.sleep(1.0)
        process.terminate()

    result, code, _ = asyncio.run(trade(tmp_path, terminate))
    assert (result.complete, code, result.errors) == (False, 1, [])
    assert len(result.homes) == len(NAMES)


def test_left_alone_it_ends(tmp_path):
    async def abandon(process: asyncio.subprocess.Process) -> None:
        await asyncio.sleep(0.5)
        assert process.stdin is not None
        process.stdin.close()

    result, code, _ = asyncio.run(trade(tmp_path, abandon))
    assert (result.complete, code) == (False, 1)


def test_a_wrong_password_is_an_error_and_not_a_wait(tmp_path):
    async def attempt() -> tuple[bytes, int]:
        with start_broker(None, "lv", NAMES, tmp_path, kind="amqtt") as broker:
            spec = errand(broker)
            homes = (msgspec.structs.replace(spec.homes[0], password="wrong"), *spec.homes[1:])
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "demo.fleet", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26
            )
            told = msgspec.json.encode(msgspec.structs.replace(spec, homes=homes)) + b"\n"
            out, _ = await asyncio.wait_for(process.communicate(told), 30)
            assert process.returncode is not None
            return out, process.returncode

    out, code = asyncio.run(attempt())
    result = msgspec.json.decode(out, type=FleetResult)
    assert code == 1
    assert len(result.errors) == 1
    assert "refused" in result.errors[0]
