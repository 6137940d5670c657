"""Who judges, the cheapest first: short recorded streams, then the tests of the parts concerned, then long streams.

Each stage sees what the one before let through. Before it judges anything it must be content with the files as they are, compiled and as
plain Python: streams that the engine itself does not follow end the run, and a test that fails does not judge. A mutant may take some
times the processor time that the files as they are take; more is a loop without end.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.mutation.judging import ROOT, SURVIVED, Case, is_compiled, judge
from tests.mutation.mutants import Mutant

EVERY = ("tests/test_edges.py", "tests/test_endings.py", "tests/test_engine.py", "tests/test_engine_network.py", "tests/test_phases.py")
TESTS: dict[str, tuple[str, ...]] = {
    "exchange/engine.py": (*EVERY, "tests/test_engine_rejects.py", "tests/test_engine_operator.py", "tests/test_snapshot.py"),
    "exchange/matching.py": (*EVERY, "tests/test_engine_operator.py"),
    "exchange/book.py": (*EVERY, "tests/test_snapshot.py"),
    "exchange/ledger.py": ("tests/test_ledger.py", *EVERY, "tests/test_rebase_effects.py"),
    "exchange/search.py": EVERY,
    "exchange/proposals.py": EVERY,
    "exchange/dealing.py": ("tests/test_deals.py", *EVERY),
    "exchange/blocks.py": EVERY,
    "exchange/withhold.py": (*EVERY, "tests/test_engine_operator.py"),
    "exchange/guards.py": (*EVERY, "tests/test_engine_rejects.py"),
    "riskcheck/headroom.py": ("tests/test_headroom.py", *EVERY),
}  # fmt: skip
SOURCES = ("exchange/*.py", "riskcheck/*.py")
MODEL = ("tests/model*.py", "tests/stream*.py", "tests/mutation/recording.py")
BASELINE_S_MAX, SLOWER_MAX, SLACK_S = 900, 3, 5
Stream = list[tuple[bytes, bytes, bytes]]


class Ready(NamedTuple):
    """What a mutant is asked, and the processor time that it may take."""

    case_of: Callable[[Mutant], Case]
    seconds: int


class Stage(NamedTuple):
    """`read` are the files, besides the sources, that the verdict on a mutant hangs on."""

    name: str
    read: Callable[[Mutant], tuple[str, ...]]
    prepare: Callable[[list[Mutant]], Ready]

    def key(self, mutant: Mutant) -> str:
        return f"{self.name} {_digest(*SOURCES, *self.read(mutant))}"


def streams(seeds: tuple[int, ...], commands: int) -> Stage:
    def prepare(_: list[Mutant]) -> Ready:
        recorded = _recorded(seeds, commands)
        return Ready(lambda _: Case(recorded, []), _follows(recorded))

    return Stage(f"seeds {seeds} {commands}", lambda _: MODEL, prepare)


def tests() -> Stage:
    def prepare(mutants: list[Mutant]) -> Ready:
        content, seconds = _content(mutants)
        return Ready(lambda mutant: Case([], [name for name in TESTS[mutant.file] if name in content]), seconds)

    return Stage("tests", lambda mutant: ("tests/rulebook.py", *TESTS[mutant.file]), prepare)


@cache
def _digest(*patterns: str) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# --- streams -----------------------------------------------------------------------------------------------------


def _recorded(seeds: Iterable[int], commands: int) -> list[Stream]:
    """Recorded in a process of its own: this one must not import the exchange."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="limex-mutation-") as folder:
        path = Path(folder) / "streams"
        child = os.fork()
        if child == 0:
            _record(path, seeds, commands)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit("the streams cannot be recorded")
        found = msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[Stream, int]])
    print(f"{sum(len(steps) for steps, _ in found)} commands recorded in {time.perf_counter() - began:.0f} s", flush=True)
    for seed, (_, differed) in zip(seeds, found, strict=True):
        if differed:
            print(f"the model differs from the engine in seed {seed}, first at command {differed}: mutants are compared with the engine")
    return [steps for steps, _ in found]


def _record(path: Path, seeds: Iterable[int], commands: int) -> None:
    try:
        from tests.mutation.recording import record

        path.write_bytes(msgspec.msgpack.encode([record(seed, commands) for seed in seeds]))
        os._exit(0)
    finally:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(1)


def _follows(recorded: list[Stream]) -> int:
    """The unchanged engine has to be what was recorded, compiled and not. The processor time that a mutant may take: some times as much."""
    needed = 0.0
    for interpreted in (False, True):
        said, used = _asked(Case(recorded, []), interpreted=interpreted)
        how, needed = "as plain Python" if interpreted else "compiled", max(needed, used)
        if said != SURVIVED:
            raise SystemExit(f"the engine itself differs from its recording, {how}: {said}")
        print(f"the engine follows them {how} in {used:.1f} s of processor time", flush=True)
    return int(SLOWER_MAX * needed) + SLACK_S


# --- tests -------------------------------------------------------------------------------------------------------


def _content(mutants: list[Mutant]) -> tuple[set[str], int]:
    """The tests that judge: each must be content with the files as they are, in the way in which it is used. Prints those that are not."""
    failing, needed = set[str](), 0.0
    for name, interpreted in sorted({(name, is_compiled(mutant)) for mutant in mutants for name in TESTS[mutant.file]}):
        said, used = _asked(Case([], [name]), interpreted=interpreted)
        needed += used
        if said != SURVIVED:
            failing.add(name)
            print(f"{name} is not content with the files as they are, and does not judge")
    print(f"the tests are content in {needed:.1f} s of processor time", flush=True)
    return {name for each in TESTS.values() for name in each} - failing, int(SLOWER_MAX * needed) + SLACK_S


def _asked(case: Case, *, interpreted: bool) -> tuple[str, float]:
    """What the unchanged files are told, and the processor time of it."""
    before = _children_s()
    return judge(None, case, BASELINE_S_MAX, interpreted=interpreted), _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
