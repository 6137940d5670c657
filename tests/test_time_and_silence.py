"""Time over the wire: an order ends when it said it would, and a home that hears nothing falls back to its failsafe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import wire
from gateway.broker import Broker, start_broker
from gateway.client import Limits
from tests.exchange_at_work import ALLOCATION_W, AREA, FAILSAFE_W, NAMES, T0, run, trading, until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with start_broker(None, AREA, NAMES, tmp_path) as started:
        yield started


def test_an_order_whose_time_has_passed_is_refused_though_no_gate_moved_the_clock(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trading(tmp_path / "j.sqlite", broker, "alice", "bob") as (exchange, (alice, bob)):
            ends_ms = exchange.market_ms + 100
            resting = await alice.place("sell", "export", T0, 100, 1000, "until", until_ms=ends_ms)
            assert isinstance(resting, wire.Accepted)
            exchange.market_ms += 100
            late = await bob.place("buy", "export", T0, 100, 1000, "until", until_ms=ends_ms)
            assert isinstance(late, wire.Rejected)
            assert late.reason == "expired"
            crossing = await bob.place("buy", "export", T0, 100, 1000)
            assert isinstance(crossing, wire.Accepted)
            assert (await bob.status()).open_orders[0].open_w == 100, "it met nobody: the sale had expired"
            assert (await alice.status()).open_orders == ()

    run(scenario)


def test_a_home_that_hears_nothing_for_long_obeys_its_failsafe(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trading(tmp_path / "j.sqlite", broker, "alice", heartbeat_s=0.1, silent_s=0.6) as (_, (alice,)):
            whole, failsafe = Limits(ALLOCATION_W, ALLOCATION_W), Limits(FAILSAFE_W, FAILSAFE_W)
            await asyncio.sleep(0.8)
            assert alice.limits(T0) == whole, "heartbeats are answered"
            broker.stop()
            await until(lambda: alice.limits(T0) == failsafe, "it went on as if nothing had happened")

    run(scenario)


def test_who_asks_for_envelopes_is_told_the_known_one_first(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trading(tmp_path / "j.sqlite", broker, "alice") as (_, (alice,)):
            async for envelope in alice.envelopes():
                assert envelope == alice.last_envelope
                break

    run(scenario)
