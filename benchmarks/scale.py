"""How time and memory grow with the number of customers: 46 to 1,506 real ones, and areas of them to 100,000.

    python -m benchmarks.scale                 measures what is not in the folder yet, prints the tables and the slopes
    python -m benchmarks.scale --page          and writes docs/scale.md with its picture
    python -m benchmarks.scale --quick         the smallest sizes only

Real customers are parts of lv_schutterwald (`benchmarks/scale_networks.py`). Of each part: its rows, once; one interval allocated on
them, beside HiGHS' sequence of linear programs (stopped where it takes too long); and a day of 96 intervals through the periodic job
(`envelopes/job.py`: rows, envelopes and AC certificate for every forecast). Then areas of one network, through the same job: alike in
their forecasts, which are solved once for all of them, and each with a forecast of its own, where nothing is shared. At last the same
areas in one engine of the exchange. Every step runs in a process of its own (`benchmarks/scale_steps.py`).

A slope is the exponent b of the fit a n^b to a line: by processor seconds, which others on the machine do not lengthen, and by memory.
What was measured is kept in the folder, so that a run that was interrupted goes on there; remove `points.json` to measure anew. Exits
with 1 where an area failed, one interval of all 1,506 customers takes a second, or HiGHS is not five times slower or finds something else.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import scale_steps as steps
from benchmarks.measure import load_average, machine
from benchmarks.scale_steps import Point, alone
from gateway.show import working

SIZES = (50, 100, 200, 400, 800, 1_506)
AREAS = (3_000, 10_000, 30_000, 100_000)
LARGE_AREAS = (100_000,)
SMALL = 100
QUICK, AREAS_QUICK = (50,), (150,)
FORECASTS = 4
WORKERS = 2
PROGRAMS_CAP_S, CAP_S = 60.0, 3_600.0
ALLOCATION_S, TARGET, SAME = 1.0, 5.0, 1e-9
FOLDER = Path("scale")
LINES = {
    "rows": "rows of a network, once",
    "allocation": "one interval on rows that exist",
    "programs": "the same by HiGHS' sequence of linear programs",
    "day": "a day of one area through the job",
    "large": "a day of large areas, all alike",
    "alike": "a day of small areas, all alike",
    "apart": "a day of small areas, a forecast each",
    "exchange": "small areas opened in one engine",
}


class Found(msgspec.Struct):
    """The folder's file."""

    machine: dict[str, str]
    load: str
    points: list[Point]

    def of(self, line: str) -> list[Point]:
        return sorted((one for one in self.points if one.line == line), key=lambda one: one.customers)


class Step(NamedTuple):
    line: str
    customers: int
    act: Callable[..., Point]
    arguments: tuple[Any, ...]
    cap_s: float = CAP_S


class Slope(NamedTuple):
    """Exponents over a line, and from the last but one size to the last: of processor seconds and of memory."""

    time: float
    memory: float
    time_last: float
    memory_last: float


