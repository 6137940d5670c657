"""One paradigm's day in figures, and many days as means with confidence intervals. Pure.

* **Security**: minutes in which AC power flow at the actual powers breaks a limit, and quarter hours that break one at their mean powers
  (what EN 50160, with its ten-minute means, comes nearest to); the worst excess; the energy above ratings, and that of homes out of the
  voltage range (`compare/breaches.py`). Where limits were promised for a whole quarter hour also how many sets of limits some corner of
  what they allow would break.
* **Fairness** over the homes' served shares: sun used or exported, load, heat and car charge, over what of these there was or was wanted.
  The smallest, and Jain's index `(sum x)^2 / (n sum x^2)`.
* **Efficiency**: sun curtailed, demand unserved, car charge missing at the end of the day, and welfare: what was served, charged, stored
  and exported was worth to the homes by their own valuations, less the tariff of imports. Payments between homes cancel out.

Intervals are 95 %, by Student's t over the days; differences are paired, day by day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from compare.living import Lived

if TYPE_CHECKING:
    from compare.physics import Excess

WMIN_PER_KWH = 60_000
MCT_PER_EUR = 100_000
CONFIDENCE = 0.95
DIGITS = 9


class Corners(msgspec.Struct, frozen=True):
    """What limits promised: sets of one interval each that were tried at the same corners, and those that some corner breaks."""

    sets: int
    broken: int
    margin_pu: float  # the smallest of all voltages, negative where broken


class Score(msgspec.Struct, frozen=True):
    """One paradigm on one day."""

    paradigm: str
    minutes: int
    minutes_broken: int
    quarters_broken: int
    excess_pu: float  # worst voltage beyond its limit, 0 where none was
    overload: float  # worst current beyond its rating, as a share of it
    above_kvah: float  # what flowed above ratings
    outside_kwh: float  # what homes drew or fed in while their voltage was out of range
    corners: Corners | None
    smallest_share: float
    jain: float
    curtailed_kwh: float
    unserved_kwh: float
    car_missing_kwh: float
    welfare_eur: float
    messages: dict[str, int]
    deciding_s: float
    shares: tuple[float, ...]
    notes: dict[str, float]


class Scored(msgspec.Struct, frozen=True):
    """All paradigms on one day."""

    seed: int
    day: str
    scores: tuple[Score, ...]


def score(lived: Lived, minutes: Excess, quarters: Excess, corners: Corners | None) -> Score:
    shares = np.array([one.share for one in lived.energy])
    kwh = {
        name: sum(getattr(one, f"{name}_wmin") for one in lived.energy) / WMIN_PER_KWH for name in ("curtailed", "unserved", "car_missing")
    }
    return Score(
        paradigm=lived.name, minutes=len(lived.net_w), minutes_broken=int(minutes.is_broken().sum()),
        quarters_broken=int(quarters.is_broken().sum()), excess_pu=max(0.0, float(minutes.voltage_pu.max())),
        overload=max(0.0, float(minutes.thermal.max())), above_kvah=float(minutes.above_va.sum()) / WMIN_PER_KWH,
        outside_kwh=float(minutes.outside_w.sum()) / WMIN_PER_KWH, corners=corners,
        smallest_share=float(shares.min()), jain=float(shares.sum() ** 2 / (len(shares) * (shares**2).sum())) if shares.any() else 0.0,
        curtailed_kwh=kwh["curtailed"], unserved_kwh=kwh["unserved"], car_missing_kwh=kwh["car_missing"],
        welfare_eur=sum(one.value_mct for one in lived.energy) / MCT_PER_EUR,
        messages=dict(lived.messages), deciding_s=lived.deciding_s, shares=tuple(shares.tolist()), notes=lived.notes,
    )  # fmt: skip


class Mean(NamedTuple):
    """A mean over days and half the width of its interval; None where one day cannot tell."""

    mean: float
    half: float | None

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half is not None and abs(self.mean) > self.half

    @property
    def is_zero(self) -> bool:
        """On every day."""
        return self.mean == 0 and not self.half


class Metric(NamedTuple):
    """A figure of a score. `better` is +1 where more is better, -1 where less is."""

    key: str
    words: str
    unit: str
    better: int
    of: Callable[[Score], float]


METRICS = (
    Metric("minutes_broken", "time with a broken limit", "min", -1, lambda one: one.minutes_broken),
    Metric("quarters_broken", "quarter hours broken on average power", "", -1, lambda one: one.quarters_broken),
    Metric("excess_pu", "worst voltage excess", "% of nominal", -1, lambda one: 100 * one.excess_pu),
    Metric("overload", "worst overload", "% of rating", -1, lambda one: 100 * one.overload),
    Metric("above_kvah", "energy above ratings", "kVAh", -1, lambda one: one.above_kvah),
    Metric("outside_kwh", "energy out of the voltage range", "kWh", -1, lambda one: one.outside_kwh),
    Metric("smallest_share", "smallest served share", "%", 1, lambda one: 100 * one.smallest_share),
    Metric("jain", "Jain's index of served shares", "", 1, lambda one: one.jain),
    Metric("curtailed_kwh", "sun curtailed", "kWh", -1, lambda one: one.curtailed_kwh),
    Metric("unserved_kwh", "demand unserved", "kWh", -1, lambda one: one.unserved_kwh),
    Metric("car_missing_kwh", "car charge missing", "kWh", -1, lambda one: one.car_missing_kwh),
    Metric("welfare_eur", "welfare", "EUR", 1, lambda one: one.welfare_eur),
    Metric("messages", "messages", "", -1, lambda one: sum(one.messages.values())),
    Metric("deciding_s", "computing", "s", -1, lambda one: one.deciding_s),
)
BY_KEY = {metric.key: metric for metric in METRICS}


def mean(values: Sequence[float]) -> Mean:
    """With the half-width of its 95 % interval by Student's t."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return Mean(float(np.mean(values)), None)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Mean(float(np.mean(values)), half)


def over_days(days: Sequence[Scored], paradigm: str, metric: Metric) -> Mean:
    return mean(values(days, paradigm, metric))


def difference(days: Sequence[Scored], one: str, other: str, metric: Metric) -> Mean:
    """one - other, paired by day; what is left of rounding is nothing."""
    pairs = zip(values(days, one, metric), values(days, other, metric), strict=True)
    return mean([round(mine - theirs, DIGITS) for mine, theirs in pairs])


def values(days: Sequence[Scored], paradigm: str, metric: Metric) -> list[float]:
    return [float(metric.of(score)) for day in days for score in day.scores if score.paradigm == paradigm]
