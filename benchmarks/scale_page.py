"""The figures of `benchmarks.scale` in docs/scale.md, between two marks, and its picture. The words around them are the page's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scale import LINES, Found, slope, times_faster
from benchmarks.scale_picture import draw

if TYPE_CHECKING:
    from benchmarks.scale_steps import Point

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
REAL = ("customers", "rows", "rows, once", "one interval, by the clock", "the same by HiGHS", "times faster", "a day of 96 intervals")
MANY = ("", "customers", "areas", "solved", "by the clock", "processor", "memory")
AREAS = ("large", "alike", "apart", "exchange")


def write(found: Found, page: Path = PAGE) -> None:
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + BEGIN + "\n".join(figures(found)) + END + after)
    picture = page.parent / "pictures" / "scale.svg"
    picture.parent.mkdir(exist_ok=True)
    draw(picture, found)


def figures(found: Found) -> Iterator[str]:
    made_on = found.machine
    yield f"\n{made_on['processor']}, {made_on['cores']} cores, Python {made_on['python']}; load average before: {found.load}.\n"
    yield f"| {' | '.join(REAL)} |\n|{'---:|' * len(REAL)}"
    yield from (_real(found, one) for one in found.of("rows"))
    slopes = [_slope(found, line) for line in ("rows", "allocation", "programs", "day")]
    yield f"| **slope** | | {slopes[0]} | {slopes[1]} | {slopes[2]} | | {slopes[3]} |\n"
    difference = max((one.more["difference"] for one in found.of("programs") if not one.stopped), default=0.0)
    yield f"The two answers differ by at most {difference:.0e} of a limit.\n"
    yield f"| {' | '.join(MANY)} |\n|---|{'---:|' * (len(MANY) - 1)}"
    for line in AREAS:
        points = found.of(line)
        yield from map(_area, points)
        if slope(points) is not None:
            yield f"| *slope* | | | | | {_slope(found, line).replace(', ', ' | ')} |"
    yield ""


def _real(found: Found, rows: Point) -> str:
    at = {line: one for line in LINES for one in found.of(line) if one.customers == rows.customers}
    cells = [f"{rows.customers:,}", f"{rows.more['rows']:,.0f}", _cost(rows)]
    cells.append(f"{1e3 * at['allocation'].wall_s:,.1f} ms, {_mb(at['allocation'])}" if "allocation" in at else "")
    cells += _programs(found, at["programs"]) if "programs" in at else ["", ""]
    cells.append(f"{_cost(at['day'])} for {at['day'].more['solved']:.0f} forecasts" if "day" in at else "")
    return f"| {' | '.join(cells)} |"


def _programs(found: Found, one: Point) -> list[str]:
    times = f"{times_faster(found, one):,.0f}"
    return [f"stopped after {_s(one.cpu_s)}", f"over {times}"] if one.stopped else [_cost(one), times]


def _area(one: Point) -> str:
    solved = (
        f"{one.more['solved']:,.0f} for {one.more['outcomes']:,.0f}" if "solved" in one.more else f"{one.more['intervals']:,.0f} opened"
    )
    cells = (LINES[one.line], f"{one.customers:,}", f"{one.more['areas']:,.0f}", solved, _s(one.wall_s), _s(one.cpu_s), _mb(one))
    return f"| {' | '.join(cells)} |"


def _slope(found: Found, line: str) -> str:
    fit = slope(found.of(line))
    return (
        ""
        if fit is None
        else f"time {fit.time:.2f} (last step {fit.time_last:.2f}), memory {fit.memory:.2f} (last step {fit.memory_last:.2f})"
    )


def _cost(one: Point) -> str:
    return f"{_s(one.cpu_s)}, {_mb(one)}"


def _s(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds:,.2f} s"


def _mb(one: Point) -> str:
    return f"{one.peak_mb:,.0f} MB" if one.peak_mb < 1024 else f"{one.peak_mb / 1024:,.1f} GB"
