"""A box of powers, and the points of it that are worth trying whatever the operating point.

The envelopes of customers and the forecasts of passives make a box, low <= p <= high. A limit that is nearly linear in p is worst
at one of its corners; where imports draw reactive power and exports do not, p = 0 is a kink, and may be worse than either end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.network import Network
    from riskcheck.reduced import Reduced

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Box:
    """Where every injector may be, in watts, export positive, [n_injectors]: customers, then passives."""

    low_w: Floats
    high_w: Floats

    @classmethod
    def of(cls, network: Network, export_w: Floats, import_w: Floats) -> Box:
        low, high = [p.low_w for p in network.passives], [p.high_w for p in network.passives]
        return cls(np.concatenate([-import_w, low]), np.concatenate([export_w, high]))

    def corners(self, is_high: Flags) -> Floats:
        return np.asarray(np.where(is_high, self.high_w, self.low_w))

    def between(self, share: Floats) -> Floats:
        """The points that are these shares of the way from low to high, [.., n_injectors]."""
        return np.asarray(self.low_w + share * (self.high_w - self.low_w))

    @property
    def idle_w(self) -> Floats:
        """The point nearest to no power at all."""
        return np.asarray(np.clip(0.0, self.low_w, self.high_w))

    @property
    def free(self) -> Indices:
        """The injectors that can move."""
        return np.flatnonzero(self.low_w < self.high_w)

    def steepest(self, gradient: Floats) -> Floats:
        """For each gradient by right [m, 2n], the point [m, n] of the box that maximises the linear function.

        A power is worth its export gradient above zero and its import gradient below; where both fall, zero is best.
        """
        n = len(self.low_w)
        ends = (self.high_w, self.low_w, self.idle_w)
        worth = [gradient[:, :n] * np.maximum(p, 0.0) + gradient[:, n:] * np.maximum(-p, 0.0) for p in ends]
        return np.asarray(np.choose(np.argmax(worth, axis=0), ends))

    def other_end(self, point: Floats) -> Floats:
        return self.corners(point < (self.low_w + self.high_w) / 2)

    def every_corner(self) -> Floats:
        is_high = np.zeros((2 ** len(self.free), len(self.low_w)), dtype=bool)
        is_high[:, self.free] = (np.arange(len(is_high))[:, None] >> np.arange(len(self.free))) & 1
        return self.corners(is_high)


def phases(network: Network) -> Indices:
    """The first phase of every injector, 0 to 2."""
    names = [*(customer.phase for customer in network.customers), *(passive.phase for passive in network.passives)]
    return np.array(["abc".index(name[0]) for name in names])


def structured(network: Network, box: Box) -> Floats:
    """All export, all import, whole phases against each other, idle; forecasts at the same end and at the other."""
    phase = phases(network)
    is_high = np.array([np.isin(phase, [p for p in range(3) if mask >> p & 1]) for mask in range(8)])
    is_passive = np.arange(len(phase)) >= len(network.customers)
    return np.vstack([box.corners(is_high), box.corners(is_high ^ is_passive), box.idle_w])


def behind(model: Reduced, branch: int) -> Flags:
    """Which injectors send most of their current through a branch [n_injectors]; in a meshed network more than half of the most."""
    monitors = model.monitors
    pull = np.abs(model.H[(monitors.element == branch) & ~monitors.is_voltage & ~monitors.is_power]).max(axis=0)
    return np.asarray(((pull > 0.5 * pull.max()) @ (model.share != 0)) > 0)


def against_the_rest(model: Reduced, box: Box, branches: Indices) -> Floats:
    """What stands behind each branch against all others, as a whole and phase by phase; and with all others idle."""
    phase, three = phases(model.network), model.network.phases == 3
    points = []
    for side in np.unique([behind(model, int(branch)) for branch in branches], axis=0) if len(branches) else ():
        masks = [side, *(side & (phase == p) for p in range(3))] if three else [side]
        opposed = np.array([box.corners(is_high) for mask in masks for is_high in (mask, ~mask)])
        points += [opposed, np.where(side, opposed, box.idle_w)]
    return np.vstack(points) if points else np.empty((0, len(phase)))


def random_points(network: Network, box: Box, draws: int, rng: np.random.Generator) -> Floats:
    """Corners with any share of injectors at their upper end, also phase by phase; a quarter each a little and wholly inside."""
    phase = phases(network)
    n = len(phase)
    odds = np.where(rng.random((draws, 1)) < 0.5, rng.random((draws, 1)), rng.random((draws, 3))[:, phase])
    share = (rng.random((draws, n)) < odds).astype(float)
    inside = rng.random((draws, n)) < rng.choice([0.0, 0.0, 0.1, 1.0], (draws, 1))
    return box.between(np.where(inside, rng.random((draws, n)), share))
