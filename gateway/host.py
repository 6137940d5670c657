"""An exchange at work: node, gateway and market clock in one event loop. `limex serve` and `limex demo` both run it.

The clock asks `due` what is to be done and submits it as commands; it does not ask again before they are decided. If the
journal cannot be written everything ends: an exchange without a memory must not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from exchange.commands import Command, InstallRows, OpenArea, OpenInterval
from exchange.node import Node
from exchange.recovery import Batch
from gateway.broker import Broker
from gateway.clock import Schedule, due
from gateway.mqtt import Gateway
from gateway.session import SessionSettings

CLOCK_TICK_S = 0.05


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
        self._plan = plan
        self._schedule = schedule
        self._market_ms = market_ms
        self._listen = listen
        self._awaited: Command | None = None
        self._decided = asyncio.Event()
        self._deciding: asyncio.Task[None] | None = None
        self._clock: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.gateway.__aenter__()
        self._deciding = asyncio.create_task(self.node.run())
        await self._submit(self._missing())
        self._clock = asyncio.create_task(self._keep_time())
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        assert self._clock is not None
        assert self._deciding is not None
        self._clock.cancel()
        self.node.stop()
        try:
            await self._deciding
        finally:
            await self.gateway.__aexit__(exc_type, exc, trace)
        await asyncio.gather(self._clock, return_exceptions=True)

    async def failed(self) -> None:
        """Returns never; raises what ended the node or the clock."""
        assert self._clock is not None
        assert self._deciding is not None
        done, _ = await asyncio.wait((self._clock, self._deciding), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _release(self, batch: Batch) -> None:
        self.gateway.release(batch)
        self._listen(batch)
        if any(command is self._awaited for command in batch.commands):
            self._decided.set()

    def _missing(self) -> list[Command]:
        """The opening commands that the recovered state does not have yet."""
        opening, rows = self._plan.opening()
        known = self.node.engine.areas.get(opening.area)
        if known is None:
            return [opening, rows]
        return [] if self._plan.open_interval(0).rows_hash in known.rows else [rows]

    async def _submit(self, commands: Iterable[Command]) -> None:
        """Returns when the last of them is decided."""
        for command in commands:
            self._awaited = command
            self._decided.clear()
            self.node.submit(command)
        if self._awaited is not None:
            await self._decided.wait()
            self._awaited = None

    async def _keep_time(self) -> None:
        area, engine = self._plan.area, self.node.engine
        while True:
            now_ms = self._market_ms()
            await self._submit(due(self._schedule, area, now_ms, engine.gates(area), engine.next_expiry_ms(), self._plan.open_interval))
            await asyncio.sleep(CLOCK_TICK_S)
