"""The running exchange: what arrived while the last batch was decided and committed is the next batch.

    submit -> [waiting] -> decide: (propose ->) engine.apply -> the batch -> journal.append in a thread -> release(batch)
                           batch n+1 is decided here            ||           while batch n becomes durable there

**Proposals.** Just before an order is applied, the proposer (`exchange/proposer.py`) may find joint fills for it: then `Sweep` takes
the place of `Place`. After the last command of a batch, orders at rest of the intervals that it touched may be worth an `Uncross`.
What is journaled is exactly what was applied, in that order, so replay never solves. An auction is ended by `Uncross` commands of
the operator; `uncrossed` makes one, to be submitted first. That takes longer, so it is solved in a thread: orders that come meanwhile
collect, too, and trade when the auction has ended.

**Why a crash loses nothing.** The engine runs ahead of the disk by at most two batches, but nothing that it said leaves: a batch is
released only after its own append has returned, and appends are made one at a time, in order. So what anyone heard is in the
journal, with all that came before it. A batch that was decided and not yet durable when the process ends is as if it had never
arrived: its senders heard nothing, and ask again under the same ids. After a restart they may be decided differently (other batches,
other proposals), and nobody can tell. Snapshots are taken from the state after a batch that is durable before they are stored.

A failed write ends `run` with JournalError; nothing is retried. Batches whose release was not confirmed before a crash are
released again at the next start: events carry sequences, so whoever hears one twice can tell. The garbage collector is off while
orders are decided and runs when an interval is retired.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from exchange import proposals, proposer, search
from exchange.bounds import MarketSettings
from exchange.codec import encode_command
from exchange.commands import AmendSettings, Command, OpenArea, Place, RetireInterval, Uncross
from exchange.engine import Engine
from exchange.events import Event, IntervalRetired
from exchange.journal import Journal
from exchange.proposer import Indication, Proposer
from exchange.recovery import Batch, Recovery, closed_batch
from exchange.snapshot import dump
from riskcheck import headroom

BATCH_COMMANDS_MAX = 1000
DECIDING_S_MAX = 0.02  # a batch that takes longer (the solver was asked often) ends here: the one before waits to be released
SOLVED_MEANWHILE_MAX = 2  # times, for one auction
SNAPSHOT_COMMANDS = 50_000
SNAPSHOT_PATIENCE = 4  # a snapshot waits for an interval to be retired, when there is least to write, but not for ever


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _asks_solver(settings: MarketSettings) -> bool:
    return bool(settings.sweeps or settings.call_auctions or settings.pause_mct)


class _Writing(NamedTuple):
    """A batch on its way to the disk."""

    batch: Batch
    durable: Future[None]


class Node:
    """One exchange over one journal. Use it from one event loop: `submit` never blocks, `run` does the work."""

    def __init__(
        self,
        path: Path,
        release: Callable[[Batch], None],
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
        snapshot_commands: int = SNAPSHOT_COMMANDS,
    ) -> None:
        """Opens or creates the journal and recovers. Raises JournalError; `unconfirmed` are the batches to release again."""
        headroom.warm()
        search.warm()
        self.journal = Journal(path)
        confirmed = self.journal.confirmed()
        recovery = Recovery(self.journal, snapshot_max=confirmed)
        self.unconfirmed = [batch for batch in recovery if batch.number > confirmed]
        self.engine: Engine = recovery.engine
        self.proposer = Proposer()
        self.number, self.digest = recovery.number, recovery.digest
        self._decided = recovery.number, recovery.digest
        if any(_asks_solver(area.settings) for area in self.engine.areas.values()):
            proposer.warm()
        self._unnoted = recovery.unnoted
        self._commands = self.journal.counts()[1]
        self._release = release
        self._clock_ms = clock_ms
        self._snapshot_commands = snapshot_commands
        self._since_snapshot = 0
        self._confirmed = confirmed
        self._waiting: list[Command] = []
        self._writing: _Writing | None = None
        self._arrived = asyncio.Event()
        self._stopping = False

    def submit(self, command: Command) -> None:
        """Queues a command for the next batch."""
        self._waiting.append(command)
        self._arrived.set()

    def submit_first(self, commands: Sequence[Command]) -> None:
        """Queues commands before all that wait: nothing is decided between the engine's state of now and them."""
        self._waiting[:0] = commands
        self._arrived.set()

    async def uncrossed(self, area: str, interval_ms: int) -> Uncross | None:
        """The command that ends an auction, with the joint fills of the orders that rest; None where no such interval is open.

        It is solved while other orders are decided, and again where one that it fills has gone meanwhile. Who cannot be overtaken
        otherwise is, at last, by solving while nothing else is decided.
        """
        for _ in range(SOLVED_MEANWHILE_MAX):
            question = self.proposer.question(self.engine, area, interval_ms)
            if question is None:
                return None
            fills = await asyncio.to_thread(question.answer)
            uncross = self.proposer.uncrossing(self.engine, question, fills, ends_auction=True)
            if uncross is not None and proposals.still_stands(self.engine, uncross):
                return uncross
        return self.proposer.uncross(self.engine, area, interval_ms, ends_auction=True)

    async def indicated(self, area: str, interval_ms: int) -> Indication | None:
        """What `uncrossed` would come to, solved while orders are decided; None where no such interval is open, or its rows changed."""
        question = self.proposer.question(self.engine, area, interval_ms)
        if question is None:
            return None
        return self.proposer.indication(self.engine, question, await asyncio.to_thread(question.answer))

    def confirm(self, number: int) -> None:
        """The events of batch `number` and of all before have reached the broker: no need to release them again."""
        self._confirmed = max(self._confirmed, number)

    def stop(self) -> None:
        """`run` returns after what was submitted before is decided and released."""
        self._stopping = True
        self._arrived.set()

    async def run(self) -> None:
        """Releases what was not confirmed, then decides batch after batch until `stop`. Raises JournalError."""
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="journal") as writer:
                for batch in self.unconfirmed:
                    self._release(batch)
                self.unconfirmed = []
                while await self._take_turn(writer):
                    pass
        finally:
            gc.enable()
            gc.unfreeze()
        if self._since_snapshot:
            self._save(dump(self.engine))
        self.journal.close()

    async def _take_turn(self, writer: ThreadPoolExecutor) -> bool:
        """Decides a batch while the one before is written; then that one leaves, and this one goes to the disk."""
        if not self._waiting:
            await self._written()
            await self._arrived.wait()
        batch = self._decide()
        if not self._waiting and not self._stopping:
            self._arrived.clear()
        await self._written()
        if batch is None:
            return not self._stopping
        self._write(batch, writer)
        is_quiet = any(isinstance(command, RetireInterval) for command in batch.commands)
        if self._since_snapshot >= self._snapshot_commands * (1 if is_quiet else SNAPSHOT_PATIENCE):
            body = dump(self.engine)
            await self._written()
            await asyncio.get_running_loop().run_in_executor(writer, self._save, body)
        if is_quiet:
            gc.collect()
            gc.freeze()  # the engine makes no cycles: what survives is not worth walking again
        return True

    # --- deciding -------------------------------------------------------------------------------------------------

    def _decide(self) -> Batch | None:
        """Takes what waits, as much as fits into a batch, and applies it; None where nothing waits."""
        if not self._waiting:
            return None
        number, previous = self._decided
        at_ms, ends_s = self._clock_ms(), time.perf_counter() + DECIDING_S_MAX
        commands: list[Command] = []
        events: list[tuple[Event, ...]] = []
        taken = 0
        for asked in self._waiting[:BATCH_COMMANDS_MAX]:
            command = self._proposed(asked)
            commands.append(command)
            events.append(tuple(self.engine.apply(command)))
            taken += 1
            if time.perf_counter() > ends_s:
                break
        del self._waiting[:taken]
        for uncross in self._uncrossings(events):
            commands.append(uncross)
            events.append(tuple(self.engine.apply(uncross)))
        batch = closed_batch(number + 1, at_ms, commands, events, previous)
        self._decided = batch.number, batch.digest
        return batch

    def _proposed(self, command: Command) -> Command:
        """The command itself, or an order with its joint fills. A market that will ask the solver gets it ready before orders come."""
        if isinstance(command, Place):
            return self.proposer.propose(self.engine, command) or command
        if isinstance(command, OpenArea | AmendSettings) and _asks_solver(command.settings):
            proposer.warm()
        return command

    def _uncrossings(self, events: Sequence[tuple[Event, ...]]) -> Iterator[Uncross]:
        """One for each interval that the batch touched and whose orders at rest may gain together, where the market has sweeps."""
        touched = self._touched(events)
        if not any(area.settings.sweeps for area in self.engine.areas.values()):
            return
        for area, interval_ms in touched:
            if self.proposer.may_uncross(self.engine, area, interval_ms):
                uncross = self.proposer.uncross(self.engine, area, interval_ms, ends_auction=False)
                if uncross is not None:
                    yield uncross

    def _touched(self, events: Sequence[tuple[Event, ...]]) -> list[tuple[str, int]]:
        found: dict[tuple[str, int], None] = {}
        for event in (event for of_command in events for event in of_command):
            area, interval_ms = getattr(event, "area", None), getattr(event, "interval_ms", None)
            if isinstance(event, IntervalRetired):
                self.proposer.forget(event.area, event.interval_ms)
            elif area is not None and interval_ms is not None:
                found[area, interval_ms] = None
        return list(found)

    # --- writing --------------------------------------------------------------------------------------------------

    def _write(self, batch: Batch, writer: ThreadPoolExecutor) -> None:
        """Hands a batch to the disk. The one before is durable: two are never in flight at once."""
        bodies = [encode_command(command) for command in batch.commands]
        arguments = batch.number, batch.at_ms, bodies, self._commands + 1, self._unnoted, self._confirmed
        self._writing = _Writing(batch, writer.submit(self.journal.append, *arguments))
        self._unnoted = [(batch.number, batch.digest)]
        self._commands += len(batch.commands)
        self._since_snapshot += len(batch.commands)

    async def _written(self) -> None:
        """Waits until the batch that is being written is durable, and lets its events leave."""
        if self._writing is None:
            return
        batch, durable = self._writing
        await asyncio.wrap_future(durable)
        self._writing = None
        self.number, self.digest = batch.number, batch.digest
        self._release(batch)

    def _save(self, body: bytes) -> None:
        self.journal.note(self._unnoted, self._confirmed)
        self.journal.save_snapshot(self.number, self.digest, body)
        self._unnoted, self._since_snapshot = [], 0
