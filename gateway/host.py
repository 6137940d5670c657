"""An exchange at work: node, gateway and market clock in one event loop. `limex serve` and `limex demo` both run it.

The clock asks `due` what is to be done and submits it as commands; it does not ask again before they are decided. Auctions that are
over are ended by the joint fills of what rests then, which are solved while other orders are decided. If the
journal cannot be written everything ends: an exchange without a memory must not answer. A private broker that dies is started
again; gateway and homes reconnect by themselves. An auditor, where there is one, sees every batch, as does the desk that looks for
recourse; a changed network comes by `change`, new forecasts by the periodic job's store. All of them change rows by commands, one of
them at a time (`settling`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from envelopes.change import taken
from envelopes.refresh import Plan
from exchange.bounds import FIXED_SETTINGS, CustomerTerms, MarketSettings
from exchange.commands import Command, InstallRows, OpenInterval, Resume, Sweep
from exchange.engine import Engine
from exchange.events import Event, Refused
from exchange.journal import JournalError
from exchange.market import Area
from exchange.node import Node
from exchange.recovery import Batch
from gateway import changing
from gateway.auditor import Auditor
from gateway.broker import Broker
from gateway.changing import Change, Decided
from gateway.clock import Schedule, auctions_over, due
from gateway.mqtt import Gateway
from gateway.operator import NETWORK_CHANGE
from gateway.recourse import Desk
from gateway.refreshed import Opening, Refreshed
from gateway.session import SessionSettings
from riskcheck.network import Network

CLOCK_TICK_S = 0.05
BROKER_TICK_S = 0.5
INDISPENSABLE = ("open_area", "install_rows", "open_interval", "close_gate", "retire_interval", "change_rows")


class RefusedError(Exception):
    """The engine refused what the host has to do: settings, rows or allocation do not fit together."""


class _Errand:
    """Commands of the host's own, until the last of them is decided."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._events: list[Event] = []
        self.decided: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()

    def hear(self, command: Command, events: Sequence[Event]) -> None:
        asked = command.place if isinstance(command, Sweep) else command  # the node may have proposed joint fills for an order
        if not any(asked is own for own in self._commands):
            return
        self._events += events
        if asked is self._commands[-1]:
            refused = tuple(event for event in self._events if isinstance(event, Refused))
            self.decided.set_result(Decided(tuple(self._events), refused))


