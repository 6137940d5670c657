"""The live auditor: a planted wrong row is caught while homes trade on it, low margins tighten the rows, and nobody trades unseen.

The village is drawn in tests/operated.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np

from envelopes.audit import FAILSAFE_ONLY, Alarm, Remedy, audit, prepare, remedy
from exchange.commands import ChangeRows, Halt, Resume
from exchange.events import Rebased, Traded
from gateway.auditor import Auditor, AuditSettings
from gateway.broker import Broker
from gateway.host import Host
from replay.verify import verify
from riskcheck.polytope import Polytope
from tests.operated import AREA, TRADED, certificate, operated, ready, trade, until, village_broker

broker = village_broker


def halved(rows: Polytope, element: str) -> Polytope:
    """The rows of one element admit twice of what it carries."""
    columns = rows.columns.copy()
    columns[:, [label.element == element for label in rows.labels]] //= 2
    return Polytope(np.ascontiguousarray(columns), rows.slack, rows.labels)


def test_a_wrong_row_is_caught_the_books_are_halted_and_the_holdings_secure_again(tmp_path: Path, broker: Broker) -> None:
    """Line 2 carries ben's and cleo's power; its rows admit twice as much, and anna sells them what they should not have."""
    weak = ready(ring_a=90.0)
    wrong = weak._replace(rows=halved(weak.rows, "line 2"))
    said: list[str] = []

    async def run() -> None:
        auditor = Auditor(said.append)
        async with operated(tmp_path / "j.sqlite", broker, wrong, auditor) as (running, record):
            await until(lambda: auditor.audits.intervals == 3, running)
            assert auditor.audits.broken == 0
            events = await trade(running, "export", "anna", "ben", 40_000)
            assert any(isinstance(event, Traded) for event in events)
            assert not certificate(running).secure
            await until(lambda: bool(record.of(Rebased)) and auditor.audits.made >= 5, running)
            (halt,) = record.of(Halt)
            assert (halt.area, halt.interval_ms) == (AREA, TRADED)
            assert halt.reason.startswith("audit: overload of line 2 phase abc, margin -")
            assert "corner: all export" in halt.reason
            (change,) = record.of(ChangeRows)
            assert (change.cause, change.interval_ms) == ("audit", TRADED)
            assert record.commands.index(halt) < record.commands.index(change)
            assert certificate(running).secure
            assert running.engine.is_halted(AREA, TRADED, "export")
            assert not await traded(running)
            assert [reason.startswith("audit: ") for reason in await running.resume()] == [True]
            assert isinstance(record.commands[-1], Resume)
            assert running.plan.rows.content_hash == change.rows_hash
            running.engine.check()
        assert any("is halted: overload of line 2" in text for text in said)

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


async def traded(running: Host) -> bool:
    return any(isinstance(event, Traded) for event in await trade(running, "import", "anna", "cleo", 50))


def test_a_margin_below_the_alarm_tightens_the_rows_and_the_market_goes_on(tmp_path: Path, broker: Broker) -> None:
    """Honest rows leave 0.6 % of a rating; an alarm at 1 % wants 2 %."""

    async def run() -> None:
        auditor = Auditor(print, AuditSettings(Alarm(loading=0.01)))
        async with operated(tmp_path / "j.sqlite", broker, ready(), auditor) as (running, record):
            await until(lambda: len(record.of(ChangeRows)) == 3 and auditor.audits.made >= 6, running)
            assert not record.of(Halt)
            assert certificate(running).margin_thermal > 0.01
            assert len({change.rows_hash for change in record.of(ChangeRows)}) == 1
            assert running.plan.rows.content_hash == record.of(ChangeRows)[0].rows_hash
            assert await traded(running)

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_honest_rows_do_not_alarm(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        auditor = Auditor(print)
        async with operated(tmp_path / "j.sqlite", broker, ready(), auditor) as (running, record):
            await until(lambda: auditor.audits.intervals == 3, running)
            for watts in (30_000, 7_000):
                await trade(running, "export", "anna", "ben", watts)
                await trade(running, "import", "cleo", "anna", watts)
            await until(lambda: auditor.audits.made >= 4, running)
            assert not record.of(ChangeRows)
            assert not record.of(Halt)
            assert auditor.audits.margins["thermal"] > 0.003

    asyncio.run(run())


def test_proven_rows_leave_next_to_nothing_and_do_not_alarm() -> None:
    proven = ready(is_ring=False)
    network_hash = prepare(proven.network, Alarm(loading=0.5))
    finding = audit(network_hash, tuple(map(int, proven.allocation.limits_w)), 1)
    assert (finding.broken, finding.low) == ((), ())
    assert finding.margins["thermal"] < 0.5


def test_an_auditor_that_is_killed_is_started_again(tmp_path: Path, broker: Broker) -> None:
    said: list[str] = []

    async def run() -> None:
        auditor = Auditor(said.append)
        async with operated(tmp_path / "j.sqlite", broker, ready(), auditor) as (running, record):
            await until(lambda: auditor.audits.intervals == 3, running)
            first = auditor.process_id
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: auditor.process_id not in (None, first), running)
            await trade(running, "export", "anna", "ben", 1_000)
            made = auditor.audits.made
            await until(lambda: auditor.audits.made > made, running)
            assert not record.of(Halt)
        assert "1 of 3 times in a row" in said[0]

    asyncio.run(run())


def test_an_auditor_that_is_silent_again_and_again_halts_the_area(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        auditor = Auditor(print, AuditSettings(patience_s=0.05, failures_max=2))
        async with operated(tmp_path / "j.sqlite", broker, ready(), auditor) as (running, _):
            await until(lambda: bool(running.engine.halts), running)
            assert running.engine.halts[AREA, None, None] == "audit: the auditor failed 2 times in a row: was silent for 0.05 s"
            assert not await traded(running)
            assert len(await running.resume()) == 1
            await until(lambda: bool(running.engine.halts), running)

    asyncio.run(run())


def test_the_remedy_has_passed_an_audit_and_leaves_the_failsafe_where_no_row_can_be_tightened() -> None:
    weak = ready(ring_a=90.0)
    network_hash = prepare(weak.network, Alarm())
    floors = tuple(map(int, weak.network.floors_w()))
    holding = (10_000, 95_000, 50_000, 50_000, 50_000, 50_000)
    finding = audit(network_hash, holding, 1)
    assert finding.broken == ("thermal",)
    mended = remedy(network_hash, halved(weak.rows, "line 2").to_bytes(), holding, floors, finding, 1)
    assert mended is not None
    assert mended.rows is not None
    after = audit(network_hash, mended.limit_w, 2)
    assert (after.broken, after.low) == ((), ())
    assert Polytope.from_bytes(mended.rows).is_secure(mended.limit_w)
    assert all(floor <= limit <= held for floor, limit, held in zip(floors, mended.limit_w, holding, strict=True))
    without_rows = Polytope.unlimited(len(holding)).to_bytes()
    assert remedy(network_hash, without_rows, holding, floors, finding, 1) == Remedy(None, floors, FAILSAFE_ONLY)
    prepare(weak.network, Alarm(loading=0.99))
    low = audit(network_hash, floors, 1)
    assert (low.broken, low.low) == ((), ("thermal",))
    assert remedy(network_hash, without_rows, floors, floors, low, 1) is None
