"""Who gets how much of what is secure: the rules, in floats, each with the evidence that it did what it says.

    max_min        the smallest envelope first, then the next smallest: nobody can have more unless somebody with less gives it up
    proportional   the greatest product of all envelopes: no other choice gains more in percent, summed over all, than it loses
    total          the most watts in all, whoever gets them
    equal          one limit for all, as far as caps go: the first row that fills stops everybody

Weights say what counts as the same: twice the weight gets twice the watts (max_min, equal), counts twice in the product
(proportional) or is worth twice as much per watt (total). Floors and caps hold in all of them.

Max-min and equal are water-filling. The others are solved by their prices: at a price for each row's room everybody takes what is
best for it, and the solver looks for prices at which all fits (scipy's L-BFGS-B on the dual; HiGHS). Whatever a solver
says, the point is pulled back to where no row is broken, and its distance from the best is proven by `envelopes.optimality`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from envelopes.optimality import dearest, in_step_gap, max_min_gap, proportional_gap, reachable, total_gap
from envelopes.water import FULL, water_fill
from riskcheck.solver import toward_safe

if TYPE_CHECKING:
    from envelopes.water import Floats, Stopping

ITERATIONS_MAX = 20_000
ROUNDS_MAX = 100
RUNS = 2
JOINING = 1e-7  # of a row's slack: what is broken by less costs nobody more than the whole watts do
MEMORY = 50  # pairs that L-BFGS-B keeps: more than its default of 10 brings it ten times nearer on the feeder's rows


class Shared(NamedTuple):
    """Limits by right in floats, the row that stops each (None: its cap), and by which share a better answer could exceed this one."""

    limit: Floats
    stopping: Stopping
    gap: float


Rule = Callable[["Floats", "Floats", "Floats", "Floats"], Shared]


def max_min(share: Floats, floors: Floats, caps: Floats, weights: Floats) -> Shared:
    limit, stopping = water_fill(share, floors, caps, weights)
    return Shared(limit, stopping, max_min_gap(limit, stopping, share, floors, caps, weights))


def equal(share: Floats, floors: Floats, caps: Floats, weights: Floats) -> Shared:
    limit, stopping = water_fill(share, floors, caps, weights, in_step=True)
    return Shared(limit, stopping, in_step_gap(limit, stopping, share, floors, caps, weights))


def total(share: Floats, floors: Floats, caps: Floats, weights: Floats) -> Shared:
    """By HiGHS, in units of twice the most that anybody could have alone: caps beyond that would hide its tolerances."""
    from scipy.optimize import linprog

    alone = np.clip(2.0 / np.maximum(share.max(axis=1, initial=0.0), FULL), floors, caps)
    unit = max(float(alone.max(initial=0.0)), 1.0)
    bounds = np.column_stack([floors, alone]) / unit
    solved = linprog(-weights, A_ub=unit * share.T, b_ub=np.ones(share.shape[1]), bounds=bounds, method="highs")
    found = np.clip(unit * solved.x, floors, caps) if solved.x is not None else floors
    price = -unit * solved.ineqlin.marginals if solved.x is not None else np.zeros(share.shape[1])
    limit = _inside(found, share, floors)
    price = np.maximum(price, 0.0)
    return Shared(limit, _dearest_row(limit, price, share, caps), total_gap(limit, price, share, floors, caps, weights))


def proportional(share: Floats, floors: Floats, caps: Floats, weights: Floats) -> Shared:
    """By its dual: the sum of w log x - cost x + price, least over prices >= 0, is smooth, as x is unique at any price."""
    high = reachable(share, floors, caps)
    can = high > floors
    room = np.maximum(1.0 - floors[~can] @ share[~can], FULL)
    price = _prices(share[can] / room, floors[can], high[can], weights[can]) / room
    found = floors.astype(float)
    found[can] = dearest(weights[can], share[can] @ price, floors[can], high[can])
    limit = _inside(found, share, floors)
    return Shared(limit, _dearest_row(limit, price, share, caps), proportional_gap(limit, price, share, floors, caps, weights))


RULES: dict[str, Rule] = {"max_min": max_min, "proportional": proportional, "total": total, "equal": equal}


def _prices(share: Floats, floors: Floats, caps: Floats, weights: Floats) -> Floats:
    """Of each row. Rows join while the answer breaks them, those first that stop the water: most rows bind nobody."""
    price, working = np.zeros(share.shape[1]), np.zeros(share.shape[1], dtype=bool)
    _, stopping = water_fill(share, floors, caps, weights)
    working[[row for row in stopping if row is not None]] = True
    for _ in range(ROUNDS_MAX):
        price[working] = _least_dual(share[:, working], price[working], floors, caps, weights)
        broken = dearest(weights, share @ price, floors, caps) @ share > 1.0 + JOINING
        if not (broken & ~working).any():
            break
        working |= broken
    return price


def _least_dual(share: Floats, price: Floats, floors: Floats, caps: Floats, weights: Floats) -> Floats:
    """Prices of these rows alone. New ones start where all of them together cost what all rights together would pay.

    The dual is told as its difference from where a run starts: a second run, from where the first ended, sees differences that
    the rounding of the whole sum had hidden.
    """
    from scipy.optimize import minimize

    def dual(price: Floats) -> tuple[float, Floats]:
        cost = share @ price
        x = dearest(weights, cost, floors, caps)
        gained = weights * np.log(x / around) - cost * x + weights
        return float(gained.sum() + (price.sum() - weights.sum())), 1.0 - x @ share

    rows = share.shape[1]
    if not rows:
        return price
    found = price if price.any() else np.full(rows, weights.sum() / rows)
    options = {"maxiter": ITERATIONS_MAX, "maxfun": 2 * ITERATIONS_MAX, "ftol": 0.0, "gtol": 1e-11, "maxcor": MEMORY}
    for _ in range(RUNS):
        around = dearest(weights, share @ found, floors, caps)
        found = minimize(dual, found, jac=True, bounds=[(0.0, None)] * rows, method="L-BFGS-B", options=options).x
    return np.asarray(found, dtype=float)


def _inside(found: Floats, share: Floats, floors: Floats) -> Floats:
    """On the way from the floors. Rows that the floors fill count as full: what rounding adds there must not hold up everybody."""
    return toward_safe(found, floors, share.T, np.maximum(floors @ share, 1.0) + FULL)


def _dearest_row(limit: Floats, price: Floats, share: Floats, caps: Floats) -> Stopping:
    """Of whoever is below its cap: the row that asks most of it for a watt more."""
    if not share.shape[1]:
        return (None,) * len(limit)
    row = (share * price).argmax(axis=1)
    below = limit < caps * (1 - 1e-6)
    return tuple(int(r) if below[right] and share[right, r] > 0 else None for right, r in enumerate(row))
