"""Deaths before and after every statement that the journal gives to its database, one run for each of them.

    python -m benchmarks.crash_boundaries

Between two statements nothing of a journal changes, so these are all the states in which a process can leave it. A run is an opening,
two batches of orders, an interval that ends and, with it, a snapshot. After each death the journal is looked at as in
`benchmarks/crash_loop.py`, and another life answers what is left.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from benchmarks.crash_loop import CrashError, Heard, Life, Spawn, forked, name_of, verify
from benchmarks.crash_market import CrashMarket
from exchange import search
from exchange.commands import Command
from riskcheck.headroom import warm

SEED, BATCH = 5, 12


class Dying(sqlite3.Connection):
    """Counts what is about to be done and what was done; the process dies at one of them."""

    passed, last = 0, -1

    def _do(self, name: str, *given: object) -> object:
        self._pass()
        done = getattr(super(), name)(*given)
        self._pass()
        return done

    @staticmethod
    def _pass() -> None:
        if Dying.passed == Dying.last:
            os.kill(os.getpid(), signal.SIGKILL)
        Dying.passed += 1

    def execute(self, *given: object) -> object:  # type: ignore[override]
        return self._do("execute", *given)

    def executemany(self, *given: object) -> object:  # type: ignore[override]
        return self._do("executemany", *given)

    def executescript(self, *given: object) -> object:  # type: ignore[override]
        return self._do("executescript", *given)


def connecting_with(kind: type[sqlite3.Connection]) -> None:
    """Every database of this process is opened so from now on."""
    connect = sqlite3.connect
    sqlite3.connect = lambda *given, **named: connect(*given, **named, factory=kind)  # type: ignore[assignment]


def dying_at(boundary: int) -> Callable[[], None]:
    def prepare() -> None:
        Dying.last = boundary
        connecting_with(Dying)

    return prepare


def script() -> list[list[Command]]:
    market = CrashMarket(SEED)
    orders = market.orders()
    asked = [market.opening(), *([next(orders) for _ in range(BATCH)] for _ in range(2))]
    return [*asked, market.move_on()]


def live(spawn: Spawn, batches: list[list[Command]], heard: Heard) -> int:
    """Asks for one batch after the other is answered, then for the end; the exit code."""
    life = Life(spawn)
    for batch in batches:
        for command in batch:
            life.ask(command)
        while not life.is_over and not {name_of(command) for command in batch} <= heard.answered:
            heard.hear(life.go_on(0.1))
    heard.hear(life.end())
    return life.exit_code


def go_on(path: Path, batches: list[list[Command]], heard: Heard) -> None:
    """What is in the journal holds, another life answers what is left, and all of it holds."""
    if heard.events:
        verify(path, heard)
    left = [[command for command in batch if name_of(command) not in heard.answered] for batch in batches]
    if code := live(forked(path), left, heard):
        raise CrashError(f"the next life ended with {code}")
    verify(path, heard)


def die_at_each(boundaries: Iterable[int], folder: Path) -> int:
    """How many deaths there were until a run came through. Raises CrashError."""
    batches = script()
    for deaths, boundary in enumerate(boundaries):
        path, heard = folder / f"{boundary}.sqlite", Heard()
        ended = live(forked(path, dying_at(boundary)), batches, heard)
        if ended == 0:
            return deaths
        if ended != -signal.SIGKILL:
            raise CrashError(f"at boundary {boundary} the process ended with {ended}")
        go_on(path, batches, heard)
    raise AssertionError("there are always more boundaries than statements")


def main() -> int:
    warm()
    search.warm()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="limex-crash-") as folder:
        deaths = die_at_each(count(), Path(folder))
    print(f"{deaths} boundaries, a death at each: nothing lost, nothing twice; {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
