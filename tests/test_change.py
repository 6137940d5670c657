"""A network that changes while the market is open: what still fits stays, what does not is lowered and paid for, nothing trades between.

The village is drawn in tests/operated.py.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from envelopes.change import ChangeError, difference, is_within
from exchange.commands import ChangeRows, Halt, Place, Resume
from exchange.events import Cancelled, Rebased, Rejected, Traded
from gateway.broker import Broker
from replay.verify import verify
from riskcheck.polytope import Polytope
from tests.operated import AREA, TRADED, certificate, network, operated, ready, trade, until, village_broker

broker = village_broker


def copy(folder: Path, journal: str, to: str) -> None:
    """What a killed process would leave, from one that runs on."""
    for file in folder.glob(f"{journal}*"):
        shutil.copy(file, folder / file.name.replace(journal, to))


CHANGES = [
    ({"rating_a": 60.0}, "limits", "line 0 carries 120 -> 60 A"),
    ({"is_ring": False}, "topology", "line 2 is out"),
    ({"low_pu": 0.93, "high_pu": 1.07}, "limits", "interface voltage 1..1 -> 0.93..1.07"),
]


@pytest.mark.parametrize(("changed", "cause", "detail"), CHANGES)
def test_what_differs_is_named(changed: dict[str, Any], cause: str, detail: str) -> None:
    assert difference(network(), network(**changed)) == (cause, detail)
    assert difference(network(**changed), network(**changed)) is None


@pytest.mark.parametrize(("changed", "cause", "detail"), CHANGES)
def test_holdings_are_lowered_to_what_the_changed_network_carries(
    tmp_path: Path, broker: Broker, changed: dict[str, Any], cause: str, detail: str
) -> None:
    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready()) as (running, record):
            assert any(isinstance(event, Traded) for event in await trade(running, "import", "anna", "ben", 5_000))
            before = {at: running.engine.holdings(AREA, at) for at in running.engine.intervals(AREA)}
            done = await running.change(network(**changed))
            assert done.difference == (cause, detail)
            lowered = record.of(Rebased)
            assert done.taken.watts == sum(event.quantity_w for event in lowered) > 0
            assert done.taken.compensation_mct == sum(event.cash_mct for event in lowered) > 0
            for at, (export_w, import_w) in before.items():
                now = running.engine.holdings(AREA, at)
                lost = [sum(e.quantity_w for e in lowered if e.interval_ms == at and e.direction == way) for way in ("export", "import")]
                assert lost == [sum(export_w) - sum(now[0]), sum(import_w) - sum(now[1])]
                assert certificate(running, at).secure
            assert [type(command) for command in record.commands if isinstance(command, Halt | Resume)] == [Halt, Halt, Resume]
            assert {command.cause for command in record.of(ChangeRows)} == {cause}
            assert not running.engine.halts
            running.engine.check()

    asyncio.run(run())
    verify(tmp_path / "j.sqlite")


def test_between_the_change_and_the_new_rows_nothing_trades_and_offers_that_no_longer_fit_go(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready()) as (running, record):
            offered = running.engine.holdings(AREA, TRADED)[0][0] - 2_000
            await running.submit([Place(AREA, "anna", "all", TRADED, "export", "sell", offered // 10 * 10, 1_000)])
            changing = asyncio.create_task(running.change(network(rating_a=60.0)))
            await until(lambda: bool(running.engine.halts), running)
            events = await trade(running, "import", "cleo", "ben", 100)
            assert [event.reason for event in events if isinstance(event, Rejected)] == ["halted", "halted"]
            await changing
            assert [(gone.customer, gone.cause) for gone in record.of(Cancelled)] == [("anna", "rebased")]
            assert any(isinstance(event, Traded) for event in await trade(running, "import", "cleo", "ben", 200))

    asyncio.run(run())


def test_a_change_that_widens_takes_nothing_and_the_new_room_can_be_traded(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready(rating_a=60.0)) as (running, _):
            before = {at: running.engine.holdings(AREA, at) for at in running.engine.intervals(AREA)}
            done = await running.change(network())
            assert str(done.taken) == "no envelope had to be lowered"
            assert {at: running.engine.holdings(AREA, at) for at in running.engine.intervals(AREA)} == before
            rows = {running.engine.areas[AREA].intervals[at].rows_hash for at in before}
            assert rows == {ready().rows.content_hash}

    asyncio.run(run())


def test_other_customers_are_refused_and_nothing_happens(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready()) as (running, record):
            with pytest.raises(ChangeError, match="ratings and failsafe envelopes belong to the market"):
                await running.change(network(failsafe_w=2_000))
            assert not running.engine.halts
            assert running.plan is ready()
            assert not record.of(Halt)

    asyncio.run(run())


def test_where_not_even_the_failsafe_is_secure_the_area_stays_halted(tmp_path: Path, broker: Broker) -> None:
    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready()) as (running, _):
            with pytest.raises(ChangeError, match="failsafe envelopes are not secure"):
                await running.change(network(rating_a=0.5, is_ring=False))
            assert "failed" in running.engine.halts[AREA, None, None]
            assert await running.resume() == []
            back = await running.change(network())
            assert (back.taken.watts, running.engine.halts) == (0, {})
            assert (await running.change(network())).difference is None
            await running.change(network(rating_a=60.0))
            assert not running.engine.halts

    asyncio.run(run())


def test_killed_in_the_middle_of_a_change_the_next_start_finishes_it(tmp_path: Path, broker: Broker) -> None:
    """The journal is copied while the change is being computed: it has the halt, and not the new rows."""

    async def run() -> None:
        async with operated(tmp_path / "j.sqlite", broker, ready()) as (running, _):
            changing = asyncio.create_task(running.change(network(is_ring=False)))
            await until(lambda: bool(running.engine.halts), running)
            await running.submit([Place(AREA, "anna", "any", TRADED, "export", "sell", 10, 1_000)])
            copy(tmp_path, "j.sqlite", "killed.sqlite")
            await changing
        async with operated(tmp_path / "killed.sqlite", broker, ready(is_ring=False)) as (running, record):
            assert all(certificate(running, at).secure for at in running.engine.intervals(AREA))
            assert {command.cause for command in record.of(ChangeRows)} == {"refresh"}
            assert running.settled.watts == sum(event.quantity_w for event in record.of(Rebased)) > 0
            assert not running.engine.halts
            resumed = record.commands.index(record.of(Resume)[0])
            assert not any(isinstance(command, ChangeRows) for command in record.commands[resumed:])

    asyncio.run(run())
    verify(tmp_path / "killed.sqlite")


def test_tighter_rows_of_the_auditor_survive_a_restart(tmp_path: Path) -> None:
    rows = ready().rows
    assert is_within(rows.tightened(20), rows)
    assert not is_within(rows, rows.tightened(20))
    assert is_within(rows, Polytope.unlimited(6))
    assert not is_within(Polytope.unlimited(6), rows)
