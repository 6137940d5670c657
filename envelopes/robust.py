"""Envelopes under a budget of uncertainty (`riskcheck/budget.py`), and what the full box costs. For studies; never for the market.

The set is a polytope with a row for every choice of customers that may sit at their limits: far too many to write down. So the
rule shares over the rows found so far, the rows that its answer breaks join, and it shares again. Every set on the way contains the
real one; the first answer that breaks nothing is therefore the rule's answer over the real set. What is left over by `TOLERANCE`
is taken back by the integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from envelopes.allocate import Allocation, Demand, Order, allocate, check_floors, chosen, demand, finished, in_turn, whole
from envelopes.rules import Rule, Shared
from riskcheck.budget import Budget, violation_probability_max

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.polytope import Polytope

TOLERANCE = 1e-9  # of a row's slack
ROUNDS_MAX = 500


class Price(NamedTuple):
    """One budget: what it gives, what the full box gives less, and the most by which independent customers would break a row."""

    at_limit: int
    smallest_w: int
    total_w: int
    lost_w: int
    violation_probability_max: float


def allocate_within(
    budget: Budget,
    caps_w: npt.ArrayLike,
    floors_w: npt.ArrayLike | None = None,
    *,
    rule: str = "max_min",
    weights: npt.ArrayLike | None = None,
    order: Order = "together",
) -> Allocation:
    """`envelopes.allocate.allocate` over a budget's set, verified in its integers. Raises RuntimeError where cuts do not come to an end."""
    asked = demand(budget.rows.n_rights, caps_w, floors_w, weights)
    check_floors(budget.residual(asked.floors_w), budget.rows.labels)
    shared = _shared(chosen(rule), budget, asked, order)
    limits = whole(budget.rows.columns, budget.residual, shared.limit, asked)
    return finished(limits, shared, asked, budget.rows.labels, rule)


def _shared(rule: Rule, budget: Budget, asked: Demand, order: Order) -> Shared:
    cuts, rows = budget.cuts(asked.caps_w.astype(float), TOLERANCE)
    for _ in range(ROUNDS_MAX):
        shared = in_turn(rule, cuts, asked, order)
        more, of_row = budget.cuts(shared.limit, TOLERANCE)
        if not len(of_row):
            return shared._replace(stopping=tuple(None if cut is None else int(rows[cut]) for cut in shared.stopping))
        cuts, rows = np.hstack([cuts, more]), np.concatenate([rows, of_row])
    raise RuntimeError(f"{ROUNDS_MAX} rounds and {len(rows)} cuts did not settle the budget of {budget.at_limit} customers at their limits")


def price_of_robustness(
    rows: Polytope, caps_w: npt.ArrayLike, floors_w: npt.ArrayLike, budgets: Sequence[int], nominal_per_mille: int
) -> list[Price]:
    """Max-min envelopes under each budget beside those of the full box: the power that the box costs."""
    box = allocate(rows, caps_w, floors_w).limits_w
    return [_price(Budget(rows, at_limit, nominal_per_mille), caps_w, floors_w, int(box.sum())) for at_limit in budgets]


def _price(budget: Budget, caps_w: npt.ArrayLike, floors_w: npt.ArrayLike, box_w: int) -> Price:
    limits = allocate_within(budget, caps_w, floors_w).limits_w
    smallest_w = int(limits[np.asarray(caps_w) > 0].min()) if np.any(caps_w) else 0
    chance = violation_probability_max(budget.customers, budget.at_limit)
    return Price(budget.at_limit, smallest_w, int(limits.sum()), int(limits.sum()) - box_w, chance)
