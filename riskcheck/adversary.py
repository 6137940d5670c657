"""Searches for the point that breaks a limit: over one set of envelopes (a box), and over everything that trading can reach.

`Limits` lists what must hold: each monitor of the dense model against one side of its range, at the end of the interface
voltage range that is worse for it. Its measure f is negative while the limit holds: `|V| - V_max`, `V_min - |V|`, loading - 1.

*Over a box* (`worst_of_box`): the corner that each limit's sensitivities point to, from several operating points, again from
the corner found (a sign iteration, which for nearly linear f ends after two or three steps), structured corners, random
corners and interior points, and single-customer flips from the worst corners. Up to 12 customers: every corner.

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
    from riskcheck.reduced import Reduced

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

EXHAUSTIVE_CUSTOMERS_MAX = 12
KINDS = ("voltage_max", "voltage_min", "thermal")


@dataclass(frozen=True)
class Limits:
    """Arrays [n_limits]; `kind` is a position in KINDS, `sense` +1 for upper and -1 for lower limits."""

    monitor: Indices
    kind: Indices
    sense: Floats
    bound: Floats

    @classmethod
    def of(cls, model: Reduced, *, extremal_only: bool = True) -> Limits:
        monitors = model.monitors
        chosen = monitors.is_extremal if extremal_only else np.ones(len(monitors.is_voltage), dtype=bool)
        voltages, currents = np.flatnonzero(chosen & monitors.is_voltage), np.flatnonzero(chosen & ~monitors.is_voltage)
        monitor = np.concatenate([voltages, voltages, currents])
        kind = np.repeat([0, 1, 2], [len(voltages), len(voltages), len(currents)])
        bound = np.where(kind == 1, monitors.low[monitor], monitors.high[monitor])
        return cls(monitor, kind, np.where(kind == 1, -1.0, 1.0), bound)

    def interfaces_pu(self, model: Reduced) -> tuple[tuple[Indices, float], ...]:
        """Limits by the interface voltage at which they are worst: over-voltage at the upper end, all others at the lower."""
        network = model.network
        high, low = np.flatnonzero(self.kind == 0), np.flatnonzero(self.kind != 0)
        return (high, network.interface_max_pu), (low, network.interface_min_pu)

    def measure(self, model: Reduced, power_w: Floats) -> Floats:
        """f of every limit at every point, [batch, n_limits]; +inf where there is no operating point."""
        out = np.empty((len(power_w), len(self.monitor)))
        for which, interface_pu in self.interfaces_pu(model):
            values = model.values(model.solve(power_w, interface_pu), interface_pu, self.monitor[which])
            f = self.sense[which] * (values - self.bound[which])
            out[:, which] = np.where(np.isnan(f), np.inf, f)
        return out

    def gradients(self, model: Reduced, power_w: Floats) -> tuple[Floats, Floats]:
        """f [n_limits] at one point and its gradient by right [n_limits, 2 n_customers]."""
        f, gradient = np.empty(len(self.monitor)), np.empty((len(self.monitor), 2 * model.n_customers))
        for which, interface_pu in self.interfaces_pu(model):
            values, slopes = model.gradients(power_w, interface_pu, self.monitor[which])
            f[which] = self.sense[which] * (values - self.bound[which])
            gradient[which] = self.sense[which][:, None] * slopes
        return f, gradient

    def one(self, model: Reduced, limit: int, power_w: Floats) -> tuple[float, Floats]:
        """f and gradient [2 n_customers] of one limit at one point."""
        which = self.monitor[[limit]]
        network = model.network
        interface_pu = network.interface_max_pu if self.kind[limit] == 0 else network.interface_min_pu
        values, slopes = model.gradients(power_w, interface_pu, which)
        return float(self.sense[limit] * (values[0] - self.bound[limit])), self.sense[limit] * slopes[0]


# ---------------------------------------------------------------- one set of envelopes


def corners_by_gradient(gradient: Floats, export_w: Floats, import_w: Floats) -> Floats:
    """For each row of a gradient [m, 2n], the signed powers [m, n] of the box that maximise the linear function."""
    n = len(export_w)
    up, down = gradient[:, :n] * export_w, gradient[:, n:] * import_w
    return np.where(np.maximum(up, down) <= 0, 0.0, np.where(up >= down, export_w, -import_w))


def structured_corners(model: Reduced, export_w: Floats, import_w: Floats) -> Floats:
    """All export, all import, none, and every way in which whole phases export or import."""
    customers = model.network.customers
    rows = [export_w, -import_w, np.zeros_like(export_w)]
    if model.network.phases == 3:
        first = np.array(["abc".index(c.phase[0]) for c in customers])
        rows += [np.where((mask >> first) & 1, export_w, -import_w) for mask in range(1, 7)]
    return np.array(rows)


def worst_of_box(model: Reduced, limits: Limits, export_w: Floats, import_w: Floats, *, seed: int, full: bool) -> tuple[Floats, Floats]:
    """Distinct points tried [m, n] in signed watts and f of every limit at each [m, n_limits]."""
    rng = np.random.default_rng(seed)
    n = len(export_w)
    seen: set[bytes] = set()
    points, measures = np.empty((0, n)), np.empty((0, len(limits.monitor)))

    def attempt(candidates: Floats) -> None:
        nonlocal points, measures
        fresh = [row for row in candidates if row.tobytes() not in seen and not seen.add(row.tobytes())]  # type: ignore[func-returns-value]
        if fresh:
            points = np.vstack([points, fresh])
            measures = np.vstack([measures, limits.measure(model, np.array(fresh))])

    box = structured_corners(model, export_w, import_w)
    attempt(box)
    if n <= EXHAUSTIVE_CUSTOMERS_MAX:
        masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        attempt(np.where(masks == 1, export_w, -import_w))
    for start in box:
        attempt(corners_by_gradient(limits.gradients(model, start)[1], export_w, import_w))
    for _ in range(3):
        before = len(points)
        for limit, point in _leaders(limits, measures, 24 if full else 6):
            gradient = limits.gradients(model, points[point])[1]
            attempt(corners_by_gradient(gradient[[limit]], export_w, import_w))
        if len(points) == before:
            break
    draws = 2000 if full else 100
    signs = rng.random((draws, n)) < rng.random((draws, 1))
    depth = np.where(rng.random((draws, 1)) < 0.5, 1.0, rng.random((draws, n)))
    attempt(np.where(signs, export_w, -import_w) * depth)
    for _, point in _leaders(limits, measures, 12 if full else 2):
        attempt(_flips(points[point], export_w, import_w))
    return points, measures


def _leaders(limits: Limits, measures: Floats, per_kind: int) -> list[tuple[int, int]]:
    """(limit, point) of the limits of each kind that came nearest to being broken."""
    best = measures.max(axis=0)
    leaders: list[int] = []
    for kind in range(len(KINDS)):
        of_kind = np.flatnonzero(limits.kind == kind)
        leaders += of_kind[np.argsort(-best[of_kind], kind="stable")[:per_kind]].tolist()
    return [(limit, int(measures[:, limit].argmax())) for limit in leaders]


def _flips(point: Floats, export_w: Floats, import_w: Floats) -> Floats:
    """The point with each customer's power in turn at the other end of its envelope."""
    rows = np.repeat(point[None], len(point), axis=0)
    np.fill_diagonal(rows, np.where(point > 0, -import_w, export_w))
    return rows


# ---------------------------------------------------------------- everything that trading can reach


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
    OUT_OF_REACH = (0.02, 0.02, 0.15)  # by kind: a limit that the first program leaves so far away is not climbed further

    def __init__(self, model: Reduced, limits: Limits, share: Floats, caps: Floats) -> None:
        self._model, self._limits, self._share, self._caps = model, limits, share, caps
        self._working = np.zeros(share.shape[1], dtype=bool)

    def from_point(self, limit: int, x_w: Floats) -> list[Floats]:
        """The points [2 n_customers] visited from a start, each worse than the one before (the last one may not be)."""
        visited: list[Floats] = []
        best = -np.inf
        n = len(x_w) // 2
        for _ in range(self.STEPS_MAX):
            f, gradient = self._limits.one(self._model, limit, x_w[:n] - x_w[n:])
            out_of_reach = visited and f < -self.OUT_OF_REACH[self._limits.kind[limit]]
            if out_of_reach or f <= best + 1e-7 or not np.isfinite(gradient).all():
                break
            best = f
            x_w = one_right_each(self.maximise(np.maximum(gradient, 0.0)), gradient)
            visited.append(x_w)
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
