"""The one door to OSQP: the nearest secure point, with everything around it that makes a float worth proposing.

Reference checker, re-basing and recourse ask the same question, over and over with other bounds:

    min |z - target|^2 / 2     s.t.   rows z <= room,   low <= z <= high

Strictly convex, so there is one answer and no need to regularise (OSQP does not converge on linear programs). A sweep, which
has a linear gain, asks with weight w for max gain.z - w |z|^2 / 2: the point nearest to gain / w. The pipeline:

1. The caller measures z in units of its quantities, so that everything is of the order of one; each row is divided by its
   largest coefficient. More room than the box can use, and `FAR`, cannot matter, and large numbers slow the solver down.
2. Bounds shrink by 3 eps, because what OSQP calls solved may break a row by eps; never below what the box can reach.
3. Iterations and time are limited. Without the time limit, a backstop that no test has reached, the answer depends on the
   questions alone: rho adapts by iterations, not by the clock. Polishing stays off: it prints, and may spoil a good point.
4. The status is not looked at. What is no number, or lies far outside its box, is no point: OSQP 1.1 fills the answer to an
   infeasible question with 2143289344.0, the bits of a NaN read as an integer. Any other point is clipped to the box.
   `toward_safe` pulls it toward a point that is known to be secure, as far as it must.

What comes out is a proposal. Only integers accept it (`Polytope.residual`, `Headroom`), and that is the caller's last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

EPS = 1e-5
ITERATIONS_MAX = 2_000
SECONDS_MAX = 10.0
FAR = 1.0
SHRUNK = 3.0  # times eps
STRAY = 1.0  # in units of z: a point farther than this outside its box is none


@dataclass(frozen=True, eq=False)
class Answer:
    """`point` [n] inside the box, None where OSQP gave no numbers. `stress` [m]: each row's part in what stopped it, or in why
    there is no point. `iterations` says how hard it was, not how good it is."""

    point: Floats | None
    stress: Floats
    iterations: int


class Nearest:
    """OSQP, set up once. `rows` [m, n] fixes which coefficients may ever differ from zero; `target`, `low`, `high` are [n].

    `weight` multiplies the distance: where targets lie far away, weight * target should be of the order of one.
    """

    def __init__(
        self, rows: Floats, target: Floats, low: Floats, high: Floats, *,
        weight: float = 1.0, eps: float = EPS, iterations_max: int = ITERATIONS_MAX,
    ) -> None:  # fmt: skip
        import osqp
        from scipy import sparse

        self._eps, self._rows = eps, rows
        self._low, self._high = low.astype(float), high.astype(float)
        identity = sparse.identity(len(target), format="csc")
        stacked = sparse.vstack([sparse.csc_matrix(rows), identity], format="csc")
        self._scale()
        self._place = _places(stacked)
        self._solver = osqp.OSQP()
        self._solver.setup(
            weight * identity, -weight * target.astype(float), stacked,
            np.append(np.full(len(rows), -np.inf), low), np.append(np.full(len(rows), FAR), high),
            eps_abs=eps, eps_rel=eps, max_iter=iterations_max, time_limit=SECONDS_MAX, scaling=0,
            adaptive_rho=1, adaptive_rho_interval=25, verbose=False,
        )  # fmt: skip
        self._solver.update(Ax=self._coefficients())

    def ask(self, room: Floats, *, rows: Floats | None = None, low: Floats | None = None, high: Floats | None = None) -> Answer:
        """Solves again for this room [m] and whatever else has changed, starting from the answer before."""
        if rows is not None:
            self._rows = rows
            self._scale()
            self._solver.update(Ax=self._coefficients())
        self._low, self._high = self._low if low is None else low, self._high if high is None else high
        self._solver.update(l=np.append(np.full(len(room), -np.inf), self._low), u=np.append(self._bounds(room), self._high))
        return self._answer(self._solver.solve(raise_error=False))

    def _scale(self) -> None:
        largest = np.abs(self._rows).max(axis=1, initial=0.0)
        self._size = np.where(largest > 0, largest, 1.0)
        self._unit_rows = self._rows / self._size[:, None]

    def _coefficients(self) -> Floats:
        row, column = self._place
        m = len(self._rows)
        return np.asarray(np.where(row < m, self._unit_rows[np.minimum(row, m - 1), column], 1.0) if m else np.ones(len(row)))

    def _bounds(self, room: Floats) -> Floats:
        """Shrunk, but never below what the box can reach (a point at that very edge must stay one), nor far beyond all of it."""
        scaled = room / self._size
        at_low, at_high = self._unit_rows * self._low, self._unit_rows * self._high
        least, most = np.minimum(at_low, at_high).sum(axis=1), np.maximum(at_low, at_high).sum(axis=1)
        shrunk = scaled - SHRUNK * self._eps
        return np.asarray(np.minimum(np.where(scaled >= least, np.maximum(shrunk, least), shrunk), most + FAR))

    def _answer(self, solution: Any) -> Answer:
        x = np.asarray(solution.x, dtype=float)
        found = bool(np.all((x >= self._low - STRAY) & (x <= self._high + STRAY)))  # False for a NaN, too
        multipliers = np.asarray(solution.y if found else solution.prim_inf_cert, dtype=float)[: len(self._rows)]
        point = np.clip(x, self._low, self._high) if found else None
        return Answer(point, np.nan_to_num(multipliers), int(solution.info.iter))


def toward_safe(point: Floats, safe: Floats, rows: Floats, room: Floats) -> Floats:
    """The last point on the way from `safe`, where rows @ safe <= room, to `point` that breaks no row. In floats."""
    needed, spare = rows @ (point - safe), room - rows @ safe
    share = np.where(needed > spare, np.maximum(spare, 0.0) / np.where(needed > spare, needed, 1.0), 1.0)
    return np.asarray(safe + min(1.0, float(share.min(initial=1.0))) * (point - safe))


def _places(stacked: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of each stored coefficient, in the order in which OSQP stores them."""
    column = np.repeat(np.arange(stacked.shape[1]), np.diff(stacked.indptr))
    return np.asarray(stacked.indices, dtype=np.int64), column.astype(np.int64)
