"""A process of our own for computations that would stop the event loop: one call at a time, at low priority.

    parent: await worker.call(function, *arguments)   ->   child: python -m gateway.worker   ->   the result, or WorkerError

Both ends are limex itself, so calls and results are pickled over the child's standard input and output, each with its length
before it. The child's state is the modules' own (`envelopes.audit` keeps its certifier between calls). A process, because a
thread would hold the interpreter that the event loop needs; not forked, because its parent has threads. The child ends with
its parent: the end of its input says so, and on Linux the kernel, also in the middle of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

from gateway.broker import die_with_parent

NICENESS = 15
LENGTH = struct.Struct("<Q")
ROOT = str(Path(__file__).resolve().parent.parent)

P = ParamSpec("P")
R = TypeVar("R")


class WorkerError(Exception):
    """The call raised an expected error, and this is its message."""


class WorkerEndedError(Exception):
    """The process died, or was silent for too long and was killed."""


class Worker:
    """`call` starts the process if there is none. One call at a time: the owner waits for each."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def call(self, patience_s: float, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """What `function`, a function of a module, returns there. Raises WorkerError, and WorkerEndedError with the process gone."""
        try:
            if self._process is None:
                await _to_the_end(self._start())
            async with asyncio.timeout(patience_s):  # `wait_for` of Python 3.11 loses a cancellation that meets the answer
                is_good, result = await self._exchange((function, arguments, named))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            await self.stop()
            why = f"was silent for {patience_s:g} s" if isinstance(error, TimeoutError) else "ended"
            raise WorkerEndedError(why) from error
        except BaseException:
            await self.stop()  # an answer that nobody waits for must not be taken for the next one
            raise
        if not is_good:
            raise WorkerError(result)
        return result  # type: ignore[no-any-return]

    async def until_ended_or(self, awaited: Coroutine[Any, Any, Any]) -> None:
        """Waits. Raises WorkerEndedError where the process ends first."""
        assert self._process is not None
        other, ended = asyncio.ensure_future(awaited), asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait((other, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            other.cancel()
            ended.cancel()
        if self._process.returncode is not None:
            code = self._process.returncode
            await self.stop()
            raise WorkerEndedError(f"ended with code {code}")

    async def stop(self) -> None:
        """Kills the process; safe to call again. Its pipes are emptied and closed: asyncio keeps a process whose pipes are not."""
        process, self._process = self._process, None
        if process is not None:
            await _to_the_end(_ended(process))

    async def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment, preexec_fn=die_with_parent(),
        )  # fmt: skip

    async def _exchange(self, call: tuple[Any, ...]) -> tuple[bool, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        body = pickle.dumps(call)
        process.stdin.write(LENGTH.pack(len(body)) + body)
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        result: tuple[bool, Any] = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301  our own child
        return result


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.stdin.close()
    await process.stdout.read()
    await process.wait()
    with contextlib.suppress(OSError):
        await process.stdin.wait_closed()
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  it closes by itself, but maybe after the event loop


async def _to_the_end(awaited: Coroutine[Any, Any, None]) -> None:
    """Who is cancelled meanwhile is so only afterwards: a process must not be left half started or half ended."""
    task = asyncio.ensure_future(awaited)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


# --- the child ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Answers calls until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the terminal is for the parent, who ends us
    os.nice(NICENESS)
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    while head := calls.read(LENGTH.size):
        body = pickle.dumps(_answer(calls, LENGTH.unpack(head)[0]))
        answers.write(LENGTH.pack(len(body)) + body)
        answers.flush()


def _answer(calls: BinaryIO, length: int) -> tuple[bool, Any]:
    """Errors that have a message for people are answered; anything else is our bug, and ends the process with its trace."""
    function, arguments, named = pickle.loads(calls.read(length))  # noqa: S301  our own parent
    try:
        return True, function(*arguments, **named)
    except (ValueError, OSError) as error:
        return False, str(error)


if __name__ == "__main__":
    main()
