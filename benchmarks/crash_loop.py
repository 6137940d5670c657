"""Kills a running exchange again and again, and looks whether anything that it said was lost, or happened twice.

    python -m benchmarks.crash_loop --kills 1000

The exchange is a process of its own over one journal file (`exchange/node.py`), fed through a pipe; what it releases it says through
another. It is killed with SIGKILL after a random time: while it starts, decides, writes or takes a snapshot. What was heard until then
is what a customer would have heard. Then, each time:

* the journal, replayed from its start, leads to every digest that it holds, and to every event that was heard, byte by byte;
* from the newest snapshot it leads to the same state; `Engine.check` holds; every request has one first answer, and no second;
* the next life gets what was not answered once more, under the same ids. It is answered, however far it had come before.

SIGKILL leaves what the process gave to the kernel: that a commit also survives a power cut is SQLite's promise (synchronous=FULL).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import select
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from benchmarks.crash_market import CrashMarket
from exchange import search
from exchange.codec import encode_command
from exchange.commands import Command, CustomerCommand, Sweep
from exchange.engine import Engine
from exchange.events import Event, Repeated
from exchange.journal import Journal
from exchange.node import Node
from exchange.recovery import Batch, Recovery
from exchange.snapshot import dump
from riskcheck.headroom import warm

LIFE_S_MAX, START_S_MAX = 0.15, 5.0
KILLED_EARLY = 0.3  # of the lives, while they start
KILLS_PER_JOURNAL = 25
SNAPSHOT_COMMANDS = 15
UNANSWERED_MAX, ASKED_AT_ONCE = 300, 8
Prepare = Callable[[], None]
_events = msgspec.msgpack.Encoder()
_LENGTH = struct.Struct("<I")


class CrashError(AssertionError):
    """What was promised does not hold."""


# --- the exchange that is killed ----------------------------------------------------------------------------------


Spawn = Callable[[int, int], int]


class Life:
    """A process that runs a node over a journal until it is killed, or told to end. `spawn` starts it, given the ends of two pipes."""

    def __init__(self, spawn: Spawn) -> None:
        asked, self._say = os.pipe()
        self._listen, answered = os.pipe()
        self.child = spawn(asked, answered)
        os.close(asked)
        os.close(answered)
        os.set_blocking(self._say, False)
        self._unsaid = self._heard = b""
        self.is_over = False

    def ask(self, command: Command) -> None:
        body = encode_command(command)
        self._unsaid += _LENGTH.pack(len(body)) + body

    def go_on(self, seconds: float) -> Iterator[bytes]:
        """Says what is left to say, and yields what was heard, as long as something comes within that time."""
        reading, writing, _ = select.select([self._listen], [self._say] if self._unsaid else [], [], seconds)
        if writing:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                self._unsaid = self._unsaid[os.write(self._say, self._unsaid) :]
        if reading:
            more = os.read(self._listen, 1 << 16)
            self.is_over = not more
            self._heard += more
            yield from self._frames()

    def _frames(self) -> Iterator[bytes]:
        while len(self._heard) >= 4 and len(self._heard) >= 4 + (length := _LENGTH.unpack_from(self._heard)[0]):
            yield self._heard[4 : 4 + length]
            self._heard = self._heard[4 + length :]

    def kill(self) -> Iterator[bytes]:
        """Yields what it had said before."""
        os.kill(self.child, signal.SIGKILL)
        yield from self._last_words()

    def end(self) -> Iterator[bytes]:
        """Nothing more is asked: it decides what it has, and ends."""
        while self._unsaid and not self.is_over:
            yield from self.go_on(1.0)
        os.close(self._say)
        self._say = -1
        yield from self._last_words()

    def _last_words(self) -> Iterator[bytes]:
        while not self.is_over:
            self._unsaid = b""
            yield from self.go_on(1.0)
        _, status = os.waitpid(self.child, 0)
        self.exit_code = os.waitstatus_to_exitcode(status)
        os.close(self._listen)
        if self._say >= 0:
            os.close(self._say)


def forked(path: Path, prepare: Prepare | None = None) -> Spawn:
    """A fork of this process, which has compiled everything. `prepare` runs in it first: it may plant faults."""

    def spawn(asked: int, answered: int) -> int:
        child = os.fork()
        if child == 0:
            _live(path, asked, answered, prepare)
        return child

    return spawn


def traced(path: Path, failing_sync: int) -> Spawn:
    """A new process whose so-manyth sync of a thread fails once, by strace: the next would succeed again, and lie."""
    inject = ("-e", "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:error=EIO:when={failing_sync}")
    before = ("strace", "-f", "-qq", "-o", os.devnull, *inject, sys.executable, "-m", "benchmarks.crash_loop", "--live", str(path))

    def spawn(asked: int, answered: int) -> int:
        os.set_inheritable(asked, True)
        os.set_inheritable(answered, True)
        return os.spawnvp(os.P_NOWAIT, before[0], [*before, str(asked), str(answered)])

    return spawn


def _live(path: Path, asked: int, answered: int, prepare: Prepare | None) -> None:
    """The process: closes what belongs to its parent, and ends with code 1 where the node ended with an error."""
    code = 1
    try:
        for other in range(3, max(asked, answered) + 8):
            if other not in (asked, answered):
                with contextlib.suppress(OSError):
                    os.close(other)
        if prepare is not None:
            prepare()
        asyncio.run(_run(path, asked, answered))
        code = 0
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info()) if prepare is None else None
    finally:
        os._exit(code)


async def _run(path: Path, asked: int, answered: int) -> None:
    node = Node(path, lambda batch: _tell(node, batch, answered), snapshot_commands=SNAPSHOT_COMMANDS)
    held = bytearray()

    def read() -> None:
        more = os.read(asked, 1 << 16)
        held.extend(more)
        while len(held) >= 4 and len(held) >= 4 + (length := _LENGTH.unpack_from(held)[0]):
            node.submit(msgspec.msgpack.decode(held[4 : 4 + length], type=Command))
            del held[: 4 + length]
        if not more:
            asyncio.get_running_loop().remove_reader(asked)
            node.stop()

    asyncio.get_running_loop().add_reader(asked, read)
    await node.run()


def _tell(node: Node, batch: Batch, answered: int) -> None:
    """Every event in a frame of its own, with what it answers first; the batch before has surely arrived."""
    for command, events in zip(batch.commands, batch.events, strict=True):
        for position, event in enumerate(events):
            body = _events.encode((name_of(command) if position == 0 else "", event))
            os.write(answered, _LENGTH.pack(len(body)) + body)
    node.confirm(batch.number - 1)


def name_of(command: Command) -> str:
    """The id of a customer's request; the body of what the operator asks, who knows no ids."""
    place = command.place if isinstance(command, Sweep) else command
    return place.request_id if isinstance(place, CustomerCommand) else encode_command(command).hex()


