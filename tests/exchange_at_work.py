"""A small exchange for the gateway's tests: one area, three customers, ample network, a real journal and a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Advance, Command, InstallRows, OpenArea, OpenInterval
from exchange.node import Node
from exchange.recovery import Batch
from gateway.broker import EXCHANGE, Broker, find_mosquitto, start_broker
from gateway.client import Home
from gateway.mqtt import Gateway
from gateway.session import SessionSettings
from riskcheck.polytope import Polytope

AREA = "lv"
NAMES = ("alice", "bob", "carol")
SETTINGS = MarketSettings()
T0 = 1_700_000_100_000 // SETTINGS.interval_ms * SETTINGS.interval_ms
T1 = T0 + SETTINGS.interval_ms
ALLOCATION_W = 5_000
FAILSAFE_W = 1_500
TERMS = tuple(CustomerTerms(name, 10_000, 10_000, FAILSAFE_W, FAILSAFE_W) for name in NAMES)
ROWS = Polytope.unlimited(2 * len(NAMES))
PATIENCE_S = 20.0

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
BROKERS = [pytest.param("mosquitto", marks=needs_mosquitto), "amqtt"]


@pytest.fixture(params=BROKERS)
def each_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A test file says `broker = each_broker`; its tests then run on each kind."""
    with start_broker(None, AREA, NAMES, kind=request.param) as running:
        yield running


@pytest.fixture
def new_journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def opening(*starts_ms: int) -> list[Command]:
    """The operator's commands that open the area and these intervals."""
    allocation = (ALLOCATION_W,) * len(NAMES)
    commands: list[Command] = [OpenArea(AREA, SETTINGS, TERMS), InstallRows(AREA, ROWS.to_bytes()), Advance(T0 - 1000)]
    return commands + [OpenInterval(AREA, start, ROWS.content_hash, allocation, allocation) for start in starts_ms]


class Exchange:
    """Node and gateway in this event loop; `market_ms` stands still unless a test moves it."""

    def __init__(self, journal: Path, broker: Broker, settings: SessionSettings | None = None) -> None:
        self.market_ms = T0 - 1000
        self.batches: list[Batch] = []
        self.node = Node(journal, self._release)
        self.gateway = Gateway(
            self.node, broker.host, broker.port, broker.exchange, AREA, lambda: self.market_ms, settings, tick_s=0.02
        )  # fmt: skip
        self._running: asyncio.Task[None] | None = None

    def _release(self, batch: Batch) -> None:
        self.gateway.release(batch)
        self.batches.append(batch)

    @property
    def commands(self) -> list[Command]:
        return [command for batch in self.batches for command in batch.commands]

    async def __aenter__(self) -> Exchange:
        await self.gateway.__aenter__()
        self._running = asyncio.create_task(self.node.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self.node.stop()
        await self._running
        await self.gateway.__aexit__(None, None, None)

    async def open(self, *starts_ms: int) -> None:
        for command in opening(*starts_ms):
            self.node.submit(command)
        mirrored = self.gateway.session.mirror.areas
        await until(lambda: AREA in mirrored and all(start in mirrored[AREA].intervals for start in starts_ms), "no interval opened")


def home(broker: Broker, customer: str, **settings: Any) -> Home:
    user, password = broker.credentials(customer)
    return Home(broker.host, broker.port, AREA, customer, password, user=user, **settings)


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Waits for a condition that an event elsewhere brings about."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE_S
    while not condition():
        assert loop.time() < give_up, what or "it did not happen"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def trading(
    journal: Path, broker: Broker, *customers: str, session: SessionSettings | None = None, **settings: Any
) -> AsyncIterator[tuple[Exchange, list[Home]]]:
    """An exchange with two open intervals, and these customers connected with their envelopes."""
    async with Exchange(journal, broker, session) as exchange, contextlib.AsyncExitStack() as stack:
        await exchange.open(T0, T1)
        homes = [await stack.enter_async_context(home(broker, name, **settings)) for name in customers]
        await until(lambda: all(T1 in one.envelope for one in homes), "no envelope")
        yield exchange, homes


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))


async def serve(host: str, port: int, user: str, password: str, journal: Path) -> None:
    """An exchange in a process of its own, until it is killed or its standard input ends."""
    async with Exchange(journal, Broker("url", host, port, {EXCHANGE: (user, password)})) as exchange:
        if AREA not in exchange.node.engine.areas:
            await exchange.open(T0, T1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], Path(sys.argv[5])))
