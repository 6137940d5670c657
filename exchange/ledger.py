"""Holdings, reservations and cash of one interval. Knows rights (by index), watts and milli-cents; nothing of prices or rows.

holding = allocation + raised + bought - sold - rebased, to the watt. What is offered is reserved: holding - offered never falls
below the failsafe. What is wanted counts as bought: holding + wanted never rises above the rating. So no fill can break either.
Cash sums to zero, to the milli-cent: `floor_div` rounds what the buyer pays down, and the seller earns exactly that. What the
operator pays for holdings that it lowers is on its own account, so customers and operator sum to zero together.

With n customers, rights 0 to 2n - 1 are theirs: exports, then imports. The operator's rights follow: `add_right` appends one for
each of its orders, bounded by nothing but what it holds. The last of `cash_mct` is the operator's.
"""

from __future__ import annotations

from collections.abc import Sequence

MCT_W_MS_PER_KWH = 3_600_000_000  # (W * mct/kWh * ms) in one mct: 1,000 W per kW times 3,600,000 ms per hour
UNBOUNDED_W = 2**62  # the rating of an operator's right


def cash_of(quantity_w: int, price_mct: int, interval_ms: int) -> int:
    """Milli-cents for a leg: floor division, so no buyer ever pays more than its limit."""
    return quantity_w * price_mct * interval_ms // MCT_W_MS_PER_KWH


class Ledger:
    """Lists are indexed by right; `cash_mct` by customer (position), the operator last. `compensated_mct`, by customer, is part of it."""

    __slots__ = (
        "allocation_w", "bought_w", "cash_mct", "compensated_mct", "failsafe_w", "holding_w", "offered_w", "raised_w", "rating_w",
        "rebased_w", "sold_w", "wanted_w",
    )  # fmt: skip

    def __init__(self, allocation_w: Sequence[int], failsafe_w: Sequence[int], rating_w: Sequence[int]) -> None:
        n = len(allocation_w)
        self.allocation_w = list(allocation_w)
        self.failsafe_w = list(failsafe_w)
        self.rating_w = list(rating_w)
        self.holding_w = list(allocation_w)
        self.raised_w = [0] * n
        self.bought_w = [0] * n
        self.sold_w = [0] * n
        self.rebased_w = [0] * n
        self.offered_w = [0] * n
        self.wanted_w = [0] * n
        self.cash_mct = [0] * (n // 2 + 1)
        self.compensated_mct = [0] * (n // 2)

    @property
    def customers_rights(self) -> int:
        """How many rights are customers'; those from here on are the operator's."""
        return 2 * len(self.compensated_mct)

    @property
    def operator_mct(self) -> int:
        return self.cash_mct[-1]

    def add_right(self, holding_w: int) -> int:
        """A right of the operator that holds so much at once; its index."""
        for kept in (self.allocation_w, self.failsafe_w, self.bought_w, self.sold_w, self.rebased_w, self.offered_w, self.wanted_w):
            kept.append(0)
        self.rating_w.append(UNBOUNDED_W)
        self.raised_w.append(holding_w)
        self.holding_w.append(holding_w)
        return len(self.holding_w) - 1

    def drop_rights(self) -> None:
        """The operator's rights end; nothing may be held, offered or wanted under them. Their cash stays."""
        n = self.customers_rights
        assert not (any(self.holding_w[n:]) or any(self.offered_w[n:]) or any(self.wanted_w[n:])), "the operator still holds headroom"
        for kept in (
            self.allocation_w, self.failsafe_w, self.rating_w, self.holding_w, self.raised_w, self.bought_w, self.sold_w, self.rebased_w,
            self.offered_w, self.wanted_w,
        ):  # fmt: skip
            del kept[n:]

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

    def trade(self, buyer: int, bought_w: int, seller: int, sold_w: int) -> None:
        """A fill of a purchase and an offer: `receive` and `give` in one."""
        holding_w = self.holding_w
        self.wanted_w[buyer] -= bought_w
        holding_w[buyer] += bought_w
        self.bought_w[buyer] += bought_w
        self.offered_w[seller] -= sold_w
        holding_w[seller] -= sold_w
        self.sold_w[seller] += sold_w

    def raise_(self, right: int, quantity_w: int) -> None:
        """The operator gives more, for nothing."""
        self.holding_w[right] += quantity_w
        self.raised_w[right] += quantity_w

    def lower(self, right: int, quantity_w: int) -> None:
        """The operator takes back, for nothing: what it withheld itself."""
        self.holding_w[right] -= quantity_w
        self.rebased_w[right] += quantity_w

    def rebase(self, right: int, quantity_w: int, cash_mct: int) -> None:
        """The operator lowers a customer's holding and pays for it."""
        self.lower(right, quantity_w)
        position = right % len(self.compensated_mct)
        self.compensated_mct[position] += cash_mct
        self.cash_mct[position] += cash_mct
        self.cash_mct[-1] -= cash_mct

    def check(self) -> None:
        assert sum(self.cash_mct) == 0, "cash does not sum to zero"
        assert min(self.compensated_mct) >= 0
        figures = (self.allocation_w, self.raised_w, self.bought_w, self.sold_w, self.rebased_w)
        for right, (allocation, raised, bought, sold, rebased) in enumerate(zip(*figures, strict=True)):
            holding = self.holding_w[right]
            assert holding == allocation + raised + bought - sold - rebased, "a holding is not the sum of what happened to it"
            assert self.failsafe_w[right] <= holding - self.offered_w[right], "a sale reaches below the failsafe"
            assert holding + self.wanted_w[right] <= self.rating_w[right], "a purchase reaches above the rating"
            assert min(self.offered_w[right], self.wanted_w[right], raised, bought, sold, rebased) >= 0
