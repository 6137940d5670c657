"""The adversary: searches one set of envelopes for the point that breaks a limit. The envelopes are a box, low <= p <= high.

Each injector (customers, then passives with their forecasts) may be anywhere in its range at any moment, so the envelopes are
secure if every point of the box is. The measures f of `riskcheck/limits.py` are nearly linear, so nearly every worst point is a
corner, and the signs of a gradient say which. What a gradient at one point does not see is looked for by other means:

*structured*   all export, all import, whole phases against each other; with forecasts at either end
*branches*     what stands behind a branch exports, the rest imports; the reverse; the rest idle; phase by phase
*signs*        the corner that each limit's gradient points to, from no load and from the joint corners
*exhaustive*   every corner, where at most 12 injectors are free
*random*       corners with any share of exporters, also phase by phase, and points inside
*climb*        from the worst point of the limits nearest to breaking, towards the corner their gradient points to there; where f
               bends down on the way, to the top of the parabola: with no tap changer a voltage can peak inside the box
*flips*        from those points, each injector in turn to its other end, and all flips that helped together

Everything is seeded; the same seed gives the same search. Of each limit only the worst point is kept, so that memory does not
grow with the search.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.corners import against_the_rest, random_points, structured
from riskcheck.limits import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from riskcheck.corners import Box
    from riskcheck.limits import Engine, Limits
    from riskcheck.reduced import Reduced

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Progress = Callable[[str, float], None]

EXHAUSTIVE_INJECTORS_MAX = 12
CHUNK_BYTES = 2**21  # of measures at a time: what stays in the cache
SMALLEST_RISE = 1e-9
STEPS = 17  # on the way to a corner, where f peaks before it


@dataclass(frozen=True)
class Effort:
    """How hard to search. `leaders` are the limits per kind and phase that are followed, `signs` those whose gradient is tried."""

    leaders: int
    rounds: int
    signs: int
    draws: int
    flips: int
    branches: int
    confirmed: int  # points per kind of limit that a second engine repeats


EFFORTS = {
    "quick": Effort(leaders=2, rounds=4, signs=40, draws=100, flips=64, branches=40, confirmed=4),
    "full": Effort(leaders=8, rounds=10, signs=400, draws=2000, flips=400, branches=400, confirmed=16),
}


@dataclass
class Found:
    """The worst point of every limit: its measure f, its row in `points`, the strategy that found it. `tried` counts points."""

    f: Floats
    row: Indices
    points: Floats
    strategy: list[str] = field(default_factory=list)  # of each row of points
    tried: Counter[str] = field(default_factory=Counter)

    @classmethod
    def nothing(cls, n_limits: int, n_injectors: int) -> Found:
        return cls(np.full(n_limits, -np.inf), np.zeros(n_limits, dtype=np.int64), np.empty((0, n_injectors)))

    def add(self, points: Floats, f: Floats, strategy: Sequence[str]) -> None:
        """Keeps the points that are worse for some limit than all before. f: [n_points, n_limits]."""
        self.tried.update(strategy)
        best = f.argmax(axis=0)
        height = f[best, np.arange(f.shape[1])]
        is_worse = height > self.f
        rows, position = np.unique(best[is_worse], return_inverse=True)
        self.row[is_worse] = len(self.points) + position
        self.f[is_worse] = height[is_worse]
        self.points = np.vstack([self.points, points[rows]])
        self.strategy += [strategy[row] for row in rows]
        self._forget()

    def _forget(self) -> None:
        kept, self.row = np.unique(self.row, return_inverse=True)
        self.points, self.strategy = self.points[kept], [self.strategy[row] for row in kept]


class Adversary:
    """One search of one box."""

    def __init__(self, model: Reduced, engine: Engine, limits: Limits, box: Box, effort: Effort, seed: int) -> None:
        self.model, self._engine, self.limits, self._box, self._effort = model, engine, limits, box, effort
        self._rng = np.random.default_rng(seed)
        self.found = Found.nothing(len(limits.monitor), len(box.low_w))

    def search(self, progress: Progress | None = None) -> Found:
        """progress: called with a phrase and the share done, for a person who waits."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("phases against each other", self._structured), ("every corner", self.strike_every_corner), ("sensitivities", self._signs),
            ("random points", self._random), ("branches against the rest", self.strike_branches), ("climbing", self._climb),
            ("single customers", self._flips), ("climbing again", self._climb),
        ]  # fmt: skip
        for done, (phrase, step) in enumerate(steps):
            if progress is not None:
                progress(f"searching: {phrase}", done / len(steps))
            step()
        return self.found

    def _strike(self, strategy: str, points: Floats) -> None:
        """Measures distinct points."""
        points = np.unique(points, axis=0)
        self._strike_each(strategy, np.zeros(len(points), dtype=np.int64), points)

    def _strike_each(self, strategy: str, limit: Indices, points: Floats) -> Floats:
        """Measures points [m, n], and returns the f of limit[m] at its own point."""
        f = np.empty(len(points))
        for some in pieces(len(points), len(self.limits.monitor)):
            measured = self.limits.measure(self._engine, points[some])
            f[some] = measured[np.arange(len(measured)), limit[some]]
            self.found.add(points[some], measured, [strategy] * len(measured))
        return f

    def _leaders(self, count: int) -> Indices:
        """Of each kind of limit and each phase, the limits that came nearest to breaking."""
        limits, f = self.limits, self.found.f
        group = limits.kind * 8 + self.model.monitors.phase[limits.monitor]
        order = np.argsort(-f, kind="stable")
        return np.concatenate([order[group[order] == g][:count] for g in np.unique(group)])

    def _structured(self) -> None:
        self._strike("structured", structured(self.model.network, self._box))

    def strike_every_corner(self) -> None:
        if len(self._box.free) <= EXHAUSTIVE_INJECTORS_MAX:
            self._strike("exhaustive", self._box.every_corner())

    def _signs(self) -> None:
        """Towards the gradients at no load and at both joint corners."""
        nearest = self.limits.chosen(self._leaders(self._effort.signs))
        for start in (self._box.idle_w, self._box.high_w, self._box.low_w):
            self._strike("signs", self._box.steepest(nearest.slopes(self.model, start[None])))

    def _random(self) -> None:
        self._strike("random", random_points(self.model.network, self._box, self._effort.draws, self._rng))

    def strike_branches(self) -> None:
        """The branches nearest to their ratings first."""
        limits = self.limits
        currents = np.flatnonzero(limits.kind == KINDS.index("thermal"))
        order = currents[np.argsort(-self.found.f[currents], kind="stable")]
        element, first = np.unique(self.model.monitors.element[limits.monitor[order]], return_index=True)
        chosen = element[np.argsort(first, kind="stable")][: self._effort.branches]
        self._strike("branches", against_the_rest(self.model, self._box, chosen))

    def _climb(self) -> None:
        found, limits = self.found, self.limits
        for _ in range(self._effort.rounds):
            leaders = self._leaders(self._effort.leaders)
            start, height = found.points[found.row[leaders]], found.f[leaders]
            corner = self._box.steepest(limits.chosen(leaders).slopes(self.model, start))
            moves = (corner != start).any(axis=1) & np.isfinite(height)
            leaders, start, corner, height = leaders[moves], start[moves], corner[moves], height[moves]
            if not len(leaders):
                return
            at_corner = self._strike_each("climb", leaders, corner)
            halfway = self._strike_each("climb", leaders, (start + corner) / 2)
            for bend in np.flatnonzero(at_corner < np.maximum(height, halfway)):
                self._summit(int(leaders[bend]), start[bend], corner[bend])
            if (found.f[leaders] <= height + SMALLEST_RISE).all():
                return

    def _summit(self, limit: int, start: Floats, end: Floats) -> None:
        """Where a limit peaks between two points: the best of a few steps, then the top of the parabola through it and its neighbours."""
        steps = np.linspace(0.0, 1.0, STEPS)[:, None]
        f = self._strike_each("climb", np.full(STEPS, limit), start + steps * (end - start))
        best = int(np.clip(f.argmax(), 1, STEPS - 2))
        before, top, after = f[best - 1 : best + 2]
        bend = before - 2 * top + after
        if bend < 0:
            step = steps[best] + (before - after) / (2 * bend) / (STEPS - 1)
            self._strike("climb", (start + np.clip(step, 0.0, 1.0) * (end - start))[None])

    def _flips(self) -> None:
        for limit in self._leaders(self._effort.leaders):
            point, height = self.found.points[self.found.row[limit]], self.found.f[limit]
            flips = self._flipped(limit, point)
            f = self._strike_each("flips", np.full(len(flips), limit), flips)
            helps = flips[f > height]
            if len(helps):
                self._strike("flips", np.where((helps != point).any(axis=0), self._box.other_end(point), point)[None])

    def _flipped(self, limit: int, point: Floats) -> Floats:
        """The point with one injector at its other end, for the injectors whose gradient says least about which end is worse."""
        box = self._box
        gradient = self.limits.chosen(np.array([limit])).slopes(self.model, point[None])[0]
        n = len(point)
        pull = np.maximum(np.abs(gradient[:n]), np.abs(gradient[n:])) * (box.high_w - box.low_w)
        doubtful = box.free[np.argsort(pull[box.free], kind="stable")[: self._effort.flips]]
        rows = np.repeat(point[None], len(doubtful), axis=0)
        rows[np.arange(len(doubtful)), doubtful] = self._box.other_end(point)[doubtful]
        return rows


def pieces(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows of `width` floats, small enough to work on."""
    size = max(16, CHUNK_BYTES // (8 * width))
    return (slice(start, start + size) for start in range(0, count, size))
