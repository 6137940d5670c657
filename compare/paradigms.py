"""Every paradigm on one day, and how its day is scored.

| name | who decides, and on what |
|---|---|
| rating | nobody: connections as they are. What the network would have to carry |
| 5kw | fit-and-forget as usual: 5 kW of export for everybody, for ever |
| equal | fit-and-forget as it is safe: one limit for everybody, the largest that holds whatever anybody does |
| anm | active network management: free, until the operator's measurements say otherwise (`compare/curtailment.py`) |
| doe | envelopes, max-min, refreshed for the voltage expected at the interface |
| market | the same envelopes, traded until five minutes before delivery (`compare/market.py`) |

Nobody foresees the day: static limits and envelopes know no forecast of homes at all, curtailment knows the minute before, homes that
trade know part of what they will want. Only the band of the interface voltage is known 75 minutes ahead, to envelopes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from compare import curtailment, market
from compare.days import Day
from compare.ground import Ground, within
from compare.living import Lived, within_limits
from compare.physics import Physics
from compare.score import Corners, Score, Scored, score
from riskcheck.certify import TOLERANCE, Certifier
from riskcheck.limits import KINDS

if TYPE_CHECKING:
    import numpy.typing as npt

    Watts = npt.NDArray[np.int64]

NAMES = {
    "rating": "no limits", "5kw": "5 kW for ever", "equal": "safe for ever", "anm": "curtailment", "doe": "envelopes", "market": "market",
}  # fmt: skip
STATIC = ("rating", "5kw", "equal")
CORNERS = 64  # of every set of envelopes, at both ends of the band
VOLTAGES = ("voltage_max", "voltage_min")


class Prepared:
    """A network, its plans and its models: one in every process."""

    def __init__(self, ground: Ground, physics: Physics) -> None:
        self.ground, self.physics = ground, physics
        network = physics.network
        self._certifiers = [Certifier(within(network, band.low_pu, band.high_pu)) for band in ground.bands]

    def day(self, day: Day, progress: Callable[[], None] = lambda: None) -> Scored:
        """All paradigms, one after the other."""
        scores = []
        for lived in self._lived(day):
            scores.append(self._scored(day, lived))
            progress()
        return Scored(day.seed, day.name, tuple(scores))

    def _lived(self, day: Day) -> Iterator[Lived]:
        for name in STATIC:
            limits = self.ground.static[name]
            export_w, import_w = (np.tile(np.array(w, dtype=np.int64), (day.intervals, 1)) for w in (limits.export_w, limits.import_w))
            yield within_limits(name, day, export_w, import_w, Counter(), 0.0)
        yield curtailment.managed(self.physics, day)
        yield self._enveloped(day)
        yield market.traded(self.ground, day)

    def _enveloped(self, day: Day) -> Lived:
        bands = self.ground.bands
        export_w, import_w = (
            np.array([getattr(bands[number].limits, side) for number in day.band], dtype=np.int64) for side in ("export_w", "import_w")
        )
        messages = Counter({"limits": export_w.size})
        return within_limits("doe", day, export_w, import_w, messages, sum(bands[number].allocate_s for number in day.band))

    def _scored(self, day: Day, lived: Lived) -> Score:
        minutes, quarters = self.physics.day(day, lived.net_w.astype(float))
        return score(lived, minutes, quarters, self._corners(day, lived))

    def _corners(self, day: Day, lived: Lived) -> Corners | None:
        """What was promised to everybody, at its corners: certificates of what never changes, a screening of what was traded."""
        if lived.export_w is None or lived.import_w is None:
            return None
        if lived.name == market.NAME:
            return self._screened(day, lived.export_w, lived.import_w)
        bands, static = self.ground.bands, self.ground.static
        plans = [static[lived.name] if lived.name in static else bands[number].limits for number in day.band]
        margins = [min(plan.margins[kind] for kind in VOLTAGES) for plan in plans]
        return Corners(len(plans), sum(not plan.is_secure for plan in plans), min(margins))

    def _screened(self, day: Day, export_w: Watts, import_w: Watts) -> Corners:
        """Every interval's limits as traded, at both ends of the band that the operator had expected."""
        broken, margin = 0, np.inf
        for number, certifier in enumerate(self._certifiers):
            which = np.flatnonzero(np.array(day.band) == number)
            if not len(which):
                continue
            found = certifier.screen(export_w[which], import_w[which], corners=CORNERS, seed=day.seed).margin
            allowed = np.array([-TOLERANCE[kind] for kind in KINDS])
            broken += int((found < allowed).any(axis=1).sum())
            margin = min(margin, float(found[:, [KINDS.index(kind) for kind in VOLTAGES]].min()))
        return Corners(day.intervals, broken, margin)