def work(parts: dict[int, Path], areas: Sequence[int], large: Sequence[int], forecasts: int, workers: int) -> list[Step]:
    """Every step, the quick ones first."""
    small, whole = min(parts, key=lambda size: abs(size - SMALL)), max(parts)
    times = [(line, size, count) for line, size, wanted in (("alike", small, areas), ("large", whole, large)) for count in wanted]
    found = [Step(line, size, act, (part,)) for line, act in (("rows", steps.rows), ("allocation", steps.allocation))
             for size, part in parts.items()]  # fmt: skip
    found += [Step("programs", size, steps.programs, (part,), PROGRAMS_CAP_S) for size, part in parts.items()]
    found += [Step("exchange", (n := max(1, wanted // small)) * small, steps.exchange, (parts[small], n)) for wanted in areas]
    for line, size, wanted in [*(("day", size, size) for size in parts), *times, *(("apart", small, wanted) for wanted in areas)]:
        count = max(1, math.ceil(wanted / size))
        arguments = (line, parts[size], count, 0 if line == "apart" else forecasts, workers)
        found.append(Step(line, count * size, steps.job, arguments))
    return found


def measure(found: Found, todo: Sequence[Step], file: Path, tell: Callable[[str, float], None]) -> None:
    """Adds the points that are not there yet, and keeps each as it comes."""
    known = {(one.line, one.customers) for one in found.points}
    for number, step in enumerate(todo):
        if (step.line, step.customers) in known:
            continue
        tell(f"{step.customers:,}: {LINES[step.line]}", number / len(todo))
        point = alone(step.cap_s, step.act, *step.arguments)
        found.points.append(point or Point(step.line, step.customers, 0.0, step.cap_s, 0.0, stopped=True))
        part = file.with_suffix(".part")  # whole or not at all
        part.write_bytes(msgspec.json.encode(found))
        part.replace(file)


def slope(points: Sequence[Point]) -> Slope | None:
    """None of fewer than two sizes."""
    done = [one for one in points if not one.stopped and one.cpu_s > 0 and one.peak_mb > 0]
    if len(done) < 2:
        return None
    size, values = np.log([one.customers for one in done]), np.log([(one.cpu_s, one.peak_mb) for one in done])
    whole, last = np.polyfit(size, values, 1)[0], (values[-1] - values[-2]) / (size[-1] - size[-2])
    return Slope(*map(float, (*whole, *last)))


def problems(found: Found) -> list[str]:
    """What is not as it must be."""
    said = [f"{one.more['failed']:.0f} outcomes of {one.customers:,} customers failed" for one in found.points if one.more.get("failed")]
    said += [
        f"one interval of {one.customers:,} customers takes {one.wall_s:.2f} s"
        for one in found.of("allocation")
        if one.wall_s > ALLOCATION_S
    ]
    for one in found.of("programs"):
        if times_faster(found, one) < TARGET:
            said.append(f"at {one.customers:,} customers HiGHS is only {times_faster(found, one):.1f} times slower")
        if one.more.get("difference", 0.0) > SAME:
            said.append(f"at {one.customers:,} customers HiGHS finds something else, by {one.more['difference']:.1e}")
    return said


def times_faster(found: Found, programs: Point) -> float:
    """Water beside HiGHS in one process; at least so many times where HiGHS was stopped."""
    if not programs.stopped:
        return programs.more["times"]
    water = next((one.cpu_s for one in found.of("allocation") if one.customers == programs.customers), math.inf)
    return programs.cpu_s / water


def tables(found: Found) -> list[Table]:
    shown = Table(title="Time and memory by customers", title_justify="left")
    for number, heading in enumerate(("what", "customers", "s by the clock", "processor s", "MB", "of it")):
        shown.add_column(heading, justify="right" if 0 < number < 5 else "left")
    for _, points in groupby((one for line in LINES for one in found.of(line)), key=lambda one: one.line):
        for one in points:
            more = ", ".join(f"{name} {value:,.4g}" for name, value in one.more.items())
            wall_s, cpu_s = ("", f"> {one.cpu_s:.0f}") if one.stopped else (f"{one.wall_s:,.4g}", f"{one.cpu_s:,.4g}")
            shown.add_row(LINES[one.line], f"{one.customers:,}", wall_s, cpu_s, f"{one.peak_mb:,.0f}", more)
        shown.add_section()
    slopes = Table(title="Slopes: b of a n^b", title_justify="left")
    for number, heading in enumerate(("what", "time", "time, last step", "memory", "memory, last step")):
        slopes.add_column(heading, justify="right" if number else "left")
    for line, name in LINES.items():
        fit = slope(found.of(line))
        if fit is not None:
            slopes.add_row(name, *(f"{value:.2f}" for value in (fit.time, fit.time_last, fit.memory, fit.memory_last)))
    return [shown, slopes]


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "points.json"
    found = _found(file)
    with working(quiet=args.json) as tell:
        tell("cutting the network into parts", 0.0)
        parts = alone(CAP_S, steps.parts, args.out / "parts", QUICK if args.quick else args.sizes)
        areas, large = (AREAS_QUICK, ()) if args.quick else (args.areas, args.large)
        todo = work(parts, areas, large, args.forecasts, args.workers)
        measure(found, [step for step in todo if not args.only or step.line in args.only], file, tell)
    if args.page:
        from benchmarks.scale_page import write

        write(found)
    if args.json:
        print(msgspec.json.encode({"found": found, "slopes": {line: slope(found.of(line)) for line in LINES}}).decode())
    else:
        console = Console(width=150, highlight=False)
        console.print(*tables(found))
    for problem in problems(found):
        print(f"scale: {problem}", file=sys.stderr)
    return 1 if problems(found) else 0


def _found(file: Path) -> Found:
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Found)
    return Found(machine(), load_average(), [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="real customers, about (default: %(default)s)")
    parser.add_argument("--areas", nargs="*", type=int, default=AREAS, metavar="N", help="customers in small areas (default: %(default)s)")
    parser.add_argument("--large", nargs="*", type=int, default=LARGE_AREAS, metavar="N", help="in large areas (default: %(default)s)")
    parser.add_argument("--forecasts", type=int, default=FORECASTS, help="different ones a day, up to 96 (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes of the job (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=LINES, default=(), help="these lines only")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="where points are kept (default: %(default)s)")
    parser.add_argument("--page", action="store_true", help="write docs/scale.md and its picture from the points")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes only")
    parser.add_argument("--json", action="store_true", help="no progress; one JSON object on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
