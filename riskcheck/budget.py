"""A budget of uncertainty instead of the full box: at most so many customers sit at their limits at the same time.

The rows of a polytope hold for every power in the box, with all customers at their worst limits together. Here (Bertsimas and Sim, "The
price of robustness", Operations Research 52, 2004) at most `at_limit` of the n customers, whichever, are beyond a nominal share of their
limits, up to all of it; the others are within that share. With c_i = P_i export_i + P_{n+i} import_i, what customer i takes of a row at
its worst, and phi = `nominal_per_mille` / 1000, a row is

    phi * sum_i c_i  +  (1 - phi) * (sum of the `at_limit` largest c_i)  <=  slack

since the worst choice of who deviates is the largest: a sort finds it. Every choice S of customers gives a packing row of its own, with
coefficient P for those in S and phi * P for the others: the set is convex, and lowering a limit is always secure in it. With
`at_limit` = n it is the polytope itself; with 0 nobody could use what it was given, so that is refused.

What is promised is exactly this: no row is broken while at most `at_limit` customers are beyond the nominal share of their limits. Such
powers are themselves envelopes that fit into the polytope, so all that its rows promise in AC holds for them too.
What is lost: any more of them may break a row, and nothing in the network stops them. If the use that customers make of a row
were *independent*, each symmetric about phi * c_i and never beyond c_i, a row with n of them would be broken with at most the
probability `violation_probability_max` (theorem 3 there; symmetric about phi c_i and at most c_i means within [(2 phi - 1) c_i, c_i]).
The sun shines on all roofs at once: for exports of solar power independence is false, and the bound says nothing.

So this is for studies: what the full box costs. The market never uses it; a holding that is sold must be usable by whoever bought it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.polytope import Polytope, Watts

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Budget:
    """A polytope's rows under a budget. `at_limit` customers may be beyond `nominal_per_mille` of their limits at a time."""

    rows: Polytope
    at_limit: int
    nominal_per_mille: int

    def __post_init__(self) -> None:
        if not 1 <= self.at_limit <= self.customers or not 0 <= self.nominal_per_mille <= 1000:
            raise ValueError(f"at_limit must be in [1, {self.customers}] and nominal_per_mille in [0, 1000]")

    @property
    def customers(self) -> int:
        return self.rows.n_rights // 2

    def residual(self, limits_w: npt.ArrayLike) -> Watts:
        """Slack left in each row at these limits, [n_rows], rounded down; negative where the row is broken. In integers."""
        limits = np.asarray(limits_w, dtype=np.int64)
        taken = _taken(self.rows.columns.astype(float), limits.astype(float))
        if taken.size and taken.max() > self.rows.slack:  # one customer alone: beyond it sums might not fit into int64
            return np.where(taken.max(axis=0) > self.rows.slack, -1, 0)
        exact = -np.sort(-_taken(self.rows.columns.astype(np.int64), limits), axis=0)
        at_limit, others = exact[: self.at_limit].sum(axis=0), exact[self.at_limit :].sum(axis=0)
        return np.asarray(self.rows.slack - at_limit - self.nominal_per_mille * -(-others // 1000))

    def is_secure(self, limits_w: npt.ArrayLike) -> bool:
        return bool((self.residual(limits_w) >= 0).all())

    def cuts(self, limit: Floats, tolerance: float) -> tuple[Floats, Indices]:
        """Packing rows of the set that this point breaks, [n_rights, n_cuts] of a row's slack per watt, and the row of each.

        For every row its largest customers; then, since others must not take their place, the next largest, while they break it too.
        """
        share, phi = self.rows.columns / self.rows.slack, self.nominal_per_mille / 1000
        taken = _taken(share, limit)
        order = np.argsort(-taken, axis=0, kind="stable")
        found, rows = [], []
        for first in range(0, self.customers, self.at_limit):
            group = order[first : first + self.at_limit]
            use = phi * taken.sum(axis=0) + (1 - phi) * np.take_along_axis(taken, group, axis=0).sum(axis=0)
            broken = np.flatnonzero(use > 1 + tolerance)
            found += [self._cut(share[:, row], group[:, row], phi) for row in broken.tolist()]
            rows.append(broken)
            if not len(broken):
                break
        return np.array(found).reshape(-1, len(limit)).T, np.concatenate(rows)

    def _cut(self, share: Floats, at_limit: Indices, phi: float) -> Floats:
        cut = phi * share
        both = np.concatenate([at_limit, at_limit + self.customers])
        cut[both] = share[both]
        return cut


def _taken(columns: npt.NDArray[np.float64] | Watts, limits: npt.NDArray[np.float64] | Watts) -> npt.NDArray[np.float64] | Watts:
    """What each customer takes of each row at its worst, [n_customers, n_rows]."""
    half = len(limits) // 2
    by_right = columns * limits[:, None]
    return np.asarray(by_right[:half] + by_right[half:])


def violation_probability_max(customers: int, at_limit: int) -> float:
    """Bertsimas and Sim's B(n, Gamma): the most by which a row of so many *independent, symmetric* customers can be broken.

    P(row broken) <= 2^-n ((1 - mu) C(n, floor nu) + sum_{l > floor nu} C(n, l)), nu = (Gamma + n) / 2, mu = nu - floor nu. The
    bound is attained where n + Gamma is even, all weigh the same and each is at one of its two ends.
    """
    if not 0 <= at_limit <= customers:
        raise ValueError(f"at_limit must be in [0, {customers}]")
    whole, half = divmod(at_limit + customers, 2)
    tail = sum(math.comb(customers, k) for k in range(whole + 1, customers + 1))
    return float(Fraction(2 * tail + (2 - half) * math.comb(customers, whole), 2 ** (customers + 1)))
