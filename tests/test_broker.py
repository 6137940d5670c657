"""Who can make whom receive what: proven by what is delivered, on both brokers, with clients that try."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway import topics
from gateway.broker import EXCHANGE, Broker, BrokerError, access_rules, find_mosquitto, start_broker
from gateway.link import Link, LinkError
from gateway.message import Message
from tests.exchange_at_work import AREA, BROKERS, NAMES, needs_mosquitto, run, until

ENVELOPE = topics.envelope(AREA, "alice")
RESPONSE = topics.response(AREA, "alice")
REQUEST = topics.request(AREA, "alice")
STATE = topics.state(AREA)


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with start_broker(None, AREA, NAMES, kind=request.param) as running:
        yield running


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


def test_private_messages_reach_their_owner_and_nobody_else(broker: Broker) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            exchange = await stack.enter_async_context(Peer(broker, EXCHANGE))
            alice = await stack.enter_async_context(Peer(broker, "alice").subscribed(ENVELOPE, RESPONSE, STATE))
            bob = await stack.enter_async_context(Peer(broker, "bob").subscribed(ENVELOPE, RESPONSE, REQUEST, STATE))
            carol = await stack.enter_async_context(Peer(broker, "carol").subscribed("#", "limex/v1/+/c/+/+", "limex/#"))
            exchange.publish(RESPONSE, b"report")
            exchange.publish(ENVELOPE, b"envelope", retain=True)
            await fence(exchange, alice, bob, carol)
            assert alice.payloads(RESPONSE) == [b"report"]
            assert alice.payloads(ENVELOPE) == [b"envelope"]
            for foreign in (bob, carol):
                assert {topic for topic, _ in foreign.received} == {STATE}

    run(scenario)


def test_a_retained_envelope_is_not_leaked_to_who_connects_later(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange, Peer(broker, "alice").subscribed(ENVELOPE, STATE) as alice:
            exchange.publish(ENVELOPE, b"secret", retain=True)
            await until(lambda: b"secret" in alice.payloads(ENVELOPE))
            async with Peer(broker, "bob").subscribed(STATE) as bob, Peer(broker, "carol").subscribed("#", ENVELOPE) as carol:
                await fence(exchange, alice, bob, carol)
                assert {topic for topic, _ in bob.received} | {topic for topic, _ in carol.received} == {STATE}
            async with Peer(broker, "bob").subscribed(STATE) as bob:  # its session is a known one now
                await fence(exchange, bob)
                assert {topic for topic, _ in bob.received} == {STATE}
        async with Peer(broker, "alice").subscribed(ENVELOPE) as alice:
            await until(lambda: b"secret" in alice.payloads(ENVELOPE), "its owner gets what was retained")

    run(scenario)


def test_what_is_retained_comes_only_to_who_subscribed(broker: Broker) -> None:
    async def scenario() -> None:
        reply = topics.response(AREA, "bob")
        async with Peer(broker, EXCHANGE) as exchange, Peer(broker, "alice").subscribed(STATE) as alice:
            exchange.publish(STATE, b"retained", retain=True)
            await until(lambda: alice.payloads(STATE) == [b"retained"])
            async with Peer(broker, "bob").subscribed(reply) as bob:
                exchange.publish(reply, b"end")
                await until(lambda: (reply, b"end") in bob.received)
                assert bob.received == [(reply, b"end")]

    run(scenario)


def test_only_own_requests_reach_the_exchange(broker: Broker) -> None:
    async def scenario() -> None:
        async with (
            Peer(broker, EXCHANGE).subscribed("limex/v1/#") as exchange,
            Peer(broker, "alice") as alice,
            Peer(broker, "bob") as bob,
        ):
            for topic in (REQUEST, RESPONSE, ENVELOPE, STATE, topics.book(AREA, 0, "export"), topics.request("mv", "bob"), "other"):
                bob.publish(topic, b"forged", retain=True)
            bob.publish(topics.request(AREA, "bob"), b"bob's own")
            alice.publish(REQUEST, b"alice's own")
            await bob.settled()
            await until(lambda: b"bob's own" in exchange.payloads(topics.request(AREA, "bob")))
            await until(lambda: b"alice's own" in exchange.payloads(REQUEST))
            assert not [topic for topic, payload in exchange.received if payload == b"forged"]
        async with Peer(broker, EXCHANGE).subscribed("limex/v1/#") as exchange:
            await fence(exchange, exchange)
            assert not [topic for topic, payload in exchange.received if payload == b"forged"], "nor is it retained"

    run(scenario)


def test_a_last_will_cannot_send_another_s_request(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE).subscribed(topics.requests(AREA), STATE) as exchange:
            mallory, bob = Peer(broker, "carol"), Peer(broker, "bob")
            mallory.link.will(Message(REQUEST, b"forged", 1, True))
            bob.link.will(Message(topics.request(AREA, "bob"), b"bob's will", 1, False))
            async with mallory, bob:
                mallory.link.abort()
                bob.link.abort()
                await until(lambda: b"bob's will" in exchange.payloads(topics.request(AREA, "bob")))
                await until(lambda: mallory.link.connections > 1)
                await fence(exchange, exchange)
                assert exchange.payloads(REQUEST) == []

    run(scenario)


def test_a_goodbye_sends_no_will(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE).subscribed(topics.requests(AREA), STATE) as exchange:
            bob = Peer(broker, "bob")
            bob.link.will(Message(topics.request(AREA, "bob"), b"will", 1, False))
            async with bob:
                pass
            await fence(exchange, exchange)
            assert exchange.payloads(topics.request(AREA, "bob")) == []

    run(scenario)


@pytest.mark.parametrize(("account", "password"), [("alice", "wrong"), (EXCHANGE, "wrong")])
def test_a_wrong_password_is_refused_with_a_clear_error(broker: Broker, account: str, password: str) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkError, match=r"refused .*[Nn]ot authori[sz]ed"):
            async with Peer(broker, account, password=password):
                pass

    run(scenario)


def test_nobody_takes_over_another_s_session_by_its_client_id(broker: Broker) -> None:
    async def scenario() -> None:
        async with (
            Peer(broker, EXCHANGE) as exchange,
            Peer(broker, "alice", client_id="alice").subscribed(RESPONSE, STATE) as alice,
            Peer(broker, "bob", client_id="alice").subscribed(STATE) as bob,
        ):
            exchange.publish(RESPONSE, b"still hers")
            await fence(exchange, alice, bob)
            assert alice.payloads(RESPONSE) == [b"still hers"]
            assert bob.payloads(RESPONSE) == []
            assert alice.link.connections == 1
            with pytest.raises(LinkError):
                async with Peer(broker, "bob", client_id="alice", password="wrong"):
                    pass
            await fence(exchange, alice)
            assert alice.link.connections == 1, "a wrong password ends nobody's connection"

    run(scenario)


def test_a_newer_connection_of_the_account_ends_the_older_one(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange:
            older = Peer(broker, "alice").subscribed(RESPONSE, STATE)
            async with older:
                assert older._task is not None
                reconnects = older._task  # the older one must not fight back while we look
                original = older.link.connections
                async with Peer(broker, "alice").subscribed(RESPONSE, STATE) as newer:
                    await until(lambda: not older.link.is_connected or older.link.connections > original)
                    reconnects.cancel()
                    await until(lambda: not older.link.is_connected)
                    await until(lambda: newer.link.is_connected)
                    await newer.link.subscribe([(RESPONSE, 1), (STATE, 1)])
                    exchange.publish(RESPONSE, b"once")
                    await fence(exchange, newer)
                    assert newer.payloads(RESPONSE) == [b"once"]

    run(scenario)


def test_what_was_sent_while_away_is_delivered_on_return_and_only_to_its_owner(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange:
            async with Peer(broker, "alice").subscribed(RESPONSE):
                pass
            for n in range(50):
                exchange.publish(RESPONSE, str(n).encode())
            await exchange.settled()
            async with Peer(broker, "bob").subscribed(STATE) as bob, Peer(broker, "alice").subscribed(RESPONSE, STATE) as alice:
                await fence(exchange, alice, bob)
                assert list(map(int, alice.payloads(RESPONSE))) == list(range(50)), "in order"
                assert alice.retained == [], "they are new to her"
                assert bob.payloads(RESPONSE) == []

    run(scenario)


def test_what_was_not_acknowledged_when_the_connection_broke_comes_again(broker: Broker) -> None:
    async def scenario() -> None:
        user, password = broker.credentials("alice")
        async with Peer(broker, EXCHANGE) as exchange:
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(connect_packet(user, password, REQUEST, b"will", keepalive_s=60))
            writer.write(packet(0x82, b"\x00\x01" + text(RESPONSE.encode()) + b"\x01"))
            await reader.readexactly(4 + 5)  # CONNACK, SUBACK
            exchange.publish(RESPONSE, b"report")
            assert b"report" in await reader.readuntil(b"report")
            writer.transport.abort()  # without a PUBACK
            async with Peer(broker, "alice") as alice:
                await until(lambda: alice.payloads(RESPONSE) == [b"report"], "it is lost")

    run(scenario)


def test_overlapping_subscriptions_deliver_once(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange, Peer(broker, "alice").subscribed("#", RESPONSE, "limex/#", STATE) as alice:
            exchange.publish(RESPONSE, b"report")
            await fence(exchange, alice)
            assert alice.payloads(RESPONSE) == [b"report"]

    run(scenario)


def test_a_burst_that_is_larger_than_the_socket_s_buffers_arrives_whole_and_in_order(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange, Peer(broker, "alice").subscribed(RESPONSE) as alice:
            for number in range(300):
                exchange.publish(RESPONSE, number.to_bytes(2, "big") * 20_000)
            await until(lambda: len(alice.received) == 300)
            assert [int.from_bytes(payload[:2], "big") for _, payload in alice.received] == list(range(300))
            await exchange.settled()

    run(scenario)


def test_a_client_that_stops_answering_is_disconnected_and_its_will_is_sent(broker: Broker) -> None:
    """A frozen process: its kernel keeps the connection open, but no ping comes."""

    async def scenario() -> None:
        async with Peer(broker, EXCHANGE).subscribed(topics.requests(AREA)) as exchange:
            user, password = broker.credentials("bob")
            frozen = socket.create_connection((broker.host, broker.port))
            frozen.sendall(connect_packet(user, password, topics.request(AREA, "bob"), b"frozen", keepalive_s=1))
            try:
                await until(lambda: b"frozen" in exchange.payloads(topics.request(AREA, "bob")), "no will")
            finally:
                frozen.close()

    run(scenario)


GARBAGE = (b"\x00" * 40, b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\x7f", b"\x30\x05hello", b"\x10\x0c\x00\x04MQTT\x04\xff")


def test_garbage_on_the_port_disturbs_nobody(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE) as exchange, Peer(broker, "alice").subscribed(STATE) as alice:
            for garbage in GARBAGE:
                with socket.create_connection((broker.host, broker.port)) as sock:
                    sock.sendall(garbage)
                    await fence(exchange, alice)
                await fence(exchange, alice)
            assert alice.link.connections == 1

    run(scenario)


def test_an_enormous_packet_ends_only_its_sender_s_connection(broker: Broker) -> None:
    async def scenario() -> None:
        async with Peer(broker, EXCHANGE).subscribed(topics.requests(AREA), STATE) as exchange, Peer(broker, "bob") as bob:
            bob.publish(topics.request(AREA, "bob"), b"x" * 3_000_000)
            await until(lambda: bob.link.connections > 1 or not bob.link.is_connected)
            await fence(exchange, exchange)
            assert exchange.payloads(topics.request(AREA, "bob")) == []
            assert exchange.link.connections == 1

    run(scenario)


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BROKERS)
def test_stop_ends_the_process_and_removes_its_files(kind: Any, tmp_path: Path) -> None:
    broker = start_broker(None, AREA, NAMES, tmp_path, kind)
    (directory,) = tmp_path.iterdir()
    assert directory.stat().st_mode & 0o077 == 0
    assert broker.kind == kind
    assert broker.is_running
    broker._process.kill()  # type: ignore[union-attr]
    broker._process.wait()  # type: ignore[union-attr]
    assert not broker.is_running
    broker.restart()
    assert broker.is_running
    broker.stop()
    broker.stop()
    assert list(tmp_path.iterdir()) == []
    assert not _listens(broker.port)


@pytest.mark.parametrize("kind", BROKERS)
def test_the_broker_ends_with_a_parent_that_was_killed(kind: str) -> None:
    code = (
        "import sys, time; from gateway.broker import start_broker; b = start_broker(None, 'lv', ['a'], kind=sys.argv[1]);"
        "print(b.process_id, b.port, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, kind], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child, port = map(int, parent.stdout.readline().split())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    give_up = time.monotonic() + 10
    while _listens(port):
        assert time.monotonic() < give_up, f"broker {child} outlives its parent"
        time.sleep(0.02)


def test_a_configured_url_is_used_and_nothing_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        broker = start_broker(f"mqtt://us%40er:pa%3Ass@127.0.0.1:{port}", AREA, NAMES)
        assert (broker.kind, broker.host, broker.port, broker.process_id) == ("url", "127.0.0.1", port, None)
        assert broker.exchange == ("us@er", "pa:ss")
        with pytest.raises(BrokerError, match="no password for customer alice"):
            broker.credentials("alice")  # the exchange's own are not for homes
        listed = start_broker(f"mqtt://x:y@127.0.0.1:{port}", AREA, NAMES, passwords={"alice": "p"})
        assert listed.credentials("alice") == ("alice", "p")
        with pytest.raises(BrokerError, match="no password for customer bob"):
            listed.credentials("bob")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://localhost:1", "mqtt://user:password@host:port"),
        ("mqtt://", "mqtt://user:password@host:port"),
        ("mqtt://localhost:many", "not a number"),
        ("mqtt://127.0.0.1:1", "nothing answers at 127.0.0.1:1"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_clearly(url: str, message: str) -> None:
    with pytest.raises(BrokerError, match=message):
        start_broker(url, AREA, NAMES)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "a:b", "~exchange", "x" * 65, "a\n"])
def test_a_name_that_could_bend_the_rules_is_no_account(name: str) -> None:
    with pytest.raises(BrokerError, match="cannot be an area or an account"):
        start_broker(None, AREA, [name])


def test_the_rules_are_written_for_an_operator_s_own_mosquitto() -> None:
    assert access_rules("lv", ["h1"]).splitlines() == [
        "user h1",
        "topic write limex/v1/lv/c/h1/req",
        "topic read limex/v1/lv/c/h1/rsp",
        "topic read limex/v1/lv/c/h1/envelope",
        "topic read limex/v1/lv/c/h1/device",
        "topic read limex/v1/lv/c/h1/limit/+",
        "topic read limex/v1/lv/c/h1/next/+",
        "topic read limex/v1/lv/c/h1/failsafe/+",
        "topic read limex/v1/lv/c/h1/csip",
        "topic read limex/v1/lv/c/h1/csip/default",
        "topic read limex/v1/lv/c/h1/drop",
        "topic read limex/v1/lv/c/h1/view/+/+",
        "topic read limex/v1/lv/md/#",
        "topic read limex/v1/lv/state",
    ]


def test_without_mosquitto_amqtt_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.broker.find_mosquitto", lambda: None)
    with pytest.raises(BrokerError, match="neither on PATH"):
        start_broker(None, AREA, NAMES, kind="mosquitto")
    with start_broker(None, AREA, NAMES) as broker:
        assert broker.kind == "amqtt"


@needs_mosquitto
def test_with_mosquitto_it_is_taken_even_if_sbin_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_mosquitto() is not None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def connect_packet(user: str, password: str, will_topic: str, will: bytes, keepalive_s: int) -> bytes:
    """MQTT 3.1.1 CONNECT with user, password and a will of QoS 1, in a persistent session."""
    head = b"\x00\x04MQTT\x04" + bytes([0b11001100]) + struct.pack("!H", keepalive_s)
    return packet(0x10, head + b"".join(map(text, (user.encode(), will_topic.encode(), will, user.encode(), password.encode()))))


def text(content: bytes) -> bytes:
    return struct.pack("!H", len(content)) + content


def packet(kind: int, body: bytes) -> bytes:
    length = len(body)
    return bytes([kind]) + (bytes([length]) if length < 128 else bytes([length % 128 | 0x80, length // 128])) + body
