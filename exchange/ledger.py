"""Holdings, reservations and cash of one interval. Knows rights (by index), watts and milli-cents; nothing of prices or rows.

holding = allocation + bought - sold - rebased, to the watt. What is offered is reserved: holding - offered never falls below the
failsafe. What is wanted counts as bought: holding + wanted never rises above the rating. So no fill can break either.
Cash sums to zero, to the milli-cent: `floor_div` rounds what the buyer pays down, and the seller earns exactly that. What the
operator pays for holdings that it lowers stands in an account of its own, so customers and operator sum to zero together.
"""

from __future__ import annotations

from collections.abc import Sequence

MCT_W_MS_PER_KWH = 3_600_000_000  # (W * mct/kWh * ms) in one mct: 1,000 W per kW times 3,600,000 ms per hour


def cash_of(quantity_w: int, price_mct: int, interval_ms: int) -> int:
    """Milli-cents for a leg: floor division, so no buyer ever pays more than its limit."""
    return quantity_w * price_mct * interval_ms // MCT_W_MS_PER_KWH


class Ledger:
    """Lists are indexed by right; `cash_mct` by customer (position)."""

    __slots__ = (
        "allocation_w", "bought_w", "cash_mct", "failsafe_w", "holding_w", "offered_w", "operator_mct", "rating_w", "rebased_w", "sold_w",
        "wanted_w",
    )  # fmt: skip

    def __init__(self, allocation_w: Sequence[int], failsafe_w: Sequence[int], rating_w: Sequence[int]) -> None:
        n = len(allocation_w)
        self.allocation_w = tuple(allocation_w)
        self.failsafe_w = failsafe_w
        self.rating_w = rating_w
        self.holding_w = list(allocation_w)
        self.bought_w = [0] * n
        self.sold_w = [0] * n
        self.rebased_w = [0] * n
        self.offered_w = [0] * n
        self.wanted_w = [0] * n
        self.cash_mct = [0] * (n // 2)
        self.operator_mct = 0

    def sellable_w(self, right: int) -> int:
        return self.holding_w[right] - self.offered_w[right] - self.failsafe_w[right]

    def buyable_w(self, right: int) -> int:
        return self.rating_w[right] - self.holding_w[right] - self.wanted_w[right]

    def give(self, right: int, quantity_w: int) -> None:
        """A fill of an offer."""
        self.offered_w[right] -= quantity_w
        self.holding_w[right] -= quantity_w
        self.sold_w[right] += quantity_w

    def receive(self, right: int, quantity_w: int) -> None:
        """A fill of a purchase."""
        self.wanted_w[right] -= quantity_w
        self.holding_w[right] += quantity_w
        self.bought_w[right] += quantity_w

    def rebase(self, right: int, quantity_w: int, cash_mct: int) -> None:
        """The operator lowers a holding and pays for it."""
        self.holding_w[right] -= quantity_w
        self.rebased_w[right] += quantity_w
        self.cash_mct[right % len(self.cash_mct)] += cash_mct
        self.operator_mct -= cash_mct

    def check(self) -> None:
        assert sum(self.cash_mct) + self.operator_mct == 0, "cash does not sum to zero"
        for right, holding in enumerate(self.holding_w):
            assert holding == self.allocation_w[right] + self.bought_w[right] - self.sold_w[right] - self.rebased_w[right]
            assert self.failsafe_w[right] <= holding - self.offered_w[right], "a sale reaches below the failsafe"
            assert holding + self.wanted_w[right] <= self.rating_w[right], "a purchase reaches above the rating"
            assert min(self.offered_w[right], self.wanted_w[right]) >= 0
            assert min(self.bought_w[right], self.sold_w[right], self.rebased_w[right]) >= 0
