"""Many sets of envelopes at once, for example of all intervals of a day: the same corners of every box, in AC, worst ones named.

A certificate searches one box by what it finds there. A screening decides once, from the mean of all boxes, which corners are worth
trying: phases against each other, both sides of every branch, where the gradients of all limits point, and random ones up to the
number asked for. Each corner is a share of the way from low to high of every injector, so it means the same in every box. It costs
nothing but power flows, and says which sets deserve a certificate of their own; what it calls insecure is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.box import pieces
from riskcheck.corners import Box, against_the_rest, random_points, structured
from riskcheck.limits import KINDS

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.limits import Engine, Limits
    from riskcheck.reduced import Reduced

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Screening:
    """`margin` [n_sets, n_kinds] by position in KINDS, infinite where the network has no such limit, and the point [.., n_injectors]
    that attains it, in watts. `flows` counts AC power flows: every set's corners at both ends of the interface range."""

    margin: Floats
    worst_w: Floats
    corners: int
    flows: int

    def smallest(self) -> dict[str, float]:
        """The smallest margin over all sets, of each kind of limit that the network has."""
        return {kind: float(margin) for kind, margin in zip(KINDS, self.margin.min(axis=0), strict=True) if np.isfinite(margin)}


def screen(model: Reduced, engine: Engine, limits: Limits, boxes: list[Box], corners: int, seed: int) -> Screening:
    """Every box at the same corners; see the head of this file."""
    shares = _shares(model, limits, boxes, corners, seed)
    margin = np.full((len(boxes), len(KINDS)), np.inf)
    worst_w = np.zeros((len(boxes), len(KINDS), shares.shape[1]))
    groups = [np.flatnonzero(limits.kind == kind) for kind in range(len(KINDS))]
    for number, box in enumerate(boxes):
        for some in pieces(len(shares), len(limits.monitor)):
            points = box.between(shares[some])
            f = limits.measure(engine, points)
            for kind, which in enumerate(groups):
                if not len(which):
                    continue
                nearest = f[:, which].max(axis=1)
                row = int(nearest.argmax())
                if -nearest[row] < margin[number, kind]:
                    margin[number, kind], worst_w[number, kind] = -nearest[row], points[row]
    return Screening(margin, worst_w, len(shares), len(boxes) * len(shares) * len(limits.ends))


def _shares(model: Reduced, limits: Limits, boxes: list[Box], count: int, seed: int) -> Floats:
    """Distinct corners as shares [<= count, n_injectors], the structured ones first."""
    mean = Box(np.mean([box.low_w for box in boxes], axis=0), np.mean([box.high_w for box in boxes], axis=0))
    width = np.maximum(mean.high_w - mean.low_w, 1e-9)
    gradients = [mean.steepest(limits.slopes(model, start[None])) for start in (mean.idle_w, mean.high_w, mean.low_w)]
    branches = np.unique(model.monitors.element[limits.monitor[limits.kind == KINDS.index("thermal")]])
    draws = random_points(model.network, mean, count, np.random.default_rng(seed))
    points = [structured(model.network, mean), *gradients, against_the_rest(model, mean, branches), draws]
    shares = (np.vstack(points) - mean.low_w) / width
    _, first = np.unique(np.round(shares, 9), axis=0, return_index=True)
    return shares[np.sort(first)[:count]]
