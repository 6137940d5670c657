"""Plain numbers for home automation: contiguous at every boundary, failsafe where nothing covers the moment, told only when they change."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exchange import commands as c
from gateway import topics, wire
from gateway.broker import EXCHANGE, READER, start_broker
from gateway.cli import main
from gateway.message import Message
from gateway.plain import UNKNOWN, scalars
from tests.exchange_at_work import ALLOCATION_W, AREA, BROKERS, FAILSAFE_W, NAMES, SETTINGS, T0, T1, Exchange, run, until
from tests.peer import Peer, fence
from tests.test_session import Bench

QUARTER, END = SETTINGS.interval_ms, T1 + SETTINGS.interval_ms
FIRST, SECOND = wire.Control(T0, QUARTER, 5_000, 7_000), wire.Control(T1, QUARTER, 4_000, 6_000)


def at(market_ms: int, *controls: wire.Control) -> dict[str, str]:
    default = wire.Limits(1_500, 2_000)
    return scalars(wire.Envelope(customer="alice", sequence=1, issued_ms=0, default=default, controls=controls), market_ms)


@pytest.mark.parametrize(
    ("market_ms", "limit", "until_ms", "after"),
    [
        (T0 - 1, ("1500", "2000"), T0, ("5000", "7000")),
        (T0, ("5000", "7000"), T1, ("4000", "6000")),
        (T1 - 1, ("5000", "7000"), T1, ("4000", "6000")),
        (T1, ("4000", "6000"), END, ("1500", "2000")),
        (END, ("1500", "2000"), None, ("1500", "2000")),
    ],
)
def test_each_moment_has_its_limits_and_those_that_follow(
    market_ms: int, limit: tuple[str, str], until_ms: int | None, after: tuple[str, str]
) -> None:
    found = at(market_ms, FIRST, SECOND)
    assert (found["limit/export_w"], found["limit/import_w"]) == limit
    assert (found["next/export_w"], found["next/import_w"]) == after
    assert (found["failsafe/export_w"], found["failsafe/import_w"]) == ("1500", "2000")
    assert found["limit/until"] == (UNKNOWN if until_ms is None else iso(until_ms))


def iso(market_ms: int) -> str:
    return datetime.fromtimestamp(market_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_gap_is_the_failsafe_until_the_next_interval_begins() -> None:
    late = wire.Control(END, QUARTER, 3_000, 3_000)
    found = at(T1, FIRST, late)
    assert (found["limit/export_w"], found["limit/until"], found["next/export_w"]) == ("1500", iso(END), "3000")
    assert at(T0, FIRST, late)["next/export_w"] == "1500"


def told(messages: list[Message], customer: str = "alice") -> dict[str, str]:
    prefix = topics.of_customer(AREA, customer, "")
    assert all(message.retain and message.qos == 1 for message in messages)
    return {m.topic.removeprefix(prefix): m.payload.decode() for m in messages if m.topic.startswith(prefix) and "csip" not in m.topic}


def test_a_trade_is_told_once_at_the_next_tick_and_only_to_whom_it_concerns() -> None:
    bench = Bench()
    outlets = bench.session.outlets
    first = told(outlets.render(T0))
    assert (first["limit/export_w"], first["limit/import_w"]) == (str(ALLOCATION_W), str(ALLOCATION_W))
    bench.place("alice", "sell", 100)
    bench.place("bob", "buy", 100)
    assert outlets.falls(T0) == [], "a trade can wait for the tick"
    messages = outlets.render(T0)
    assert told(messages) == {"limit/export_w": str(ALLOCATION_W - 1000)}
    assert told(messages, "bob") == {"limit/export_w": str(ALLOCATION_W + 1000)}
    assert told(messages, "carol") == {}
    assert outlets.render(T0) == []


def test_at_a_boundary_the_new_values_are_there_before_anything_else_is_told() -> None:
    bench = Bench()
    outlets = bench.session.outlets
    outlets.render(T0)
    bench.place("alice", "sell", 100)
    bench.place("bob", "buy", 100)
    outlets.render(T0)
    assert outlets.falls(T1 - 1) == []
    assert told(outlets.falls(T1)) == {
        "limit/export_w": str(ALLOCATION_W), "limit/until": iso(END), "next/export_w": str(FAILSAFE_W), "next/import_w": str(FAILSAFE_W)
    }  # fmt: skip
    assert told(outlets.falls(END))["limit/export_w"] == str(FAILSAFE_W)


def test_a_lowered_limit_does_not_wait_for_the_tick() -> None:
    bench = Bench()
    outlets = bench.session.outlets
    outlets.render(T0)
    limit = (2_000, ALLOCATION_W, ALLOCATION_W) + (ALLOCATION_W,) * 3
    rows_hash = bench.engine.areas[AREA].intervals[T0].rows_hash
    bench.apply(c.ChangeRows(AREA, T0, rows_hash, limit, "limits", "test"))
    fallen = outlets.falls(T0)
    assert told(fallen) == {"limit/export_w": "2000"}
    assert any(message.topic == topics.csip(AREA, "alice") and b"<value>2000</value>" in message.payload for message in fallen)


def test_a_broker_that_forgot_is_told_everything_again() -> None:
    bench = Bench()
    first = bench.session.outlets.render(T0)
    again = [message for message in bench.session.refresh(T0) if message in first]
    assert sorted(again) == sorted(first)
    assert len(told(first)) == 7


def test_documents_of_many_customers_are_made_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.outlets.DOCUMENTS_MAX", 2)
    outlets = Bench().session.outlets
    counts = [sum("/csip" in message.topic for message in outlets.render(T0)) for _ in range(3)]
    assert counts == [4, 2, 0]


@pytest.mark.parametrize("kind", BROKERS)
def test_numbers_and_documents_reach_their_owner_and_its_reader_and_nobody_else(kind: Any) -> None:
    names = ("limit/export_w", "limit/until", "next/import_w", "failsafe/export_w", "csip", "csip/default")
    own = [topics.of_customer(AREA, "alice", name) for name in names]

    async def scenario() -> None:
        with start_broker(None, AREA, NAMES, kind=kind) as broker:
            async with AsyncExitStack() as stack:
                exchange = await stack.enter_async_context(Peer(broker, EXCHANGE))
                for topic in own:
                    exchange.publish(topic, b"private", retain=True)
                peers = [
                    await stack.enter_async_context(Peer(broker, account).subscribed("#", *own, topics.state(AREA)))
                    for account in ("alice", "alice" + READER, "bob", "bob" + READER)
                ]
                await fence(exchange, *peers)
                received = [{topic for topic, _ in peer.received} - {topics.state(AREA)} for peer in peers]
                assert received == [set(own), set(own), set(), set()]

    run(scenario)


def test_a_running_exchange_publishes_them_and_moves_on_with_its_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        with start_broker(None, AREA, NAMES) as broker:
            async with Exchange(tmp_path / "j.sqlite", broker) as exchange:
                await exchange.open(T0, T1)
                async with Peer(broker, "bob").subscribed(*topics.plain(AREA, "bob"), topics.csip(AREA, "bob")) as bob:
                    limit, documents = topics.of_customer(AREA, "bob", "limit/export_w"), topics.csip(AREA, "bob")
                    await until(lambda: bob.payloads(limit) == [str(FAILSAFE_W).encode()] and bool(bob.payloads(documents)))
                    exchange.market_ms = T0
                    await until(lambda: bob.payloads(limit)[1:] == [str(ALLOCATION_W).encode()])
                    await until(lambda: b"<currentStatus>1<" in bob.payloads(documents)[-1])
                user, password = broker.reader("bob")
                url = f"mqtt://{user}:{password}@{broker.host}:{broker.port}"
                assert await asyncio.to_thread(main, ["csip", "bob", "--broker", url, "--area", AREA]) == 0
                assert f"<value>{ALLOCATION_W}</value>" in capsys.readouterr().out
                assert await asyncio.to_thread(main, ["csip", "bob", "--default", "--broker", url, "--area", AREA]) == 0
                assert f"<value>{FAILSAFE_W}</value>" in capsys.readouterr().out

    run(scenario)
