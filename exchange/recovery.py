"""From stored commands back to state and events. The exchange starts with it, and replay is nothing else.

Every batch whose digest is stored must lead to that digest again; one that does not means that the journal was altered or
that this version decides differently, and neither may trade on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from exchange.codec import CorruptRecordError, decode_command, encode_events
from exchange.commands import Command
from exchange.engine import Engine
from exchange.events import Event
from exchange.journal import Journal, JournalError, StoredBatch, next_digest
from exchange.snapshot import is_older, load


class Batch(NamedTuple):
    """What was decided together. `events[i]` belong to `commands[i]`; `digest` covers all events up to here."""

    number: int
    at_ms: int
    commands: tuple[Command, ...]
    events: tuple[tuple[Event, ...], ...]
    digest: bytes


class ReplayMismatchError(JournalError):
    """The stored commands no longer lead to the stored digest."""


def run_batch(engine: Engine, number: int, at_ms: int, commands: tuple[Command, ...], previous: bytes) -> Batch:
    """The way in which stored commands become a batch again."""
    return closed_batch(number, at_ms, commands, [tuple(engine.apply(command)) for command in commands], previous)


def closed_batch(
    number: int, at_ms: int, commands: Iterable[Command], events: Sequence[tuple[Event, ...]], previous: bytes
) -> Batch:  # fmt: skip
    """What was applied, live or in replay, with the digest that proves it."""
    digest = next_digest(previous, b"".join(map(encode_events, events)))
    return Batch(number, at_ms, tuple(commands), tuple(events), digest)


class Recovery:
    """Replays a journal up to a batch, from the newest snapshot after batch `snapshot_max` or before; 0 means from the start.

    A snapshot that an earlier version wrote is passed over: replay then begins at the start, too.

    Iterate it: each stored batch comes out re-derived and verified; `engine`, `number` and `digest` follow.
    """

    def __init__(self, journal: Journal, *, snapshot_max: int | None = None, up_to: int | None = None) -> None:
        bounds = [bound for bound in (snapshot_max, up_to) if bound is not None]
        kept = journal.last_snapshot(min(bounds, default=None))
        if kept is not None and is_older(kept[2]):
            kept = None
        self.number, self.digest, body = kept if kept is not None else (0, b"", None)
        try:
            self.engine = Engine() if body is None else load(body)
        except CorruptRecordError as error:
            raise JournalError(f"{journal.path}: snapshot after batch {self.number}: {error}") from error
        self.unnoted: list[tuple[int, bytes]] = []
        self._journal = journal
        self._up_to = up_to

    def __iter__(self) -> Iterator[Batch]:
        for stored in self._journal.batches(self.number):
            if self._up_to is not None and stored.number > self._up_to:
                return
            yield self._rerun(stored)

    def _rerun(self, stored: StoredBatch) -> Batch:
        try:
            commands = tuple(map(decode_command, stored.commands))
        except CorruptRecordError as error:
            raise JournalError(f"{self._journal.path}: batch {stored.number}: {error}") from error
        batch = run_batch(self.engine, stored.number, stored.at_ms, commands, self.digest)
        if stored.digest is None:
            self.unnoted.append((batch.number, batch.digest))
        elif stored.digest != batch.digest:
            raise ReplayMismatchError(
                f"{self._journal.path}: batch {stored.number} led to digest {stored.digest.hex()} when it was decided and leads to "
                f"{batch.digest.hex()} now; the journal was altered, or another version of limex wrote it"
            )
        self.number, self.digest = batch.number, batch.digest
        return batch
