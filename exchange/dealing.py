"""Whose watts are they? A proposal names watts by right; here they are dealt to orders, in integers, and judged as a whole.

Rights with equal columns are one class, and a class's watts go to its orders by price, then arrival. What is dealt must be secure in
every row and, with everybody at its own limit, leave nothing for the operator to pay (docs/market.md, "Sweeps").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from exchange.book import Order
from exchange.commands import Change, Side
from exchange.ledger import cash_of
from exchange.market import SIDES, Area, Interval
from exchange.rejects import Reason
from riskcheck import whole
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    import numpy.typing as npt

    from exchange.engine import Refusal

LAST = 2**62  # the arrival of an order that has none yet


class Part(NamedTuple):
    order: Order
    watts: int


Deal = list[Part]


def deal(area: Area, interval: Interval, changes: Sequence[Change], taker: Order | None) -> Deal | Refusal:
    """Whose watts they are: the incoming order first if it has a part, then class by class, purchases before sales. Nobody sells
    to itself: sales of who buys in the same class are passed over."""
    wanted: dict[tuple[int, Side], int] = {}
    kinds, rights = classes(interval), len(interval.owners)
    if len({change.right for change in changes}) < len(changes):
        return Reason.INVALID_PROPOSAL, "a right stands twice"
    for right, watts in ((change.right, change.change_w) for change in changes):
        if not 0 <= right < rights or watts == 0:
            return Reason.INVALID_PROPOSAL, f"{watts} W for right {right}, of {rights}"
        key: tuple[int, Side] = (kinds.of(right), "buy" if watts > 0 else "sell")
        wanted[key] = wanted.get(key, 0) + abs(watts)
    if not area.at_rates and not _is_balanced(area, changes):
        return Reason.INVALID_PROPOSAL, "one to one, the watts of a book must cancel out, and no headroom of rows is traded"
    dealt: Deal = []
    for kind, side in sorted(wanted, key=lambda key: (key[0], SIDES.index(key[1]))):
        left, buyers = wanted[kind, side], [part.order.account for part in dealt if kinds.of(part.order.right) == kind]
        for order in _line_up(interval, kinds.rights(kind), side, taker):
            if order.account in buyers and area.settings.self_trade != "allow":
                continue
            part = min(left, order.open_w)
            if part:
                dealt.append(Part(order, part))
                left -= part
        if left:
            return Reason.INVALID_PROPOSAL, f"{left} W more than the orders to {side} of right {kind} and its like have open"
    return sorted(dealt, key=lambda part: part.order is not taker)


class Classes(NamedTuple):
    """Rights with equal columns (one to one: of the same book), by the first of them. Each of the operator's is a class of its own."""

    first: list[int]  # of the class of each customers' right
    members: dict[int, list[int]]

    def of(self, right: int) -> int:
        return self.first[right] if right < len(self.first) else right

    def rights(self, kind: int) -> list[int]:
        return self.members.get(kind, [kind])

    def of_all(self, rights: int) -> npt.NDArray[np.int64]:
        """The class of each of so many rights."""
        return np.array([*self.first, *range(len(self.first), rights)], dtype=np.int64)


_known: WeakKeyDictionary[Polytope, dict[bool, Classes]] = WeakKeyDictionary()  # as long as somebody needs the rows


def classes(interval: Interval) -> Classes:
    rows, at_rates = interval.headroom.polytope, interval.area.at_rates
    known = _known.setdefault(rows, {})
    if at_rates not in known:
        known[at_rates] = _classes_of(rows, at_rates)
    return known[at_rates]


def _classes_of(rows: Polytope, at_rates: bool) -> Classes:
    first, books, n = [], 1 if at_rates else 2, rows.n_rights
    for book in range(books):
        start = n * book // books
        first += (start + whole.classes(rows.columns[start : n * (book + 1) // books])).tolist()
    members: dict[int, list[int]] = {}
    for right, kind in enumerate(first):
        members.setdefault(kind, []).append(right)
    return Classes(first, members)


def _is_balanced(area: Area, changes: Sequence[Change]) -> bool:
    n = len(area.terms)
    exports, imports = (sum(change.change_w for change in changes if change.right // n == book) for book in (0, 1))
    return exports == imports == 0 and all(change.right < 2 * n for change in changes)


def _line_up(interval: Interval, rights: Sequence[int], side: Side, taker: Order | None) -> list[Order]:
    lines = interval.side(side).lines
    orders = [order for right in rights for order in lines[right]]
    if taker is not None and taker.line.side == side and taker.right in rights:
        orders.append(taker)
    return sorted(orders, key=lambda order: (order.line.sign * order.price_mct, order.arrival or LAST))


def welfare(dealt: Deal) -> int:
    """mct/kWh times watts: what buyers would pay at most, less what sellers ask at least."""
    return sum(-part.order.line.sign * part.order.price_mct * part.watts for part in dealt)


def refuse_insecure(interval: Interval, dealt: Deal) -> Refusal | None:
    rights = np.array([part.order.right for part in dealt], dtype=np.int64)
    change = np.array([-part.order.line.sign * part.watts for part in dealt], dtype=np.int64)
    residual = whole.left_over(interval.headroom.columns, interval.headroom.residual, rights, change)
    if residual.size and residual.min() < 0:
        return Reason.INSECURE_PROPOSAL, f"breaks {interval.headroom.polytope.labels[int(residual.argmin())]}"
    return None


def earns(area: Area, part: Part, price_mct: int) -> int:
    """What the order earns (positive) or pays."""
    return part.order.line.sign * cash_of(part.watts, price_mct, area.settings.interval_ms)


def due(area: Area, dealt: Deal) -> int:
    """What the operator would have to pay in, with everybody at its own limit; negative where it has something over."""
    return sum(earns(area, part, part.order.price_mct) for part in dealt)
