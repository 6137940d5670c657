"""Re-basing: the nearest secure holdings when the rows leave less room than before. Least squares, and nobody is raised.

    min sum (holding - x)^2     s.t.   floor <= x <= holding,   P x <= s

The unknowns are the reductions holding - x, so only rights in rows that are broken, and only rows that are or would be
broken, enter the program; the rest joins when an answer breaks it (a row that nobody breaks stops nobody). At the optimum
x = clip(holding - P' price, floor, holding) with a price for every row that binds: everybody gives in proportion to what
it takes from the rows that are short, and nobody below its floor. A floor above the holding is the holding: it cannot be kept.

The solver proposes (`riskcheck/solver.py`); whole watts dispose. Its point is pulled toward the floors as far as rows ask,
rounded down, verified in integers, and raised again watt by watt to where nothing more fits: first what rounding took, then
the rest, those who gave most first. So the answer is always secure, and no single right could be raised by one more watt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from riskcheck.headroom import Headroom
from riskcheck.solver import Nearest, toward_safe

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.polytope import Polytope, Watts

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

ITERATIONS_MAX = 20_000
ENTERING = 50  # rows that join the program at once, the most broken first
ROUNDS_MAX = 40
BROKEN = 1e-9  # of a row's slack: what a float may be wrong by


class InsecureFloorsError(ValueError):
    """What everybody is to keep at least is more than the network can carry."""


def project(polytope: Polytope, holding_w: npt.ArrayLike, floor_w: npt.ArrayLike) -> Watts:
    """The secure holdings nearest to these, whole watts [n_rights], none raised, none below min(floor, holding). Deterministic.

    Raises InsecureFloorsError, with the row, where even the floors are too much, and ValueError where the shapes do not fit.
    """
    held, floors = np.asarray(holding_w, dtype=np.int64), np.asarray(floor_w, dtype=np.int64)
    if held.shape != (polytope.n_rights,) or floors.shape != held.shape or held.min(initial=0) < 0 or floors.min(initial=0) < 0:
        raise ValueError(f"give {polytope.n_rights} holdings and floors in whole watts, none negative")
    if polytope.is_secure(held):
        return held
    floors = np.minimum(floors, held)
    spare = polytope.residual(floors)
    if (spare < 0).any():
        raise InsecureFloorsError(f"the floors are not secure: {polytope.labels[int(spare.argmin())]}")
    return _whole(polytope, _nearest(polytope, held, floors), held, floors)


def _nearest(polytope: Polytope, held: Watts, floors: Watts) -> Floats:
    """The projection in floats. Rows join while the answer breaks them; between floors and holdings, whatever the solver says."""
    share = polytope.columns / polytope.slack
    x = held.astype(float)
    working = np.zeros(polytope.n_rows, dtype=bool)
    for _ in range(ROUNDS_MAX):
        use = x @ share
        broken = np.flatnonzero((use > 1 + BROKEN) & ~working)
        if not len(broken):
            break
        working[broken[np.argsort(-use[broken], kind="stable")[:ENTERING]]] = True
        x = _reduced(share[:, working], held, floors)
    return x


def _reduced(share: Floats, held: Watts, floors: Watts) -> Floats:
    """The nearest point as far as these rows [n_rights, n_rows] are concerned; the floors where the solver gave no point."""
    can = np.flatnonzero((share > 0).any(axis=1) & (held > floors))
    unit = float((held - floors)[can].max(initial=1))
    high = (held - floors)[can] / unit
    rows = -share[can].T
    nearest = Nearest(rows, np.zeros(len(can)), np.zeros(len(can)), high, iterations_max=ITERATIONS_MAX)
    point = nearest.ask((1 - held @ share) / unit).point
    x = held.astype(float)
    x[can] -= unit * (high if point is None else point)
    return x


def _whole(polytope: Polytope, nearest: Floats, held: Watts, floors: Watts) -> Watts:
    """Whole watts near a point between floors and holdings: secure, and such that no right could be raised by one more."""
    share = (polytope.columns / polytope.slack).T
    inside = toward_safe(nearest, floors.astype(float), share, np.ones(len(share)))
    x = np.clip(np.floor(inside + 1e-6).astype(np.int64), floors, held)
    while not polytope.is_secure(x):  # float rounding moved somebody across a whole watt; the floors end this
        full = polytope.residual(x) < 0
        x = np.maximum(x - (polytope.columns[:, full] > 0).any(axis=1), floors)
    headroom = Headroom(polytope, x)
    for goal in (np.clip(np.rint(nearest).astype(np.int64), x, held), held):
        _raise(headroom, x, goal)
    headroom.check(x)
    return x


def _raise(headroom: Headroom, x: Watts, goal: Watts) -> None:
    """Raises rights toward their goals, in place, those that are farthest from them first, as far as the rows allow."""
    for right in np.argsort(x - goal, kind="stable").tolist():
        rise_w = min(headroom.room_w(right), int(goal[right] - x[right]))
        if rise_w > 0:
            headroom.change(right, rise_w)
            x[right] += rise_w
