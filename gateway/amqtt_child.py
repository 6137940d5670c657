"""The fallback broker: amqtt 0.12.1 in a process of its own, with its holes closed. Run by `gateway.broker`, not by people.

What is wrong in exactly that version, and is overridden here (each has a test in `tests/test_broker*.py`):
 1. On connect, retained messages matching ANY client's subscription are pushed, and none is checked against access rules.
 2. A second connection with the same client id, in a clean session, leaves the first one running; in a persistent one the two
    fight over one session object. And all of it happens before the password was checked.
 3. A Last Will is published without a look at the access rules: anyone could send anyone's requests.
 4. A client that stops answering is never disconnected: the read timeout is ignored.
 5. A QoS 1 message is forgotten when the connection ends, or 5 s pass, before its PUBACK; and a PUBACK that comes while the
    packet is still being written is not recognised at all.
 6. A packet may announce 256 MB, and is read.
 7. Delivery looks at every subscription of every client for every message, and delivers once for each filter that matches.
 8. What waited for an absent client is delivered marked as retained, and without a bound on how much may wait.

The client id is the account's name, whatever the client says: so nobody can take over another's session. Subscriptions are granted
and filtered at delivery, as mosquitto does it. The process ends when its standard input does, which is when its parent ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import struct
import sys
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.constants import QOS_0, QOS_1
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import INCOMING

PACKET_BYTES_MAX = 1 << 18
QUEUED_MESSAGES_MAX = 100_000
CONNECT_TIMEOUT_S = 10.0
TAKEOVER_TIMEOUT_S = 5.0
BAD_PACKET = (ValueError, IndexError, struct.error, OSError, TimeoutError, AttributeError)


class Account(msgspec.Struct, frozen=True):
    """`secret` is the SHA-256 of the (random, long) password; `write` and `read` are topic filters."""

    secret: str
    write: tuple[str, ...]
    read: tuple[str, ...]


class Configuration(msgspec.Struct, frozen=True):
    port: int
    accounts: dict[str, Account]


class Reader(StreamReaderAdapter):  # type: ignore[misc]
    async def read(self, n: int = -1) -> bytes:
        if n > PACKET_BYTES_MAX:
            raise AMQTTError(f"a packet of {n} bytes")
        found: bytes = await super().read(n)
        return found


class Writer(StreamWriterAdapter):  # type: ignore[misc]
    def abort(self) -> None:
        """Ends the connection now, whatever is still unsent: close() would wait for a peer that may be frozen."""
        self.is_closed = True
        self._writer.transport.abort()


class Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One connection."""

    is_stopped = False

    async def stop(self) -> None:
        self.is_stopped = True
        await super().stop()

    def handle_read_timeout(self) -> None:
        if self.writer is not None:
            self.writer.abort()

    async def _handle_qos1_message_flow(self, app_message: Any) -> None:
        """Outgoing: in flight until acknowledged, over reconnects too; redelivered by `_retry_deliveries` at the next start."""
        if app_message.direction == INCOMING:
            await super()._handle_qos1_message_flow(app_message)
            return
        session = self.session
        if session is None:
            return
        session.inflight_out[app_message.packet_id] = app_message
        waiter = self._puback_waiters[app_message.packet_id] = asyncio.get_running_loop().create_future()
        packet = app_message.build_publish_packet(dup=app_message.publish_packet is not None)
        app_message.publish_packet = packet
        try:
            await self._send_packet(packet)
            if self.is_stopped:
                return
            app_message.puback_packet = await waiter
        finally:
            self._puback_waiters.pop(app_message.packet_id, None)
        session.inflight_out.pop(app_message.packet_id, None)


