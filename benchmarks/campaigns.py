"""Holdings on their way from an allocation to saturation, by random trades that the rows accept.

A campaign starts from an allocation and pushes holdings with random trades through `Headroom`, as the exchange does one to one:
between any two rights, down to zero and up to the connection's rating. Then the operator sells all headroom that is left, so
that no right can rise any more.

Starts: max-min, failsafe, and allocations that fill the rows greedily in an order: random, one group of customers first (a phase,
or all that load one row, which is a feeder or a part of it), all exports first, all imports first. Moods say who buys: anyone, one
phase, a few customers, those that load one row, exporters or importers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.headroom import Headroom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

    Watts = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOODS = ("random", "one phase", "few customers", "one row", "exports", "imports")
STARTS = ("max-min", "random order", "one group first", "exports first", "failsafe", "imports first")
SELDOM = 0.02  # weight of a right that is not in the mood


class Campaign:
    """`limits_w` by right are the holdings of the moment; counts of trades, accepted ones and sales of left-over headroom."""

    def __init__(self, network: Network, polytope: Polytope, fair_w: Watts, rng: np.random.Generator, number: int) -> None:
        self._polytope, self._rng, self._caps = polytope, rng, network.caps_w()
        self._phase = np.array([customer.phase for customer in network.customers])
        self.start, self.mood = STARTS[number % len(STARTS)], MOODS[(number + number // len(STARTS)) % len(MOODS)]
        self.trades = self.accepted = self.sales = 0
        self.kinds: Counter[str] = Counter()
        weight = self._buyers(self.mood)
        self._weight = weight / weight.sum()
        self.limits_w = self._allocation(fair_w, network.floors_w())
        self._headroom = Headroom(polytope, self.limits_w)

    @property
    def residual(self) -> Watts:
        return self._headroom.residual

    def _allocation(self, fair_w: Watts, floors_w: Watts) -> Watts:
        if self.start in ("max-min", "failsafe"):
            return (fair_w if self.start == "max-min" else floors_w).copy()
        first = np.ones(len(self._caps))
        if self.start == "one group first":
            first = self._buyers(str(self._rng.choice(["one phase", "one row"])))
        elif self.start != "random order":
            first = self._buyers(self.start.removesuffix(" first"))
        order = np.lexsort((self._rng.random(len(first)), -first))
        return filled(self._polytope, self._caps, order)

    def _buyers(self, mood: str) -> Floats:
        """How likely each right is to buy; the rest sells."""
        rng, n = self._rng, len(self._phase)
        if mood == "random":
            return np.ones(2 * n)
        weight = np.full(2 * n, SELDOM)
        if mood == "one phase":
            aligned = (self._phase == rng.choice(np.unique(self._phase))) == (rng.random() < 0.5)
            weight[np.concatenate([aligned, ~aligned])] = 1.0
        elif mood == "few customers":
            weight[rng.choice(2 * n, size=max(2, n // 8), replace=False)] = 1.0
        elif mood == "one row" and self._polytope.n_rows:
            row = self._polytope.columns[:, rng.integers(self._polytope.n_rows)]
            weight += row / max(1, row.max())
        else:
            weight[slice(0, n) if mood == "exports" else slice(n, None)] = 1.0
        return weight

    def trade(self, count: int) -> None:
        rng, rights, held = self._rng, len(self._weight), self.limits_w.tolist()
        away = 1 / self._weight
        buyers = rng.choice(rights, size=count, p=self._weight)
        sellers = rng.choice(rights, size=count, p=away / away.sum())
        wanted = np.exp(rng.uniform(0, np.log(np.quantile(self._caps, 0.9) + 1), count)).astype(np.int64)
        caps, trade = self._caps.tolist(), self._headroom.trade
        for buyer, seller, watts in zip(buyers.tolist(), sellers.tolist(), wanted.tolist(), strict=True):
            most = min(watts, held[seller], caps[buyer] - held[buyer])
            if buyer != seller and most > 0:
                moved = trade(buyer, seller, most)
                held[buyer] += moved
                held[seller] -= moved
                self.accepted += moved > 0
                self.kinds["one to one"] += moved > 0
        self.trades += count
        self.limits_w[:] = held

    def sell_headroom(self) -> None:
        """The operator sells what is left, buyers of the mood first, until no right can rise."""
        order = self._rng.choice(len(self._weight), size=len(self._weight), replace=False, p=self._weight)
        self.sales += _raise_all(self._headroom, self.limits_w, self._caps, order)
        self._headroom.check(self.limits_w)


def filled(polytope: Polytope, caps_w: Watts, order: NDArray[np.int64]) -> Watts:
    """The maximal limits that the rows allow when rights are raised one after the other as far as they go."""
    limits = np.zeros(len(caps_w), dtype=np.int64)
    _raise_all(Headroom(polytope, limits), limits, caps_w, order)
    return limits


def _raise_all(headroom: Headroom, limits_w: Watts, caps_w: Watts, order: NDArray[np.int64]) -> int:
    raised = 0
    for right in order.tolist():
        rise = min(headroom.room_w(right), int(caps_w[right] - limits_w[right]))
        if rise > 0:
            headroom.change(right, rise)
            limits_w[right] += rise
            raised += 1
    return raised
