"""Order to acknowledgement over MQTT, beside a bare echo through the same broker, client and process.

    python -m benchmarks.order_to_ack --broker mosquitto --requests 2000

This process sends, another one answers; all messages are QoS 1 both ways. For one account the other process is an exchange (node,
journal with fsync per batch, gateway), for a second account it sends the bytes back and does nothing else. Blocks of requests to
the one and the other take turns, since a machine has other things to do: the figure is the least block's, the median block's is
beside it. Closed loop: the next request when the last was answered. Open loop: requests at a fixed rate, each measured from the
moment at which it was to be sent, so that a stall counts for all that wait behind it. `commit` is the journal's own time for one
command. The rule: order to acknowledgement, p50, closed loop, is at most twice the echo plus the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.measure import Spread, spread
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import encode_command
from exchange.commands import Advance, Command, InstallRows, OpenArea, OpenInterval, Place
from exchange.journal import Journal
from exchange.node import Node
from exchange.recovery import Batch
from gateway import topics, wire
from gateway.broker import Broker, start_broker
from gateway.link import Link
from gateway.message import Message
from gateway.mqtt import Gateway
from gateway.session import SessionSettings
from riskcheck.polytope import Polytope

AREA, HOME, ECHO = "lv", "home", "echo"
SETTINGS = MarketSettings()
START = SETTINGS.interval_ms * 1_890_000
BLOCK = 100
WARM_UP = 200


class Figures(msgspec.Struct, frozen=True):
    """One broker's, in microseconds. `open_loop` maps requests per second to (echo, exchange)."""

    broker: str
    echo: Spread
    exchange: Spread
    commit: Spread
    echo_blocks_p50_us: list[float]
    exchange_blocks_p50_us: list[float]
    open_loop: dict[int, tuple[Spread, Spread]]

    @property
    def allowed_us(self) -> float:
        """Two echoes and a commit, each at its best block's median."""
        return 2 * min(self.echo_blocks_p50_us) + self.commit.p50_us

    @property
    def taken_us(self) -> float:
        return min(self.exchange_blocks_p50_us)


# --- the other process ------------------------------------------------------------------------------------------------


class EchoingGateway(Gateway):
    """An exchange that sends the bytes of one account straight back."""

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == topics.request(AREA, ECHO):
            self.link.send(Message(topics.response(AREA, ECHO), payload, 1, False))
        else:
            super()._receive(topic, payload, retained)


def answer(host: str, port: int, credentials: tuple[str, str], journal: str, ready: Event, leave: Event) -> None:
    """Runs in a process of its own until `leave` is set."""
    asyncio.run(_answer(host, port, credentials, Path(journal), ready, leave))


async def _answer(host: str, port: int, credentials: tuple[str, str], journal: Path, ready: Event, leave: Event) -> None:
    opened = asyncio.Event()

    def release(batch: Batch) -> None:
        gateway.release(batch)
        opened.set()

    node = Node(journal, release)
    settings = SessionSettings(rate_per_s=1e5, burst=100_000)
    gateway = EchoingGateway(node, host, port, credentials, AREA, lambda: START - 1, settings)
    async with gateway:
        running = asyncio.create_task(node.run())
        for command in opening():
            node.submit(command)
        await opened.wait()
        ready.set()
        await asyncio.to_thread(leave.wait)
        node.stop()
        await running


def opening() -> list[Command]:
    rows, terms = Polytope.unlimited(2), CustomerTerms(HOME, 10_000, 10_000, 0, 0)
    return [
        OpenArea(AREA, SETTINGS, (terms,)), InstallRows(AREA, rows.to_bytes()), Advance(START - 1),
        OpenInterval(AREA, START, rows.content_hash, (5_000,), (5_000,)),
    ]  # fmt: skip


# --- this process -----------------------------------------------------------------------------------------------------


class Sender:
    """One account: sends places and, in turn, their cancels; knows when each was answered first."""

    def __init__(self, broker: Broker, account: str) -> None:
        self.account = account
        self.link = Link(broker.host, broker.port, *broker.credentials(account), account, self._receive)
        self.answered_ns: dict[str, int] = {}
        self.arrived = asyncio.Event()
        self.ready = asyncio.Event()
        self.sent = 0

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG002  the link's signature
        now_ns = time.perf_counter_ns()
        body = msgspec.json.decode(payload)
        self.answered_ns.setdefault(body["id"], now_ns)
        self.arrived.set()

    async def connected(self) -> None:
        await self.link.subscribe(topics.response(AREA, self.account), qos=1)
        self.ready.set()

    def send(self) -> str:
        number, self.sent = self.sent, self.sent + 1
        name = f"r{number}"
        request: wire.Request = wire.Cancel(v=1, id=name, order_id=f"r{number - 1}")
        if number % 2 == 0:
            request = wire.Place(v=1, id=name, interval_ms=START, direction="export", side="sell", quantity_w=100, price_mct=12_300)
        self.link.send(Message(topics.request(AREA, self.account), wire.encode(request), 1, False))
        return name

    async def answer_to(self, name: str) -> int:
        while name not in self.answered_ns:
            self.arrived.clear()
            await self.arrived.wait()
        return self.answered_ns[name]

    async def closed(self, requests: int) -> list[int]:
        times = []
        for _ in range(requests):
            started_ns = time.perf_counter_ns()
            times.append(await self.answer_to(self.send()) - started_ns)
        return times

    async def open(self, requests: int, per_s: int) -> list[int]:
        """Times from when each was to be sent."""
        intended: list[tuple[str, int]] = []
        began_ns = time.perf_counter_ns()
        for number in range(requests):
            due_ns = began_ns + number * 1_000_000_000 // per_s
            await asyncio.sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))
            intended.append((self.send(), due_ns))
        return [await self.answer_to(name) - due_ns for name, due_ns in intended]


