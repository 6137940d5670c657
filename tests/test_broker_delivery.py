"""What the broker owes who connects: all of it, once, in order, after an absence too, whatever others send to its port."""

from __future__ import annotations

import asyncio
import socket
import struct

from gateway import topics
from gateway.broker import EXCHANGE, Broker
from tests.exchange_at_work import AREA, each_broker, run, until
from tests.peer import STATE, Peer, fence

RESPONSE = topics.response(AREA, "alice")
REQUEST = topics.request(AREA, "alice")

broker = each_broker


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


def connect_packet(user: str, password: str, will_topic: str, will: bytes, keepalive_s: int) -> bytes:
    """MQTT 3.1.1 CONNECT with user, password and a will of QoS 1, in a persistent session."""
    head = b"\x00\x04MQTT\x04" + bytes([0b11001100]) + struct.pack("!H", keepalive_s)
    return packet(0x10, head + b"".join(map(text, (user.encode(), will_topic.encode(), will, user.encode(), password.encode()))))


def text(content: bytes) -> bytes:
    return struct.pack("!H", len(content)) + content


def packet(kind: int, body: bytes) -> bytes:
    length = len(body)
    return bytes([kind]) + (bytes([length]) if length < 128 else bytes([length % 128 | 0x80, length // 128])) + body
