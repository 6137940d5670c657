"""Results of the periodic job in an exchange: intervals open on them, live ones follow them, and what does not fit is said and not used.

Three homes behind a transformer and a cable, with street lamps at the end: the darker it is, the less room the homes have to draw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envelopes import audit
from envelopes.forecasts import Forecast, Key, with_forecasts
from envelopes.job import Done, Outcome, Store
from envelopes.refresh import Plan, plan
from exchange.bounds import MarketSettings
from exchange.commands import ChangeRows, Command, Halt, InstallRows, Place, Resume
from exchange.engine import Engine
from exchange.events import Event, Raised, Rebased, Refused
from gateway.auditor import Auditor
from gateway.broker import start_broker
from gateway.changing import Decided, held_w
from gateway.clock import Schedule
from gateway.host import Host
from gateway.refreshed import Refreshed
from gateway.worker import WorkerError
from replay.tape import interval_name
from replay.verify import verify
from riskcheck.network import Network, load
from tests.operated import Record, until
from tests.test_job import street

AREA, QUARTER = "street", 900_000
T0 = 1_700_000_100_000 // QUARTER * QUARTER
DUSK, DARK, LIGHT = ((Forecast("lamps", low_w, 0),) for low_w in (-10_000, -20_000, -1_000))


@lru_cache(maxsize=1)
def network() -> Network:
    """The file expects dusk."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return with_forecasts(load(str(street(Path(folder) / "street.json"))), DUSK)


@lru_cache(maxsize=4)
def planned(forecasts: tuple[Forecast, ...]) -> Plan:
    return plan(with_forecasts(network(), forecasts), AREA, MarketSettings())


def outcome_of(forecasts: tuple[Forecast, ...], interval_ms: int = T0, **changes: Any) -> Done:
    ready = planned(forecasts)
    outcome = Outcome(
        AREA, interval_ms, "", "new", tuple(customer.id for customer in ready.network.customers),
        tuple(map(int, ready.allocation.export_w)), tuple(map(int, ready.allocation.import_w)), ready.rows.content_hash,
        network_hash=network().content_hash, forecasts=forecasts,
    )  # fmt: skip
    return Done(msgspec.structs.replace(outcome, **changes), ready.rows.to_bytes())


class Exchange:
    """An engine without journal or broker; what is submitted is decided at once."""

    def __init__(self, folder: Path) -> None:
        self.plan, self.settling, self.engine = planned(DUSK), asyncio.Lock(), Engine()
        self.said: list[str] = []
        self.events: list[Event] = []
        self.store = Store(folder)
        self.refreshed = self.restarted()
        self.apply(*self.plan.opening())

    def restarted(self) -> Refreshed:
        refreshed = Refreshed(self.store, self.said.append)
        refreshed._worker = Inline()  # type: ignore[assignment]
        return refreshed

    def apply(self, *commands: Command) -> Decided:
        events = [event for command in commands for event in self.engine.apply(command)]
        self.engine.check()
        self.events += events
        return Decided(tuple(events), tuple(event for event in events if isinstance(event, Refused)))

    async def submit(self, commands: Any, *, at_once: bool = False) -> Decided:
        return self.apply(*commands)

    def open(self, interval_ms: int = T0) -> None:
        opening = self.refreshed.opening(self.plan, interval_ms)
        decided = self.apply(InstallRows(AREA, opening.rows.to_bytes()), opening.command, *opening.then)
        assert not decided.refused

    def look(self) -> None:
        asyncio.run(self.refreshed.look(self))

    def held_w(self) -> tuple[int, ...]:
        return held_w(self.engine.areas[AREA].intervals[T0])

    def rows_hash(self) -> str:
        return self.engine.areas[AREA].intervals[T0].rows_hash

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Inline:
    """A worker in this process; `meanwhile` happens between the computation and its answer."""

    def __init__(self) -> None:
        self.meanwhile: list[Callable[[], Any]] = []

    async def call(self, _patience_s: float, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            found = function(*arguments)
        except ValueError as error:
            raise WorkerError(str(error)) from error
        if self.meanwhile:
            self.meanwhile.pop()()
        return found


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path)


def envelopes(ready: Plan) -> tuple[int, ...]:
    return tuple(map(int, ready.allocation.limits_w))


