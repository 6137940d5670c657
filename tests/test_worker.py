"""The process for slow computations: results and expected errors come back, its end and its silence are told, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from gateway.worker import Worker, WorkerEndedError, WorkerError


def run(scenario: Callable[[Worker], Awaitable[None]]) -> None:
    async def within() -> None:
        worker = Worker()
        try:
            await scenario(worker)
        finally:
            await worker.stop()

    asyncio.run(within())


def test_results_and_expected_errors_come_back_from_one_process() -> None:
    async def scenario(worker: Worker) -> None:
        assert await worker.call(60, sum, [1, 2]) == 3
        first = worker.process_id
        with pytest.raises(WorkerError, match="invalid literal"):
            await worker.call(60, int, "x")
        assert await worker.call(60, bytes, 5) == bytes(5)
        assert worker.process_id == first

    run(scenario)


def test_its_end_and_its_silence_are_told_and_the_next_call_starts_anew() -> None:
    async def scenario(worker: Worker) -> None:
        await worker.call(60, sum, [])
        assert worker.process_id is not None
        os.kill(worker.process_id, signal.SIGKILL)
        with pytest.raises(WorkerEndedError, match="ended with code -9"):
            await worker.until_ended_or(asyncio.sleep(60))
        assert await worker.call(60, sum, [3]) == 3
        with pytest.raises(WorkerEndedError, match=r"silent for 0\.1 s"):
            await worker.call(0.1, time.sleep, 60)
        assert worker.process_id is None

    run(scenario)


def test_a_cancelled_call_takes_the_process_with_it() -> None:
    async def scenario(worker: Worker) -> None:
        await worker.call(60, sum, [])
        process = worker.process_id
        assert process is not None
        call = asyncio.create_task(worker.call(60, time.sleep, 60))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    run(scenario)


@pytest.mark.parametrize("turns", range(5))
def test_a_cancellation_that_meets_the_answer_is_not_lost(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(worker: Worker) -> None:
        answer: asyncio.Future[tuple[bool, int]] = asyncio.get_running_loop().create_future()

        async def answered(_call: object) -> tuple[bool, int]:
            return await answer

        async def stopped() -> None:
            pass

        monkeypatch.setattr(worker, "_process", object())
        monkeypatch.setattr(worker, "_exchange", answered)
        monkeypatch.setattr(worker, "stop", stopped)
        call = asyncio.create_task(worker.call(60, int, "1"))
        await asyncio.sleep(0.01)
        answer.set_result((True, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        if call.cancel():
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            assert await call == 1

    run(scenario)
