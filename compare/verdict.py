"""What the figures say, in sentences that are computed: where the market wins, where it does not, and where the days cannot tell. Pure.

A paradigm *keeps* the limits if AC breaks none at the actual powers on any day, and no corner that was tried breaks what it promised.
Paradigms are ranked: first those that keep the limits, by welfare; then the others, by minutes broken. Best in a row of the table is the
best of those that keep the limits, with all whose difference from it these days cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compare.paradigms import NAMES
from compare.score import BY_KEY, METRICS, Mean, Metric, Scored, difference, over_days, values

MARKET, BASE = "market", "doe"
COMPARED = ("curtailed_kwh", "unserved_kwh", "car_missing_kwh", "welfare_eur", "smallest_share", "jain")
RIVALS = ("doe", "equal", "5kw", "anm")
BROKEN, WELFARE = BY_KEY["minutes_broken"], BY_KEY["welfare_eur"]
SECURITY = ("minutes_broken", "quarters_broken", "excess_pu", "overload", "above_kvah", "outside_kwh")
TO_THE_CENT_BELOW = 100  # EUR
CARRIED = "On these days the network would have carried all that homes wanted: every limit beyond the connections only cost them."


class Cell(NamedTuple):
    """One figure of the table; `mark` is "best", "broken" (a limit) or nothing."""

    text: str
    mark: str = ""


def keeps(days: Sequence[Scored], paradigm: str) -> bool:
    """Whether it keeps the limits, as far as was tried."""
    made = promises(days, paradigm)
    return not any(values(days, paradigm, BROKEN)) and (made is None or not made[0])


def ranked(days: Sequence[Scored]) -> list[str]:
    """The best first."""
    of_keeping, of_breaking = (lambda name: -over_days(days, name, WELFARE).mean), (lambda name: over_days(days, name, BROKEN).mean)
    kept = [name for name in NAMES if keeps(days, name)]
    return sorted(kept, key=of_keeping) + sorted((name for name in NAMES if name not in kept), key=of_breaking)


def headline(days: Sequence[Scored]) -> str:
    """The finding in one line: what serves homes best without breaking a limit, and what comes next."""
    order = ranked(days)
    if not any(values(days, "rating", BROKEN)):
        return "The network would have carried all that homes wanted: no limit was needed"
    if not keeps(days, order[0]):
        return "Every paradigm breaks a limit"
    first, *others = [name for name in order if keeps(days, name)]
    told_first = f"Every limit kept, and most for the homes: {NAMES[first]}, {_eur(days, first)} a day"
    if not others:
        return f"{told_first}; all others break limits"
    gap = difference(days, first, others[0], WELFARE)
    doubt = "" if gap.is_certain else f", which {_days(days)} cannot tell apart"
    return f"{told_first}; next: {NAMES[others[0]]}, {_eur(days, others[0])}{doubt}"


def temptation(days: Sequence[Scored]) -> str:
    """What would serve homes better and breaks limits; empty where nothing does."""
    order = ranked(days)
    most = over_days(days, order[0], WELFARE).mean
    better = [name for name in order if not keeps(days, name) and over_days(days, name, WELFARE).mean > most]
    listed = (f"{NAMES[name]} {_eur(days, name)} ({_mean(days, name, BROKEN)} minutes a day)" for name in better)
    return f"More, but with broken limits: {', '.join(listed)}." if better and keeps(days, order[0]) else ""


def _eur(days: Sequence[Scored], paradigm: str) -> str:
    mean = over_days(days, paradigm, WELFARE).mean
    return f"{mean:,.{0 if mean >= TO_THE_CENT_BELOW else 2}f} EUR"


def verdict(days: Sequence[Scored]) -> list[str]:
    """The most important first."""
    return [
        *_security(days),
        *_promises(days),
        *_recovered(days),
        *(line for rival in RIVALS for line in _against(days, rival)),
        *_cost(days),
    ]


def _security(days: Sequence[Scored]) -> list[str]:
    minutes = {name: over_days(days, name, BROKEN) for name in NAMES}
    clean = [NAMES[name] for name, one in minutes.items() if one.mean == 0]
    broken = [f"{NAMES[n]} in {told(one)} minutes a day ({_depth(days, n)})" for n, one in minutes.items() if one.mean > 0]
    found = [f"AC power flow at the actual powers breaks no limit with: {', '.join(clean)}."] if clean else []
    found += [] if minutes["rating"].mean else [CARRIED]
    return found + [f"Limits are broken with {one}." for one in broken]


def _depth(days: Sequence[Scored], paradigm: str) -> str:
    volts, current = (max(values(days, paradigm, BY_KEY[key])) for key in ("excess_pu", "overload"))
    above, outside = (_mean(days, paradigm, BY_KEY[key]) for key in ("above_kvah", "outside_kwh"))
    worst = (
        (f"{above} kVAh above ratings, at worst {current:.0f} % above one", current),
        (f"{outside} kWh of homes out of the voltage range, at worst {volts:.2f} % of nominal beyond it", volts),
    )
    return "; ".join(text for text, value in worst if value > 0)


def _mean(days: Sequence[Scored], paradigm: str, metric: Metric) -> str:
    return told(Mean(over_days(days, paradigm, metric).mean, None))


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


def _recovered(days: Sequence[Scored]) -> list[str]:
    """What envelopes cost against no limits at all, and how much of it trading brings back."""
    cost, back = (difference(days, one, BASE, WELFARE) for one in ("rating", MARKET))
    if not cost.is_certain or cost.mean < 0:
        return []
    words = f"Envelopes cost {told(cost)} EUR a day against no limits at all: that is the price of never breaking one."
    return [f"{words} Trading them brings back {told(back)} EUR, {100 * back.mean / cost.mean:.0f} % of it."]


def _against(days: Sequence[Scored], rival: str) -> list[str]:
    """The market beside one rival, metric by metric: four groups, each a sentence where there is any."""
    gaps = [(BY_KEY[key], difference(days, MARKET, rival, BY_KEY[key])) for key in COMPARED]
    wins = [_phrase(metric, gap) for metric, gap in gaps if gap.is_certain and gap.mean * metric.better > 0]
    loses = [_phrase(metric, gap) for metric, gap in gaps if gap.is_certain and gap.mean * metric.better < 0]
    same = [metric.words for metric, gap in gaps if gap.is_zero]
    unknown = [_phrase(metric, gap) for metric, gap in gaps if not gap.is_certain and not gap.is_zero]
    words = NAMES[rival]
    found = [f"The market beats {words} on {'; '.join(wins)}."] if wins else []
    found += [f"The market does not win against {words} on {'; '.join(loses)}."] if loses else []
    found += [f"The market and {words} are the same on {'; '.join(same)}."] if same else []
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
    if value.is_zero:
        return "0"
    figure = f"{value.mean:{'+' if signed else ''},.{digits}f}"
    return figure if value.half is None else f"{figure} ± {value.half:,.{digits}f}"


def table(days: Sequence[Scored]) -> list[tuple[str, list[Cell]]]:
    """Rows for people: what, and one figure per paradigm in the order of `ranked`."""
    order = ranked(days)
    rows = [(_headed(metric), _cells(days, order, metric)) for metric in METRICS]
    return [rows[0], _promised(days, order), *rows[1:]]


def _cells(days: Sequence[Scored], order: Sequence[str], metric: Metric) -> list[Cell]:
    found = {name: over_days(days, name, metric) for name in order}
    best = _best(days, metric)
    broken = [name for name in order if metric.key in SECURITY and found[name].mean > 0]
    return [Cell(told(one), "best" if name in best else "broken" if name in broken else "") for name, one in found.items()]


def _best(days: Sequence[Scored], metric: Metric) -> list[str]:
    """Of those that keep the limits: the best, and those that the days cannot tell from it. Nobody where all are the same."""
    among = [name for name in NAMES if keeps(days, name)]
    means = {name: over_days(days, name, metric).mean for name in among}
    if len(set(means.values())) < 2:
        return []
    first = max(among, key=lambda name: metric.better * means[name])
    gaps = {name: difference(days, name, first, metric) for name in among}
    return [name for name, gap in gaps.items() if gap.is_zero or (gap.half is not None and not gap.is_certain)]


def _promised(days: Sequence[Scored], order: Sequence[str]) -> tuple[str, list[Cell]]:
    kept = [promises(days, name) for name in order]
    cells = [Cell("no promise") if one is None else Cell(f"{one[0]:,} of {one[1]:,}", "broken" if one[0] else "") for one in kept]
    return "sets of limits that some corner breaks", cells


def _headed(metric: Metric) -> str:
    return f"{metric.words}, {metric.unit}" if metric.unit else metric.words
