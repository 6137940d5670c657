"""Who can make whom receive what: proven by what is delivered, on both brokers, with clients that try."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from gateway import topics
from gateway.broker import EXCHANGE, Broker
from gateway.link import LinkError
from gateway.message import Message
from tests.exchange_at_work import AREA, each_broker, run, until
from tests.peer import STATE, Peer, fence

ENVELOPE = topics.envelope(AREA, "alice")
RESPONSE = topics.response(AREA, "alice")
REQUEST = topics.request(AREA, "alice")

broker = each_broker


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
