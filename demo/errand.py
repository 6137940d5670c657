"""The homes' process as the demo sees it: told its errand and then the clock on its standard input, it answers with one line of JSON.

What it does meanwhile is in `demo/fleet.py`; the two share no memory, only the broker.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from demo.homes import connections
from demo.timetable import Clock, FleetResult, FleetSpec, HomeSpec
from envelopes.refresh import Plan
from gateway.broker import Broker
from gateway.clock import Schedule

GRACE_S = 30.0


def errand(ready: Plan, seed: int, broker: Broker, schedule: Schedule) -> FleetSpec:
    """What the homes are told: where the market is, who they are, and when."""
    homes = []
    for connection in connections(ready.network):
        user, password = broker.credentials(connection.customer)
        homes.append(HomeSpec(connection.customer, password, *connection[1:], user=user))
    market = ready.settings
    assert schedule.end_ms is not None
    intervals = (schedule.end_ms - schedule.first_ms) // schedule.interval_ms
    return FleetSpec(
        broker.host, broker.port, ready.area, seed, schedule.first_ms, intervals, schedule.interval_ms, schedule.first_lead_ms,
        schedule.close_lead_ms, market.lot_w, market.tick_mct, market.price_mct_max, tuple(homes),
    )  # fmt: skip


class Fleet:
    """The homes' process: told its errand, then the clock; answers with one JSON line."""

    def __init__(self, errand: FleetSpec) -> None:
        self._errand = errand
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Fleet:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "demo.fleet",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 28,
        )  # fmt: skip
        self._write(self._errand)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def tell(self, clock: Clock) -> None:
        self._write(clock)

    async def ready(self) -> None:
        line = await self._line(GRACE_S * 2)
        if line.strip() != b"ready":
            raise FleetError(f"the homes did not start: {_errors(line)}")

    async def result(self, limit_s: float) -> FleetResult:
        line = await self._line(limit_s)
        if not line:
            raise FleetError("the homes' process ended without a result")
        return msgspec.json.decode(line, type=FleetResult)

    def _write(self, message: FleetSpec | Clock) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")

    async def _line(self, limit_s: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return await asyncio.wait_for(self._process.stdout.readline(), limit_s)
        except TimeoutError:
            raise FleetError(f"the homes said nothing for {limit_s:.0f} s") from None


class FleetError(Exception):
    """The homes' process failed."""


def _errors(line: bytes) -> str:
    try:
        return "; ".join(msgspec.json.decode(line, type=FleetResult).errors) or "no reason given"
    except msgspec.MsgspecError:
        return "it ended" if not line else line[:200].decode(errors="replace")
