"""Commands per second of the engine in one Python process, unconstrained and where rows bind, and its longest pause.

The engine is fed prepared commands, one after the other, as the node feeds it: garbage collector off, events dropped after
they were counted. Opening the area and installing rows (milliseconds, once in its life) come before the clock starts; gates,
new intervals and retirements are inside. Throughput is timed over whole rounds; the time of each command in rounds of their
own, since reading the clock costs as much as a tenth of a command. The collector's run at each retirement is timed as well,
because nothing else is decided meanwhile.

    unconstrained   random requests, one to one, on the feeder's rows with a hundred times their room: every trade is checked, none is
                    blocked; and the same without any row, beside order books that pip installs (`benchmarks/peers.py`)
    binding         the demo's homes, and random requests, at network exchange rates on the feeder's rows with joint fills. *Live* is with
                    the solver asked as the node asks it; *journal* is what the engine decides when the journal is replayed
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks import peers
from benchmarks.feeder import Feeder, Progress
from benchmarks.measure import Spread, no_collector, spread
from benchmarks.orders import Stream, busy, demo_day
from exchange.bounds import MarketSettings
from exchange.commands import Command, InstallRows, OpenArea, Place, RetireInterval
from exchange.engine import Engine
from exchange.events import Accepted, Cancelled, Replaced
from exchange.proposer import Proposer, warm

MORNING = 28  # quarter hours after midnight: 07:00 UTC
SEED = 1
RULES = MarketSettings(matching="exchange_rate", sweeps=True)


class Mix(msgspec.Struct, frozen=True):
    """What a stream asked and what came of it."""

    commands: dict[str, int]
    events: dict[str, int]
    rejects: dict[str, int]
    fills_per_command: float


class EngineFigures(msgspec.Struct, frozen=True):
    """`command` is per command, each the least of its rounds; `pause_us` the longest single time that was really seen.

    `per_cpu_s` counts the processor's time only: what the process would do if nobody else wanted its core. `way`: journal, or live.
    """

    feeder: str
    rows: int
    stream: str
    way: str
    mix: Mix
    rounds: int
    per_s_median: int
    per_s_best: int
    per_cpu_s: int
    command: Spread
    slowest: dict[str, float]
    pause_us: float
    collector_us: float


class Figures(msgspec.Struct, frozen=True):
    """Peers ran the unconstrained stream."""

    engine: list[EngineFigures]
    peers: list[peers.PeerFigures]


def measure(feeder: Feeder, *, quick: bool, progress: Progress) -> Figures:
    intervals, requests, rounds = (6, 8_000, 3) if quick else (32, 40_000, 11)
    found = []
    for network in (feeder.roomy(), feeder.unlimited()):
        progress("engine: unconstrained", 0.1)
        unconstrained = busy(network, SEED, requests)
        found.append(_measure(network, unconstrained, rounds))
    progress("engine: order books that pip installs", 0.3)
    beside = peers.measure(unconstrained.commands, rounds)
    for asked in (demo_day(feeder, SEED, intervals, MORNING, progress, RULES), busy(feeder, SEED, requests // 8, RULES)):
        progress(f"engine: {asked.name}, the solver is asked", 0.5)
        live, decided = _live(feeder, asked)
        progress(f"engine: {asked.name}, as journaled", 0.8)
        found += [live, _measure(feeder, decided, rounds)]
    return Figures(found, beside)


def _live(feeder: Feeder, stream: Stream) -> tuple[EngineFigures, Stream]:
    """One round as the node decides: with proposals. What it would journal is the other result."""
    warm()
    engine, proposer, times, decided = _opened(stream.commands), Proposer(), [], list(_beginning(stream.commands))
    began_cpu = time.process_time_ns()
    with no_collector():
        for command in _running(stream.commands):
            began = time.perf_counter_ns()
            decided.extend(_with_proposals(engine, proposer, command))
            times.append(time.perf_counter_ns() - began)
    cpu_ns, count = time.process_time_ns() - began_cpu, len(times)
    kinds = np.array([type(command).__name__ for command in _running(stream.commands)])
    spent = np.array(times)
    figures = EngineFigures(
        feeder=feeder.size, rows=feeder.polytope.n_rows, stream=stream.name, way="live", mix=_mix(tuple(decided)), rounds=1,
        per_s_median=int(count / sum(times) * 1e9), per_s_best=int(count / sum(times) * 1e9), per_cpu_s=int(count / cpu_ns * 1e9),
        command=spread(spent), slowest=_slowest(kinds, spent), pause_us=max(times) / 1000, collector_us=0.0,
    )  # fmt: skip
    return figures, Stream(stream.name, tuple(decided))


def _with_proposals(engine: Engine, proposer: Proposer, command: Command) -> Iterator[Command]:
    """Applies a command, with joint fills where the node would ask for them; yields what the node would journal."""
    taken = (proposer.propose(engine, command) if isinstance(command, Place) else None) or command
    events = engine.apply(taken)
    yield taken
    touched = {(event.area, event.interval_ms): None for event in events if isinstance(event, Accepted | Replaced | Cancelled)}
    for area, interval_ms in touched:
        if proposer.may_uncross(engine, area, interval_ms):
            uncross = proposer.uncross(engine, area, interval_ms, ends_auction=False)
            if uncross is not None:
                engine.apply(uncross)
                yield uncross
    if isinstance(command, RetireInterval):
        proposer.forget(command.area, command.interval_ms)


def _measure(feeder: Feeder, stream: Stream, rounds: int) -> EngineFigures:
    mix = _mix(stream.commands)
    walls_ns, cpus_ns = zip(*(_whole_round(stream.commands) for _ in range(rounds)), strict=True)
    per_command = [_timed_round(stream.commands) for _ in range(max(3, rounds // 2))]
    least = np.min([times for times, _ in per_command], axis=0)
    kinds = np.array([type(command).__name__ for command in _running(stream.commands)])
    count = len(kinds)
    return EngineFigures(
        feeder=feeder.size, rows=feeder.polytope.n_rows, stream=stream.name, way="journal", mix=mix, rounds=rounds,
        per_s_median=int(count / np.median(walls_ns) * 1e9), per_s_best=int(count / min(walls_ns) * 1e9),
        per_cpu_s=int(count / np.median(cpus_ns) * 1e9), command=spread(least), slowest=_slowest(kinds, least),
        pause_us=float(max(times.max() for times, _ in per_command)) / 1000,
        collector_us=min(collector for _, collector in per_command) / 1000,
    )  # fmt: skip


def _slowest(kinds: npt.NDArray[np.str_], times_ns: npt.NDArray[np.int64]) -> dict[str, float]:
    """Microseconds of the slowest command of each kind, the slowest kind first."""
    slowest = {str(kind): round(float(times_ns[kinds == kind].max()) / 1000, 1) for kind in np.unique(kinds)}
    return dict(sorted(slowest.items(), key=lambda item: -item[1]))


def _beginning(commands: tuple[Command, ...]) -> list[Command]:
    return [command for command in commands if isinstance(command, OpenArea | InstallRows)]


def _running(commands: tuple[Command, ...]) -> list[Command]:
    return [command for command in commands if not isinstance(command, OpenArea | InstallRows)]


def _opened(commands: tuple[Command, ...]) -> Engine:
    engine = Engine()
    for command in _beginning(commands):
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
                gc.freeze()
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
    customers = sum(asked[name] for name in ("Place", "Sweep", "Replace", "Cancel", "MassCancel"))
    return Mix(dict(asked.most_common()), dict(events.most_common()), dict(rejects.most_common()), round(legs / customers, 3))
