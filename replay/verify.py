"""Proof that a journal leads to what it led to: every digest, every snapshot and, if kept, every event byte for byte.

One pass from the first command; at each stored snapshot the rebuilt state must give the same bytes, so replay from any
snapshot is proven with it (but for those of an earlier format, which nothing starts from). The invariants of the engine are
checked at each snapshot and at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from exchange.codec import encode_events
from exchange.journal import Journal
from exchange.recovery import Batch, Recovery, ReplayMismatchError
from exchange.snapshot import dump, is_older


class Verdict(msgspec.Struct, frozen=True):
    """What a verification went through. `digest` covers all events; `undigested` batches had none stored (a crash)."""

    batches: int
    commands: int
    events: int
    snapshots: int
    undigested: int
    digest: str


def verify(path: Path, *, until: int | None = None, on_batch: Callable[[Batch, int], None] | None = None) -> Verdict:
    """Replays the journal, up to batch `until` or whole. `on_batch(batch, batches_in_all)` sees each one: progress, tapes, reports.

    Raises ReplayMismatchError at the first batch or snapshot that comes out different, JournalError if it cannot be read.
    """
    journal = Journal(path, readonly=True)
    try:
        last, _ = journal.counts()
        total = last if until is None else min(last, until)
        recovery = Recovery(journal, snapshot_max=0, up_to=until)
        snapshots = {batch: body for batch, _, body in journal.snapshots() if not is_older(body)}
        commands = events = met = 0
        for batch in recovery:
            commands += len(batch.commands)
            events += sum(map(len, batch.events))
            if batch.number in snapshots:
                met += 1
                recovery.engine.check()
                if dump(recovery.engine) != snapshots[batch.number]:
                    raise ReplayMismatchError(f"{path}: the state after batch {batch.number} is not the stored snapshot")
            if on_batch is not None:
                on_batch(batch, total)
        recovery.engine.check()
        return Verdict(recovery.number, commands, events, met, len(recovery.unnoted), recovery.digest.hex())
    finally:
        journal.close()


class EventLog:
    """Events as they were released, kept to be compared with a replay: one msgpack list per batch."""

    def __init__(self) -> None:
        self._batches: dict[int, bytes] = {}

    def keep(self, batch: Batch) -> None:
        self._batches[batch.number] = b"".join(map(encode_events, batch.events))

    def compare(self, batch: Batch, _total: int) -> None:
        """For `verify`'s on_batch: raises ReplayMismatchError where a replayed batch differs from the kept one."""
        if self._batches.get(batch.number) != b"".join(map(encode_events, batch.events)):
            raise ReplayMismatchError(f"batch {batch.number}: the replayed events are not those that were released")
