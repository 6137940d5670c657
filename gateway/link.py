"""One connection to a broker, kept up: the only file that knows which MQTT library is under it (aiomqtt over paho-mqtt 2).

aiomqtt's own way of receiving costs a task per message and its `publish` waits for each PUBACK; here a message is handed to a
callback in the event loop, and `send` returns at once while paho keeps the order, the packets in flight and what is unsent while
there is no connection (QoS 1 survives reconnects: at least once, so whoever receives must drop duplicates). TCP_NODELAY is set:
without it a QoS 1 round trip takes 88 ms instead of 0.5.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from aiomqtt.exceptions import MqttConnectError

from gateway.message import Message

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
INFLIGHT_MAX = 1000
BACKOFF_S = (0.05, 5.0)

logging.getLogger("gateway.link").addHandler(logging.NullHandler())  # reconnects are for who asks to see them

Receive = Callable[[str, bytes, bool], None]


class LinkError(Exception):
    """The broker cannot be reached or refuses us."""


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels until all have ended; raises the error that ended one of them before.

    Again and again, because aiomqtt turns a cancellation that comes while it disconnects into an error of its own.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


class Link(aiomqtt.Client):
    """`receive(topic, payload, retained)` is called for each message; `connected()` after each (re)connection.

    The broker keeps the session, but for one that is only passing by.
    """

    def __init__(
        self, host: str, port: int, user: str, password: str, client_id: str, receive: Receive, keepalive_s: int = 10,
        *, is_passing: bool = False,
    ) -> None:  # fmt: skip
        quiet = logging.getLogger("gateway.link")
        super().__init__(
            host, port, username=user or None, password=password or None, identifier=client_id, clean_session=is_passing,
            keepalive=keepalive_s, socket_options=(NODELAY,), max_inflight_messages=INFLIGHT_MAX, timeout=10, logger=quiet,
        )  # fmt: skip
        self._receive = receive
        self._unacknowledged: dict[int, int] = {}  # packet id -> how many QoS 1 messages were sent up to and with it
        self._waits_to_write = False
        self._loop_thread = threading.get_ident()
        self.sent = 0
        self.connections = 0

    def will(self, message: Message) -> None:
        """What the broker publishes if the next connection ends without a goodbye."""
        self._client.will_set(message.topic, message.payload, message.qos, message.retain)

    def send(self, message: Message) -> None:
        """Returns at once; with QoS 1 it is delivered in order when there is a connection, with QoS 0 only if there is one."""
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if message.qos:
            self.sent += 1
            self._unacknowledged[info.mid] = self.sent

    @property
    def delivered(self) -> int:
        """The broker has acknowledged all of the first so many QoS 1 messages."""
        return next(iter(self._unacknowledged.values()), self.sent + 1) - 1

    @property
    def address(self) -> str:
        return f"{self._hostname}:{self._port}"

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    def abort(self) -> None:
        """Cuts the connection without a goodbye, as a power failure would."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)

    async def keep(self, connected: Callable[[], Awaitable[None]], before: Callable[[], None] | None = None) -> None:
        """Connects, again and again, until cancelled. The first refusal for bad credentials is raised, once connected never."""
        pause_s = BACKOFF_S[0]
        while True:
            try:
                if before is not None:
                    before()
                self._connected = asyncio.get_running_loop().create_future()
                self._disconnected = asyncio.get_running_loop().create_future()
                async with self:
                    self.connections += 1
                    pause_s = BACKOFF_S[0]
                    await connected()
                    await asyncio.shield(self._disconnected)  # our own end must not look like the connection's
            except MqttConnectError as error:
                if not self.connections:
                    raise LinkError(f"{self._hostname}:{self._port} refused {self.identifier}: {error}") from error
            except (aiomqtt.MqttError, OSError) as error:
                self._logger.info("%s: connection lost or refused: %s", self.identifier, error)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  spreads reconnects, secures nothing
            pause_s = min(2 * pause_s, BACKOFF_S[1])

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:  # noqa: ARG002  paho's signature
        """Something is to be written. aiomqtt waits until the socket says that it can be: three system calls and two turns of the
        event loop for each packet. It nearly always can be, so try, and wait only if not."""
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(self._flush)
        else:  # CONNECT is sent by a worker thread
            self._loop.call_soon_threadsafe(self._flush)

    def _on_socket_unregister_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:  # noqa: ARG002
        if self._waits_to_write:
            self._waits_to_write = False
            self._loop.remove_writer(sock.fileno())

    def _flush(self) -> None:
        try:
            self._client.loop_write()
        except OSError as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
            return
        sock = self._client.socket()
        if sock is not None and self._client.want_write() and not self._waits_to_write:
            self._waits_to_write = True
            self._loop.add_writer(sock.fileno(), self._flush)

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, *_: Any) -> None:  # noqa: ARG002  paho's signature
        self._unacknowledged.pop(mid, None)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:  # noqa: ARG002  paho's signature
        payload = message.payload
        self._receive(message.topic, bytes(payload) if not isinstance(payload, bytes) else payload, bool(message.retain))
