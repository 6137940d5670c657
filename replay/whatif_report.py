"""A comparison as files: whatif.json for programs, whatif.png and whatif.html for people. The page needs no other resource.

The picture has six panels, each with a bar or two per variant. Colours are Okabe and Ito's (2008), as in the demo's report.
matplotlib is imported when the picture is drawn.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from replay.outcome import Outcome, as_builtins
from replay.show import figures, notes
from replay.tabular import OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, VERMILION, GREEN, INK, LIGHT = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#22282D", "#DDE2E6"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "axes.grid": True, "axes.grid.axis": "x",
    "grid.color": LIGHT, "axes.axisbelow": True, "legend.frameon": False, "figure.facecolor": "white",
}  # fmt: skip
Bars = tuple[str, str, list[float]]  # label, colour, one value per variant


def write(outcomes: Sequence[Outcome], subject: str, folder: Path) -> Path:
    """The three files; the page's path. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "whatif.json").write_text(json.dumps(as_builtins(outcomes), indent=2) + "\n")
        draw(folder / "whatif.png", outcomes, subject)
        page = folder / "whatif.html"
        page.write_text(_page(outcomes, subject, (folder / "whatif.png").read_bytes()))
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    return page


def draw(path: Path, outcomes: Sequence[Outcome], subject: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=(13, 2.6 + 0.75 * len(outcomes)), layout="constrained")
        figure.suptitle(f"What if: {subject}", x=0.01, ha="left", fontsize=14, fontweight="bold")
        grid = figure.subplots(2, 3, sharey=True)
        for axes, (title, is_stacked, bars) in zip(grid.flat, _panels(outcomes), strict=True):
            _panel(axes, title, [one.name for one in outcomes], bars, is_stacked)
        grid[0][0].invert_yaxis()
        figure.legend(*grid[0][1].get_legend_handles_labels(), loc="upper right", ncols=3)
        figure.savefig(path, dpi=110, metadata={"Software": None})
        plt.close(figure)


def _panels(outcomes: Sequence[Outcome]) -> list[tuple[str, bool, list[Bars]]]:
    ways = (("export", BLUE), ("import", ORANGE))
    return [
        ("Welfare, ct", False, [("", GREEN, [one.welfare_mct / 1000 for one in outcomes])]),
        (
            "Limits traded, kWh",
            True,
            [(way, colour, [one.traded_kwh[way] for one in outcomes]) for way, colour in ways]
            + [("left over, taken", LIGHT, [one.leftover_kwh for one in outcomes])],
        ),
        ("Mean price, ct/kWh", False, [(way, colour, [(one.price_mean_mct[way] or 0) / 1000 for one in outcomes]) for way, colour in ways]),
        ("Crossing at the gate, kWh", False, [("", VERMILION, [one.crossing_kwh for one in outcomes])]),
        ("Smallest envelope, W", False, [("", GREEN, [float(one.smallest_w or 0) for one in outcomes])]),
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


def _page(outcomes: Sequence[Outcome], subject: str, picture: bytes) -> str:
    heads = "".join(f"<th>{html.escape(one.name)}</th>" for one in outcomes)
    lines = "".join(_line(name, texts) for name, texts in figures(outcomes))
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes(outcomes))
    return TEMPLATE.format(
        subject=html.escape(subject), picture=base64.b64encode(picture).decode(), heads=heads, lines=lines, notes=said,
    )  # fmt: skip


def _line(name: str, texts: Sequence[str]) -> str:
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    return f"<tr><th>{html.escape(name)}</th>{cells}</tr>"


TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>limex: what if</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #22282d; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100%; border: 1px solid #dde2e6; border-radius: 6px }} table {{ border-collapse: collapse; width: 100% }}
th, td {{ padding: .35rem .6rem; border-top: 1px solid #dde2e6; text-align: right }} th:first-child {{ text-align: left }}
p {{ color: #5b646b }}
</style></head><body>
<h1>What if: {subject}</h1>
<img alt="Six figures of every variant, side by side." src="data:image/png;base64,{picture}">
<table><tr><th></th>{heads}</tr>{lines}</table>
{notes}
<p>The same customers' requests, decided anew under each rule, rows or network. What the figures mean: docs/replay.md.</p>
</body></html>
"""
