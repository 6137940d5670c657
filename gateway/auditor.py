"""The live auditor: while the market runs, a process apart certifies the holdings of recent batches in AC, with ever new seeds.

    batch -> take -> [waiting: the newest holdings of each interval] -> audit in the worker -> Finding -> commands

* A broken limit: `Halt` of the interval's books, at once, naming limit and corner. A halt alone leaves insecure envelopes in
  force, so the rows are then tightened until the projection of the holdings passes an audit, and `ChangeRows` lowers them.
  The books stay halted until the operator resumes.
* A margin below the alarm, where rows are verified and not proven: the same tightening without the halt.
* Intervals that open later open on the tightened rows.
* The worker dies, or is silent for longer than `patience_s`: the operator is told and it is started again. After
  `failures_max` failures without an audit between them the area is halted: nobody trades unseen. It is still tried again.

Holdings are judged on the network with the device settings of their interval, and with the forecasts that its rows were made for where
the periodic job made them (`gateway/refreshed.py`); all are noted together.

The event loop only copies holdings and sends a call. While an audit runs newer holdings replace older ones, so at most one
set per interval waits and the last holdings of every interval are audited. What halts or lowers is an ordinary command in the
journal: a replay needs no auditor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from envelopes.audit import Alarm, Finding, Forecasts, Remedy, audit, in_words, prepare, remedy
from envelopes.change import taken
from envelopes.recourse import Settings
from envelopes.refresh import on_rows
from exchange.commands import ChangeRows, Halt, InstallRows
from exchange.engine import Engine
from exchange.events import IntervalOpened, RowsChanged, Traded
from exchange.recovery import Batch
from gateway.changing import Exchange, held_w
from gateway.worker import Worker, WorkerEndedError, WorkerError
from replay.tape import interval_name
from riskcheck.polytope import KIND_WORDS, Polytope

REMEDY_PATIENCE = 10  # a remedy takes as long as so many audits
RETRY_S_MAX = 30.0


class AuditSettings(msgspec.Struct, frozen=True):
    """`patience_s` is how long an audit may take before the auditor counts as dead."""

    alarm: Alarm = Alarm()
    patience_s: float = 300.0
    failures_max: int = 3


class Audits(NamedTuple):
    """What was audited so far; margins are the smallest found, by kind of limit."""

    made: int
    intervals: int
    points: int
    broken: int
    tightened: int
    restarts: int
    margins: dict[str, float]

    def margins_in_words(self) -> str:
        return ", ".join(f"{KIND_WORDS.get(kind, kind)} {in_words(kind, margin)}" for kind, margin in self.margins.items()) or "none"

    def __str__(self) -> str:
        outcome = f"{self.broken} broken, {self.tightened} tightened, {self.restarts} restarts"
        return f"{self.made} audits of {self.intervals} intervals ({outcome}); smallest margins {self.margins_in_words()}"


class Noted(NamedTuple):
    """What is to be audited: holdings by right, and the settings and forecasts that they rely on."""

    holding_w: tuple[int, ...]
    settings: Settings
    forecasts: Forecasts = ()


class Auditor:
    """Give `take` every batch, and `run` a task of its own; `say` tells the operator."""

    def __init__(self, say: Callable[[str], None], settings: AuditSettings | None = None) -> None:
        self._say = say
        self._settings = settings or AuditSettings()
        self._worker = Worker()
        self._waiting: dict[int, Noted] = {}
        self._arrived, self._caught_up = asyncio.Event(), asyncio.Event()
        self._prepared: tuple[int | None, str] = (None, "")
        self._beyond_help: set[str] = set()
        self._failures = 0
        self._seen: set[int] = set()
        self.audits = Audits(0, 0, 0, 0, 0, 0, {})
        self.forecasts: dict[str, Forecasts] = {}  # by the hash of the rows made for them; who makes rows of forecasts shares it

    @property
    def process_id(self) -> int | None:
        return self._worker.process_id

    def take(self, batch: Batch, area: str, engine: Engine) -> None:
        """Notes the holdings of the intervals that this batch touched; the engine must have decided it, and may be ahead of it."""
        touched = {
            event.interval_ms
            for events in batch.events
            for event in events
            if isinstance(event, Traded | IntervalOpened | RowsChanged) and event.area == area
        }
        for interval_ms in sorted(touched):
            self.note(interval_ms, area, engine)

    def note(self, interval_ms: int, area: str, engine: Engine) -> None:
        interval = engine.areas[area].intervals.get(interval_ms)
        if interval is not None:
            self._waiting[interval_ms] = Noted(held_w(interval), interval.settings, self.forecasts.get(interval.rows_hash, ()))
            self._arrived.set()
            self._caught_up.clear()

    async def caught_up(self, patience_s: float) -> None:
        """Returns when nothing waits, or when patience ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._caught_up.wait()

    async def run(self, exchange: Exchange) -> None:
        """Audits until cancelled. Raises RefusedError only through `exchange.submit`: the journal's failures are its own."""
        try:
            while True:
                try:
                    await self._prepare(exchange)
                    await self._turn(exchange)
                except (WorkerError, WorkerEndedError) as error:
                    await self._failed(exchange, str(error))
        finally:
            await self._worker.stop()

    async def _prepare(self, exchange: Exchange) -> None:
        """The worker must have the network in force; after a restart, or a change of the network, it has not."""
        network = exchange.plan.network
        if self._prepared != (self._worker.process_id, network.content_hash) or self._worker.process_id is None:
            await self._worker.call(self._settings.patience_s, prepare, network, self._settings.alarm)
            if self._prepared[1] != network.content_hash:  # what was noted for another network, and is gone, means nothing on this one
                self._note_all(exchange)
            self._prepared = self._worker.process_id, network.content_hash

    async def _turn(self, exchange: Exchange) -> None:
        """One audit, of what has waited longest. Nobody else lowers holdings meanwhile: the network must not change under it."""
        if not self._waiting:
            self._arrived.clear()
            await self._worker.until_ended_or(self._arrived.wait())
        async with exchange.settling:
            if self._prepared[1] != exchange.plan.network.content_hash:
                return
            interval_ms, noted = next(iter(self._waiting.items()))
            patience_s, seed = self._settings.patience_s, self.audits.made + 1
            finding = await self._worker.call(patience_s, audit, self._prepared[1], noted.holding_w, seed, noted.settings, noted.forecasts)
            self._count(interval_ms, finding)
            if finding.broken or finding.low:
                await self._act(exchange, interval_ms, finding)
            if self._waiting.get(interval_ms) is noted:  # only now: what could not be acted upon is audited again
                del self._waiting[interval_ms]
            if not self._waiting:
                self._caught_up.set()

    def _count(self, interval_ms: int, finding: Finding) -> None:
        self._failures = 0
        self._seen.add(interval_ms)
        was = self.audits
        margins = {kind: min(margin, was.margins.get(kind, margin)) for kind, margin in finding.margins.items()}
        self.audits = was._replace(
            made=was.made + 1, intervals=len(self._seen), points=was.points + finding.points, broken=was.broken + bool(finding.broken),
            margins=margins,
        )  # fmt: skip

    async def _act(self, exchange: Exchange, interval_ms: int, finding: Finding) -> None:
        area = exchange.plan.area
        live = exchange.engine.areas[area].intervals
        name = f"interval {interval_name(interval_ms)} of area {area}"
        if interval_ms not in live:
            self._say(f"AUDIT: {name} was delivered with {finding.worst}")
            return
        if finding.broken:
            await exchange.submit([Halt(area, interval_ms, f"audit: {finding.worst}")])
            self._say(f"AUDIT: {name} is halted: {finding.worst}")
        rows = live[interval_ms].headroom.polytope
        if not finding.broken and rows.content_hash in self._beyond_help:
            return
        found = await self._remedy(exchange, interval_ms, rows, finding)
        if found is None:
            self._beyond_help.add(rows.content_hash)
            self._say(f"AUDIT: {name}: no tightening of the rows helps; {finding.worst}")
        elif interval_ms in live:
            await self._apply(exchange, interval_ms, rows, finding, found)

    async def _remedy(self, exchange: Exchange, interval_ms: int, rows: Polytope, finding: Finding) -> Remedy | None:
        interval = exchange.engine.areas[exchange.plan.area].intervals[interval_ms]
        holding_w, floor_w = held_w(interval), tuple(map(int, exchange.plan.network.floors_w()))
        patience_s, seed, settings = REMEDY_PATIENCE * self._settings.patience_s, self.audits.made, interval.settings
        network_hash, forecasts = self._prepared[1], self.forecasts.get(interval.rows_hash, ())
        return await self._worker.call(
            patience_s, remedy, network_hash, rows.to_bytes(), holding_w, floor_w, finding, seed, settings, forecasts
        )

    async def _apply(self, exchange: Exchange, interval_ms: int, rows: Polytope, finding: Finding, found: Remedy) -> None:
        """Lowers the holdings, and opens later intervals on the tightened rows where those before were the plan's."""
        area, tight = exchange.plan.area, rows if found.rows is None else Polytope.from_bytes(found.rows)
        settings = exchange.engine.areas[area].intervals[interval_ms].settings
        detail = f"{found.detail}; {finding.worst}"
        change = ChangeRows(
            area, interval_ms, tight.content_hash, found.limit_w, "audit", detail, settings, replaces_hash=rows.content_hash
        )
        if found.rows is not None and exchange.plan.rows.content_hash == rows.content_hash:
            exchange.plan = await asyncio.to_thread(on_rows, exchange.plan, tight)
        if rows.content_hash in self.forecasts:
            self.forecasts[tight.content_hash] = self.forecasts[rows.content_hash]
        decided = await exchange.submit([InstallRows(area, tight.to_bytes()), change])
        self.audits = self.audits._replace(tightened=self.audits.tightened + 1)
        outcome = "; ".join(refused.detail for refused in decided.refused) or str(taken(decided.events))
        self._say(f"AUDIT: interval {interval_name(interval_ms)} of area {area}: {detail}: {outcome}")

    async def _failed(self, exchange: Exchange, why: str) -> None:
        """Tells the operator, halts the area when it is too much, and waits a little longer each time. All is audited again."""
        self._failures += 1
        self.audits = self.audits._replace(restarts=self.audits.restarts + 1)
        area, most = exchange.plan.area, self._settings.failures_max
        self._say(f"AUDIT: the auditor failed ({self._failures} of {most} times in a row) and is started again: {why}")
        if self._failures >= most and (area, None, None) not in exchange.engine.halts:
            reason = f"audit: the auditor failed {self._failures} times in a row: {why}"
            await exchange.submit([Halt(area, None, reason)])
            self._say(f"AUDIT: area {area} is halted until it is resumed: {reason}")
        self._note_all(exchange)
        await asyncio.sleep(min(2.0 ** min(self._failures - 1, 10) - 1, RETRY_S_MAX))

    def _note_all(self, exchange: Exchange) -> None:
        """What is live, and nothing else."""
        self._waiting.clear()
        for interval_ms in exchange.engine.intervals(exchange.plan.area):
            self.note(interval_ms, exchange.plan.area, exchange.engine)
        if not self._waiting:
            self._caught_up.set()
