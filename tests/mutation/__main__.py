"""Mutation testing of what decides: how many small mistakes are found by the recorded model and by the tests (docs/proof.md).

    python -m tests.mutation --sample 30            so many mutants of each file, drawn with --seed
    python -m tests.mutation --all                  every one
    python -m tests.mutation --files exchange/book.py --all

It works on a copy of the sources, so they may be edited meanwhile. First the judges must be content with the files as they are. Survivors
are printed with what changed; those that behave as the original does are in `explained.json`, with the reason, and count as explained.
Exit code 0 where at least 95 % are killed and every survivor is explained.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from tests.mutation.judging import ROOT, SURVIVED, Case, is_compiled, judge, judge_all
from tests.mutation.mutants import Mutant, mutants_of

FILES = (
    "exchange/engine.py", "exchange/matching.py", "exchange/book.py", "exchange/ledger.py", "exchange/search.py", "exchange/proposals.py",
    "exchange/blocks.py", "exchange/withhold.py", "exchange/guards.py", "riskcheck/headroom.py",
)  # fmt: skip
EVERY = ("tests/test_edges.py", "tests/test_engine.py", "tests/test_engine_network.py", "tests/test_phases.py")
TESTS: dict[str, tuple[str, ...]] = {
    "exchange/engine.py": (*EVERY, "tests/test_engine_rejects.py", "tests/test_engine_operator.py", "tests/test_snapshot.py"),
    "exchange/matching.py": (*EVERY, "tests/test_engine_operator.py"),
    "exchange/book.py": (*EVERY, "tests/test_snapshot.py"),
    "exchange/ledger.py": ("tests/test_ledger.py", *EVERY, "tests/test_rebase_effects.py"),
    "exchange/search.py": EVERY,
    "exchange/proposals.py": EVERY,
    "exchange/blocks.py": EVERY,
    "exchange/withhold.py": (*EVERY, "tests/test_engine_operator.py"),
    "exchange/guards.py": (*EVERY, "tests/test_engine_rejects.py"),
    "riskcheck/headroom.py": ("tests/test_headroom.py", *EVERY),
}  # fmt: skip
IMPORTED_ONCE = ("numba", "numpy", "scipy.optimize", "scipy.sparse", "pytest", "hypothesis.stateful", "osqp")
KILLED_MIN = 0.95
BASELINE_S_MAX, TESTS_S_MAX, SLOWER_MAX = 900, 300, 3
SHORT_SEEDS, LONG_SEEDS = (1, 2), (3, 4, 5)
EXPLAINED = Path(__file__).with_name("explained.json")


PACKAGES = ("exchange", "riskcheck", "envelopes", "gateway", "replay", "demo", "benchmarks", "tests")
COPY = "LIMEX_MUTATION_COPY"


def main() -> int:
    arguments = _arguments()
    if COPY not in os.environ:
        return _on_a_copy()
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    drawn = [mutant for name in arguments.files for mutant in _draw(name, arguments)]
    print(f"{len(drawn)} mutants of {len(arguments.files)} files", flush=True)
    short, long = _streams(SHORT_SEEDS, arguments.commands), _streams(LONG_SEEDS, arguments.long)
    killed: list[tuple[Mutant, str]] = []
    left = drawn
    for streams in (short, long):
        left = _survivors(left, _follows(streams), lambda _, streams=streams: Case(streams, []), arguments, killed)
    tests = _content(left)
    left = _survivors(
        left, TESTS_S_MAX, lambda mutant: Case([], [name for name in TESTS[_name(mutant)] if name in tests]), arguments, killed
    )
    return _report(killed + [(mutant, SURVIVED) for mutant in left], arguments)


def _survivors(
    mutants: list[Mutant], seconds: int, case_of: Callable[[Mutant], Case], arguments: argparse.Namespace, killed: list[tuple[Mutant, str]]
) -> list[Mutant]:
    """Those that nobody complains about; the others go to `killed`."""
    began, left = time.perf_counter(), list[Mutant]()
    for number, (mutant, verdict) in enumerate(judge_all(mutants, case_of, seconds, arguments.workers), 1):
        left += [mutant] if verdict == SURVIVED else []
        killed += [(mutant, verdict)] if verdict != SURVIVED else []
        if arguments.verbose:
            print(f"{_name(mutant)}:{mutant.line} {mutant.key}  {verdict or 'survived'}", flush=True)
        if number % 20 == 0 or number == len(mutants):
            print(f"{number} of {len(mutants)} judged, {len(left)} survived, {time.perf_counter() - began:.0f} s", flush=True)
    return left


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=30, help="mutants drawn of each file (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn (default: %(default)s)")
    parser.add_argument("--files", nargs="+", default=FILES, metavar="FILE", help="some of the files only")
    parser.add_argument("--commands", type=int, default=3_000, help="of each of the two streams for all mutants (default: %(default)s)")
    parser.add_argument("--long", type=int, default=12_000, help="of each of the three streams for those left (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="mutants judged at once (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="prints the killed ones too")
    return parser.parse_args()


def _on_a_copy() -> int:
    """The same on a copy of the sources: they may be edited while it goes on."""
    with tempfile.TemporaryDirectory(prefix="limex-mutation-") as folder:
        for name in PACKAGES:
            shutil.copytree(ROOT / name, Path(folder) / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        asked = [sys.executable, "-m", "tests.mutation", *sys.argv[1:]]
        return subprocess.run(asked, cwd=folder, env=os.environ | {COPY: folder}, check=False).returncode


def _name(mutant: Mutant) -> str:
    return str(mutant.path.relative_to(ROOT))


def _draw(name: str, arguments: argparse.Namespace) -> list[Mutant]:
    every = mutants_of(ROOT / name)
    drawn = every if arguments.all else Random(f"{arguments.seed} {name}").sample(every, min(arguments.sample, len(every)))
    return sorted(drawn, key=lambda mutant: mutant.index)


# --- the judges --------------------------------------------------------------------------------------------------


def _streams(seeds: tuple[int, ...], commands: int) -> list[list[tuple[bytes, bytes, bytes]]]:
    """Recorded in a process of its own: this one must not import the exchange."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="limex-mutation-") as folder:
        path = Path(folder) / "streams"
        child = os.fork()
        if child == 0:
            _record(path, seeds, commands)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit("the streams cannot be recorded")
        found = msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[list[tuple[bytes, bytes, bytes]], int]])
    print(f"{sum(len(steps) for steps, _ in found)} commands recorded in {time.perf_counter() - began:.0f} s", flush=True)
    for seed, (_, differed) in zip(seeds, found, strict=True):
        if differed:
            print(f"the model differs from the engine in seed {seed}, first at command {differed}: mutants are compared with the engine")
    return [steps for steps, _ in found]


