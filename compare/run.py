"""Many days, in processes of their own, each kept on the disk when it is done: a run that was stopped goes on where it was.

A day's file is named by its seed in a folder named by everything that the day depends on: the network, the number of intervals, and the
code of this package and of those that it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.feeder import code_hash
from compare.days import DAY_INTERVALS, Profiles, draw, profiles_of
from compare.ground import Ground, prepare
from compare.paradigms import Prepared
from compare.physics import Physics
from compare.score import Scored
from riskcheck.network import Network

Progress = Callable[[str, float], None]
CODE = ("compare", "demo", "envelopes", "exchange", "riskcheck")
PROCESSES_MAX = 2
DAYS_FOLDER = "days"

_at_work: tuple[Prepared, Profiles | None, int] | None = None  # of a worker process


class Task(NamedTuple):
    """What to compare, and where to keep it."""

    network: Network
    seeds: tuple[int, ...]
    intervals: int = DAY_INTERVALS
    processes: int = PROCESSES_MAX
    out: Path = Path("limex-comparison")


class Comparison(NamedTuple):
    ground: Ground
    days: list[Scored]
    profiles: bool


def compare(task: Task, progress: Progress) -> Comparison:
    """All days of the task, in the order of the seeds."""
    folder = task.out / DAYS_FOLDER / _fingerprint(task)
    folder.mkdir(parents=True, exist_ok=True)
    ground = prepare(task.network, progress)
    missing = [seed for seed in task.seeds if _read(folder, seed) is None]
    profiles = profiles_of(task.network.name, [c.id for c in task.network.customers]) if missing else None
    if missing:
        _live(task, ground, profiles, missing, folder, progress)
    days = [day for seed in task.seeds if (day := _read(folder, seed)) is not None]
    assert len(days) == len(task.seeds), "a day that was done is not there"
    return Comparison(ground, days, any(day.day != f"seed {day.seed}" for day in days))


def _live(task: Task, ground: Ground, profiles: Profiles | None, seeds: Sequence[int], folder: Path, progress: Progress) -> None:
    count = max(1, min(task.processes, len(seeds)))
    told, done = (task.network, ground, profiles, task.intervals), len(task.seeds) - len(seeds)
    with ProcessPoolExecutor(count, get_context("spawn"), _employ, told) as pool:
        waiting: set[Future[Scored]] = {pool.submit(_day, seed) for seed in seeds}
        progress(f"day {done + 1} of {len(task.seeds)}", done / len(task.seeds))
        while waiting:
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in ended:
                if one.exception():
                    pool.shutdown(cancel_futures=True)
                day = one.result()
                _write(folder, day)
                done += 1
                progress(f"day {min(done + 1, len(task.seeds))} of {len(task.seeds)}", done / len(task.seeds))


def _employ(network: Network, ground: Ground, profiles: Profiles | None, intervals: int) -> None:
    """A worker's first quarter hour counts for nothing: it compiles."""
    global _at_work
    _at_work = Prepared(ground, Physics(network)), profiles, intervals
    _at_work[0].day(draw(network, 0, profiles, 1))


def _day(seed: int) -> Scored:
    assert _at_work is not None
    prepared, profiles, intervals = _at_work
    return prepared.day(draw(prepared.physics.network, seed, profiles, intervals))


def _fingerprint(task: Task) -> str:
    told = task.network.name, task.network.content_hash, task.intervals, code_hash(CODE)
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def _read(folder: Path, seed: int) -> Scored | None:
    try:
        return msgspec.json.decode((folder / f"{seed}.json").read_bytes(), type=Scored)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(folder: Path, day: Scored) -> None:
    """Whole or not at all."""
    part = folder / f"{day.seed}.part"
    part.write_bytes(msgspec.json.encode(day))
    part.replace(folder / f"{day.seed}.json")
