"""A comparison as files: whatif.json for programs, whatif.png and whatif.html for people. The page needs no other resource.

The picture has six panels, each with a bar or two per variant; one in which all are zero says so in words. Page and picture look like
the demo's report.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.page import embedded, whole_page
from demo.pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, figure_file, say_none
from replay.outcome import Outcome, as_builtins
from replay.show import figures, notes
from replay.tabular import OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME = "The same customers' requests, decided anew under each rule, rows or network."
PICTURE = "whatif.png"
Bars = tuple[str, str, list[float]]  # label, colour, one value per variant


def write(outcomes: Sequence[Outcome], subject: str, folder: Path) -> Path:
    """The three files; the page's path. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "whatif.json").write_text(json.dumps(as_builtins(outcomes), indent=2) + "\n")
        draw(folder / PICTURE, outcomes, subject)
        page = folder / "whatif.html"
        page.write_text(_page(outcomes, subject, folder / PICTURE))
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    return page


def draw(path: Path, outcomes: Sequence[Outcome], subject: str) -> None:
    with figure_file(path, f"What if: {subject}", SAME, 13, 2.8 + 0.75 * len(outcomes)) as figure:
        grid = figure.subplots(2, 3, sharey=True)
        for axes, (title, is_stacked, bars) in zip(grid.flat, _panels(outcomes), strict=True):
            _panel(axes, title, [one.name for one in outcomes], bars, is_stacked)
        grid[0][0].invert_yaxis()
        figure.legend(*grid[0][1].get_legend_handles_labels(), loc="upper right", ncols=3)


def _panels(outcomes: Sequence[Outcome]) -> list[tuple[str, bool, list[Bars]]]:
    ways = (("export", BLUE), ("import", ORANGE))
    return [
        ("Welfare, ct", False, [("", GREEN, [one.welfare_mct / 1000 for one in outcomes])]),
        (
            "Limits traded, kWh",
            True,
            [(way, colour, [one.traded_kwh[way] for one in outcomes]) for way, colour in ways]
            + [("left over, taken", GREY, [one.leftover_kwh for one in outcomes])],
        ),
        ("Mean price, ct/kWh", False, [(way, colour, [(one.price_mean_mct[way] or 0) / 1000 for one in outcomes]) for way, colour in ways]),
        ("Crossing at the gate, kWh", False, [("", VERMILION, [one.crossing_kwh for one in outcomes])]),
        ("Smallest envelope, kW", False, [("", GREEN, [(one.smallest_w or 0) / 1000 for one in outcomes])]),
        ("Jain's index of the limits", False, [(way, colour, [one.jain[way] or 0 for one in outcomes]) for way, colour in ways]),
    ]


def _panel(axes: Axes, title: str, names: Sequence[str], bars: Sequence[Bars], is_stacked: bool) -> None:
    """Horizontal bars, one row per variant; several kinds beside each other, or end to end."""
    thickness, left = 0.72 if is_stacked else 0.72 / len(bars), [0.0] * len(names)
    for rank, (label, colour, values) in enumerate(bars):
        shift = 0.0 if is_stacked else (rank - (len(bars) - 1) / 2) * thickness
        axes.barh([place + shift for place in range(len(names))], values, height=thickness, left=left, color=colour, label=label)
        if is_stacked:
            left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title)
    axes.locator_params(axis="x", nbins=6)
    if not any(value for _, _, values in bars for value in values):
        say_none(axes.xaxis, "none in any variant")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def _page(outcomes: Sequence[Outcome], subject: str, picture: Path) -> str:
    heads = "".join(f"<th>{html.escape(one.name)}</th>" for one in outcomes)
    lines = "".join(_line(name, texts) for name, texts in figures(outcomes))
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes(outcomes))
    body = f"""{embedded(picture, "Six figures of every variant, side by side.")}
<table class="figures"><tr><th></th>{heads}</tr>{lines}</table>
{said}
<p>What the figures mean: docs/replay.md.</p>"""
    return whole_page("what if", f"What if: {subject}", SAME, body)


def _line(name: str, texts: Sequence[str]) -> str:
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    return f"<tr><th>{html.escape(name)}</th>{cells}</tr>"
