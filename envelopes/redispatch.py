"""The least costly change of generation that clears what is violated before any area below moves.

A linear program (HiGHS): up and down moves of every generator within its limits, in balance, so that each flow that is violated, with
everything in or with one branch out, keeps `room` of its rating free. Only rows that are violated are in the program; what a solution
violates anew is added, until nothing is. It is an offer: nothing is dispatched here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linprog

from envelopes.transmission import NO_OUTAGE, Flows, Grid

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

ROUNDS_MAX = 20
TOLERANCE = 1e-7


class NoRedispatchError(ValueError):
    """No change of these generators clears every limit."""


@dataclass(frozen=True, eq=False)
class Generators:
    """By generator: bus, what it may change by, down (0 or less) and up, in MW, and what a MW of either costs."""

    bus: Indices
    down_mw: Floats
    up_mw: Floats
    cost_down: Floats
    cost_up: Floats


@dataclass(frozen=True, eq=False)
class Redispatch:
    """Changes [n_generators] in MW, what they cost, and the grid after them."""

    change_mw: Floats
    cost: float
    grid: Grid


def redispatch(grid: Grid, generators: Generators, room: float = 0.0) -> Redispatch:
    """Raises NoRedispatchError where the generators cannot clear everything."""
    flows, n = Flows(grid), len(generators.bus)
    rows: dict[tuple[int, int, int], tuple[Floats, float]] = {}
    change = np.zeros(n)
    for _ in range(ROUNDS_MAX):
        found = _broken(flows, generators, change, room)
        if not found:
            injection = grid.injection_mw.copy()
            np.add.at(injection, generators.bus, change)
            cost = float(generators.cost_up @ np.maximum(change, 0) + generators.cost_down @ np.maximum(-change, 0))
            return Redispatch(change, cost, replace(grid, injection_mw=injection))
        rows |= found
        change = _least(rows, generators)
    raise NoRedispatchError(f"the redispatch does not settle in {ROUNDS_MAX} rounds")


def _broken(flows: Flows, generators: Generators, change: Floats, room: float) -> dict[tuple[int, int, int], tuple[Floats, float]]:
    """Rows (coefficients by generator, most that they may add up to) of all limits that are broken after a change."""
    grid, by_generator = flows.grid, flows.to_balance[:, generators.bus]
    moved = np.zeros(len(grid.injection_mw))
    np.add.at(moved, generators.bus, change)
    found = {}
    for block, loading in flows.loading(moved):
        for branch, i in zip(*np.nonzero(np.abs(loading) > 1 - room + TOLERANCE), strict=True):
            out, sign = int(block[i]), 1 if loading[branch, i] > 0 else -1
            factor = 0.0 if out == NO_OUTAGE else float(flows.lodf[branch, out])
            base = flows.base_mw[branch] + factor * flows.base_mw[out]
            coefficient = sign * (by_generator[branch] + factor * by_generator[out])
            found[int(branch), out, sign] = coefficient, float(grid.rating_mw[branch] * (1 - room) - sign * base)
    return found


def _least(rows: dict[tuple[int, int, int], tuple[Floats, float]], generators: Generators) -> Floats:
    coefficient = np.array([row for row, _ in rows.values()])
    n = len(generators.bus)
    solved = linprog(
        np.concatenate([generators.cost_up, generators.cost_down]),
        A_ub=np.hstack([coefficient, -coefficient]), b_ub=[most for _, most in rows.values()],
        A_eq=np.concatenate([np.ones(n), -np.ones(n)])[None, :], b_eq=[0.0],
        bounds=[*((0.0, up) for up in generators.up_mw), *((0.0, -down) for down in generators.down_mw)], method="highs",
    )  # fmt: skip
    if solved.status != 0:
        raise NoRedispatchError(f"no change of {n} generator(s) clears {len(rows)} limit(s): {solved.message}")
    return np.asarray(solved.x[:n] - solved.x[n:])
