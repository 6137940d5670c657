"""What a home asks of a real exchange over real brokers, what it is told, and how it learns that it cannot be answered."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway import topics, wire
from gateway.broker import Broker
from gateway.client import Home, LateError, Limits, MalformedError, NoAnswerError, ThrottledError
from gateway.link import LinkError
from gateway.message import Message
from gateway.session import SessionSettings
from tests.exchange_at_work import ALLOCATION_W, AREA, FAILSAFE_W, T0, T1, Exchange, each_broker, home, new_journal, run, trading, until

broker, journal = each_broker, new_journal


def test_two_homes_trade_and_their_envelopes_follow(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice", "bob", watch_market=True) as (exchange, (alice, bob)):
            bought, blocked = bob.fills(), alice.fills()
            sale = await alice.place("sell", "export", T0, 1000, 12_300)
            purchase = await bob.place("buy", "export", T0, 600, 12_400)
            assert isinstance(sale, wire.Accepted)
            assert isinstance(purchase, wire.Accepted)
            filled, given = await anext(bought), await anext(blocked)
            assert (filled.quantity_w, filled.price_mct, filled.order_id) == (600, 12_300, purchase.order_id)
            assert (given.quantity_w, given.open_w, given.order_id) == (600, 400, sale.order_id)
            await until(lambda: bob.envelope[T0] == Limits(ALLOCATION_W + 600, ALLOCATION_W))
            await until(lambda: alice.envelope[T0] == Limits(ALLOCATION_W - 600, ALLOCATION_W))
            await until(lambda: (T0, "export") in bob.market and bob.market[T0, "export"].traded_w == 600)
            assert bob.market[T0, "export"].offers == (wire.Level(12_300, 400, 1),)
            await until(lambda: bob.state is not None and len(bob.state.intervals) == 2)
            assert [(i.interval_ms, i.phase) for i in bob.state.intervals] == [(T0, "continuous"), (T1, "continuous")]  # type: ignore[union-attr]
            exchange.gateway.session.mirror.check(exchange.node.engine)

    run(scenario)


def test_replace_cancel_mass_cancel_and_status_are_answered(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice") as (_, (alice,)):
            first = await alice.place("sell", "export", T0, 1000, 12_300, order_id="mine")
            assert isinstance(first, wire.Accepted)
            replaced = await alice.replace("mine", 800, 12_400)
            assert isinstance(replaced, wire.Replaced)
            assert (replaced.open_w, replaced.kept_priority) == (800, False)
            status = await alice.status()
            assert status.open_orders == (wire.OpenOrder("mine", T0, "export", "sell", 800, 12_400, 800),)
            assert isinstance(await alice.cancel("mine"), wire.Cancelled)
            refused = await alice.cancel("mine")
            assert isinstance(refused, wire.Rejected)
            assert refused.reason == "unknown_order"
            for price in (12_500, 12_600):
                await alice.place("sell", "export", T1, 500, price)
            gone = await alice.mass_cancel()
            assert isinstance(gone, wire.MassCancelled)
            assert gone.orders == 2
            assert (await alice.heartbeat()).sequence >= gone.sequence
            assert len(alice.latencies_ns) == 9
            assert alice.unanswered == 0

    run(scenario)


def test_limits_are_the_interval_s_and_the_failsafe_where_there_is_none(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        stranger = home(broker, "carol", failsafe=Limits(7, 8))
        assert stranger.limits(T0) == Limits(7, 8), "nothing heard yet"
        async with trading(journal, broker, "alice") as (_, (alice,)):
            whole = Limits(ALLOCATION_W, ALLOCATION_W)
            assert [alice.limits(at) for at in (T0, T1 - 1, T1)] == [whole] * 3, "no gap between intervals"
            outside = Limits(FAILSAFE_W, FAILSAFE_W)
            assert [alice.limits(at) for at in (T0 - 1, T1 + 900_000)] == [outside] * 2

    run(scenario)


def test_refusals_at_the_gate_are_typed_errors(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        slow = SessionSettings(rate_per_s=0.001, burst=4, reserve=1)
        async with trading(journal, broker, "alice", session=slow) as (exchange, (alice,)):
            with pytest.raises(MalformedError, match="quantity_w"):
                await alice.place("sell", "export", T0, -5, 12_300)
            with pytest.raises(LateError, match="was to expire"):
                await alice.place("sell", "export", T0, 1000, 12_300, expires_ms=exchange.market_ms - 1)
            await alice.place("sell", "export", T0, 1000, 12_300)
            await alice.place("sell", "export", T0, 1000, 12_300)
            with pytest.raises(ThrottledError) as throttled:
                await alice.place("sell", "export", T0, 1000, 12_300)
            assert throttled.value.retry_ms > 0
            assert isinstance(await alice.mass_cancel(), wire.MassCancelled), "the reserve is for cancels"

    run(scenario)


def test_malformed_oversized_and_foreign_messages_are_named_and_change_nothing(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice", "bob") as (exchange, (alice, bob)):
            before, heard = exchange.node.engine.sequence, alice.reports()
            own, foreign = topics.request(AREA, "alice"), topics.request(AREA, "bob")
            place = {"v": 1, "type": "place", "id": "x", "interval_ms": T0, "direction": "export", "side": "sell", "price_mct": 10}
            bad = [b"{", json.dumps({**place, "quantity_w": 0}).encode(), json.dumps({**place, "pad": "x" * 5000}).encode()]
            for payload in bad:
                alice._link.send(Message(own, payload, 1, False))
            alice._link.send(Message(foreign, json.dumps({**place, "quantity_w": 1000}).encode(), 1, False))
            answers = [await anext(heard) for _ in bad]
            assert [(a.field, a.id) for a in answers if isinstance(a, wire.Malformed)] == [("", ""), ("quantity_w", "x"), ("", "x")]
            await alice.heartbeat()
            await bob.heartbeat()
            assert exchange.node.engine.sequence == before
            assert (await bob.status()).open_orders == ()

    run(scenario)


def test_every_connection_sends_small_packets_at_once(broker: Broker) -> None:
    async def scenario() -> None:
        async with home(broker, "alice") as alice:
            sock = alice._link._client.socket()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    run(scenario)


def test_a_report_of_a_later_version_and_a_failing_callback_do_not_end_the_connection(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with trading(journal, broker, "alice") as (exchange, (alice,)):
            alice.on_report(lambda report: 1 / 0)
            exchange.gateway.link.send(Message(topics.response(AREA, "alice"), b'{"v":2,"type":"news"}', 1, False))
            await alice.heartbeat()
            assert alice.unreadable == 1
            assert alice.connections == 1
            await until(lambda: bool(failures))
            assert isinstance(failures[0]["exception"], ZeroDivisionError)

    run(scenario)


def test_a_mistake_in_the_gateway_is_raised_and_not_swallowed(broker: Broker, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Exchange(journal, broker) as exchange, home(broker, "alice") as alice:
            await exchange.open(T0)
            monkeypatch.setattr(exchange.gateway.session, "admit", lambda *_: 1 / 0)
            alice._link.send(Message(topics.request(AREA, "alice"), b"{}", 1, False))
            with pytest.raises(ZeroDivisionError):
                await exchange.gateway.failed()

    with pytest.raises(ZeroDivisionError):  # and leaving the gateway tells it, too
        run(scenario)


def test_without_an_exchange_a_request_ends_in_a_timeout_and_not_in_silence(broker: Broker) -> None:
    async def scenario() -> None:
        async with home(broker, "alice", timeout_s=0.3, resend_s=0.1) as alice:
            with pytest.raises(NoAnswerError, match=r"no answer to .* in 0.3 s"):
                await alice.place("sell", "export", T0, 1000, 12_300)
            assert alice.unanswered == 1
            assert alice.resent >= 1

    run(scenario)


def test_a_wrong_password_is_an_error_at_once(broker: Broker) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkError, match="refused"):
            async with Home(broker.host, broker.port, AREA, "alice", "wrong"):
                pass

    run(scenario)
