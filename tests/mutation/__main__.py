"""Mutation testing of what decides: how many small mistakes are found by the recorded model and by the tests (docs/proof.md).

    python -m tests.mutation --sample 30                   so many mutants of each file, drawn with --seed
    python -m tests.mutation --all                         every one
    python -m tests.mutation --files exchange/book.py --all
    python -m tests.mutation --all --verdicts judged.jsonl    goes on where an earlier run with this file was ended

It works on a copy of the sources, so they may be edited meanwhile. Survivors are printed with what changed; those that behave as the
original does are in `explained.json`, with the reason. Exit code 0 where at least 95 % are killed and every survivor is explained.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.mutation import stages
from tests.mutation.judging import ROOT, SURVIVED, judge_all
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.results import Verdicts, report

FILES = tuple(stages.TESTS)
IMPORTED_ONCE = ("numba", "numpy", "scipy.optimize", "scipy.sparse", "pytest", "hypothesis.stateful", "osqp")
SHORT_SEEDS, LONG_SEEDS = (1, 2), (3, 4, 5)
PACKAGES = ("exchange", "riskcheck", "envelopes", "gateway", "replay", "demo", "benchmarks", "tests")
COPY = "LIMEX_MUTATION_COPY"


def main() -> int:
    arguments = _arguments()
    if COPY not in os.environ:
        return _on_a_copy(arguments)
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    every = {name: mutants_of(ROOT / name) for name in arguments.files}
    left = [mutant for name in every for mutant in _drawn(name, every[name], arguments)]
    print(f"seed {arguments.seed}: {len(left)} of {sum(map(len, every.values()))} mutants of {len(every)} files", flush=True)
    found, verdicts = dict.fromkeys(left, SURVIVED), Verdicts(arguments.verdicts)
    for stage in (stages.streams(SHORT_SEEDS, arguments.commands), stages.tests(), stages.streams(LONG_SEEDS, arguments.long)):
        _judge(stage, left, verdicts, arguments)
        found |= {mutant: verdicts.known[mutant.name, stage.key(mutant)] for mutant in left}
        left = [mutant for mutant in left if found[mutant] == SURVIVED]
    return report(found.items(), {name: len(mutants) for name, mutants in every.items()})


def _judge(stage: stages.Stage, mutants: list[Mutant], verdicts: Verdicts, arguments: argparse.Namespace) -> None:
    """Those that this stage has not judged yet."""
    began, waiting = time.perf_counter(), [mutant for mutant in mutants if verdicts.find(mutant, stage.key(mutant)) is None]
    print(f"{stage.name}: {len(mutants)} mutants, {len(waiting)} not judged yet", flush=True)
    if not waiting:
        return
    ready, left = stage.prepare(waiting), 0
    for number, (mutant, verdict) in enumerate(judge_all(waiting, ready.case_of, ready.seconds, arguments.workers), 1):
        verdicts.keep(mutant, stage.key(mutant), verdict)
        left += verdict == SURVIVED
        if arguments.verbose:
            print(f"{mutant.name}  {verdict or 'survived'}", flush=True)
        if number % 20 == 0 or number == len(waiting):
            print(f"{number} of {len(waiting)} judged, {left} survived, {time.perf_counter() - began:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=30, help="mutants drawn of each file (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn (default: %(default)s)")
    parser.add_argument("--files", nargs="+", default=FILES, choices=FILES, metavar="FILE", help="some of the files only")
    parser.add_argument("--commands", type=int, default=3_000, help="of each of the two streams for all mutants (default: %(default)s)")
    parser.add_argument("--long", type=int, default=12_000, help="of each of the three streams for those left (default: %(default)s)")
    parser.add_argument("--verdicts", type=Path, help="a file to which verdicts are added, and from which those that still hold are taken")
    parser.add_argument("--workers", type=int, default=1, help="mutants judged at once (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="prints every verdict")
    return parser.parse_args()


def _on_a_copy(arguments: argparse.Namespace) -> int:
    """The same on a copy of the sources: they may be edited while it goes on."""
    with tempfile.TemporaryDirectory(prefix="limex-mutation-") as folder:
        for name in PACKAGES:
            shutil.copytree(ROOT / name, Path(folder) / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        asked = [sys.executable, "-m", "tests.mutation", *sys.argv[1:]]
        asked += ["--verdicts", str(arguments.verdicts.resolve())] if arguments.verdicts else []
        return subprocess.run(asked, cwd=folder, env=os.environ | {COPY: folder}, check=False).returncode


def _drawn(name: str, every: list[Mutant], arguments: argparse.Namespace) -> list[Mutant]:
    drawn = every if arguments.all else Random(f"{arguments.seed} {name}").sample(every, min(arguments.sample, len(every)))
    return sorted(drawn, key=lambda mutant: mutant.index)


if __name__ == "__main__":
    sys.exit(main())
