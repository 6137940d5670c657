"""First allocation of envelopes: one door to all rules (`envelopes/rules.py`), from rows to whole watts that are secure.

    allocation = allocate(rows, caps_w, floors_w, rule="max_min", weights=None, order="together")

The rules share in floats, envelopes are whole watts: rounding down is always secure, and the integers have the last word. Caps are
what a connection or its owner can use, floors what everybody keeps in any case (the failsafe). Weights are given by right or by
customer: the ratings, the fees paid, or any other positive numbers.

Exports and imports share the rows, in three-phase networks most of them. *Together* they are shared as one; *in turn* the first
direction is shared as if the other stayed at its floors, and the other gets what is left.

Every allocation says what stops each right (a row, or its cap), how evenly it shares, and its `gap`: an upper bound, as a share, on
how much better by the rule's own measure any secure envelopes could be before they are rounded to whole watts
(`envelopes/optimality.py`). A gap above `PROVEN` means that a solver did not get there: secure, but not shown to be the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from envelopes.fairness import Fairness, fairness
from envelopes.optimality import feasible
from envelopes.rules import RULES, Rule, Shared
from riskcheck.blas import use_one_thread

if TYPE_CHECKING:
    import numpy.typing as npt

    from envelopes.water import Floats
    from riskcheck.polytope import Polytope, RowLabel

    Watts = npt.NDArray[np.int64]

Order = Literal["together", "export_first", "import_first"]
ORDERS: tuple[Order, ...] = ("together", "export_first", "import_first")
PROVEN = 1e-6  # whole watts cost more
RATING = "rating"
BROKEN = 1e-9  # of a row's slack: what floats may be wrong by


class InsecureFloorsError(ValueError):
    """What everybody is to have at least is more than the network can carry."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """Envelopes in whole watts [n_customers], secure; by right, exports before imports: what stops a larger limit.

    `stopping_row` is None, and `stopped_by` "rating", where the cap stops it. `rounded_w`: the most that whole watts took from anybody.
    """

    export_w: Watts
    import_w: Watts
    stopping_row: tuple[int | None, ...]
    stopped_by: tuple[str, ...]
    rule: str
    gap: float
    rounded_w: float
    export_fairness: Fairness
    import_fairness: Fairness

    @property
    def limits_w(self) -> Watts:
        """By right: exports of all customers, then imports."""
        return np.concatenate([self.export_w, self.import_w])

    @property
    def is_proven(self) -> bool:
        return self.gap <= PROVEN


class Demand(NamedTuple):
    """Between what and what, and by which weights. Checked."""

    caps_w: Watts
    floors_w: Watts
    weights: Floats


def allocate(
    rows: Polytope,
    caps_w: npt.ArrayLike,
    floors_w: npt.ArrayLike | None = None,
    *,
    rule: str = "max_min",
    weights: npt.ArrayLike | None = None,
    order: Order = "together",
) -> Allocation:
    """Envelopes by a rule, between floors and caps in whole watts [n_rights] each, verified in integers. Deterministic.

    No cap may be above the one that the rows were built for: rows that those caps could not fill are not there.
    Raises InsecureFloorsError where the floors are not secure themselves (the broken row is named), and ValueError for what does not fit.
    """
    asked = demand(rows.n_rights, caps_w, floors_w, weights)
    check_floors(rows.residual(asked.floors_w), rows.labels)
    shared = in_turn(chosen(rule), rows.columns / rows.slack, asked, order)
    limits = whole(rows.columns, rows.residual, shared.limit, asked)
    return finished(limits, shared, asked, rows.labels, rule)


def max_min(polytope: Polytope, floors_w: npt.ArrayLike, caps_w: npt.ArrayLike) -> Allocation:
    """Max-min envelopes, everybody alike, exports and imports together."""
    return allocate(polytope, caps_w, floors_w)


def demand(n_rights: int, caps_w: npt.ArrayLike, floors_w: npt.ArrayLike | None, weights: npt.ArrayLike | None) -> Demand:
    caps = np.asarray(caps_w, dtype=np.int64)
    floors = np.zeros(n_rights, dtype=np.int64) if floors_w is None else np.asarray(floors_w, dtype=np.int64)
    if floors.shape != (n_rights,) or caps.shape != floors.shape or (floors < 0).any() or (floors > caps).any():
        raise ValueError(f"give {n_rights} floors and caps with 0 <= floor <= cap")
    weighing = np.ones(n_rights) if weights is None else np.asarray(weights, dtype=float)
    if weighing.shape == (n_rights // 2,):
        weighing = np.tile(weighing, 2)
    if weighing.shape != (n_rights,) or not (np.isfinite(weighing) & ((weighing > 0) | (caps == floors) & (weighing == 0))).all():
        raise ValueError(f"give {n_rights} weights, or {n_rights // 2}, all positive (but of rights whose cap is their floor)")
    return Demand(caps, floors, np.where(weighing > 0, weighing, 1.0))


def check_floors(residual: Watts, labels: tuple[RowLabel, ...]) -> None:
    if (residual < 0).any():
        raise InsecureFloorsError(f"the floors are not secure: {labels[int(residual.argmin())]}")


def chosen(rule: str) -> Rule:
    if rule not in RULES:
        raise ValueError(f"no rule named {rule!r}; there are {', '.join(RULES)}")
    return RULES[rule]


def in_turn(rule: Rule, share: Floats, asked: Demand, order: Order) -> Shared:
    """The rule for all rights at once, or for one direction after the other: who is not in turn stays where it is."""
    use_one_thread()
    floors, caps = asked.floors_w.astype(float), asked.caps_w.astype(float)
    limit, stopping, gap = floors, np.full(len(share), -1, dtype=np.int64), 0.0
    for is_turn in _turns(order, len(share)):
        shared = rule(share, limit, np.where(is_turn, caps, limit), asked.weights)
        found = np.array([-1 if row is None else row for row in shared.stopping], dtype=np.int64)
        limit, stopping, gap = shared.limit, np.where(is_turn, found, stopping), max(gap, shared.gap)
    assert feasible(limit, share, floors, caps) <= BROKEN, f"the rule broke a row, a floor or a cap of {len(share)} rights"
    return Shared(limit, tuple(None if row < 0 else int(row) for row in stopping), gap)


def _turns(order: Order, n_rights: int) -> list[npt.NDArray[np.bool_]]:
    if order not in ORDERS:
        raise ValueError(f"no order named {order!r}; there are {', '.join(ORDERS)}")
    is_export = np.arange(n_rights) < n_rights // 2
    return {"together": [is_export | True], "export_first": [is_export, ~is_export], "import_first": [~is_export, is_export]}[order]


def whole(columns: npt.NDArray[np.int32], residual: Callable[[Watts], Watts], limit: Floats, asked: Demand) -> Watts:
    """Whole watts at or below a point, secure by the residuals of the rows."""
    limits = np.clip(np.floor(limit + 1e-9).astype(np.int64), asked.floors_w, asked.caps_w)
    while ((left := residual(limits)) < 0).any():  # float rounding moved somebody across a whole watt; the floors end this
        limits = np.maximum(limits - (columns[:, left < 0] > 0).any(axis=1), asked.floors_w)
    return limits


def finished(limits: Watts, shared: Shared, asked: Demand, labels: tuple[RowLabel, ...], rule: str) -> Allocation:
    half, has = len(limits) // 2, asked.caps_w > 0
    stopped_by = tuple(RATING if row is None else str(labels[row]) for row in shared.stopping)
    export, imported = (fairness(limits[side][has[side]]) for side in (slice(None, half), slice(half, None)))
    rounded = float((shared.limit - limits).max(initial=0.0))
    return Allocation(limits[:half], limits[half:], shared.stopping, stopped_by, rule, shared.gap, rounded, export, imported)