# --- what was heard, and what the journal says -------------------------------------------------------------------


class Heard:
    """All that lives over one journal have said, by sequence; the same event twice must be the same bytes."""

    def __init__(self) -> None:
        self.events: dict[int, bytes] = {}
        self.answered: set[str] = set()
        self.kinds: Counter[str] = Counter()

    def hear(self, frames: Iterator[bytes]) -> None:
        for frame in frames:
            answers, event = msgspec.msgpack.decode(frame, type=tuple[str, msgspec.Raw])
            kind, sequence = msgspec.msgpack.decode(event)[:2]
            self.kinds[kind] += sequence not in self.events
            if self.events.setdefault(sequence, bytes(event)) != bytes(event):
                raise CrashError(f"event {sequence} was another when it was told again")
            if answers:
                self.answered.add(answers)


def verify(path: Path, heard: Heard) -> Engine:
    """Raises CrashError (or JournalError) where the journal does not hold what was heard. The engine as recovered."""
    journal = Journal(path, readonly=True)
    replay, told, first_answers = Recovery(journal, snapshot_max=0), dict[int, bytes](), set[str]()
    for batch in replay:
        for command, events in zip(batch.commands, batch.events, strict=True):
            told.update((event.sequence, _events.encode(event)) for event in events)
            _note_first_answer(command, events, first_answers)
    lost = [sequence for sequence, event in heard.events.items() if told.get(sequence) != event]
    if lost:
        raise CrashError(f"{len(lost)} events were heard and are not in the journal, first {lost[0]}")
    newest = Recovery(journal)
    for _ in newest:
        pass
    if dump(newest.engine) != dump(replay.engine) or newest.digest != replay.digest:
        raise CrashError("the newest snapshot leads elsewhere than the journal from its start")
    newest.engine.check()
    journal.close()
    return newest.engine