def test_an_interval_opens_on_the_rows_and_envelopes_that_were_made_for_it(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(LIGHT))
    exchange.open()
    assert exchange.rows_hash() == planned(LIGHT).rows.content_hash
    assert exchange.held_w() == envelopes(planned(LIGHT)) != envelopes(planned(DUSK))
    assert exchange.refreshed.forecasts == {planned(LIGHT).rows.content_hash: LIGHT}
    assert exchange.said == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (None, "there are none of the job's for it"),
        ({"customers": ("x", "y", "z")}, "are for other customers"),
        ({"network_hash": "another"}, "another network than the one in force"),
        ({"length_ms": 300_000}, "intervals of 5 minutes, not 15"),
        ({"rows_hash": "nothing"}, "are not secure in their own rows"),
        ({"import_w": (60_000,) * 3}, "are not secure in their own rows"),
        ({"export_w": (0, 0, 0)}, "are not secure in their own rows"),
        ({"export_w": (1,)}, "are not secure in their own rows"),
    ],
)
def test_what_does_not_fit_is_said_and_the_networks_own_envelopes_are_used(
    exchange: Exchange, changes: dict[str, Any] | None, said: str
) -> None:
    if changes is not None:
        exchange.store.keep(outcome_of(LIGHT, **changes))
    exchange.open()
    assert (exchange.rows_hash(), exchange.held_w()) == (exchange.plan.rows.content_hash, envelopes(exchange.plan))
    (line,) = exchange.said
    assert said in line


def test_without_secure_envelopes_it_opens_halted_at_the_failsafe_and_resumes_with_the_first_that_are(exchange: Exchange) -> None:
    exchange.store.keep(Done(Outcome(AREA, T0, "", "failsafe", problem="too dark"), b""))
    exchange.open()
    assert exchange.held_w() == (500,) * 6
    assert exchange.engine.is_halted(AREA, T0, "export")
    assert "opens halted, with the failsafe envelopes: too dark" in exchange.said[0]
    exchange.store.keep(outcome_of(DUSK))
    exchange.look()
    assert exchange.rows_hash() == exchange.plan.rows.content_hash
    assert min(exchange.held_w()) > 500
    assert not exchange.engine.is_halted(AREA, T0, "export")


