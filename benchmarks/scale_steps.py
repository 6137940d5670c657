"""What `benchmarks.scale` measures, each step in a process of its own, so that its memory is its own.

Seconds are told twice: by the clock, and of the processor in all processes together, which others on the machine do not lengthen.
Memory is the most that all processes of a step had at once: proportional sets, in which a page that several share counts once.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

DAY, QUARTER_MS = 96, 900_000
AHEAD = 4  # intervals of an area that are open at once
ROUNDS = 5
LOOK_S = 0.1


class Point(msgspec.Struct, frozen=True):
    """One step at one size. `stopped`: it was not done when its process had taken `cpu_s`."""

    line: str
    customers: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    stopped: bool = False
    more: dict[str, float] = {}


# --- steps --------------------------------------------------------------------------------------------------------


def rows(part: Path) -> Point:
    """Rows of a part, kept beside it for the steps that need them."""
    from riskcheck.linearise import build, is_proven
    from riskcheck.network import load

    network = load(str(part))
    with measured() as figures:
        built = build(network)
    part.with_suffix(".rows").write_bytes(built.to_bytes())
    np.savez(part.with_suffix(".npz"), caps=network.caps_w(), floors=network.floors_w())
    more = {"rows": built.n_rows, "buses": network.n_buses, "proven": float(is_proven(network))}
    return point("rows", len(network.customers), figures, more)


def allocation(part: Path) -> Point:
    """One interval on rows that exist, from integers to whole watts: the best of some rounds."""
    from envelopes.allocate import allocate

    polytope, caps, floors = _kept(part)
    allocate(polytope, caps, floors)
    with measured() as figures:
        times = [_timed(lambda: allocate(polytope, caps, floors)) for _ in range(ROUNDS)]
    wall, cpu = np.min(times, axis=0)
    return point("allocation", len(caps) // 2, {**figures, "wall_s": float(wall), "cpu_s": float(cpu)})


def programs(part: Path) -> Point:
    """The same by HiGHS' sequence of linear programs, with the water beside it."""
    from benchmarks.allocation import by_programs
    from envelopes.water import water_fill

    polytope, caps, floors = _kept(part)
    share, low, high = polytope.columns / polytope.slack, floors.astype(float), caps.astype(float)
    water_s = min(_timed(lambda: water_fill(share, low, high))[1] for _ in range(ROUNDS))
    limit, _ = water_fill(share, low, high)
    with measured() as figures:
        found, count = by_programs(share, low, high)
    difference = float((np.abs(limit - found) / np.maximum(limit, 1.0)).max())
    more = {"programs": count, "difference": difference, "times": figures["cpu_s"] / water_s}
    return point("programs", len(caps) // 2, figures, more)


def job(line: str, part: Path, areas: int, forecasts: int, workers: int) -> Point:
    """The periodic job for areas of this part, a day ahead. `forecasts` a day that all share; none: each area has one of its own."""
    from benchmarks.scale_networks import forecast
    from envelopes.forecasts import AreaSource, Key
    from envelopes.job import Store, pieces, run
    from envelopes.pools import processes
    from riskcheck.network import load

    network, folder = load(str(part)), part.with_suffix(f".{line}-{areas}")
    sources = [AreaSource(f"area{number:04d}", str(part)) for number in range(areas)]
    starts = [QUARTER_MS * number for number in range(DAY)]
    shared = [forecast(network, number, forecasts) for number in range(forecasts)]
    ranges = {
        Key(source.name, start): shared[at * forecasts // DAY] if forecasts else forecast(network, number, areas)
        for number, source in enumerate(sources) for at, start in enumerate(starts)
    }  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)  # of a step that was stopped: what is there is not solved again
    with measured() as figures:
        store = Store(folder)
        work = pieces(sources, ranges, starts, store)
        outcomes = run(work, processes(workers), store)
    shutil.rmtree(folder)
    failed = sum(outcome.keeps != "new" for outcome in outcomes)
    more = {"areas": areas, "solved": len(work), "outcomes": len(outcomes), "failed": failed}
    return point(line, areas * len(network.customers), figures, more)


def exchange(part: Path, areas: int) -> Point:
    """The same areas in one engine: opened, with rows and an hour of intervals."""
    from envelopes.refresh import plan
    from exchange.bounds import MarketSettings
    from exchange.commands import Command
    from exchange.engine import Engine
    from riskcheck.network import load

    engine, ready = Engine(), plan(load(str(part)), "area", MarketSettings())
    with measured() as figures:
        for number in range(areas):
            own = ready._replace(area=f"area{number:04d}")
            commands: list[Command] = [*own.opening(), *(own.open_interval(QUARTER_MS * at) for at in range(AHEAD))]
            for command in commands:
                engine.apply(command)
    return point("exchange", areas * len(ready.network.customers), figures, {"areas": areas, "intervals": areas * AHEAD})


def parts(folder: Path, wanted: list[int]) -> dict[int, Path]:
    from benchmarks.scale_networks import write_parts

    return write_parts(folder, wanted)


def _kept(part: Path) -> tuple[Any, Any, Any]:
    from riskcheck.blas import use_one_thread
    from riskcheck.polytope import Polytope

    use_one_thread()  # as in any process that has built rows
    given = np.load(part.with_suffix(".npz"))
    return Polytope.from_bytes(part.with_suffix(".rows").read_bytes()), given["caps"], given["floors"]


# --- measuring ----------------------------------------------------------------------------------------------------


def point(line: str, customers: int, figures: dict[str, float], more: Mapping[str, float] | None = None) -> Point:
    return Point(line, customers, figures["wall_s"], figures["cpu_s"], figures["peak_mb"], more=dict(more or {}))


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Fills in wall_s, cpu_s and peak_mb when what is inside is done."""
    figures: dict[str, float] = {"peak_mb": 0.0}
    is_over = threading.Event()

    def watch() -> None:
        while True:
            figures["peak_mb"] = max(figures["peak_mb"], memory_mb())
            if is_over.wait(LOOK_S):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), _cpu_s()
    try:
        yield figures
    finally:
        figures |= {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu}
        is_over.set()
        watcher.join()


def _cpu_s() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def memory_mb() -> float:
    """Of this process and its children; 0 where the system does not tell."""
    return sum(map(_own_mb, [os.getpid(), *_children()]))


def _children() -> list[int]:
    try:
        return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    except OSError:
        return []


def _own_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def alone(cap_s: float, step: Callable[..., Any], *arguments: Any) -> Any:
    """The step's answer, from a process of its own; None where that took so many processor seconds. Raises RuntimeError where it failed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, cap_s, step, arguments))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError as error:
        raise RuntimeError(f"{step.__name__} failed; what it said stands above") from error
    finally:
        process.terminate()
        process.join()


def _answer(there: Connection, cap_s: float, step: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_give_up, args=(there, cap_s), daemon=True).start()
    there.send(step(*arguments))


def _give_up(there: Connection, cap_s: float) -> None:
    while time.process_time() < cap_s:
        time.sleep(LOOK_S)
    there.send(None)
