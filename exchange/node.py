"""The running exchange: what arrived while the last batch was being committed is the next batch.

    submit -> [waiting] -> journal.append in a thread  ||  engine.apply here  ->  both done: release(batch)

No event leaves before its command is on the disk. A failed write ends `run` with JournalError; nothing is retried. Batches
whose release was not confirmed before a crash are released again at the next start: events carry sequences, so whoever
hears one twice can tell. The garbage collector is off while orders are decided and runs when an interval is retired.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exchange.codec import encode_command
from exchange.commands import Command, RetireInterval
from exchange.engine import Engine
from exchange.journal import Journal
from exchange.recovery import Batch, Recovery, run_batch
from exchange.snapshot import dump
from riskcheck.headroom import warm

BATCH_COMMANDS_MAX = 1000
SNAPSHOT_COMMANDS = 50_000
SNAPSHOT_PATIENCE = 4  # a snapshot waits for an interval to be retired, when there is least to write, but not for ever


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


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
        warm()
        self.journal = Journal(path)
        confirmed = self.journal.confirmed()
        recovery = Recovery(self.journal, snapshot_max=confirmed)
        self.unconfirmed = [batch for batch in recovery if batch.number > confirmed]
        self.engine: Engine = recovery.engine
        self.number, self.digest = recovery.number, recovery.digest
        self._unnoted = recovery.unnoted
        self._commands = self.journal.counts()[1]
        self._release = release
        self._clock_ms = clock_ms
        self._snapshot_commands = snapshot_commands
        self._since_snapshot = 0
        self._confirmed = confirmed
        self._waiting: list[Command] = []
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
        await self._arrived.wait()
        commands, self._waiting = tuple(self._waiting[:BATCH_COMMANDS_MAX]), self._waiting[BATCH_COMMANDS_MAX:]
        if not self._waiting and not self._stopping:
            self._arrived.clear()
        if not commands:
            return not self._stopping
        number, at_ms, digests = self.number + 1, self._clock_ms(), self._unnoted
        bodies = [encode_command(command) for command in commands]
        loop = asyncio.get_running_loop()
        durable = loop.run_in_executor(writer, self.journal.append, number, at_ms, bodies, self._commands + 1, digests, self._confirmed)
        batch = run_batch(self.engine, number, at_ms, commands, self.digest)
        await durable
        self.number, self.digest, self._unnoted = number, batch.digest, [(number, batch.digest)]
        self._commands += len(commands)
        self._release(batch)
        self._since_snapshot += len(commands)
        is_quiet = any(isinstance(command, RetireInterval) for command in commands)
        if self._since_snapshot >= self._snapshot_commands * (1 if is_quiet else SNAPSHOT_PATIENCE):
            await loop.run_in_executor(writer, self._save, dump(self.engine))
        if is_quiet:
            gc.collect()
            gc.freeze()  # the engine makes no cycles: what survives is not worth walking again
        return True

    def _save(self, body: bytes) -> None:
        self.journal.note(self._unnoted, self._confirmed)
        self.journal.save_snapshot(self.number, self.digest, body)
        self._unnoted, self._since_snapshot = [], 0
