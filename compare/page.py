"""A comparison as files: report.json for programs, three pictures, and index.html for people. The page needs no other resource."""

from __future__ import annotations

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
from compare.score import BY_KEY, CONFIDENCE, METRICS, Mean, Scored, difference, over_days
from compare.verdict import BASE, Cell, headline, keeps, ranked, table, temptation, told, verdict
from demo.page import embedded, tiled, whole_page

LEGEND = (
    "A day, mean ± 95 % (Student's t). Green: best of those that keep the limits, or not to be told from it. Orange: a limit is broken."
)
NOTHING_MORE = "Nothing that breaks limits would give homes more."
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
        "profiles": "SimBench, measured" if found.profiles else "drawn", "seeds": list(task.seeds), "confidence": CONFIDENCE,
        "paradigms": NAMES, "ranked": ranked(days), "headline": headline(days), "verdict": verdict(days),
        "means": figures, "against_envelopes": against, "assumptions": list(ASSUMPTIONS),
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
    kind = "measured days of a year" if found.profiles else "drawn days"
    span = f"seed {seeds[0]}" if count == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    where = f"{task.network.name}, {len(task.network.customers)} homes, {count} {kind}, {span}"
    hours = "" if task.intervals == DAY_INTERVALS else f", the first {task.intervals} quarter hours only"
    return f"{where}{hours}{'; error bars: 95 % interval' if count > 1 else ''}"


def _page(task: Task, found: Comparison) -> str:
    days = found.days
    pictures = "".join(embedded(task.out / name, text) for name, text in PICTURES.items())
    body = f"""<p class="{"bad" if temptation(days) else "good"}">{html.escape(temptation(days) or NOTHING_MORE)}</p>
{tiled(_tiles(days))}
{_table(days)}
{pictures}
<h2>What the figures say</h2><ul>{_listed(verdict(days))}</ul>
<h2>What was assumed</h2><ul>{_listed(ASSUMPTIONS)}</ul>
<p>For programs: <a href="report.json">report.json</a>.</p>"""
    return whole_page("paradigms compared", headline(days), subject(task, found), body)


def _tiles(days: Sequence[Scored]) -> list[tuple[str, str]]:
    """A tile per paradigm, the best first."""
    return [(f"{_mean(days, name, 'welfare_eur').mean:,.0f} EUR", f"{NAMES[name]}: {_kept(days, name)}") for name in ranked(days)]


def _kept(days: Sequence[Scored], name: str) -> str:
    if keeps(days, name):
        return "keeps every limit"
    broken = _mean(days, name, "minutes_broken")
    return f"{told(Mean(broken.mean, None))} broken minutes a day" if broken.mean else "some corner breaks a limit"


def _mean(days: Sequence[Scored], name: str, key: str) -> Mean:
    return over_days(days, name, BY_KEY[key])


def _table(days: Sequence[Scored]) -> str:
    heads = "".join(f"<th>{html.escape(NAMES[name])}</th>" for name in ranked(days))
    lines = "".join(f"<tr><th>{html.escape(what)}</th>{''.join(map(_cell, cells))}</tr>" for what, cells in table(days))
    return f'<table class="figures"><tr><th></th>{heads}</tr>{lines}</table><p class="where">{html.escape(LEGEND)}</p>'


def _cell(cell: Cell) -> str:
    marked = f' class="{cell.mark}"' if cell.mark else ""
    return f"<td{marked}>{html.escape(cell.text)}</td>"


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)