def _note_first_answer(command: Command, events: Sequence[Event], seen: set[str]) -> None:
    place = command.place if isinstance(command, Sweep) else command
    if not isinstance(place, CustomerCommand) or isinstance(events[0], Repeated):
        return
    if place.request_id in seen:
        raise CrashError(f"request {place.request_id} was decided twice")
    seen.add(place.request_id)


# --- the loop -----------------------------------------------------------------------------------------------------


class Journey:
    """One journal through several lives. `unanswered` are the commands that nobody has answered yet, in the order of asking."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.random = path, Random(seed)
        self.market = CrashMarket(seed)
        self.orders = self.market.orders()
        self.heard = Heard()
        self.unanswered: list[Command] = self.market.opening()

    def live(self) -> None:
        """One life, killed while it starts, or some time after its first word."""
        life, left_s = Life(forked(self.path)), self.random.uniform(0, LIFE_S_MAX)
        ends = time.monotonic() + (left_s if self.random.random() < KILLED_EARLY else START_S_MAX)
        is_silent = True
        self._ask_again(life)
        while (left := ends - time.monotonic()) > 0 and not life.is_over:
            if len(self.unanswered) < UNANSWERED_MAX:
                self._ask(life, [next(self.orders) for _ in range(ASKED_AT_ONCE)])
            before = len(self.heard.events)
            self.heard.hear(life.go_on(min(left, 0.001)))
            if is_silent and len(self.heard.events) > before:
                is_silent, ends = False, min(ends, time.monotonic() + left_s)
            self._forget_answered()
        self.heard.hear(life.kill())
        self._forget_answered()
        if life.exit_code != -signal.SIGKILL:
            raise CrashError(f"the exchange ended by itself, with {life.exit_code}")

    def finish(self) -> Heard:
        """The last life answers everything and ends by itself; all that was heard."""
        life = Life(forked(self.path))
        self._ask_again(life)
        self.heard.hear(life.end())
        self._forget_answered()
        if life.exit_code or self.unanswered:
            raise CrashError(f"the last life ended with {life.exit_code}, and {len(self.unanswered)} requests had no answer")
        verify(self.path, self.heard)
        return self.heard

    def _ask_again(self, life: Life) -> None:
        """What the last life left unanswered; where that was nothing, time may go on."""
        if self.random.random() < 0.3 and not self.unanswered:
            self.unanswered = self.market.move_on()
        for command in self.unanswered:
            life.ask(command)

    def _ask(self, life: Life, commands: Sequence[Command]) -> None:
        self.unanswered += commands
        for command in commands:
            life.ask(command)

    def _forget_answered(self) -> None:
        self.unanswered = [command for command in self.unanswered if name_of(command) not in self.heard.answered]


def crash(kills: int, seed: int, folder: Path, *, report: bool = False) -> Counter[str]:
    """Events heard, by kind. Raises CrashError."""
    warm()
    search.warm()
    done, kinds = 0, Counter[str]()
    while done < kills:
        path = folder / f"crash-{done}.sqlite"
        journey = Journey(path, seed + done)
        for _ in range(min(KILLS_PER_JOURNAL, kills - done)):
            journey.live()
            done += 1
            if path.exists() and journey.heard.events:
                verify(path, journey.heard)
        kinds += journey.finish().kinds
        for each in folder.glob(path.name + "*"):
            each.unlink()
        if report:
            print(f"{done} kills, {kinds.total()} events heard, {kinds['traded']} trades: nothing lost, nothing twice", flush=True)
    return kinds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash_loop", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--live", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.live:
        _live(Path(arguments.live[0]), int(arguments.live[1]), int(arguments.live[2]), None)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="limex-crash-") as folder:
        kinds = crash(arguments.kills, arguments.seed, Path(folder), report=True)
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    print(f"{arguments.kills} kills in {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
