"""What the figures say, in sentences that are computed: where the market wins, where it does not, and where the days cannot tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from compare.paradigms import NAMES
from compare.score import BY_KEY, METRICS, Mean, Metric, Scored, difference, over_days

MARKET, BASE = "market", "doe"
COMPARED = ("curtailed_kwh", "unserved_kwh", "car_missing_kwh", "welfare_eur", "smallest_share", "jain")
RIVALS = ("doe", "equal", "5kw", "anm")
SECURITY = ("minutes_broken", "quarters_broken")


def verdict(days: Sequence[Scored]) -> list[str]:
    """The most important first."""
    return [*_security(days), *_promises(days), *(line for rival in RIVALS for line in _against(days, rival)), *_cost(days)]


def _security(days: Sequence[Scored]) -> list[str]:
    clean, broken = [], []
    for name, words in NAMES.items():
        minutes = over_days(days, name, BY_KEY["minutes_broken"])
        if minutes.mean == 0:
            clean.append(words)
            continue
        excess, overload = (max(BY_KEY[key].of(s) for d in days for s in d.scores if s.paradigm == name) for key in ("excess_pu", "overload"))
        depth = " and ".join(
            text for text, value in ((f"voltage {excess:.2f} % beyond", excess), (f"current {overload:.0f} % beyond", overload)) if value > 0
        )
        broken.append(f"{words} in {told(minutes)} minutes a day (at worst {depth} the limit)")
    found = [f"AC power flow at the actual powers breaks no limit with: {', '.join(clean)}."] if clean else []
    return found + ([f"Limits are broken with {'; '.join(broken)}."] if broken else [])


def _promises(days: Sequence[Scored]) -> list[str]:
    broken, holds = [], []
    for name, words in NAMES.items():
        corners = [score.corners for day in days for score in day.scores if score.paradigm == name and score.corners is not None]
        if not corners:
            continue
        sets, bad = sum(one.sets for one in corners), sum(one.broken for one in corners)
        (broken if bad else holds).append(f"{words} ({bad} of {sets} sets)" if bad else f"{words} ({sets} sets)")
    found = [f"Whatever every home does inside its limits, none can be broken with: {', '.join(holds)}."] if holds else []
    return found + ([f"Some corner of what is allowed breaks a limit with: {', '.join(broken)}."] if broken else [])


def _against(days: Sequence[Scored], rival: str) -> list[str]:
    """The market beside one rival, metric by metric."""
    wins, loses, open_ = [], [], []
    for metric in (BY_KEY[key] for key in COMPARED):
        gap = difference(days, MARKET, rival, metric)
        better = gap.mean * metric.better
        phrase = f"{metric.words} {told(gap, signed=True)}{' ' + metric.unit if metric.unit else ''}"
        (open_ if not gap.is_certain else wins if better > 0 else loses).append(phrase)
    words = NAMES[rival]
    found = [f"The market beats {words} on {'; '.join(wins)}."] if wins else []
    found += [f"The market does not win against {words} on {'; '.join(loses)}."] if loses else []
    if open_:
        found.append(f"Against {words} {len(days)} day{'s' * (len(days) > 1)} cannot tell: {'; '.join(open_)}.")
    secured = "; ".join(f"{words} breaks limits in {told(m)} minutes a day" for m in [over_days(days, rival, BY_KEY["minutes_broken"])] if m.mean > 0)
    if loses and secured:
        found.append(f"But {secured}, the market in {told(over_days(days, MARKET, BY_KEY['minutes_broken']))}.")
    return found


def _cost(days: Sequence[Scored]) -> list[str]:
    parts = [
        f"{NAMES[name]} {over_days(days, name, BY_KEY['messages']).mean:,.0f} messages and {over_days(days, name, BY_KEY['deciding_s']).mean:.1f} s"
        for name in ("anm", "doe", "market")
    ]
    return [f"A day takes {', '.join(parts)} of computing."]


def told(value: Mean, signed: bool = False) -> str:
    """With its interval, rounded to what can be read."""
    digits = 0 if abs(value.mean) >= 100 else 1 if abs(value.mean) >= 10 else 2 if abs(value.mean) >= 0.1 else 4
    digits = 0 if value.mean == 0 else digits
    figure = f"{value.mean:{'+' if signed else ''},.{digits}f}"
    return figure if value.half is None else f"{figure} ± {value.half:,.{digits}f}"


def table(days: Sequence[Scored]) -> list[tuple[str, list[str]]]:
    """Rows for people: what, and one figure per paradigm in the order of NAMES."""
    rows = [(_headed(metric), [told(over_days(days, name, metric)) for name in NAMES]) for metric in METRICS]
    return [rows[0], _promised(days), *rows[1:]]


def _promised(days: Sequence[Scored]) -> tuple[str, list[str]]:
    cells = []
    for name in NAMES:
        corners = [score.corners for day in days for score in day.scores if score.paradigm == name and score.corners is not None]
        cells.append(f"{sum(one.broken for one in corners):,} of {sum(one.sets for one in corners):,}" if corners else "no promise")
    return "sets of limits that some corner breaks", cells


def _headed(metric: Metric) -> str:
    return f"{metric.words}, {metric.unit}" if metric.unit else metric.words
