"""The exchange's side of MQTT: carries bytes between the broker and the pure `session`, and decides nothing.

    broker -> receive -> session.admit -> node.submit      a command, or the replies at once
    node -> release(batch) -> session.route -> broker      after the batch is durable

Receiving never waits for sending: both are calls in the event loop. Market data, silence and the public clock are ticks. Prices of
rows and the indicative results of auctions come from the solver, in a thread, one interval after the other, and never for more than a
`SOLVING_SHARE` of the time: the longer it takes, the longer it is not asked. After each reconnect everything that should be retained is
published again, for a broker that may have forgotten it; requests that came meanwhile are waiting in the broker's session of this client.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from exchange.commands import Advance, Command, Place
from exchange.engine import Engine
from exchange.events import Event
from exchange.proposer import Indication
from gateway import topics
from gateway.link import Link, end
from gateway.message import Message
from gateway.session import Session, SessionSettings

CLIENT_ID = "limex-exchange-{area}"  # one exchange per area on a broker
SOLVING_SHARE = 0.05
LOG = logging.getLogger(__name__)


class Batch(Protocol):
    """What `exchange.node` releases."""

    @property
    def number(self) -> int: ...
    @property
    def commands(self) -> Iterable[Command]: ...
    @property
    def events(self) -> Iterable[Sequence[Event]]: ...


class Node(Protocol):
    @property
    def engine(self) -> Engine: ...
    def submit(self, command: Command) -> None: ...
    def confirm(self, number: int) -> None: ...
    async def indicated(self, area: str, interval_ms: int) -> Indication | None: ...


class Gateway:
    """Connects one node to one broker. Construct it when the node has recovered, give `release` to the node, then `async with` it.

    `market_ms` is the market's clock. `tick_s` is how often changed books are published, silence is looked for, and (every
    `state_every` ticks) the public clock is set.
    """

    def __init__(
        self,
        node: Node,
        host: str,
        port: int,
        credentials: tuple[str, str],
        area: str,
        market_ms: Callable[[], int],
        settings: SessionSettings | None = None,
        tick_s: float = 0.25,
        state_every: int = 4,
    ) -> None:
        self._node = node
        self._area = area
        self._market_ms = market_ms
        self._tick_s = tick_s
        self._state_every = state_every
        self.session = Session(node.engine, settings, secrets.token_hex(4), _elapsed_ms())
        self.link = Link(host, port, *credentials, CLIENT_ID.format(area=area), self._receive)
        self._ready = asyncio.Event()
        self._unconfirmed: deque[tuple[int, int]] = deque()  # batch number, QoS 1 messages sent up to and with it
        self._tasks: list[asyncio.Task[None]] = []

    def release(self, batch: Batch) -> None:
        """For the node to call, in the event loop, with each durable batch."""
        market_ms = self._market_ms()
        messages = self.session.route(batch.commands, batch.events, market_ms)
        self._send(self.session.outlets.falls(market_ms))
        self._send(messages)
        self._unconfirmed.append((batch.number, self.link.sent))
        if self.session.glance.is_waited_for:
            self._look()

    def _look(self) -> None:
        """What was seen in the engine's books leaves when it is durable."""
        self._send(self.session.glance.render(self._node.engine))

    async def _keep_pricing(self) -> None:
        """Asks the solver about one interval after the other, and rests as much longer than it took."""
        glance, took_s = self.session.glance, 0.0
        while True:
            await asyncio.sleep(max(self._tick_s, took_s / SOLVING_SHARE - took_s))
            took_s = 0.0
            place = glance.unpriced() if self.link.is_connected else None
            if place is None or not glance.is_priced(self._node.engine, place):
                continue
            began_s = time.monotonic()
            found = await self._node.indicated(*place)
            took_s = time.monotonic() - began_s
            if found is not None:
                glance.price(self._node.engine, place, found)

    async def __aenter__(self) -> Self:
        """Returns when connected, subscribed and with everything retained published."""
        watches = self.link.keep(self._connected), self._tick(), self._keep_pricing()
        self._tasks = [asyncio.create_task(watch) for watch in watches]
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((ready, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._leave()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self._leave()

    async def failed(self) -> None:
        """Returns never; raises what ended the connection's task, the ticks' or the solver's: a mistake of ours."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _leave(self) -> None:
        """Ends the tasks; an error that ended one of them before is raised."""
        self._send(self.session.outlets.render(self._market_ms()))
        self._send(self.session.marketdata.render())
        self._confirm()
        await end(self._tasks)

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:
            return  # nobody asks by a retained message; an old one would come again with every reconnect
        admitted = self.session.admit(topic, payload, self._market_ms(), _elapsed_ms())
        if isinstance(admitted, list):
            self._send(admitted)
            if self.session.glance.is_waited_for:
                self._look()
        else:
            self._bring_time(admitted)
            self._node.submit(admitted)

    def _bring_time(self, command: Command) -> None:
        """The engine knows no clock: where an order's time in force matters, it is told the time before the order comes."""
        market_ms, expiry_ms = self._market_ms(), self._node.engine.next_expiry_ms()
        is_timed = isinstance(command, Place) and command.time_in_force == "until"
        if is_timed or (expiry_ms is not None and expiry_ms <= market_ms):
            self._node.submit(Advance(market_ms))

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.link.send(message)

    def _confirm(self) -> None:
        """Tells the node up to which batch the broker has everything, so that only later ones are released again after a crash."""
        delivered = self.link.delivered
        while self._unconfirmed and self._unconfirmed[0][1] <= delivered:
            self._node.confirm(self._unconfirmed.popleft()[0])

    async def _connected(self) -> None:
        self.session.resume_hearing(_elapsed_ms())
        listened_to = topics.requests(self._area), topics.asks(self._area), topics.operator_request(self._area)
        await self.link.subscribe([(topic, 1) for topic in listened_to])
        self._send(self.session.refresh(self._market_ms()))
        LOG.info("connected; %d connections so far", self.link.connections)
        self._ready.set()

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(self._tick_s)
            ticks += 1
            self._confirm()
            if not self.link.is_connected:
                continue  # we cannot hear anyone: nobody is to blame for silence
            for command in self.session.silent(_elapsed_ms()):
                self._node.submit(command)
            self._send(self.session.outlets.render(self._market_ms()))
            self._send(self.session.marketdata.render())
            self._look()
            if ticks % self._state_every == 0:
                self._send(self.session.marketdata.render_state(area, self._market_ms()) for area in self.session.mirror.areas)


def _elapsed_ms() -> int:
    return time.monotonic_ns() // 1_000_000
