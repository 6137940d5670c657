"""An order log decided and kept as a journal: from then on replay, tape, tables, settlement and comparisons are those of any journal.

The journal's clock is the market's: a batch is what came within a tenth of a second of market time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from exchange.codec import encode_command
from exchange.commands import Command
from exchange.engine import Engine
from exchange.events import Accepted, Event, Refused, Rejected, Repeated, Traded
from exchange.journal import Journal
from exchange.recovery import run_batch
from replay.script import Told
from replay.tabular import OutputError

BATCH_MS = 100
BATCH_COMMANDS_MAX = 1000


class Imported(NamedTuple):
    """What the engine made of a log: requests that came again (`repeated`, answered as before), rejects by reason, and what the
    operator was refused in words (there should be none)."""

    commands: int
    accepted: int
    repeated: int
    trades: int
    rejects: dict[str, int]
    refused: tuple[str, ...]


def into_journal(path: Path, told: Iterable[Told], on_count: Callable[[int], None] = lambda _done: None) -> Imported:
    """Decides and stores everything. Raises OutputError where there is a file already, JournalError."""
    refuse_existing(path)
    journal, engine = Journal(path), Engine()
    done, digest, counts, rejects, refused = 0, b"", Counter[str](), Counter[str](), list[str]()
    noted: list[tuple[int, bytes]] = []
    try:
        for number, (at_ms, commands) in enumerate(_batches(told), 1):
            journal.append(number, at_ms, map(encode_command, commands), done + 1, noted, number - 1)
            batch = run_batch(engine, number, at_ms, commands, digest)
            digest, noted, done = batch.digest, [(number, batch.digest)], done + len(commands)
            for events in batch.events:
                _count(events, counts, rejects, refused)
            on_count(done)
        journal.note(noted, noted[0][0] if noted else 0)
    finally:
        journal.close()
    return Imported(done, counts["Accepted"], counts["Repeated"], counts["Traded"], dict(rejects.most_common()), tuple(refused))


def refuse_existing(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{path} is there already; a log is imported into a journal of its own")


def _count(events: Iterable[Event], counts: Counter[str], rejects: Counter[str], refused: list[str]) -> None:
    for event in events:
        match event:
            case Accepted() | Repeated() | Traded():
                counts[type(event).__name__] += 1
            case Rejected():
                rejects[event.reason] += 1
            case Refused():
                refused.append(f"{event.command}: {event.reason}: {event.detail}")
            case _:
                pass


def _batches(told: Iterable[Told]) -> Iterator[tuple[int, tuple[Command, ...]]]:
    """(market time of the first, commands), at most BATCH_COMMANDS_MAX at once."""
    for _, together in groupby(told, lambda one: one[0] // BATCH_MS):
        listed = list(together)
        for start in range(0, len(listed), BATCH_COMMANDS_MAX):
            part = listed[start : start + BATCH_COMMANDS_MAX]
            yield part[0][0], tuple(command for _, command in part)