def test_what_the_exchange_refuses_resumes_nothing(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange.store.keep(Done(Outcome(AREA, T0, "", "failsafe", problem="too dark"), b""))
    exchange.open()
    exchange.store.keep(outcome_of(LIGHT))
    refused = [ChangeRows(AREA, T0, planned(LIGHT).rows.content_hash, (60_000,) * 6, "refresh", "wrong")]
    monkeypatch.setattr("gateway.refreshed.refresh_intervals", lambda *_: refused)
    exchange.look()
    assert [one.reason for one in exchange.of(Refused)] == ["insecure_limits"]
    assert exchange.engine.is_halted(AREA, T0, "export")
    assert exchange.held_w() == (500,) * 6


def test_a_live_interval_follows_newer_forecasts_down_and_up_and_each_once(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(LIGHT))
    exchange.open()
    light_w = sum(exchange.held_w())
    exchange.look()
    assert exchange.events == [] or not exchange.of(Rebased)
    exchange.store.keep(outcome_of(DARK))
    exchange.look()
    dark_w = sum(exchange.held_w())
    assert dark_w < light_w
    assert exchange.rows_hash() == planned(DARK).rows.content_hash
    assert exchange.of(Rebased)
    exchange.store.keep(outcome_of(DUSK))
    exchange.look()
    assert sum(exchange.held_w()) > dark_w
    assert exchange.of(Raised)
    counted = len(exchange.events)
    exchange.look()
    exchange.store.keep(outcome_of(DUSK))  # written again, the same
    exchange.look()
    assert len(exchange.events) == counted


def test_a_raise_that_comes_too_late_is_left_out_and_made_anew(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(DARK))
    exchange.open()
    exchange.store.keep(outcome_of(LIGHT))
    home, room_w = exchange.plan.network.customers[0].id, 60_000 - exchange.held_w()[3]
    purchase = Place(AREA, home, "b1", T0, "import", "buy", room_w // 100 * 100, 1_000)
    exchange.refreshed._worker.meanwhile.append(lambda: exchange.apply(purchase))  # type: ignore[attr-defined]
    exchange.look()
    assert [refused.reason for refused in exchange.of(Refused)] == ["invalid_raise"]
    assert exchange.rows_hash() == planned(LIGHT).rows.content_hash
    raised_w = {event.customer: event.quantity_w for event in exchange.of(Raised) if event.direction == "import"}
    assert raised_w.pop(home, 0) < 100, "it wants all of its rating already, but for less than a lot"
    assert len(raised_w) == 2
    assert min(raised_w.values()) > 1_000


def test_rows_that_an_audit_tightened_stay_until_there_are_newer_ones_also_after_a_restart(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(LIGHT))
    exchange.open()
    tight = planned(LIGHT).rows.tightened(50)
    limit = tuple(watts * 9 // 10 for watts in exchange.held_w())
    exchange.apply(InstallRows(AREA, tight.to_bytes()), ChangeRows(AREA, T0, tight.content_hash, limit, "audit", "test"))
    exchange.look()
    assert exchange.rows_hash() == tight.content_hash
    exchange.refreshed = exchange.restarted()
    exchange.refreshed.recall(exchange.engine, exchange.plan)
    assert exchange.refreshed.forecasts == {tight.content_hash: LIGHT}
    exchange.look()
    assert exchange.rows_hash() == tight.content_hash
    exchange.apply(Halt(AREA, T0, "audit: overload"))
    exchange.store.keep(outcome_of(DARK))
    exchange.look()
    assert exchange.rows_hash() == planned(DARK).rows.content_hash
    assert exchange.of(Raised) == [], "in books that an audit halted nobody is raised"
    assert exchange.of(Resume) == []
    assert exchange.engine.is_halted(AREA, T0, "export")


def test_a_network_change_takes_outcomes_back_until_there_are_some_for_the_network_in_force(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(LIGHT))
    exchange.open()
    exchange.look()
    before = exchange.plan
    exchange.plan = before._replace(network=planned(DARK).network)
    floor = tuple(map(int, before.network.floors_w()))
    exchange.apply(before.opening()[1], ChangeRows(AREA, T0, before.rows.content_hash, floor, "topology", "test"))
    exchange.look()
    assert "another network than the one in force" in exchange.said[-1]
    assert exchange.rows_hash() == before.rows.content_hash
    exchange.plan = before
    exchange.look()
    assert exchange.rows_hash() == planned(LIGHT).rows.content_hash


def test_a_failed_outcome_that_keeps_the_last_envelopes_changes_nothing_and_is_said(exchange: Exchange) -> None:
    exchange.store.keep(outcome_of(LIGHT))
    exchange.open()
    exchange.store.keep(Done(Outcome(AREA, T0, "", "failsafe", problem="a worker died"), b""))
    counted = len(exchange.events)
    exchange.look()
    exchange.look()
    assert len(exchange.events) == counted
    assert exchange.said == [f"REFRESH: interval {interval_name(T0)}: it keeps its last envelopes: a worker died"]


def test_the_auditor_judges_an_interval_on_its_own_forecasts() -> None:
    """What light leaves room for is too much at dusk."""
    audit.prepare(network(), audit.Alarm())
    holding_w = envelopes(planned(LIGHT))
    assert audit.audit(network().content_hash, holding_w, 1).broken
    assert not audit.audit(network().content_hash, holding_w, 1, (), LIGHT).broken


def test_a_running_exchange_follows_the_store_and_its_replay_agrees(tmp_path: Path) -> None:
    store, record, said, customers = Store(tmp_path / "out"), Record(), list[str](), [one.id for one in network().customers]
    for interval_ms in (T0, T0 + QUARTER):
        store.keep(outcome_of(LIGHT, interval_ms))

    async def scenario(broker: Any) -> None:
        auditor, refreshed = Auditor(said.append), Refreshed(store, said.append)
        schedule = Schedule(QUARTER, QUARTER, QUARTER // 3)
        async with Host(
            tmp_path / "j.sqlite", broker, planned(DUSK), schedule, lambda: T0, record.take, auditor=auditor, refreshed=refreshed
        ) as running:
            await until(lambda: len(running.engine.gates(AREA)) == 2 and auditor.audits.intervals == 2, running)
            assert {one.rows_hash for one in running.engine.areas[AREA].intervals.values()} == {planned(LIGHT).rows.content_hash}
            store.keep(outcome_of(DARK, T0))
            await until(lambda: bool(record.of(Rebased)), running)
            await auditor.caught_up(30.0)
            assert (auditor.audits.broken, record.of(Halt)) == (0, [])
            running.engine.check()
        async with Host(tmp_path / "j.sqlite", broker, planned(DUSK), schedule, lambda: T0, record.take, refreshed=refreshed) as again:
            assert again.settled.watts == 0, "rows of the job's stay over a restart"

    with start_broker(None, AREA, customers, tmp_path) as broker:
        asyncio.run(scenario(broker))
    assert any("taken from 3 customer(s)" in text for text in said)
    verify(tmp_path / "j.sqlite")


def test_store_and_outcome_agree(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.changed_ns(Key(AREA, T0)) == 0
    done = outcome_of(LIGHT)
    assert store.keep(done) == store.outcome(Key(AREA, T0)) == done.outcome
    assert store.changed_ns(Key(AREA, T0)) > 0
