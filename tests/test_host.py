"""The exchange at work: it survives its broker, refuses another area's journal, and stops when it cannot remember."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import InstallRows, OpenArea, OpenInterval
from exchange.journal import JournalError
from exchange.recovery import Batch
from gateway import wire
from gateway.broker import Broker, start_broker
from gateway.client import Home
from gateway.clock import Schedule
from gateway.host import Host
from riskcheck.polytope import Polytope

NAMES = ("anna", "ben")
HOUR = 3_600_000
SCHEDULE = Schedule(HOUR, 2 * HOUR, 0)


class Plan:
    """An area without network limits."""

    area = "lv"
    rows = Polytope.unlimited(4)

    def __init__(self, rating_w: int = 10_000) -> None:
        self.rating_w = rating_w

    def opening(self) -> tuple[OpenArea, InstallRows]:
        terms = tuple(CustomerTerms(name, self.rating_w, self.rating_w, 0, 0) for name in NAMES)
        return OpenArea("lv", MarketSettings(interval_ms=HOUR), terms), InstallRows("lv", self.rows.to_bytes())

    def open_interval(self, interval_ms: int) -> OpenInterval:
        return OpenInterval("lv", interval_ms, self.rows.content_hash, (5000, 5000), (5000, 5000))


def now_ms() -> int:
    return int(time.time() * 1000)


def next_ms() -> int:
    return (now_ms() // HOUR + 1) * HOUR


def host(path: Path, broker: Broker, plan: Plan | None = None) -> Host:
    def listen(_batch: Batch) -> None:
        """Nobody."""

    return Host(path, broker, plan or Plan(), SCHEDULE, now_ms, listen)


def test_a_broker_that_dies_is_started_again_and_everybody_returns(tmp_path: Path) -> None:
    async def run() -> None:
        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            anna = Home(broker.host, broker.port, "lv", "anna", broker.credentials("anna")[1])
            async with host(tmp_path / "j.sqlite", broker), anna as home:
                first = await home.place("sell", "export", next_ms(), 100, 1000)
                assert isinstance(first, wire.Accepted)
                assert broker.process_id is not None
                os.kill(broker.process_id, signal.SIGKILL)
                second = await asyncio.wait_for(home.place("sell", "export", next_ms(), 100, 1010), 30)
                assert isinstance(second, wire.Accepted)

    asyncio.run(run())


def test_a_journal_of_other_customers_is_refused(tmp_path: Path) -> None:
    async def run(plan: Plan) -> None:
        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            async with host(tmp_path / "j.sqlite", broker, plan):
                pass

    asyncio.run(run(Plan()))
    asyncio.run(run(Plan()))
    with pytest.raises(JournalError, match="opened with other customers or settings"):
        asyncio.run(run(Plan(20_000)))


def test_a_journal_that_cannot_be_written_ends_the_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            exchange = host(tmp_path / "j.sqlite", broker)

            def full(*_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            monkeypatch.setattr(exchange.node.journal, "_store_marks", full)
            async with exchange:
                pass

    with pytest.raises(JournalError, match="disk is full"):
        asyncio.run(asyncio.wait_for(run(), 30))


def test_a_wall_clock_that_is_set_back_does_not_stop_the_exchange(tmp_path: Path) -> None:
    async def run() -> None:
        shift_ms = 0

        def clock() -> int:
            return now_ms() + shift_ms

        def listen(_batch: Batch) -> None:
            """Nobody."""

        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            async with Host(tmp_path / "j.sqlite", broker, Plan(), SCHEDULE, clock, listen) as exchange:
                anna = Home(broker.host, broker.port, "lv", "anna", broker.credentials("anna")[1])
                async with anna as home:
                    ends_ms = now_ms() + 200
                    assert isinstance(await home.place("sell", "export", next_ms(), 100, 1000, "until", until_ms=ends_ms), wire.Accepted)
                    shift_ms = -60_000
                    await asyncio.sleep(0.3)
                    shift_ms = 0
                    failed = asyncio.create_task(exchange.failed())
                    assert isinstance(await home.place("sell", "export", next_ms(), 100, 1000), wire.Accepted)
                    assert not failed.done()
                    failed.cancel()

    asyncio.run(run())