class Host:
    """Enter it to start; leave it to stop after what was submitted is decided, durable and sent.

    `market_ms` is the market's clock; `listen` sees each durable batch after the gateway.
    """

    def __init__(
        self,
        journal: Path,
        broker: Broker,
        plan: Plan,
        schedule: Schedule,
        market_ms: Callable[[], int],
        listen: Callable[[Batch], None],
        settings: SessionSettings | None = None,
        auditor: Auditor | None = None,
        desk: Desk | None = None,
        refreshed: Refreshed | None = None,
    ) -> None:
        self.plan = plan
        self.settling = asyncio.Lock()
        self._asked_for = plan.opening()[0].settings
        self.settled = taken(())  # what the start on this network took from intervals that another one had admitted
        self.auditor = auditor
        self.desk = desk
        self.refreshed = refreshed
        if auditor is not None and refreshed is not None:
            auditor.forecasts = refreshed.forecasts
        self.node = Node(journal, self._release)
        self.gateway = Gateway(self.node, broker.host, broker.port, broker.exchange, plan.area, market_ms, settings)
        self._broker = broker
        self._schedule = schedule
        self._market_ms = market_ms
        self._listen = listen
        self._changing = asyncio.Lock()
        self._errands: list[_Errand] = []
        self._deciding: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Raises JournalError where the journal is another area's or cannot be written, LinkError where the broker refuses us."""
        opened = self._queue(self._missing())  # before the gateway hears anyone: nobody trades on rows of another network
        await self.gateway.__aenter__()
        self._deciding = asyncio.ensure_future(self.node.run())
        try:
            settled = await self._decided(opened)
            _insist(settled)
            self.settled = taken(settled.events)
        except BaseException:
            await self.gateway.__aexit__(None, None, None)
            raise
        watches = [self._keep_time(), self._keep_auctions(), self._keep_broker(), self.gateway.failed()]
        if self.auditor is not None:
            for interval_ms in self.engine.intervals(self.plan.area):
                self.auditor.note(interval_ms, self.plan.area, self.engine)
            watches.append(self.auditor.run(self))
        if self.desk is not None:
            watches.append(self.desk.run(self))
        if self.refreshed is not None:
            watches.append(self.refreshed.run(self))
        self._watches = [asyncio.create_task(watch) for watch in watches]
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        for watch in self._watches:
            watch.cancel()
        self.node.stop()
        try:
            await self._deciding
        finally:
            await self.gateway.__aexit__(exc_type, exc, trace)
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def failed(self) -> None:
        """Returns never; raises what ended the node, the clock, the gateway or the broker."""
        done, _ = await asyncio.wait((self._deciding, *self._watches), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    @property
    def engine(self) -> Engine:
        return self.node.engine

    async def change(self, network: Network) -> Change:
        """Puts another network in force while the market is open (`gateway/changing.py`). Raises ChangeError."""
        async with self._changing:
            return await changing.change(self, network)

    async def resume(self) -> list[str]:
        """Takes back the halts of this area but those of a network change, which ends them itself; returns their reasons."""
        area, halts = self.plan.area, self.engine.halts
        ours = [(key, reason) for key, reason in halts.items() if key[0] == area and not reason.startswith(NETWORK_CHANGE)]
        await self.submit([Resume(area, interval_ms, "the operator resumes", direction) for (_, interval_ms, direction), _ in ours])
        return [reason for _, reason in ours]

    async def submit(self, commands: Iterable[Command], *, at_once: bool = False) -> Decided:
        """Queues them, `at_once` before all that waits; returns when the last of them is decided, durable and released."""
        return await self._decided(self._queue(commands, at_once=at_once))

    def _queue(self, commands: Iterable[Command], *, at_once: bool = False) -> _Errand | None:
        queued = list(commands)
        if not queued:
            return None
        errand = _Errand(queued)
        self._errands.append(errand)
        if at_once:
            self.node.submit_first(queued)
        else:
            for command in queued:
                self.node.submit(command)
        return errand

    async def _decided(self, errand: _Errand | None) -> Decided:
        if errand is None:
            return Decided((), ())
        try:
            await asyncio.wait((errand.decided, self._deciding), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._errands.remove(errand)
        if not errand.decided.done():
            self._deciding.result()
        return errand.decided.result()

    def _release(self, batch: Batch) -> None:
        self.gateway.release(batch)
        self._listen(batch)
        if self.auditor is not None:
            self.auditor.take(batch, self.plan.area, self.engine)
        if self.desk is not None:
            self.desk.take(batch, self.plan.area)
        if self._errands:
            for command, events in zip(batch.commands, batch.events, strict=True):
                for errand in self._errands:
                    errand.hear(command, events)

    def _missing(self) -> list[Command]:
        """The opening commands that the recovered state does not have yet, and what moves it to this network's rows."""
        opening, rows = self.plan.opening()
        if not self.engine.areas:
            return [opening, rows]
        known = self.engine.areas.get(opening.area)
        if known is None:
            raise self._unfit(f"it is the journal of area {', '.join(self.engine.areas)}, not {opening.area}")
        differences = incompatible(known, opening.settings, opening.customers)
        if differences:
            raise self._unfit(f"area {opening.area} was opened with other customers or settings: {'; '.join(differences)}")
        if known.settings != opening.settings:
            self.plan = self.plan._replace(settings=known.settings)
        installed: list[Command] = [] if self.plan.rows.content_hash in known.rows else [rows]
        if self.refreshed is None:
            return installed + changing.settle(self.engine, self.plan, self._market_ms())
        self.refreshed.recall(self.engine, self.plan)
        return installed + changing.settle(self.engine, self.plan, self._market_ms(), self.refreshed.forecasts)

    def _unfit(self, detail: str) -> JournalError:
        self.node.journal.close()
        return JournalError(f"{self.node.journal.path}: {detail}; use another journal, or what it was made with")

    @property
    def amended(self) -> list[str]:
        """The rules in force that are other than those that this start asked for: an operator amended them in the journal."""
        in_force = self.engine.areas[self.plan.area].settings
        names = MarketSettings.__struct_fields__
        return [f"{name} {getattr(in_force, name)}" for name in names if getattr(in_force, name) != getattr(self._asked_for, name)]

    def _auctions_over(self, now_ms: int) -> list[int]:
        engine, area = self.engine, self.plan.area
        return auctions_over(self._schedule, now_ms, engine.phases(area), engine.auctions_since_ms(area))

    async def _keep_broker(self) -> None:
        while True:
            await asyncio.sleep(BROKER_TICK_S)
            if not self._broker.is_running:
                await asyncio.to_thread(self._broker.restart)

    def _now_ms(self) -> int:
        """A wall clock may be set back; the market's never runs backwards."""
        return max(self._market_ms(), self.engine.now_ms)

    async def _keep_time(self) -> None:
        while True:
            _insist(await self.submit(self._due(self._now_ms())))
            await asyncio.sleep(CLOCK_TICK_S)

    async def _keep_auctions(self) -> None:
        while True:
            for interval_ms in self._auctions_over(self._now_ms()):
                uncross = await self.node.uncrossed(self.plan.area, interval_ms)  # None while it is halted
                if uncross is not None and interval_ms in self._auctions_over(self._now_ms()):
                    await self.submit([uncross], at_once=True)
            await asyncio.sleep(CLOCK_TICK_S)

    def _due(self, now_ms: int) -> list[Command]:
        """What the clock orders now; rows that no interval needed, and so were forgotten, are installed again before they are named."""
        area, openings = self.engine.areas[self.plan.area], list[Opening]()

        def allocate(interval_ms: int) -> OpenInterval:
            openings.append(self._opening(interval_ms))
            return openings[-1].command

        commands = due(self._schedule, area.name, now_ms, self.engine.phases(area.name), self.engine.next_expiry_ms(), allocate)
        missing = {
            one.command.rows_hash: InstallRows(area.name, one.rows.to_bytes()) for one in openings if one.command.rows_hash not in area.rows
        }
        return [*missing.values(), *commands, *(follows for one in openings for follows in one.then)]

    def _opening(self, interval_ms: int) -> Opening:
        if self.refreshed is not None:
            return self.refreshed.opening(self.plan, interval_ms)
        return Opening(self.plan.rows, self.plan.open_interval(interval_ms))


def incompatible(known: Area, settings: MarketSettings, customers: Sequence[CustomerTerms]) -> list[str]:
    """What of a journal's area cannot be changed, and is other than what this start wants; bounds that can be amended may differ."""
    found = [
        f"{name} {getattr(known.settings, name)}, not {getattr(settings, name)}"
        for name in FIXED_SETTINGS
        if getattr(known.settings, name) != getattr(settings, name)
    ]
    if [_fixed(terms) for terms in known.terms] != [_fixed(terms) for terms in customers]:
        found.append("other names, ratings or failsafe envelopes")
    return found


def _fixed(terms: CustomerTerms) -> tuple[str, int, int, int, int]:
    return terms.customer, terms.rating_export_w, terms.rating_import_w, terms.failsafe_export_w, terms.failsafe_import_w


def _insist(decided: Decided) -> None:
    """Raises RefusedError if one was refused that the market cannot do without: it would be again. An interval that somebody froze or
    opened meanwhile is no harm, nor is time that a customer's order brought already."""
    for refused in decided.refused:
        if refused.command in INDISPENSABLE:
            raise RefusedError(f"the exchange refused {refused.command}: {refused.reason}: {refused.detail}")
