"""A village that is operated while its market runs: a real host with broker, journal and auditor; time stands still.

      line 0        line 1
grid ------- bus 1 ------- bus 2        anna at bus 1, ben and cleo at bus 2
  \\_________________________/
      line 2, with a switch at bus 2
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandapower as pp
import pytest

from envelopes.refresh import Plan, plan
from exchange.bounds import MarketSettings
from exchange.commands import Command, Place
from exchange.events import Event
from exchange.recovery import Batch
from gateway.auditor import Auditor
from gateway.broker import Broker, start_broker
from gateway.clock import Schedule
from gateway.host import Host
from riskcheck.certify import Certificate, certify
from riskcheck.network import Network, load
from tests.grids import line, source

AREA, HOUR = "lv", 3_600_000
NAMES = ("anna", "ben", "cleo")
T0 = 1_700_000_100_000 // HOUR * HOUR
SCHEDULE = Schedule(HOUR, 2 * HOUR, HOUR // 2)
TRADED = T0 + HOUR  # opened and not yet closed, as the one after it
SETTINGS = MarketSettings(interval_ms=HOUR)


@pytest.fixture(scope="module")
def village_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A test file says `broker = village_broker`; its tests then share one."""
    with start_broker(None, AREA, NAMES, tmp_path_factory.mktemp("broker")) as running:
        yield running


def village(
    *, rating_a: float = 120.0, ring_a: float = 150.0, is_ring: bool = True, low_pu: float = 1.0, high_pu: float = 1.0,
    failsafe_w: int = 1_000,
) -> Any:  # fmt: skip
    net = source(low_pu=low_pu, high_pu=high_pu)
    for _ in range(2):
        pp.create_bus(net, vn_kv=0.4)
    for (start, end), z, rating in (((0, 1), 0.02 + 0.01j, rating_a), ((1, 2), 0.03 + 0.01j, 150.0), ((0, 2), 0.03 + 0.01j, ring_a)):
        line(net, start, end, z, 4 * z, rating)
    pp.create_switch(net, 2, 2, et="l", closed=is_ring)
    for bus, name in zip((1, 2, 2), NAMES, strict=True):
        pp.create_load(net, bus, p_mw=0.001, name=name)
    net.load["power_factor"] = 1.0
    net.load["rating_export_w"], net.load["rating_import_w"] = 100_000, 100_000
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = failsafe_w, failsafe_w
    return net


@lru_cache(maxsize=8)
def network(**changes: Any) -> Network:
    return load(village(**changes))


@lru_cache(maxsize=8)
def ready(**changes: Any) -> Plan:
    return plan(network(**changes), AREA, SETTINGS)


class Record:
    """What was decided: commands and events, in order."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.events: list[Event] = []

    def take(self, batch: Batch) -> None:
        self.commands += batch.commands
        self.events += [event for events in batch.events for event in events]

    def of(self, kind: type) -> list[Any]:
        return [one for one in (*self.commands, *self.events) if isinstance(one, kind)]


def host(journal: Path, broker: Broker, plan: Plan, record: Record, auditor: Auditor | None = None) -> Host:
    return Host(journal, broker, plan, SCHEDULE, lambda: T0, record.take, auditor=auditor)


@asynccontextmanager
async def operated(journal: Path, broker: Broker, plan: Plan, auditor: Auditor | None = None) -> AsyncIterator[tuple[Host, Record]]:
    """A running host with its three intervals open."""
    record = Record()
    async with host(journal, broker, plan, record, auditor) as running:
        await until(lambda: len(running.engine.gates(AREA)) == 3, running)
        yield running, record


def certificate(running: Host, interval_ms: int = TRADED, on: Network | None = None) -> Certificate:
    """Of what is held, by more effort and another seed than any that the host uses."""
    export_w, import_w = running.engine.holdings(AREA, interval_ms)
    return certify(on or running.plan.network, export_w, import_w, seed=99, effort="full")


async def until(condition: Callable[[], bool], running: Host, patience_s: float = 240.0) -> None:
    """Waits, unless the host fails first."""
    failed = asyncio.ensure_future(running.failed())
    give_up = asyncio.get_running_loop().time() + patience_s
    try:
        while not condition():
            assert asyncio.get_running_loop().time() < give_up, "it did not happen"
            await asyncio.wait((failed,), timeout=0.02)
            if failed.done():
                failed.result()
    finally:
        failed.cancel()


async def trade(running: Host, direction: Any, seller: str, buyer: str, quantity_w: int, interval_ms: int = TRADED) -> tuple[Event, ...]:
    """A sale that rests and the purchase that meets it."""
    names = f"{direction}-{seller}-{buyer}-{quantity_w}-{interval_ms}"
    sale = Place(AREA, seller, f"s-{names}", interval_ms, direction, "sell", quantity_w, 1_000)
    purchase = Place(AREA, buyer, f"b-{names}", interval_ms, direction, "buy", quantity_w, 1_000)
    return (await running.submit([sale, purchase])).events
