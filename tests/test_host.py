"""The exchange at work: it survives its broker, refuses another area's journal, and stops when it cannot remember."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec import structs

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import AmendSettings, AmendTerms, Halt, InstallRows, OpenArea, OpenInterval
from exchange.journal import JournalError
from exchange.recovery import Batch
from gateway import wire
from gateway.broker import Broker, start_broker
from gateway.client import Home
from gateway.clock import Schedule
from gateway.host import Host
from riskcheck.polytope import Polytope, RowLabel
from tests.exchange_at_work import until

NAMES = ("anna", "ben")
HOUR = 3_600_000
SCHEDULE = Schedule(HOUR, 2 * HOUR, 0)


class Plan(NamedTuple):
    """An area with one wide limit."""

    area: str = "lv"
    rows: Polytope = Polytope.from_rows([[1, 1, 1, 1]], [30_000], [RowLabel("thermal", "line 1", "")], [10_000] * 4)
    rating_w: int = 10_000
    settings: MarketSettings = MarketSettings(interval_ms=HOUR)

    def opening(self) -> tuple[OpenArea, InstallRows]:
        terms = tuple(CustomerTerms(name, self.rating_w, self.rating_w, 0, 0) for name in NAMES)
        return OpenArea(self.area, self.settings, terms), InstallRows(self.area, self.rows.to_bytes())

    def open_interval(self, interval_ms: int) -> OpenInterval:
        return OpenInterval(self.area, interval_ms, self.rows.content_hash, (5000, 5000), (5000, 5000))


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
    with pytest.raises(JournalError, match="settings: other names, ratings or failsafe envelopes; use another journal"):
        asyncio.run(run(Plan(rating_w=20_000)))
    with pytest.raises(JournalError, match="settings: lot_w 10, not 20; matching one_to_one, not exchange_rate; use another journal"):
        asyncio.run(run(Plan(settings=MarketSettings(interval_ms=HOUR, lot_w=20, matching="exchange_rate"))))
    with pytest.raises(JournalError, match="it is the journal of area lv, not village; use another journal"):
        asyncio.run(run(Plan("village")))


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


class Clock:
    """The market's clock, set by hand."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


def test_an_opening_auction_and_a_volatility_pause_end_by_themselves(tmp_path: Path) -> None:
    schedule = Schedule(HOUR, 2 * HOUR, 0, 24 * HOUR, 25 * HOUR, auction_lead_ms=3 * HOUR, pause_ms=60_000)
    start, clock = 24 * HOUR, Clock(24 * HOUR - 3 * HOUR)

    async def run() -> None:
        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            anna, ben = (Home(broker.host, broker.port, "lv", name, broker.credentials(name)[1]) for name in NAMES)
            plan = Plan(settings=MarketSettings(interval_ms=HOUR, call_auctions=True, pause_mct=1000))
            exchange = Host(tmp_path / "j.sqlite", broker, plan, schedule, clock, lambda _: None)
            async with exchange, anna, ben:
                await until(lambda: exchange.engine.phases("lv") == {start: "auction"})
                fills = ben.fills()
                await anna.place("sell", "export", start, 100, 1000)
                await ben.place("buy", "export", start, 100, 1200)
                clock.at_ms += HOUR
                assert (await asyncio.wait_for(anext(fills), 20)).kind == "uncross"
                await until(lambda: exchange.engine.phases("lv") == {start: "continuous"})
                for price in (1000, 3000):
                    await anna.place("sell", "export", start, 100, price)
                    await ben.place("buy", "export", start, 100, price)
                await until(lambda: exchange.engine.phases("lv") == {start: "auction"})
                await asyncio.sleep(0.2)
                assert exchange.engine.phases("lv") == {start: "auction"}
                clock.at_ms += 60_000
                await until(lambda: exchange.engine.phases("lv") == {start: "continuous"})
                clock.at_ms = start
                await until(lambda: exchange.engine.phases("lv") == {start: "delivery"})
                clock.at_ms = start + HOUR
                await until(lambda: exchange.engine.phases("lv") == {})

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_restart_goes_on_with_the_rules_that_were_amended(tmp_path: Path) -> None:
    async def run(amend: bool) -> list[str]:
        with start_broker(None, "lv", NAMES, tmp_path) as broker:
            async with host(tmp_path / "j.sqlite", broker) as exchange:
                settings = exchange.engine.areas["lv"].settings
                if amend:
                    await exchange.submit([AmendSettings("lv", structs.replace(settings, collar_mct=70), "a storm")])
                    await exchange.submit([AmendTerms("lv", "anna", 500, 3, "a storm")])
                    await exchange.submit([Halt("lv", None, "a storm"), Halt("lv", next_ms(), "a flood", "export")])
                    assert await exchange.resume() == ["a storm", "a flood"]
                assert exchange.plan.settings == exchange.engine.areas["lv"].settings or amend
                return exchange.amended

    assert asyncio.run(run(amend=True)) == ["collar_mct 70"]
    assert asyncio.run(run(amend=False)) == ["collar_mct 70"]
