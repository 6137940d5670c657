"""Order to acknowledgement over MQTT, beside a bare echo through the same broker and the same client library.

Three processes, as in life: the broker; a server, which is the exchange with its journal or an echo that sends every payload
back; and this one, the clients. The echo's payload has the size of an order. An order is durable before it is acknowledged,
so what it may cost is two echoes at most (more is decoded, decided and sent) and one commit of the journal, which is
measured alone on the same disk.

Closed loop: one request at a time, placed and then cancelled, so that the book stays small; only the placing is reported.
Open loop: requests at a fixed rate, each timed from the moment at which it was *meant* to be sent, so that a stall counts
for everyone who had to wait for it (coordinated omission). A loop that sleeps wakes up to a millisecond late, which counts too; the last
stretch before each send is therefore waited for awake.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal, cast

import msgspec

from benchmarks.feeder import AREA, Feeder, Progress
from benchmarks.measure import Spread, no_collector, spread
from benchmarks.orders import SETTINGS
from exchange.codec import encode_command
from exchange.commands import InstallRows, OpenArea, OpenInterval, Place
from exchange.journal import Journal
from gateway import topics, wire
from gateway.broker import Broker, BrokerError, start_broker
from gateway.client import Home
from gateway.clock import Schedule
from gateway.host import Host
from gateway.link import Link
from gateway.message import Message
from gateway.mqtt import CLIENT_ID
from gateway.session import SessionSettings

Kind = Literal["mosquitto", "amqtt"]
Ask = Callable[[], Awaitable[int]]  # sends one request; the clock (perf_counter_ns) when its answer was there
Clients = AbstractAsyncContextManager[list[Ask]]
READY_S = 60.0
ANSWER_S = 10.0
AWAKE_S = 0.002
HOMES = 8
INTERVAL_MS = 1_777_050_000_000  # 2026-04-24 17:00 UTC
MARKET_MS = INTERVAL_MS - 1_800_000  # the market's clock stands still: nothing but orders happens


class LatencyFigures(msgspec.Struct, frozen=True):
    """`target_ratio` is p50 of the closed-loop acknowledgement over (2 p50 of the echo + p50 of the commit): at most 1."""

    broker: str
    rate_per_s: int
    echo_closed: Spread
    ack_closed: Spread
    echo_open: Spread
    ack_open: Spread
    commit: Spread
    target_ratio: float


class Opening(msgspec.Struct, frozen=True):
    """The feeder as the host asks for it (`gateway.host.AreaPlan`)."""

    feeder: Feeder

    @property
    def area(self) -> str:
        return AREA

    def opening(self) -> tuple[OpenArea, InstallRows]:
        return OpenArea(AREA, SETTINGS, self.feeder.terms), InstallRows(AREA, self.feeder.rows)

    def open_interval(self, interval_ms: int) -> OpenInterval:
        return self.feeder.open_interval(interval_ms)


class Errand(msgspec.Struct, frozen=True):
    """What a server process is told."""

    host: str
    port: int
    user: str
    password: str
    feeder: Feeder
    journal: str


def measure(feeder: Feeder, kind: Kind, directory: Path, *, quick: bool, progress: Progress) -> LatencyFigures:
    """Starts a private broker of this kind. Raises BrokerError or LinkError, with the reason, where there is none."""
    count, rate = (200, 100) if quick else (1000, 200)
    customers = [terms.customer for terms in feeder.terms][:HOMES]
    with start_broker(None, AREA, customers, directory, kind) as broker:
        errand = Errand(broker.host, broker.port, *broker.exchange, feeder, str(directory / f"{kind}.sqlite"))
        progress(f"mqtt, {kind}: echo", 0.1)
        echo_closed, echo_open = asyncio.run(_with_server(_serve_echo, errand, lambda: _echoes(broker, customers), count, rate))
        progress(f"mqtt, {kind}: orders", 0.5)
        ack_closed, ack_open = asyncio.run(_with_server(_serve_exchange, errand, lambda: _orders(broker, customers), count, rate))
    progress(f"mqtt, {kind}: commits", 0.9)
    commit = _commits(directory / f"{kind}-commit.sqlite", count)
    ratio = ack_closed.p50_us / (2 * echo_closed.p50_us + commit.p50_us)
    return LatencyFigures(kind, rate, echo_closed, ack_closed, echo_open, ack_open, commit, round(ratio, 3))


# --- loops --------------------------------------------------------------------------------------------------------


async def _with_server(
    serve: Callable[[bytes, Event, Event], None], errand: Errand, clients: Callable[[], Clients], count: int, rate: int
) -> tuple[Spread, Spread]:
    """(closed, open) loop against a server in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    server = spawn.Process(target=serve, args=(msgspec.msgpack.encode(errand), ready, done), daemon=True)
    server.start()
    try:
        await asyncio.to_thread(_await_ready, ready, server)
        async with clients() as asks:
            await _closed_loop(asks[0], count // 5)
            with no_collector():
                closed = spread(await _closed_loop(asks[0], count))
            with no_collector():
                return closed, spread(await _open_loop(asks, count, rate))
    finally:
        done.set()
        await asyncio.to_thread(server.join, 10)
        if server.is_alive():
            server.kill()


def _await_ready(ready: Event, server: BaseProcess) -> None:
    give_up = time.monotonic() + READY_S
    while not ready.wait(0.1):
        if not server.is_alive() or time.monotonic() > give_up:
            raise BrokerError(f"the benchmark's own server did not come up (exit code {server.exitcode}); its message stands above")


async def _closed_loop(ask: Ask, count: int) -> list[int]:
    """Nanoseconds of each request; the next is sent when the last is answered."""
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        times.append(await ask() - began)
    return times


async def _open_loop(asks: list[Ask], count: int, rate: int) -> list[int]:
    """Nanoseconds from the meant moment of each request to its answer, whatever has become of the others."""
    began = time.perf_counter_ns() + 100_000_000

    async def timed(ask: Ask, meant: int) -> int:
        return await ask() - meant

    under_way = []
    for number in range(count):
        meant = began + number * 1_000_000_000 // rate
        await asyncio.sleep((meant - time.perf_counter_ns()) / 1e9 - AWAKE_S)
        while time.perf_counter_ns() < meant:  # noqa: ASYNC110  it waits for a moment, not for an event
            await asyncio.sleep(0)
        under_way.append(asyncio.create_task(timed(asks[number % len(asks)], meant)))
    return await asyncio.gather(*under_way)


# --- clients ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _orders(broker: Broker, customers: list[str]) -> AsyncIterator[list[Ask]]:
    """Each home places a purchase that nobody meets, and takes it back after its answer."""
    async with AsyncExitStack() as homes:
        entered = []
        for customer in customers:
            user, password = broker.credentials(customer)
            entered.append(await homes.enter_async_context(Home(broker.host, broker.port, AREA, customer, password, user=user)))
        yield [_placing(home) for home in entered]


def _placing(home: Home) -> Ask:
    async def ask() -> int:
        answer = await home.place("buy", "export", INTERVAL_MS, SETTINGS.lot_w, 12_340)
        answered = time.perf_counter_ns()
        assert isinstance(answer, wire.Accepted), answer
        await home.cancel(answer.order_id)
        return answered

    return ask


@asynccontextmanager
async def _echoes(broker: Broker, customers: list[str]) -> AsyncIterator[list[Ask]]:
    """Each customer sends payloads of an order's size and hears them again."""
    echoes = [_Echo(broker, customer) for customer in customers]
    try:
        for echo in echoes:
            await asyncio.wait_for(echo.ready.wait(), ANSWER_S)
        yield [echo.ask for echo in echoes]
    finally:
        for echo in echoes:
            echo.keeping.cancel()
        await asyncio.gather(*(echo.keeping for echo in echoes), return_exceptions=True)


class _Echo:
    def __init__(self, broker: Broker, customer: str) -> None:
        user, password = broker.credentials(customer)
        self._customer = customer
        self._link = Link(broker.host, broker.port, user, password, f"limex-{AREA}-{customer}", self._receive)
        self._numbered = 0
        self._awaited: dict[bytes, asyncio.Future[int]] = {}
        self.ready = asyncio.Event()
        self.keeping = asyncio.create_task(self._link.keep(self._connected))

    async def _connected(self) -> None:
        await self._link.subscribe(topics.response(AREA, self._customer), qos=1)
        self.ready.set()

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG002  the link's signature
        answered = self._awaited.pop(payload, None)
        if answered is not None:
            answered.set_result(time.perf_counter_ns())

    async def ask(self) -> int:
        self._numbered += 1
        order = wire.Place(
            v=1, id=f"e-{self._numbered}", interval_ms=INTERVAL_MS, side="buy", direction="export", quantity_w=10, price_mct=12_340
        )  # fmt: skip
        payload = wire.encode(order)
        answered = self._awaited[payload] = asyncio.get_running_loop().create_future()
        self._link.send(Message(topics.request(AREA, self._customer), payload, 1, False))
        return await asyncio.wait_for(answered, ANSWER_S)


# --- servers, each in a process of its own ------------------------------------------------------------------------


def _serve_echo(raw: bytes, ready: Event, done: Event) -> None:
    asyncio.run(_echo_back(msgspec.msgpack.decode(raw, type=Errand), ready, done))


async def _echo_back(errand: Errand, ready: Event, done: Event) -> None:
    def receive(topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG001  the link's signature
        address = topics.parse_request(topic)
        if address is not None:
            link.send(Message(topics.response(*address), payload, 1, False))

    async def connected() -> None:
        await link.subscribe(topics.requests(AREA), qos=1)
        ready.set()

    link = Link(errand.host, errand.port, errand.user, errand.password, CLIENT_ID, receive)
    keeping = asyncio.create_task(link.keep(connected))
    with no_collector():
        await asyncio.to_thread(done.wait)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def _serve_exchange(raw: bytes, ready: Event, done: Event) -> None:
    asyncio.run(_exchange(msgspec.msgpack.decode(raw, type=Errand), ready, done))


async def _exchange(errand: Errand, ready: Event, done: Event) -> None:
    class Exchange:
        host, port, exchange = errand.host, errand.port, (errand.user, errand.password)

    schedule = Schedule(first_ms=INTERVAL_MS, end_ms=INTERVAL_MS + SETTINGS.interval_ms)
    unbounded = SessionSettings(rate_per_s=1e6, burst=1_000_000, reserve=0)
    async with Host(
        Path(errand.journal), cast(Broker, Exchange), Opening(errand.feeder), schedule, lambda: MARKET_MS, lambda _: None, unbounded
    ) as host:  # fmt: skip
        while INTERVAL_MS not in host.node.engine.areas[AREA].intervals:  # noqa: ASYNC110  the host has no such event
            await asyncio.sleep(0.05)
        ready.set()
        await asyncio.to_thread(done.wait)


# --- the journal alone --------------------------------------------------------------------------------------------


def _commits(path: Path, count: int) -> Spread:
    """Batches of one order each, as a lone customer's are."""
    journal, times = Journal(path), []
    try:
        for number in range(1, count + 1):
            order = Place(AREA, "home01", f"r-00000000-{number}", INTERVAL_MS, "export", "buy", 10, 12_340)
            began = time.perf_counter_ns()
            journal.append(number, MARKET_MS, [encode_command(order)], number, [(number, bytes(16))], number - 1)
            times.append(time.perf_counter_ns() - began)
    finally:
        journal.close()
    return spread(times)
