"""One mutant in a process of its own: forked before any of our modules is imported, so that only the mistaken file is another.

The child imports everything anew, with the mutant in place of its file, and asks its judges in turn, the quickest first: the recorded
streams (`recording.py`), then the tests of the parts concerned. The first that complains kills the mutant; so does running out of
time or memory. The parent never imports the exchange.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import msgspec

from tests.mutation.mutants import ROOT, Mutant, tree_of

COMPILED = ("exchange/search.py", "riskcheck/headroom.py")
MEMORY_BYTES = 3 << 30
SURVIVED, NO_END = "", "no end"
PATIENCE = 20  # times the processor time: others may be busy, too


class Case(msgspec.Struct, array_like=True):
    """What the judges have: recorded streams, then files of tests."""

    streams: list[list[tuple[bytes, bytes, bytes]]]
    tests: list[str]


class Replaced:
    """Imports one file with other syntax, and compiled files as plain Python."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.trees = {name.removesuffix(".py").replace("/", "."): (name, tree) for name, tree in trees.items()}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin=str(ROOT / self.trees[name][0])) if name in self.trees else None  # type: ignore[arg-type]

    def create_module(self, _spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name, tree = self.trees[module.__name__]
        module.__file__ = str(ROOT / name)
        exec(compile(tree, module.__file__, "exec"), module.__dict__)


def trees_for(mutant: Mutant | None, *, interpreted: bool) -> dict[str, ast.Module]:
    """The files that a child imports from syntax: the mutant's and, where one of them is meant, all that are compiled otherwise."""
    names = set(COMPILED) if interpreted else set()
    found = {each: tree_of(ROOT / each, None) for each in names}
    if mutant:
        found[mutant.file] = tree_of(mutant.path, mutant.index)
    for each in names:
        for statement in found[each].body:
            if isinstance(statement, ast.ImportFrom) and statement.module == "numba":
                statement.module = "tests.mutation.interpreted"
    return found


def is_compiled(mutant: Mutant) -> bool:
    return mutant.file in COMPILED


class Trial:
    """A mutant that is being judged in its process, for so many seconds of processor time at most."""

    def __init__(self, mutant: Mutant | None, case: Case, seconds: int, *, interpreted: bool) -> None:
        self.mutant, self.said = mutant, b""
        self.ends = time.monotonic() + PATIENCE * seconds
        self.reading, writing = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            _ask(mutant, case, interpreted, writing)
        os.close(writing)

    def hear(self) -> str | None:
        """Who killed it, in words, SURVIVED where nobody did; None as long as it goes on."""
        if time.monotonic() > self.ends:
            return self._end(NO_END)
        if not select.select([self.reading], [], [], 0)[0]:
            return None
        more = os.read(self.reading, 4_096)
        self.said += more
        if self.said.endswith(b"."):
            return self._end(self.said[:-1].decode())
        return None if more else self._end("the process died")

    def _end(self, verdict: str) -> str:
        os.close(self.reading)
        if verdict != "the process died":
            os.kill(self.child, signal.SIGKILL)
        _, status = os.waitpid(self.child, 0)
        is_stopped = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return NO_END if is_stopped and not self.said else verdict


def judge_all(mutants: Sequence[Mutant], case_of: Callable[[Mutant], Case], seconds: int, workers: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant's verdict as it comes, so many at once."""
    waiting, running = list(reversed(mutants)), list[Trial]()
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            running.append(Trial(mutant, case_of(mutant), seconds, interpreted=is_compiled(mutant)))
        for trial in list(running):
            verdict = trial.hear()
            if verdict is not None:
                running.remove(trial)
                assert trial.mutant
                yield trial.mutant, verdict
        time.sleep(0.005)


def judge(mutant: Mutant | None, case: Case, seconds: int, *, interpreted: bool) -> str:
    """One verdict, waited for."""
    trial = Trial(mutant, case, seconds, interpreted=interpreted)
    while (verdict := trial.hear()) is None:
        time.sleep(0.005)
    return verdict


def _ask(mutant: Mutant | None, case: Case, interpreted: bool, writing: int) -> None:
    """The child. Ends the process."""
    said = "was not judged"
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.meta_path.insert(0, Replaced(trees_for(mutant, interpreted=interpreted)))  # type: ignore[arg-type]
        said = _complaint(case)
    except BaseException as error:  # noqa: BLE001
        said = f"{type(error).__name__} {str(error)[:60]}"
    os.write(writing, said.replace(".", ",").encode() + b".")
    os._exit(0)


def _complaint(case: Case) -> str:
    for stream in case.streams:
        _follow(stream)
    with contextlib.redirect_stdout(io.StringIO()):
        for name in case.tests:
            if _fails(name):
                return name
    return SURVIVED


def _follow(stream: Sequence[tuple[bytes, bytes, bytes]]) -> None:
    from tests.mutation.recording import Step, follow

    follow([Step(*step) for step in stream])


def _fails(name: str) -> bool:
    import hypothesis
    import pytest

    same_examples = hypothesis.settings(
        derandomize=True, database=None, deadline=None, phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate)
    )
    hypothesis.settings.register_profile("judge", same_examples)
    hypothesis.settings.load_profile("judge")
    ended: Callable[..., Any] = pytest.main
    return bool(ended(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(ROOT / name)]))
