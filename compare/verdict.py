"""What the figures say, in sentences that are computed: where the market wins, where it does not, and where the days cannot tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from compare.paradigms import NAMES
from compare.score import BY_KEY, METRICS, Mean, Metric, Scored, difference, over_days, values

MARKET, BASE = "market", "doe"
COMPARED = ("curtailed_kwh", "unserved_kwh", "car_missing_kwh", "welfare_eur", "smallest_share", "jain")
RIVALS = ("doe", "equal", "5kw", "anm")
BROKEN = BY_KEY["minutes_broken"]
CARRIED = "On these days the network would have carried all that homes wanted: every limit beyond the connections only cost them."


def verdict(days: Sequence[Scored]) -> list[str]:
    """The most important first."""
    return [*_security(days), *_promises(days), *(line for rival in RIVALS for line in _against(days, rival)), *_cost(days)]


def _security(days: Sequence[Scored]) -> list[str]:
    minutes = {name: over_days(days, name, BROKEN) for name in NAMES}
    clean = [NAMES[name] for name, one in minutes.items() if one.mean == 0]
    broken = [f"{NAMES[n]} in {told(one)} minutes a day (at worst {_depth(days, n)})" for n, one in minutes.items() if one.mean > 0]
    found = [f"AC power flow at the actual powers breaks no limit with: {', '.join(clean)}."] if clean else []
    found += [] if minutes["rating"].mean else [CARRIED]
    return found + ([f"Limits are broken with {'; '.join(broken)}."] if broken else [])


def _depth(days: Sequence[Scored], paradigm: str) -> str:
    volts, current = (max(values(days, paradigm, BY_KEY[key])) for key in ("excess_pu", "overload"))
    worst = ((f"voltage {volts:.2f} % of nominal beyond its limit", volts), (f"current {current:.0f} % above the rating", current))
    return " and ".join(text for text, value in worst if value > 0)


def promises(days: Sequence[Scored], paradigm: str) -> tuple[int, int] | None:
    """(sets of limits that some corner breaks, sets tried); None where nothing is promised for a quarter hour."""
    corners = [score.corners for day in days for score in day.scores if score.paradigm == paradigm and score.corners is not None]
    return (sum(one.broken for one in corners), sum(one.sets for one in corners)) if corners else None


def _promises(days: Sequence[Scored]) -> list[str]:
    made = {NAMES[name]: kept for name in NAMES if (kept := promises(days, name)) is not None}
    holds = [f"{words} ({sets:,} sets)" for words, (broken, sets) in made.items() if not broken]
    breaks = [f"{words} ({broken:,} of {sets:,} sets)" for words, (broken, sets) in made.items() if broken]
    found = [f"Whatever every home does inside its limits, no corner that was tried breaks one with: {', '.join(holds)}."] if holds else []
    return found + ([f"Some corner of what is allowed breaks a limit with: {', '.join(breaks)}."] if breaks else [])


def _against(days: Sequence[Scored], rival: str) -> list[str]:
    """The market beside one rival, metric by metric: three groups, each a sentence where there is any."""
    gaps = [(BY_KEY[key], difference(days, MARKET, rival, BY_KEY[key])) for key in COMPARED]
    wins = [_phrase(metric, gap) for metric, gap in gaps if gap.is_certain and gap.mean * metric.better > 0]
    loses = [_phrase(metric, gap) for metric, gap in gaps if gap.is_certain and gap.mean * metric.better < 0]
    unknown = [_phrase(metric, gap) for metric, gap in gaps if not gap.is_certain]
    words = NAMES[rival]
    found = [f"The market beats {words} on {'; '.join(wins)}."] if wins else []
    found += [f"The market does not win against {words} on {'; '.join(loses)}."] if loses else []
    found += [f"Against {words} {_days(days)} cannot tell: {'; '.join(unknown)}."] if unknown else []
    theirs, ours = (over_days(days, name, BROKEN) for name in (rival, MARKET))
    is_insecure = theirs.mean > ours.mean and len(wins) < len(gaps)
    return found + ([f"But {words} breaks limits in {told(theirs)} minutes a day, the market in {told(ours)}."] if is_insecure else [])


def _phrase(metric: Metric, gap: Mean) -> str:
    return f"{metric.words} {told(gap, signed=True)}{' ' + metric.unit if metric.unit else ''}"


def _days(days: Sequence[Scored]) -> str:
    return "one day" if len(days) == 1 else f"{len(days)} days"


def _cost(days: Sequence[Scored]) -> list[str]:
    def means(name: str) -> str:
        messages, seconds = (over_days(days, name, BY_KEY[key]).mean for key in ("messages", "deciding_s"))
        return f"{NAMES[name]} {messages:,.0f} messages and {seconds:.1f} s"

    return [f"A day takes {', '.join(means(name) for name in ('anm', 'doe', 'market'))} of computing."]


def told(value: Mean, signed: bool = False) -> str:
    """With its interval, rounded to what can be read."""
    digits = 0 if abs(value.mean) >= 100 else 1 if abs(value.mean) >= 10 else 2 if abs(value.mean) >= 2 else 3
    if value.mean == 0 and not value.half:
        return "0"
    figure = f"{value.mean:{'+' if signed else ''},.{digits}f}"
    return figure if value.half is None else f"{figure} ± {value.half:,.{digits}f}"


def table(days: Sequence[Scored]) -> list[tuple[str, list[str]]]:
    """Rows for people: what, and one figure per paradigm in the order of NAMES."""
    rows = [(_headed(metric), [told(over_days(days, name, metric)) for name in NAMES]) for metric in METRICS]
    return [rows[0], _promised(days), *rows[1:]]


def _promised(days: Sequence[Scored]) -> tuple[str, list[str]]:
    kept = [promises(days, name) for name in NAMES]
    return "sets of limits that some corner breaks", ["no promise" if one is None else f"{one[0]:,} of {one[1]:,}" for one in kept]


def _headed(metric: Metric) -> str:
    return f"{metric.words}, {metric.unit}" if metric.unit else metric.words
