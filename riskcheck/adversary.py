"""Searches everything that trading can reach for the point that breaks a limit. (One set of envelopes: `riskcheck/box.py`.)

*Over a polytope* (`Hunt`): points that are maximal in {x >= 0 : share x <= 1, x <= caps}, where each customer uses the one
of its two rights that hurts. A point is grown from an order of customers, raising each right as far as the rows allow
(`_fill`); orders follow a row's own coefficients with noise of several sizes, and are then bred: the orders that came
nearest to each limit are mutated and tried again.

*Climbing a polytope* (`Climb`): sequential linear programming. From a point, the gradient of one limit is maximised over the
polytope exactly (HiGHS), and again from the vertex found, while the limit comes nearer to breaking. f is nearly linear, so two
or three programs end at a local maximum over everything that trading can reach. Rows enter a program only when violated.

Everything is seeded; the same seed gives the same search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.optimize import linprog

if TYPE_CHECKING:
    from riskcheck.limits import Limits
    from riskcheck.reduced import Reduced
    from riskcheck.tangents import Points

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def corners_by_gradient(gradient: Floats, export_w: Floats, import_w: Floats) -> Floats:
    """For each row of a gradient [m, 2n], the signed powers [m, n] of the box that maximise the linear function."""
    n = len(export_w)
    up, down = gradient[:, :n] * export_w, gradient[:, n:] * import_w
    return np.where(np.maximum(up, down) <= 0, 0.0, np.where(up >= down, export_w, -import_w))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(share: Floats, caps: Floats, order: Indices, depth: Floats) -> Floats:
    """Maximal points of {x : share.T x <= 1, 0 <= x <= caps}; order [batch, n] of rights, depth [batch, n] of the first pass.

    Rights are raised in turn, first by `depth` of what is secure, then by all that is left. share: [n_rights, n_rows].
    """
    points = np.zeros((order.shape[0], share.shape[0]))
    n_rows = share.shape[1]
    room = np.empty(n_rows)
    for b in range(order.shape[0]):
        room[:] = 1.0
        for sweep in range(2):
            for position in range(order.shape[1]):
                right = order[b, position]
                rise = caps[right] - points[b, right]
                for row in range(n_rows):
                    if share[right, row] > 0 and share[right, row] * rise > room[row]:
                        rise = max(room[row], 0.0) / share[right, row]
                if sweep == 0:
                    rise *= depth[b, position]
                if rise > 0:
                    points[b, right] += rise
                    for row in range(n_rows):
                        room[row] -= share[right, row] * rise
    return points


@dataclass(frozen=True)
class Genes:
    """What a trial is grown from, arrays [trials, n_customers]: the direction each customer uses, a key to sort by, a depth."""

    side: Indices
    key: Floats
    depth: Floats

    def chosen(self, which: Indices) -> Genes:
        return Genes(self.side[which], self.key[which], self.depth[which])

    def beside(self, other: Genes) -> Genes:
        return Genes(np.vstack([self.side, other.side]), np.vstack([self.key, other.key]), np.vstack([self.depth, other.depth]))


@dataclass
class Hunt:
    """Seeded search over a polytope: strike, learn which trials came near, strike again with their offspring."""

    phase: Indices  # of every customer
    seed: int

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self.n_customers = len(self.phase)
        self._elite: Genes | None = None

    def strike(self, share: Floats, caps: Floats, fresh: int, bred: int) -> tuple[Floats, Genes]:
        """Points [m, 2 n_customers] in watts by right, and the genes that grew them. share: [n_rights, n_rows]."""
        genes = self._fresh(share, fresh)
        if self._elite is not None:
            genes = genes.beside(self._bred(self._elite, bred))
        right = genes.side * self.n_customers + np.arange(self.n_customers)
        turn = np.argsort(-genes.key, axis=1, kind="stable")
        order = np.take_along_axis(right, turn, axis=1).astype(np.int64)
        return _fill(share, caps, order, np.take_along_axis(genes.depth, turn, axis=1)), genes

    def learn(self, genes: Genes, chosen: Indices) -> None:
        """Keeps the genes of these trials to breed from."""
        self._elite = genes.chosen(chosen)

    def _fresh(self, share: Floats, count: int) -> Genes:
        rng, n = self._rng, self.n_customers
        if not share.shape[1]:
            share = np.ones((share.shape[0], 1))  # no row at all: every right counts alike
        row = share[:, rng.integers(0, share.shape[1], count)].T
        side = (row[:, n:] > row[:, :n]).astype(np.int64)
        idle = np.maximum(row[:, n:], row[:, :n]) <= 0
        noise = rng.choice([0.0, 0.05, 0.3], (count, 1))
        side = np.where((rng.random((count, n)) < noise) | idle & (rng.random((count, n)) < 0.5), 1 - side, side)
        weight = np.maximum(row[:, n:], row[:, :n]) / row.max(axis=1, keepdims=True)
        # near customers first, far ones first, or anything between: the power of the weight changes sign
        slope = rng.choice([1.0, 1.0, -1.0, 0.0], (count, 1))
        key = slope * np.log(np.maximum(weight, 1e-9)) + rng.choice([0.05, 0.5, 2.0], (count, 1)) * rng.standard_normal((count, n))
        depth = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.random((count, n)) ** rng.choice([0.5, 2.0], (count, 1)))
        # whole phases first, and only to some depth: what other phases do decides how much current a watt makes here
        by_phase = rng.random((count, 1)) < 0.5
        key = key + np.where(by_phase, 20.0 * rng.standard_normal((count, 3))[:, self.phase], 0.0)
        depth = np.where(by_phase & (rng.random((count, 1)) < 0.5), rng.random((count, 3))[:, self.phase], depth)
        return Genes(side, key, depth)

    def _bred(self, elite: Genes, count: int) -> Genes:
        rng, n = self._rng, self.n_customers
        parents = elite.chosen(rng.integers(0, len(elite.side), count))
        side, key, depth = parents.side, parents.key, parents.depth
        rate = rng.choice([0.02, 0.1], (count, 1))
        side = np.where(rng.random((count, n)) < rate, 1 - side, side)
        key = key + rng.choice([0.1, 0.5, 2.0], (count, 1)) * rng.standard_normal((count, n)) * (rng.random((count, n)) < 3 * rate)
        depth = np.where(rng.random((count, n)) < 3 * rate, rng.random((count, n)), depth)
        return Genes(side, key, depth)


class Climb:
    """Sequential linear programming over {x : x @ share <= 1, 0 <= x <= caps}. share: [n_rights, n_rows]."""

    STEPS_MAX = 5
    ENTERING = 25
    OUT_OF_REACH = (0.02, 0.02, 0.15, 0.15)  # by kind: a limit that the first program leaves so far away is not climbed further

    def __init__(self, model: Reduced, limits: Limits, points: Points, share: Floats, caps: Floats) -> None:
        self._model, self._limits, self._points, self._share, self._caps = model, limits, points, share, caps
        self._working = np.zeros(share.shape[1], dtype=bool)

    def from_point(self, limit: int, x_w: Floats) -> list[tuple[Floats, Floats]]:
        """Points [2 n_customers] visited from a start and f of all limits there, each worse than the one before but maybe the last.

        Passives stand at the end of their forecast that the gradient at the point before asks for.
        """
        visited: list[tuple[Floats, Floats]] = []
        best, passive_w = -np.inf, self._points.worst_w[limit]
        only = self._limits.chosen(np.array([limit]))
        power_w = self._points.signed(x_w[None], passive_w)
        f = only.measure(self._model, power_w)[0, 0]
        for _ in range(self.STEPS_MAX):
            out_of_reach = visited and f < -self.OUT_OF_REACH[self._limits.kind[limit]]
            if out_of_reach or f <= best + 1e-7 or not np.isfinite(f):
                break
            best, gradient = f, only.slopes(self._model, power_w)[0]
            passive_w, by_right = self._points.worse_end(gradient), self._points.by_right(gradient)
            x_w = one_right_each(self.maximise(np.maximum(by_right, 0.0)), by_right)
            power_w = self._points.signed(x_w[None], passive_w)
            visited.append((x_w, self._limits.measure(self._model, power_w)[0]))
            f = visited[-1][1][limit]
        return visited

    def maximise(self, objective: Floats) -> Floats:
        """A vertex of the polytope where objective.x is greatest."""
        scale = float(objective.max())
        x = np.zeros(len(objective))
        if scale <= 0:
            return x
        useful = np.flatnonzero(objective > 1e-9 * scale)  # all others are zero at a vertex of a packing polytope
        bounds = np.column_stack([np.zeros(len(useful)), self._caps[useful]])
        while True:
            rows = self._share[np.ix_(useful, self._working)].T
            solved = linprog(-objective[useful] / scale, A_ub=rows, b_ub=np.ones(len(rows)), bounds=bounds, method="highs")
            x[useful] = np.clip(solved.x, 0.0, self._caps[useful])
            use = x @ self._share
            broken = np.flatnonzero((use > 1 + 1e-9) & ~self._working)
            if not len(broken):
                return np.asarray(x / max(1.0, use.max(initial=0.0)))
            self._working[broken[np.argsort(-use[broken], kind="stable")[: self.ENTERING]]] = True


def one_right_each(x_w: Floats, gradient: Floats) -> Floats:
    """The same point with only that right of each customer that the gradient prefers: a power is either export or import."""
    n = len(x_w) // 2
    up, down = gradient[:n] * x_w[:n], gradient[n:] * x_w[n:]
    return np.where(np.concatenate([up >= down, down > up]), x_w, 0.0)