class FixedBroker(Broker):  # type: ignore[misc]
    def __init__(self, config: dict[str, Any], accounts: dict[str, Account]) -> None:
        super().__init__(config)
        self._accounts = accounts
        self._live: dict[str, tuple[Handler, Writer, asyncio.Event]] = {}
        self._verdicts: dict[tuple[str, str, Any], bool] = {}

    async def stream_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str) -> None:
        end = Writer(writer)
        try:
            await self._client_connected(listener_name, Reader(reader), end)
        except BAD_PACKET as error:
            self.logger.warning("connection ended: %r", error)
        finally:
            end.abort()

    async def _initialize_client_session(
        self, reader: Reader, writer: Writer, remote_address: str, remote_port: int
    ) -> tuple[Handler, Any]:
        """CONNECT, then the password, and only then a look at sessions; an older connection of the account is ended first."""
        connect = Handler.init_from_connect(reader, writer, self.plugins_manager)
        try:
            handler, fresh = await asyncio.wait_for(connect, CONNECT_TIMEOUT_S)
        except (*BAD_PACKET, NoDataError) as error:
            raise MQTTError(f"{remote_address}:{remote_port}: no CONNECT: {error!r}") from error
        if not await self._authenticate(fresh, None):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise MQTTError(f"{remote_address}:{remote_port}: not authorized")
        fresh.client_id = fresh.username
        fresh.keep_alive += (fresh.keep_alive + 1) // 2  # MQTT 3.1.1, 3.1.2.10: one and a half times the interval
        await self._end_older(fresh.client_id)
        older = self._sessions.get(fresh.client_id, (None, None))[0]
        if fresh.clean_session or older is None or older.clean_session:
            await self._delete_session(fresh.client_id)
            fresh.parent = 0
            return handler, fresh
        for name in ("will_flag", "will_message", "will_topic", "will_qos", "will_retain", "keep_alive"):
            setattr(older, name, getattr(fresh, name))
        older.parent = 1
        return handler, older

    async def _end_older(self, client_id: str) -> None:
        while (live := self._live.get(client_id)) is not None:
            handler, writer, ended = live
            await handler.handle_connection_closed()
            writer.abort()
            try:
                await asyncio.wait_for(ended.wait(), TAKEOVER_TIMEOUT_S)
            except TimeoutError:
                raise MQTTError(f"{client_id}: the older connection does not end") from None

    async def _handle_client_session(self, reader: Any, writer: Any, client_session: Any, handler: Any, *rest: Any) -> None:
        ended = asyncio.Event()
        self._live[client_session.client_id] = (handler, writer, ended)
        try:
            await super()._handle_client_session(reader, writer, client_session, handler, *rest)
        finally:
            del self._live[client_session.client_id]
            ended.set()

    async def _authenticate(self, session: Any, _: Any) -> bool:
        account = self._accounts.get(session.username or "")
        secret = hashlib.sha256((session.password or "").encode()).hexdigest()
        return account is not None and hmac.compare_digest(account.secret, secret)

    async def _topic_filtering(self, session: Any, topic: str, action: Any) -> bool:
        return action == Action.SUBSCRIBE or self._permits(session.username, topic, action)

    def _permits(self, username: str, topic: str, action: Any) -> bool:
        key = (username, topic, action)
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) > 100_000:
                self._verdicts.clear()
            account = self._accounts[username]
            filters = account.write if action == Action.PUBLISH else account.read
            verdict = self._verdicts[key] = not topic.startswith("$") and any(self._matches(topic, allowed) for allowed in filters)
        return verdict

    async def _handle_disconnect(self, client_session: Any, handler: Any, disconnect_waiter: Any) -> None:
        will = client_session.will_topic
        if client_session.will_flag and ("+" in will or "#" in will or not self._permits(client_session.username, will, Action.PUBLISH)):
            client_session.will_flag = False
        await super()._handle_disconnect(client_session, handler, disconnect_waiter)

    async def _publish_retained_messages_for_subscription(self, subscription: tuple[str, int], session: Any) -> None:
        topic_filter, qos = subscription
        held = [held_qos for holder, held_qos in self._subscriptions.get(topic_filter, ()) if holder is session]
        handler = self._get_handler(session)
        if not held or handler is None:
            return
        for topic, retained in self._retained_messages.items():
            if self._matches(topic, topic_filter) and self._permits(session.username, topic, Action.RECEIVE):
                flow = handler.mqtt_publish(topic, retained.data, min(max(qos, held[0]), retained.qos or QOS_0), retain=True)
                self._tasks_queue.append(asyncio.ensure_future(flow))

    async def _publish_session_retained_messages(self, session: Any) -> None:
        """What waited for an absent client is new to it, and so not marked as retained (MQTT 3.1.1, 3.3.1.3)."""
        handler = self._get_handler(session)
        while handler is not None and not session.retained_messages.empty():
            waiting = session.retained_messages.get_nowait()
            flow = handler.mqtt_publish(waiting.topic, waiting.data, waiting.qos, retain=False)
            self._tasks_queue.append(asyncio.ensure_future(flow))

    async def _run_broadcast(self, running_tasks: deque[Any]) -> None:
        """One message to whoever subscribed and may read it, once however many of a client's filters match."""
        broadcast = await self._broadcast_queue.get()
        topic = broadcast["topic"]
        filters = [topic] if topic in self._subscriptions else []
        filters += [wild for wild in self._subscriptions if ("+" in wild or "#" in wild) and self._matches(topic, wild)]
        receivers: dict[str, tuple[Any, int]] = {}
        for topic_filter in filters:
            for session, qos in self._subscriptions[topic_filter]:
                if self._permits(session.username, topic, Action.RECEIVE):
                    receivers[session.client_id] = (session, max(qos, receivers.get(session.client_id, (None, QOS_0))[1]))
        for session, subscribed_qos in receivers.values():
            qos = min(broadcast.get("qos", subscribed_qos), subscribed_qos)
            handler = self._get_handler(session)
            if session.transitions.state == "connected" and handler is not None:
                running_tasks.append(asyncio.ensure_future(handler.mqtt_publish(topic, broadcast["data"], qos, retain=False)))
            elif not session.clean_session and qos >= QOS_1 and session.retained_messages.qsize() < QUEUED_MESSAGES_MAX:
                await self._retain_broadcast_message(broadcast, qos, session)


async def serve(configuration: Configuration) -> None:
    """Runs until standard input ends."""
    listener = {"type": "tcp", "bind": f"127.0.0.1:{configuration.port}"}
    broker = FixedBroker({"listeners": {"default": listener}, "plugins": {}}, configuration.accounts)
    await broker.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await broker.shutdown()


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("transitions").setLevel(logging.WARNING)
    configuration = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Configuration)
    asyncio.run(serve(configuration))


if __name__ == "__main__":
    main()
