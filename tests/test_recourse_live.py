"""Recourse while the market runs: a blocked trade is made with a set point that its inverter is told, or nothing changes at all.

Anna, ben and his inverter are drawn in tests/levered.py; the market's clock stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from envelopes.recourse import Found, Question, ask, in_force, in_words, prepare
from envelopes.refresh import Plan
from exchange.commands import ChangeRows, CloseGate, DeviceSetting, Halt, InstallRows
from exchange.events import Blocked, Event, Rebased, Refused, RowsChanged, Traded
from exchange.recovery import Batch
from gateway import recourse
from gateway.auditor import Auditor, Noted
from gateway.broker import Broker, start_broker
from gateway.client import Home
from gateway.host import Host
from gateway.recourse import Desk, OrderRef, crossing_of
from replay.verify import verify
from riskcheck.network import Network
from riskcheck.polytope import Polytope
from tests.levered import WATTS, network, ready
from tests.operated import AREA, SCHEDULE, T0, TRADED, Record, certificate, trade, until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One for each test: another journal's retained messages would have greater sequences."""
    with start_broker(None, AREA, ("anna", "ben"), tmp_path) as running:
        yield running


class Batches(Record):
    """Also which events were decided together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Event]] = []

    def take(self, batch: Batch) -> None:
        super().take(batch)
        self.batches.append([event for events in batch.events for event in events])


@asynccontextmanager
async def exchange(
    journal: Path, broker: Broker, desk: Desk | None, auditor: Auditor | None = None, on: Plan | None = None
) -> AsyncIterator[tuple[Host, Batches]]:
    record = Batches()
    async with Host(journal, broker, on or ready(), SCHEDULE, lambda: T0, record.take, auditor=auditor, desk=desk) as running:
        await until(lambda: len(running.engine.gates(AREA)) == 3, running)
        yield running, record


def settings_of(running: Host, interval_ms: int = TRADED) -> tuple[DeviceSetting, ...]:
    return running.engine.areas[AREA].intervals[interval_ms].settings


class Slow(Desk):
    """Says when it has an answer, and waits before it uses it."""

    def __init__(self) -> None:
        super().__init__(print)
        self.found, self.go_on = asyncio.Event(), asyncio.Event()

    async def _ask(self, network: Network, question: Question) -> Found | str:
        answer = await super()._ask(network, question)
        self.found.set()
        await self.go_on.wait()
        return answer


@asynccontextmanager
async def answered(journal: Path, broker: Broker) -> AsyncIterator[tuple[Slow, Host, Batches]]:
    """Anna has bought import rights from ben; her sale of export rights to him is blocked, and the desk has found what it needs."""
    desk = Slow()
    async with exchange(journal, broker, desk, on=ready(import_w=100_000)) as (running, record):
        await trade(running, "import", "ben", "anna", 20_000)
        await trade(running, "export", "anna", "ben", 3_000)
        await desk.found.wait()
        yield desk, running, record


def test_a_blocked_trade_is_made_with_a_set_point_that_its_inverter_is_told(tmp_path: Path, broker: Broker) -> None:
    said: list[str] = []

    async def run() -> None:
        desk, auditor = Desk(said.append), Auditor(print)
        async with exchange(tmp_path / "j.sqlite", broker, desk, auditor) as (running, record):
            before = running.engine.holdings(AREA, TRADED)
            events = await trade(running, "export", "anna", "ben", WATTS)
            assert [event.secure_w for event in events if isinstance(event, Blocked)] == [0, 0]
            await until(lambda: desk.tally.traded == 1, running)
            (batch,) = [batch for batch in record.batches if any(isinstance(event, RowsChanged) for event in batch)]
            changed, traded = (next(event for event in batch if isinstance(event, kind)) for kind in (RowsChanged, Traded))
            assert changed.sequence < traded.sequence
            (setting,) = changed.settings
            assert (changed.cause, setting.device, setting.kind) == ("recourse", "ben", "reactive_var")
            assert -60_000 <= setting.value < 0
            assert changed.detail == f"{WATTS} W between anna and ben: ben injects {setting.value} var"
            assert [leg.change_w for leg in traded.legs] == [WATTS, -WATTS]
            assert not record.of(Rebased)
            assert not record.of(Refused)
            after = running.engine.holdings(AREA, TRADED)
            assert [now - was for now, was in zip(after[0], before[0], strict=True)] == [-WATTS, WATTS]
            assert after[1] == before[1]
            assert certificate(running, on=in_force(network(), changed.settings)).secure
            assert not certificate(running, on=network()).secure, "the setting was needed"
            async with Home(broker.host, broker.port, AREA, "ben", broker.credentials("ben")[1]) as ben:
                await until(lambda: ben.reactive_var(TRADED) is not None, running)
                assert (ben.reactive_var(TRADED), ben.reactive_var(T0)) == (setting.value, None)
            made = auditor.audits.made
            auditor.note(TRADED, AREA, running.engine)
            await until(lambda: auditor.audits.made > made, running)
            await auditor.caught_up(30)
            assert auditor.audits.broken == 0
            assert not record.of(Halt)
            assert {at: settings_of(running, at) for at in running.engine.intervals(AREA) if at != TRADED} == {
                T0: (),
                TRADED + SCHEDULE.interval_ms: (),
            }
            running.engine.check()
        assert any(text.endswith("var: traded") for text in said)

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_a_second_trade_starts_from_the_settings_of_the_first(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        desk = Desk(print)
        async with exchange(tmp_path / "j.sqlite", broker, desk) as (running, record):
            for number, watts in enumerate((2_000, 3_000), start=1):
                await trade(running, "export", "anna", "ben", watts)
                await until(lambda number=number: desk.tally.traded == number, running)
            first, second = (event.settings[0].value for event in record.of(RowsChanged))
            assert second < first < 0
            assert certificate(running, on=in_force(network(), settings_of(running))).secure

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_a_proposal_that_another_trade_made_stale_is_dropped_and_nothing_changes(tmp_path: Path, broker: Broker) -> None:
    """Vars that ben absorbs lower the voltage of imports, too. There is room for that when it is asked, and none when it is answered."""

    async def run() -> None:
        async with answered(tmp_path / "j.sqlite", broker) as (desk, running, record):
            await trade(running, "import", "anna", "ben", 20_000)
            before = running.engine.holdings(AREA, TRADED)
            desk.go_on.set()
            await until(lambda: desk.tally.asked > 0 and desk.tally.asked == desk.tally.stale + desk.tally.without, running)
            assert desk.tally.stale == 1
            assert running.engine.holdings(AREA, TRADED) == before
            assert settings_of(running) == ()
            assert not record.of(RowsChanged)
            assert len(record.of(InstallRows)) == 1

    asyncio.run(run())


def test_what_is_found_is_decided_before_all_that_waits_and_nobody_is_lowered(tmp_path: Path, broker: Broker) -> None:
    """The same trade of imports waits to be decided when the settings are: now it is the one that has no room."""

    async def run() -> None:
        async with answered(tmp_path / "j.sqlite", broker) as (desk, running, record):
            desk.go_on.set()
            await trade(running, "import", "anna", "ben", 20_000)
            await until(lambda: desk.tally.traded == 1, running)
            directions = [event.legs[0].direction for event in record.of(Traded)]
            assert directions[:2] == ["import", "export"]
            assert not record.of(Rebased)
            assert certificate(running, on=in_force(network(import_w=100_000), settings_of(running))).secure

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_a_search_that_fails_leaves_the_trade_blocked_and_the_market_open(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recourse, "PATIENCE_S", 0.05)
    said: list[str] = []

    async def run() -> None:
        async with exchange(tmp_path / "j.sqlite", broker, Desk(said.append)) as (running, record):
            await trade(running, "export", "anna", "ben", WATTS)
            await until(lambda: bool(said), running)
            assert said == ["RECOURSE: the search failed, the trade stays blocked: was silent for 0.05 s"]
            await trade(running, "export", "ben", "anna", 500, TRADED + SCHEDULE.interval_ms)
            assert record.of(Traded)
            assert not record.of(RowsChanged)

    asyncio.run(run())


def test_where_nothing_may_be_matched_there_is_no_crossing(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with exchange(tmp_path / "j.sqlite", broker, None) as (running, record):
            await trade(running, "export", "anna", "ben", WATTS)
            blocked = [OrderRef(event.customer, event.order_id) for event in record.of(Blocked)]
            found = crossing_of(running.engine, AREA, TRADED, blocked[1])
            assert found is not None
            assert (found.told, found.other, found.quantity_w) == (blocked[1], blocked[0], WATTS)
            assert found.after_w((20_000, 30_000, 5, 6)) == (10_000, 40_000, 5, 6)
            await running.submit([Halt(AREA, TRADED, "test")])
            assert crossing_of(running.engine, AREA, TRADED, blocked[1]) is None
            await running.resume()
            assert crossing_of(running.engine, AREA, TRADED, blocked[1]) == found
            assert crossing_of(running.engine, AREA, T0, blocked[1]) is None
            await running.submit([CloseGate(AREA, TRADED)])
            assert crossing_of(running.engine, AREA, TRADED, blocked[1]) is None

    asyncio.run(run())


async def set_by_hand(running: Host) -> tuple[DeviceSetting, ...]:
    """The blocked trade, and what the desk would do about it."""
    await trade(running, "export", "anna", "ben", WATTS)
    export_w, import_w = running.engine.holdings(AREA, TRADED)
    held = (*export_w, *import_w)
    prepare(running.plan.network)
    after = (held[0] - WATTS, held[1] + WATTS, *held[2:])
    found = ask(running.plan.network.content_hash, Question((), running.plan.rows.content_hash, held, after, WATTS))
    assert isinstance(found, Found)
    rows_hash = Polytope.from_bytes(found.rows).content_hash
    change = ChangeRows(AREA, TRADED, rows_hash, held, "recourse", in_words(found.settings), found.settings)
    decided = await running.submit([InstallRows(AREA, found.rows), change])
    assert any(isinstance(event, Traded) for event in decided.events)
    return found.settings


def test_a_restart_keeps_settings_and_one_on_a_network_that_cannot_be_set_so_takes_them_back(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with exchange(tmp_path / "j.sqlite", broker, None) as (running, _):
            settings = await set_by_hand(running)
            held = running.engine.holdings(AREA, TRADED)
        async with exchange(tmp_path / "j.sqlite", broker, None) as (running, record):
            assert (settings_of(running), running.engine.holdings(AREA, TRADED)) == (settings, held)
            assert not record.of(ChangeRows)
        async with exchange(tmp_path / "j.sqlite", broker, None, on=ready(reactive_var_max=100)) as (running, record):
            assert settings_of(running) == ()
            changes = [one for one in record.of(ChangeRows) if one.interval_ms == TRADED]
            assert (changes[-1].cause, changes[-1].settings) == ("refresh", ())
            assert running.settled.watts > 0
            assert certificate(running, on=network(reactive_var_max=100)).secure

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_a_network_change_takes_settings_back_and_what_relied_on_them_is_lowered(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with exchange(tmp_path / "j.sqlite", broker, None) as (running, _):
            await set_by_hand(running)
            async with Home(broker.host, broker.port, AREA, "ben", broker.credentials("ben")[1]) as ben:
                await until(lambda: ben.reactive_var(TRADED) is not None, running)
                done = await running.change(network(rating_a=390.0))
                assert done.taken.watts > 0
                assert settings_of(running) == ()
                assert certificate(running, on=network(rating_a=390.0)).secure
                await until(lambda: ben.reactive_var(TRADED) is None, running)

    asyncio.run(run())


def test_settings_of_a_delivered_interval_are_not_audited_on_a_network_that_came_later(tmp_path: Path, broker: Broker) -> None:
    """Planted: it still waits when a network without the inverter comes; a failed audit each time would end in a halt."""

    async def run() -> None:
        auditor = Auditor(print)
        async with exchange(tmp_path / "j.sqlite", broker, None, auditor) as (running, _):
            await auditor.caught_up(30)
            async with running.settling:
                auditor._waiting[0] = Noted((0, 0, 0, 0), (DeviceSetting("ben", "reactive_var", -1),))
                auditor._caught_up.clear()
                auditor._arrived.set()
                running.plan = ready(reactive_var_max=0)
            made = auditor.audits.made
            await until(lambda: auditor.audits.made > made, running)
            await auditor.caught_up(30)
            assert (auditor.audits.restarts, running.engine.halts) == (0, {})

    asyncio.run(run())


def test_without_recourse_nothing_happens(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with exchange(tmp_path / "j.sqlite", broker, None) as (running, record):
            await trade(running, "export", "anna", "ben", WATTS)
            await asyncio.sleep(0.2)
            assert record.of(Blocked)
            assert not [one for kind in (Traded, RowsChanged) for one in record.of(kind)]
            assert len(record.of(InstallRows)) == 1

    asyncio.run(run())
