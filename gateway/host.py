"""An exchange at work: node, gateway and market clock in one event loop. `limex serve` and `limex demo` both run it.

The clock asks `due` what is to be done and submits it as commands; it does not ask again before they are decided. If the
journal cannot be written everything ends: an exchange without a memory must not answer. A private broker that dies is started
again; gateway and homes reconnect by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from exchange.commands import Advance, Command, InstallRows, OpenArea, OpenInterval
from exchange.events import Refused
from exchange.journal import JournalError
from exchange.node import Node
from exchange.recovery import Batch
from gateway.broker import Broker
from gateway.clock import Schedule, due
from gateway.mqtt import Gateway
from gateway.session import SessionSettings

CLOCK_TICK_S = 0.05
BROKER_TICK_S = 0.5


class RefusedError(Exception):
    """The engine refused what the host has to do: settings, rows or allocation do not fit together."""


class AreaPlan(Protocol):
    """What the host needs to know of an area (`envelopes.refresh.Plan`)."""

    @property
    def area(self) -> str: ...
    def opening(self) -> tuple[OpenArea, InstallRows]: ...
    def open_interval(self, interval_ms: int) -> OpenInterval: ...


class Host:
    """Enter it to start; leave it to stop after what was submitted is decided, durable and sent.

    `market_ms` is the market's clock; `listen` sees each durable batch after the gateway.
    """

    def __init__(
        self,
        journal: Path,
        broker: Broker,
        plan: AreaPlan,
        schedule: Schedule,
        market_ms: Callable[[], int],
        listen: Callable[[Batch], None],
        settings: SessionSettings | None = None,
    ) -> None:
        self.node = Node(journal, self._release)
        self.gateway = Gateway(self.node, broker.host, broker.port, broker.exchange, plan.area, market_ms, settings)
        self._broker = broker
        self._plan = plan
        self._schedule = schedule
        self._market_ms = market_ms
        self._listen = listen
        self._awaited: list[Command] = []
        self._refused: Refused | None = None
        self._decided = asyncio.Event()
        self._deciding: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Raises JournalError where the journal is another area's or cannot be written, LinkError where the broker refuses us."""
        opening = self._missing()
        await self.gateway.__aenter__()
        self._deciding = asyncio.ensure_future(self.node.run())
        try:
            await self._submit(opening)
        except BaseException:
            await self.gateway.__aexit__(None, None, None)
            raise
        watches = self._keep_time(), self._keep_broker(), self.gateway.failed()
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

    def _release(self, batch: Batch) -> None:
        self.gateway.release(batch)
        self._listen(batch)
        if not self._awaited:
            return
        for command, events in zip(batch.commands, batch.events, strict=True):
            if any(command is own for own in self._awaited) and isinstance(events[-1], Refused) and not isinstance(command, Advance):
                self._refused = events[-1]
        if any(command is self._awaited[-1] for command in batch.commands):
            self._decided.set()

    def _missing(self) -> list[Command]:
        """The opening commands that the recovered state does not have yet."""
        opening, rows = self._plan.opening()
        known = self.node.engine.areas.get(opening.area)
        if known is None:
            return [opening, rows]
        if (known.settings, known.terms) != (opening.settings, opening.customers):
            self.node.journal.close()
            detail = "was opened with other customers or settings; use another journal, or the network and settings it was made with"
            raise JournalError(f"{self.node.journal.path}: area {opening.area} {detail}")
        return [] if self._plan.open_interval(0).rows_hash in known.rows else [rows]

    async def _submit(self, commands: Iterable[Command]) -> None:
        """Returns when the last of them is decided. Raises RefusedError if one was refused: it would be again."""
        self._awaited = list(commands)
        if not self._awaited:
            return
        self._decided.clear()
        for command in self._awaited:
            self.node.submit(command)
        decided = asyncio.ensure_future(self._decided.wait())
        await asyncio.wait((decided, self._deciding), return_when=asyncio.FIRST_COMPLETED)
        decided.cancel()
        if self._deciding.done():
            self._deciding.result()
        self._awaited = []
        if self._refused is not None:
            raise RefusedError(f"the exchange refused {self._refused.command}: {self._refused.reason}: {self._refused.detail}")

    async def _keep_broker(self) -> None:
        while True:
            await asyncio.sleep(BROKER_TICK_S)
            if not self._broker.is_running:
                await asyncio.to_thread(self._broker.restart)

    async def _keep_time(self) -> None:
        area, engine = self._plan.area, self.node.engine
        while True:
            now_ms = max(self._market_ms(), engine.now_ms)  # a wall clock may be set back; the market's never runs backwards
            await self._submit(due(self._schedule, area, now_ms, engine.gates(area), engine.next_expiry_ms(), self._plan.open_interval))
            await asyncio.sleep(CLOCK_TICK_S)
