"""Commands per second of the engine in one Python process, with the network check and without, and its longest pause.

The engine is fed prepared commands, one after the other, as the node feeds it: garbage collector off, events dropped after
they were counted. Opening the area and installing rows (milliseconds, once in its life) come before the clock starts; gates,
new intervals and retirements are inside. Throughput is timed over whole rounds; the time of each command in rounds of their
own, since reading the clock costs as much as a tenth of a command. The collector's run at each retirement is timed as well,
because nothing else is decided meanwhile.
"""

from __future__ import annotations

import gc
import time
from collections import Counter

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.feeder import Feeder, Progress
from benchmarks.measure import Spread, no_collector, spread
from benchmarks.orders import Stream, busy, demo_day
from exchange.commands import Command, InstallRows, OpenArea, RetireInterval
from exchange.engine import Engine

MORNING = 28  # quarter hours after midnight: 07:00 UTC
SEED = 1


class Mix(msgspec.Struct, frozen=True):
    """What a stream asked and what came of it."""

    commands: dict[str, int]
    events: dict[str, int]
    rejects: dict[str, int]
    fills_per_command: float


class EngineFigures(msgspec.Struct, frozen=True):
    """`command` is per command, each the least of its rounds; `pause_us` the longest single time that was really seen.

    `per_cpu_s` counts the processor's time only: what the process would do if nobody else wanted its core.
    """

    feeder: str
    rows: int
    stream: str
    mix: Mix
    rounds: int
    per_s_median: int
    per_s_best: int
    per_cpu_s: int
    command: Spread
    slowest: dict[str, float]
    pause_us: float
    collector_us: float


def measure(feeder: Feeder, *, quick: bool, progress: Progress) -> list[EngineFigures]:
    """The demo's stream and the busy one, each on the feeder's rows and on none."""
    intervals, requests, rounds = (8, 10_000, 5) if quick else (32, 40_000, 11)
    found = []
    for place, network in enumerate((feeder, feeder.unlimited())):
        for stream in (demo_day(network, SEED, intervals, MORNING, progress), busy(network, SEED, requests)):
            progress(f"engine: {stream.name}", 0.25 + 0.5 * place)
            found.append(_measure(network, stream, rounds))
    return found


def _measure(feeder: Feeder, stream: Stream, rounds: int) -> EngineFigures:
    mix = _mix(stream.commands)
    walls_ns, cpus_ns = zip(*(_whole_round(stream.commands) for _ in range(rounds)), strict=True)
    per_command = [_timed_round(stream.commands) for _ in range(max(3, rounds // 2))]
    least = np.min([times for times, _ in per_command], axis=0)
    kinds = np.array([type(command).__name__ for command in _running(stream.commands)])
    slowest = {str(kind): round(float(least[kinds == kind].max()) / 1000, 1) for kind in np.unique(kinds)}
    count = len(kinds)
    return EngineFigures(
        feeder=feeder.size, rows=feeder.polytope.n_rows, stream=stream.name, mix=mix, rounds=rounds,
        per_s_median=int(count / np.median(walls_ns) * 1e9), per_s_best=int(count / min(walls_ns) * 1e9),
        per_cpu_s=int(count / np.median(cpus_ns) * 1e9), command=spread(least),
        slowest=dict(sorted(slowest.items(), key=lambda item: -item[1])),
        pause_us=float(max(times.max() for times, _ in per_command)) / 1000,
        collector_us=min(collector for _, collector in per_command) / 1000,
    )  # fmt: skip


def _running(commands: tuple[Command, ...]) -> list[Command]:
    return [command for command in commands if not isinstance(command, OpenArea | InstallRows)]


def _opened(commands: tuple[Command, ...]) -> Engine:
    engine = Engine()
    for command in commands:
        if isinstance(command, OpenArea | InstallRows):
            engine.apply(command)
    return engine


def _whole_round(commands: tuple[Command, ...]) -> tuple[int, int]:
    """Nanoseconds for all commands: of the wall clock, and of this process."""
    engine, running = _opened(commands), _running(commands)
    apply = engine.apply
    with no_collector():
        began, began_cpu = time.perf_counter_ns(), time.process_time_ns()
        for command in running:
            apply(command)
        return time.perf_counter_ns() - began, time.process_time_ns() - began_cpu


def _timed_round(commands: tuple[Command, ...]) -> tuple[npt.NDArray[np.int64], int]:
    """Nanoseconds of each command, and of the collector's longest run."""
    engine, running, collector = _opened(commands), _running(commands), 0
    apply, clock, times = engine.apply, time.perf_counter_ns, np.zeros(len(_running(commands)), dtype=np.int64)
    with no_collector():
        for number, command in enumerate(running):
            began = clock()
            apply(command)
            times[number] = clock() - began
            if isinstance(command, RetireInterval):
                began = clock()
                gc.collect()
                collector = max(collector, clock() - began)
    engine.check()
    return times, collector


def _mix(commands: tuple[Command, ...]) -> Mix:
    asked, events, rejects, legs = Counter[str](), Counter[str](), Counter[str](), 0
    engine = Engine()
    for command in commands:
        asked[type(command).__name__] += 1
        for event in engine.apply(command):
            name = type(event).__name__
            events[name] += 1
            if name in ("Rejected", "Refused"):
                rejects[getattr(event, "reason", "")] += 1
            legs += name == "Traded"
    engine.check()
    customers = sum(asked[name] for name in ("Place", "Replace", "Cancel", "MassCancel"))
    return Mix(dict(asked.most_common()), dict(events.most_common()), dict(rejects.most_common()), round(legs / customers, 3))
