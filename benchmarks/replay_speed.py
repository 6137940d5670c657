"""How fast a journal is proven: `replay.verify` on a journal that the real node wrote, beside what bounds it.

The node gets the stream as fast as it takes it, so its batches are as large as they get. Beside the verification stand
its parts alone, in one process: reading and decoding the commands, and deciding them. What remains is encoding and
digesting the events. The node's own speed, to the disk and with digests, is told as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.engine import MORNING, SEED
from benchmarks.feeder import Feeder, Progress
from benchmarks.measure import no_collector
from benchmarks.orders import demo_day
from exchange.codec import decode_command
from exchange.commands import Command
from exchange.engine import Engine
from exchange.journal import Journal
from exchange.node import Node
from exchange.recovery import Batch
from replay.verify import Verdict, verify

T = TypeVar("T")
CLIENTS_AHEAD = 200  # submitted and not yet released


class ReplayFigures(msgspec.Struct, frozen=True):
    """Commands per second, the best of the rounds; the journal's bytes include its write-ahead log."""

    feeder: str
    stream: str
    commands: int
    batches: int
    node_per_s: int
    verify_per_s: int
    read_per_s: int
    decide_per_s: int
    journal_bytes_per_command: int
    digest: str


def measure(feeder: Feeder, directory: Path, *, quick: bool, progress: Progress) -> ReplayFigures:
    """`directory` is on the disk whose speed is meant, and empty."""
    stream = demo_day(feeder, SEED, 8 if quick else 32, MORNING, progress)
    path, rounds = directory / "journal.sqlite", 2 if quick else 4
    progress("replay: the node writes a journal", 0.4)
    node_s = asyncio.run(_write(path, stream.commands))
    size = sum(file.stat().st_size for file in directory.iterdir())
    progress("replay: verifying it", 0.7)
    verify_s, verdict = _best(lambda: verify(path), rounds)
    read_s, commands = _best(lambda: _read(path), rounds)
    decide_s, _ = _best(lambda: _decide(commands), rounds)
    count = len(stream.commands)
    assert isinstance(verdict, Verdict)
    assert commands == list(stream.commands), "the journal does not hold what was submitted"
    return ReplayFigures(
        feeder.size, stream.name, count, verdict.batches, int(count / node_s), int(count / verify_s), int(count / read_s),
        int(count / decide_s), size // count, verdict.digest,
    )  # fmt: skip


async def _write(path: Path, commands: tuple[Command, ...]) -> float:
    """Seconds from the first submission to the last release; a bounded number of commands is under way."""
    released, room = 0, asyncio.Event()

    def release(batch: Batch) -> None:
        nonlocal released
        released += len(batch.commands)
        node.confirm(batch.number)
        room.set()

    node = Node(path, release)
    running = asyncio.create_task(node.run())
    began = time.perf_counter()
    for number, command in enumerate(commands):
        while number - released >= CLIENTS_AHEAD and not running.done():
            room.clear()
            await asyncio.wait({running, asyncio.ensure_future(room.wait())}, return_when=asyncio.FIRST_COMPLETED)
        node.submit(command)
    node.stop()
    await running
    return time.perf_counter() - began


def _best(work: Callable[[], T], rounds: int) -> tuple[float, T]:
    """(seconds of the fastest round, what the last one returned)."""
    times = []
    for _ in range(rounds):
        with no_collector():
            began = time.perf_counter()
            result = work()
            times.append(time.perf_counter() - began)
    return min(times), result


def _read(path: Path) -> list[Command]:
    journal = Journal(path, readonly=True)
    try:
        return [decode_command(body) for batch in journal.batches() for body in batch.commands]
    finally:
        journal.close()


def _decide(commands: list[Command]) -> Engine:
    engine = Engine()
    for command in commands:
        engine.apply(command)
    return engine
