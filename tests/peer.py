"""A bare client of the broker, for tests of what is delivered: it publishes what it likes and keeps what it receives."""

from __future__ import annotations

import asyncio
import os

from gateway import topics
from gateway.broker import EXCHANGE, Broker
from gateway.link import Link
from gateway.message import Message
from tests.exchange_at_work import AREA, until

STATE = topics.state(AREA)


class Peer:
    """A bare client of one account that keeps what it receives."""

    def __init__(self, broker: Broker, account: str, client_id: str | None = None, password: str | None = None) -> None:
        user, secret = broker.exchange if account == EXCHANGE else broker.credentials(account)
        self.received: list[tuple[str, bytes]] = []
        self.retained: list[bytes] = []
        self.link = Link(broker.host, broker.port, user, password or secret, client_id or account, self._take)
        self._filters: list[tuple[str, int]] = []
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        self.received.append((topic, payload))
        if retained:
            self.retained.append(payload)

    async def _connected(self) -> None:
        if self._filters:
            await self.link.subscribe(self._filters)
        self._ready.set()

    def subscribed(self, *filters: str) -> Peer:
        self._filters = [(one, 1) for one in filters]
        return self

    async def __aenter__(self) -> Peer:
        self._task = asyncio.create_task(self.link.keep(self._connected))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            ready.cancel()
            self._task.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.link.send(Message(topic, payload, 1, retain))

    async def settled(self) -> None:
        """The broker has acknowledged all that this peer published."""
        await until(lambda: self.link.delivered == self.link.sent)

    def payloads(self, topic: str) -> list[bytes]:
        return [payload for where, payload in self.received if where == topic]


async def fence(exchange: Peer, *peers: Peer) -> None:
    """A public message that everyone must get; what was published before has arrived by then, or never will."""
    mark = os.urandom(8).hex().encode()
    exchange.publish(STATE, mark)
    for peer in peers:
        await until(lambda peer=peer: mark in peer.payloads(STATE), "the fence did not arrive")
