"""One trade's largest secure quantity, asked of OSQP: the reference against which the closed form is tested and raced.

A quadratic program in one variable, z = quantity / wanted, set up once per network and updated per trade:

    min (z - 1)^2     s.t.   (P[row, buyer] - P[row, seller]) * wanted * z <= residual[row],    0 <= z <= 1

Its answer is right to about 3e-5 of what is wanted. Two steps make it a whole number that does not depend on floats: it is
rounded down, and then searched for from there in integers, by doubling steps and halving. The search asks only "would
this quantity break a row?" and never divides a residual, so it is independent of `riskcheck/headroom.py`; and since it ends
where one watt more breaks a row, it ends at the same watt wherever it started. What OSQP contributes is the start: `probes`
says how many questions were left, next to some thirty from scratch. A row that is broken already counts as full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.solver import Nearest, toward_safe

if TYPE_CHECKING:
    from riskcheck.polytope import Polytope, Watts

ITERATIONS_MAX = 500  # a start that is a little worse costs less than more iterations


@dataclass(frozen=True)
class Checked:
    """`quantity_w` is verified. `raw_w` is what OSQP said, NaN where it said nothing; `probes` how many questions followed."""

    quantity_w: int
    raw_w: float
    probes: int


class Reference:
    """The checker of one network. Knows its rows; residuals come with each question."""

    def __init__(self, polytope: Polytope) -> None:
        self._columns = polytope.columns.astype(np.int64)
        one = np.ones(1)
        self._nearest = Nearest(np.ones((polytope.n_rows, 1)), one, np.zeros(1), one, iterations_max=ITERATIONS_MAX)

    def secure_w(self, residual: Watts, buyer: int, seller: int, wanted_w: int) -> Checked:
        """Largest secure part of `wanted_w` at these residuals [n_rows]."""
        takes = self._columns[buyer] - self._columns[seller]
        room = np.where(takes > 0, np.maximum(residual, 0), np.iinfo(np.int64).max)
        raw_w, start_w = self._solved(takes, room, wanted_w)
        quantity_w, probes = _searched(takes, room, start_w, wanted_w)
        return Checked(quantity_w, raw_w, probes)

    def _solved(self, takes: Watts, room: Watts, wanted_w: int) -> tuple[float, int]:
        """OSQP's quantity as it came, and the whole watts that the floats around it still believe in."""
        rows, limits = takes.astype(float)[:, None] * wanted_w, room.astype(float)
        point = self._nearest.ask(limits, rows=rows).point
        if point is None:
            return float("nan"), 0
        inside = toward_safe(point, np.zeros(1), rows, limits)
        return float(point[0]) * wanted_w, int(inside[0] * wanted_w)


def _searched(takes: Watts, room: Watts, start_w: int, wanted_w: int) -> tuple[int, int]:
    """The last whole quantity in [0, wanted_w] that breaks no row, and how many quantities were tried."""
    probes = 0

    def fits(quantity_w: int) -> bool:
        nonlocal probes
        probes += 1
        return bool((takes * quantity_w <= room).all())  # below 2^31 * 2^31

    low, high, step = 0, wanted_w + 1, 1  # nothing at all always fits, more than wanted never counts
    guess = min(max(start_w, 1), wanted_w)
    while high - low > 1:
        if fits(guess):
            low, guess = guess, guess + step
        else:
            high, guess = guess, guess - step
        step *= 2
        if not low < guess < high:
            guess = (low + high) // 2
    return low, probes
