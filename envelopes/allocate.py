"""First allocation of envelopes: lexicographic max-min fairness over the secure polytope, by water-filling.

No right can be raised without lowering one that has as little or less. All rights rise together from zero; a right starts
to rise when the water reaches its floor (until then it keeps the floor), and stops at its cap, or when a row in which it
takes part is full: that row is its *stopping row*. In a packing polytope this greedy is exact (Radunovic and Le Boudec, "A
unified framework for max-min and min-max fairness", 2007): a full row can only be relieved by lowering a right in it, and none
of those has more unless it is held by its floor. Equal to a sequence of linear programs (tests/test_allocate.py, HiGHS) to 1e-9.

Water is poured in floats, envelopes are whole watts: rounding down is always secure, and the integers have the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.polytope import Polytope

    Floats = npt.NDArray[np.float64]
    Watts = npt.NDArray[np.int64]

FULL = 1e-12  # of a row's slack: a row with less left is full


class InsecureFloorsError(ValueError):
    """What everybody is to have at least is more than the network can carry."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """Envelopes in whole watts [n_customers]; `stopping_row` per right, None where the cap or nothing of the network stopped it."""

    export_w: Watts
    import_w: Watts
    stopping_row: tuple[int | None, ...]

    @property
    def limits_w(self) -> Watts:
        """By right: exports of all customers, then imports."""
        return np.concatenate([self.export_w, self.import_w])


def max_min(polytope: Polytope, floors_w: npt.ArrayLike, caps_w: npt.ArrayLike) -> Allocation:
    """Max-min envelopes between floors and caps, whole watts [n_rights] each, verified in integers.

    Raises ValueError if floors exceed caps, or are not secure themselves (the broken row is named).
    """
    floors, caps = np.asarray(floors_w, dtype=np.int64), np.asarray(caps_w, dtype=np.int64)
    if floors.shape != (polytope.n_rights,) or caps.shape != floors.shape or (floors < 0).any() or (floors > caps).any():
        raise ValueError(f"give {polytope.n_rights} floors and caps with 0 <= floor <= cap")
    residual = polytope.residual(floors)
    if (residual < 0).any():
        raise InsecureFloorsError(f"the floors are not secure: {polytope.labels[int(residual.argmin())]}")
    level, stopping = water_fill(polytope.columns / polytope.slack, floors.astype(float), caps.astype(float))
    limits = np.clip(np.floor(level + 1e-9).astype(np.int64), floors, caps)
    while not polytope.is_secure(limits):  # float rounding moved somebody across a whole watt
        full = polytope.residual(limits) < 0
        limits = np.maximum(limits - (polytope.columns[:, full] > 0).any(axis=1), floors)
    half = polytope.n_rights // 2
    return Allocation(limits[:half], limits[half:], stopping)


def water_fill(share: Floats, floors: Floats, caps: Floats) -> tuple[Floats, tuple[int | None, ...]]:
    """The water level of every right and the row that stopped it. share: [n_rights, n_rows], of a row's slack per watt."""
    x = floors.copy()
    stopping: list[int | None] = [None] * len(x)
    rising = x < caps
    room = 1.0 - x @ share
    rising &= _unstopped(share, room, rising, stopping)
    water = float(floors[rising].min(initial=np.inf))
    while rising.any():
        afloat = rising & (x <= water)
        pull = share[afloat].sum(axis=0)
        until_full = np.min(room[pull > 0] / pull[pull > 0], initial=np.inf)
        until_cap = float((caps - x)[afloat].min())
        until_floor = float((x[rising & ~afloat] - water).min(initial=np.inf))
        step = max(min(until_full, until_cap, until_floor), 0.0)
        water += step
        x[afloat] = water
        room = 1.0 - x @ share
        if until_full <= step:
            room[(pull > 0) & (room / np.where(pull > 0, pull, 1.0) <= 1e-9)] = 0.0
        at_cap = afloat & (x >= caps - 1e-9)
        x[at_cap] = caps[at_cap]
        rising &= ~at_cap
        rising &= _unstopped(share, room, rising, stopping)
        if rising.any() and not (rising & (x <= water)).any():
            water = float(x[rising].min())
    return x, tuple(stopping)


def _unstopped(share: Floats, room: Floats, rising: npt.NDArray[np.bool_], stopping: list[int | None]) -> npt.NDArray[np.bool_]:
    """Rights with no part in a full row; notes the first full row of the others."""
    full = np.flatnonzero(room <= FULL)
    held = share[:, full] > 0
    for right in np.flatnonzero(rising & held.any(axis=1)):
        stopping[right] = int(full[held[right].argmax()])
    return np.asarray(~held.any(axis=1))
