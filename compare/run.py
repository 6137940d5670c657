"""Many days, in processes of their own, each kept on the disk when it is done: a run that was stopped goes on where it was. An interrupt
stops at once; the days that were being lived are lived again.

A day's file is named by its seed in a folder named by everything that the day depends on: the network, the number of intervals, and the
code of this package and of those that it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.feeder import code_hash
from compare.days import DAY_INTERVALS, Profiles, draw, profiles_of
from compare.ground import Ground, prepare
from compare.paradigms import Prepared
from compare.physics import Physics
from compare.score import Scored
from envelopes.pools import Processes
from riskcheck.network import Network

Progress = Callable[[str, float], None]
CODE = ("compare", "demo", "envelopes", "exchange", "riskcheck")
PROCESSES_MAX = 2
DAYS_FOLDER = "days"

_at_work: Prepared | None = None  # of a worker process


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
    with Processes(count) as pool:
        waiting: set[Future[Scored]] = {pool.submit(_day, *told, seed) for seed in seeds}
        progress(f"day {done + 1} of {len(task.seeds)}", done / len(task.seeds))
        while waiting:
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in ended:
                _write(folder, one.result())
                done += 1
                progress(f"day {min(done + 1, len(task.seeds))} of {len(task.seeds)}", done / len(task.seeds))


def _day(network: Network, ground: Ground, profiles: Profiles | None, intervals: int, seed: int) -> Scored:
    """In a worker process. Its first quarter hour counts for nothing: it compiles."""
    global _at_work
    if _at_work is None:
        _at_work = Prepared(ground, Physics(network))
        _at_work.day(draw(network, seed, profiles, 1))
    return _at_work.day(draw(network, seed, profiles, intervals))


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
