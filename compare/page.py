"""A comparison as files: report.json for programs, three pictures, and index.html for people. The page needs no other resource."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from compare.days import DAY_INTERVALS
from compare.paradigms import NAMES
from compare.pictures import PICTURES, draw
from compare.run import Comparison, Task
from compare.score import BY_KEY, METRICS, difference, over_days
from compare.verdict import BASE, table, verdict

ASSUMPTIONS = tuple(
    """
Homes, appliances, cars, batteries and valuations are drawn from the seed of the day. It lasts from 06:00 to 06:00, minute by minute.
Nobody foresees a day. Static limits and envelopes use no forecast of homes. Homes that trade know a share of the coming minutes that grows
 towards the gate. Curtailment knows what homes wanted one minute ago, exactly, and reaches all of them.
Curtailment acts one minute late: that is its only fault. In that minute limits may be broken.
The interface voltage wanders in the guaranteed range. Envelopes know its band, a third of the range, 75 minutes ahead. Curtailment measures
 it. Static limits hold for all of it.
A broken minute is any excess of a voltage limit or a rating in AC power flow, however small. Cables and EN 50160 tolerate short ones.
Envelopes and the equal limit hold whatever all homes do at the same time. Homes of these days do not do the worst: that is what they cost.
""".strip()
    .replace("\n ", " ")
    .split("\n")
)


def facts(task: Task, found: Comparison) -> dict[str, Any]:
    """Everything that was found, for programs."""
    days = found.days
    figures = {name: {metric.key: over_days(days, name, metric)._asdict() for metric in METRICS} for name in NAMES}
    against = {name: {metric.key: difference(days, name, BASE, metric)._asdict() for metric in METRICS} for name in NAMES if name != BASE}
    plans = {name: msgspec.to_builtins(limits) for name, limits in found.ground.static.items()}
    bands = [
        {"low_pu": b.low_pu, "high_pu": b.high_pu, "rows_s": b.rows_s, "allocate_s": b.allocate_s} | msgspec.to_builtins(b.limits)
        for b in found.ground.bands
    ]
    return {
        "network": task.network.name, "homes": len(task.network.customers), "intervals": task.intervals,
        "profiles": "SimBench, measured" if found.profiles else "drawn", "confidence": 0.95,
        "paradigms": NAMES, "means": figures, "against_envelopes": against, "verdict": verdict(days), "assumptions": list(ASSUMPTIONS),
        "static": plans, "bands": bands, "days": msgspec.to_builtins(days),
    }  # fmt: skip


def write(task: Task, found: Comparison) -> Path:
    """All files; the page's path."""
    task.out.mkdir(parents=True, exist_ok=True)
    (task.out / "report.json").write_text(json.dumps(facts(task, found), indent=1) + "\n")
    draw(task.out, found.days, subject(task, found))
    page = task.out / "index.html"
    page.write_text(_page(task, found))
    return page


def subject(task: Task, found: Comparison) -> str:
    """One line: what was compared."""
    count, seeds = len(found.days), [day.seed for day in found.days]
    kind = "measured profiles of days of a year" if found.profiles else "drawn days"
    span = f"seed {seeds[0]}" if count == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    where = f"{task.network.name}, {len(task.network.customers)} homes, {count} {kind}, {span}"
    hours = "" if task.intervals == DAY_INTERVALS else f", the first {task.intervals} quarter hours only"
    return f"{where}{hours}{'; bars of error: 95 %' if count > 1 else ''}"


def _page(task: Task, found: Comparison) -> str:
    days = found.days
    welfare = {name: over_days(days, name, BY_KEY["welfare_eur"]) for name in NAMES}
    broken = {name: over_days(days, name, BY_KEY["minutes_broken"]) for name in NAMES}
    tiles = [(f"{welfare[name].mean:,.0f} EUR", f"{words}: {broken[name].mean:,.0f} broken minutes a day") for name, words in NAMES.items()]
    heads = "".join(f"<th>{html.escape(words)}</th>" for words in NAMES.values())
    lines = "".join(
        f"<tr><th>{html.escape(what)}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for what, cells in table(days)
    )
    return TEMPLATE.format(
        where=html.escape(subject(task, found)),
        tiles="".join(f"<div><b>{html.escape(figure)}</b><span>{html.escape(text)}</span></div>" for figure, text in tiles),
        verdict=_listed(verdict(days)),
        pictures="".join(_embedded(task.out / name, text) for name, text in PICTURES.items()),
        table=f"<tr><th></th>{heads}</tr>{lines}",
        assumptions=_listed(ASSUMPTIONS),
    )


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)


def _embedded(path: Path, text: str) -> str:
    picture, text = base64.b64encode(path.read_bytes()).decode(), html.escape(text)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{picture}"><figcaption>{text}</figcaption></figure>'


TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>limex: four paradigms</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #22282d; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }} .where, figcaption {{ color: #5b646b }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: .8rem; margin: 1.2rem 0 }}
.tiles div {{ border: 1px solid #dde2e6; border-radius: 6px; padding: .7rem 1rem }}
.tiles b {{ display: block; font-size: 1.45rem }} .tiles span {{ color: #5b646b }}
figure {{ margin: 2rem 0 }} img {{ max-width: 100%; border: 1px solid #dde2e6; border-radius: 6px }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: right; vertical-align: top; padding: .35rem .6rem; border-top: 1px solid #dde2e6; white-space: nowrap }}
th:first-child {{ text-align: left; font-weight: 600; white-space: normal }}
</style></head><body>
<h1>Four ways to run a network that is too small</h1><p class="where">{where}</p>
<div class="tiles">{tiles}</div>
<h2>What the figures say</h2><ul>{verdict}</ul>
{pictures}
<h2>All figures</h2><table>{table}</table><p class="where">Means over the days, ± 95 % (Student's t).</p>
<h2>What was assumed</h2><ul>{assumptions}</ul>
<p>For programs: <a href="report.json">report.json</a>.</p>
</body></html>
"""