def _record(path: Path, seeds: tuple[int, ...], commands: int) -> None:
    try:
        from tests.mutation.recording import record

        path.write_bytes(msgspec.msgpack.encode([record(seed, commands) for seed in seeds]))
        os._exit(0)
    finally:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(1)


def _follows(streams: list[list[tuple[bytes, bytes, bytes]]]) -> int:
    """The unchanged engine has to be what was recorded, compiled and not. The processor time that a mutant may take: some times as much."""
    needed = 0.0
    for interpreted in (False, True):
        before = _children_s()
        said = judge(None, Case(streams, []), BASELINE_S_MAX, interpreted=interpreted)
        how, needed = "as plain Python" if interpreted else "compiled", max(needed, _children_s() - before)
        if said != SURVIVED:
            raise SystemExit(f"the engine itself differs from its recording, {how}: {said}")
        print(f"the engine follows them {how} in {_children_s() - before:.1f} s of processor time", flush=True)
    return int(SLOWER_MAX * needed) + 5


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _content(mutants: list[Mutant]) -> set[str]:
    """The tests that judge: each must be content with the files as they are, in the way in which it is used. Prints those that are not."""
    ways = {(name, is_compiled(mutant)) for mutant in mutants for name in TESTS[_name(mutant)]}
    failing = {name for name, plain in sorted(ways) if judge(None, Case([], [name]), BASELINE_S_MAX, interpreted=plain) != SURVIVED}
    for name in sorted(failing):
        print(f"{name} is not content with the files as they are, and does not judge")
    return {name for name, _ in ways} - failing


# --- the result --------------------------------------------------------------------------------------------------


def _explained() -> set[str]:
    return {f"{each['file']} {each['function']}: {each['before']} -> {each['after']}" for each in json.loads(EXPLAINED.read_text())}


def _how(mutant: Mutant, verdict: str, explained: set[str]) -> str:
    if verdict == SURVIVED:
        return "explained" if f"{_name(mutant)} {mutant.key}" in explained else "survived"
    return "tests" if verdict.startswith("tests/") else "no end" if verdict == "no end" else "streams"


def _report(found: list[tuple[Mutant, str]], arguments: argparse.Namespace) -> int:
    explained, counts = _explained(), {name: Counter[str]() for name in arguments.files}
    for mutant, verdict in sorted(found, key=lambda each: (arguments.files.index(_name(each[0])), each[0].index)):
        how = _how(mutant, verdict, explained)
        counts[_name(mutant)][how] += 1
        if how == "survived":
            print(f"survived {_name(mutant)}:{mutant.line} in {mutant.function}\n  - {mutant.before}\n  + {mutant.after}")
    print("| file | mutants | killed | by streams | by tests | no end | explained | survived |\n|---|---:|---:|---:|---:|---:|---:|---:|")
    total = sum(counts.values(), Counter[str]())
    for name, count in (*counts.items(), ("all", total)):
        columns = [count[how] for how in ("streams", "tests", "no end", "explained", "survived")]
        print(f"| {name} | {count.total()} | {_killed(count):.1%} | {' | '.join(map(str, columns))} |")
    return 0 if _killed(total) >= KILLED_MIN and not total["survived"] else 1


def _killed(count: Counter[str]) -> float:
    return (count["streams"] + count["tests"] + count["no end"]) / max(1, count.total())


if __name__ == "__main__":
    sys.exit(main())