async def measure(broker: Broker, requests: int, rates: list[int]) -> dict[str, dict[int, list[list[int]]]]:
    """Account -> requests per second (0: closed loop) -> blocks of times in nanoseconds."""
    senders = [Sender(broker, ECHO), Sender(broker, HOME)]
    keeping = [asyncio.create_task(sender.link.keep(sender.connected)) for sender in senders]
    found: dict[str, dict[int, list[list[int]]]] = {sender.account: {rate: [] for rate in (0, *rates)} for sender in senders}
    for sender in senders:
        await asyncio.wait_for(sender.ready.wait(), 20)
        await sender.closed(WARM_UP)
    for _ in range(max(1, requests // BLOCK)):
        for sender in senders:
            found[sender.account][0].append(await sender.closed(BLOCK))
    for rate in rates:
        for _ in range(max(1, min(requests, 4 * rate) // BLOCK)):
            for sender in senders:
                found[sender.account][rate].append(await sender.open(BLOCK, rate))
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    return found


def commit(directory: Path, commands: int) -> Spread:
    """The journal's append of one command, each in a transaction of its own."""
    journal = Journal(directory / "commit.sqlite")
    body = encode_command(Place(AREA, HOME, "r1", START, "export", "sell", 100, 12_300))
    times = []
    for number in range(1, commands + 1):
        started_ns = time.perf_counter_ns()
        journal.append(number, 0, [body], number, [], 0)
        times.append(time.perf_counter_ns() - started_ns)
    journal.close()
    return spread(times)


def compare(kind: Literal["mosquitto", "amqtt"] | None, requests: int, rates: list[int], directory: Path | None = None) -> Figures:
    """Echo and exchange in turns, and the commit, on the same broker and disk."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=directory) as where, start_broker(None, AREA, [HOME, ECHO], kind=kind) as broker:
        ready, leave = context.Event(), context.Event()
        journal = str(Path(where) / "journal.sqlite")
        other = context.Process(target=answer, args=(broker.host, broker.port, broker.exchange, journal, ready, leave), daemon=True)
        other.start()
        try:
            if not ready.wait(60):
                raise RuntimeError("the exchange did not start")
            found = asyncio.run(measure(broker, requests, rates))
        finally:
            leave.set()
            other.join(20)
        taken = commit(Path(where), 500)
    echo, exchange = found[ECHO], found[HOME]
    loops = {rate: (_spread(echo[rate]), _spread(exchange[rate])) for rate in rates}
    return Figures(broker.kind, _spread(echo[0]), _spread(exchange[0]), taken, _medians(echo[0]), _medians(exchange[0]), loops)


def _spread(blocks: list[list[int]]) -> Spread:
    return spread([time_ns for block in blocks for time_ns in block])


def _medians(blocks: list[list[int]]) -> list[float]:
    return [spread(block).p50_us for block in blocks]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.order_to_ack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", choices=("mosquitto", "amqtt"))
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 500], help="open loop: requests per second")
    options = parser.parse_args(arguments)
    figures = compare(options.broker, options.requests, options.rates)
    ratio = figures.taken_us / figures.allowed_us
    print(f"{figures.broker}, {figures.echo.count} requests each, closed loop, all blocks")
    print(f"  echo                      {figures.echo}")
    print(f"  order to acknowledgement  {figures.exchange}")
    print(f"  commit of one command     {figures.commit}")
    print("p50 of the best block, and of the median one")
    for name, blocks in (("echo", figures.echo_blocks_p50_us), ("order to acknowledgement", figures.exchange_blocks_p50_us)):
        print(f"  {name:<25} {min(blocks):.0f} us, {statistics.median(blocks):.0f} us")
    print(f"  2 x echo + commit         {figures.allowed_us:.0f} us: order to acknowledgement takes {ratio:.2f} of it")
    for rate, (echo, exchange) in figures.open_loop.items():
        print(f"open loop, {rate}/s")
        print(f"  echo                      {echo}")
        print(f"  order to acknowledgement  {exchange}")
    return 0 if ratio <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
