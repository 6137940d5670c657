"""What a solver may propose, judged: dealt to orders by class, secure, paid. Welfare in mct * watts, at the orders' limits."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

from exchange.commands import Change
from tests.model_market import Area, Interval, Order
from tests.model_match import Scene

Deals = list[tuple[Order, int]]  # order, watts received or given
Payments = list[tuple[int, int]]  # price, cash by deal


def sign(order: Order) -> int:
    return 1 if order.side == "buy" else -1


def classes(area: Area, interval: Interval) -> list[list[int]]:
    """Rights with equal columns (one to one, of one book), in the order of their first; each of the operator's is one of its own."""
    found: dict[tuple[int, ...], list[int]] = {}
    first, is_one_to_one = len(interval.rows.columns), area.settings.matching == "one_to_one"
    for right, column in enumerate(interval.rows.columns):
        found.setdefault((*column, right // (first // 2) if is_one_to_one else 0), []).append(right)
    return [*found.values(), *([first + line] for line in range(len(interval.lines)))]


def deal(area: Area, interval: Interval, changes: Sequence[Change], incoming: Order | None) -> Deals | None:
    """The proposal's watts as its classes' orders get them; None where it names what is not there."""
    named = [change.right for change in changes]
    if len(set(named)) != len(named) or not all(0 <= right < len(interval.columns()) for right in named):
        return None
    dealt: dict[Order, int] = {}
    for rights in classes(area, interval):
        asked = [change.change_w for change in changes if change.right in rights]
        for side, watts in (("buy", sum(w for w in asked if w > 0)), ("sell", -sum(w for w in asked if w < 0))):
            buyers = [order.owner for order, part in dealt.items() if part and order.right in rights]
            for order in standing(interval, rights, side, incoming):
                if order.owner in buyers and area.settings.self_trade != "allow":
                    continue
                dealt[order] = min(watts, order.open_w)
                watts -= dealt[order]
            if watts:
                return None
    return in_order(area, interval, dealt, incoming) if is_balanced(area, dealt) else None


def is_balanced(area: Area, dealt: dict[Order, int]) -> bool:
    """One to one, watts bought are watts sold within a book, and the operator trades with nobody."""
    books = ("export", "import")
    over = [sum(sign(order) * watts for order, watts in dealt.items() if order.direction == book) for book in books]
    by_operator = sum(watts for order, watts in dealt.items() if order.row is not None)
    return area.settings.matching != "one_to_one" or (over == [0, 0] and by_operator == 0)


def standing(interval: Interval, rights: list[int], side: str, incoming: Order | None) -> list[Order]:
    """By price, then arrival; who comes is the last in its price."""
    found = [o for o in interval.orders if o.right in rights and o.side == side and o is not incoming]
    if incoming is not None and incoming.right in rights and incoming.side == side:
        found.append(incoming)
    return sorted(found, key=lambda order: (order.rank()[0], order is incoming, order.arrival))


def in_order(area: Area, interval: Interval, dealt: dict[Order, int], incoming: Order | None) -> Deals:
    """As the legs stand: the incoming order, then class by class its purchases and its sales."""
    found = [incoming] if incoming is not None else []
    for rights in classes(area, interval):
        for side in ("buy", "sell"):
            found += [order for order in standing(interval, rights, side, incoming) if order is not incoming]
    return [(order, dealt[order]) for order in found if dealt.get(order)]


def welfare(deals: Deals) -> int:
    return sum(sign(order) * order.price_mct * watts for order, watts in deals)


def is_secure(interval: Interval, deals: Deals) -> bool:
    columns = interval.columns()
    change = [0] * len(columns)
    for order, watts in deals:
        change[order.right] += sign(order) * watts
    parts = [[watts * take for take in column] for watts, column in zip(change, columns, strict=True)]
    used = [sum(takes) for takes in zip(*parts, strict=True)]
    return all(left >= take for left, take in zip(interval.residual(), used, strict=True))


def as_bid(area: Area, deals: Deals) -> Payments:
    return [(order.price_mct, -sign(order) * area.cash_of(watts, order.price_mct)) for order, watts in deals]


def paid_by(area: Area, deals: Deals, incoming: Order) -> Payments | None:
    """Resting orders at their own price, the incoming one takes the balance; None where its limit does not allow that."""
    payments = as_bid(area, deals)
    if not deals or deals[0][0] is not incoming:
        return payments if sum(cash for _, cash in payments) <= 0 else None
    most, rest = payments[0][1], payments[1:]
    balance = -sum(cash for _, cash in rest)
    mine = min(balance, 0) if incoming.side == "buy" else balance
    return [(area.price_of(incoming, abs(mine), deals[0][1]), mine), *rest] if mine >= most else None


def uniform(area: Area, interval: Interval, deals: Deals, row_price_mct: Sequence[int]) -> Payments:
    columns, rows = interval.columns(), range(len(interval.rows.labels))
    largest = [interval.rows.largest(row) for row in rows]
    found = []
    for order, watts in deals:
        worth = sum((Fraction(row_price_mct[row] * columns[order.right][row], largest[row]) for row in rows if largest[row]), Fraction(0))
        price = min(ceil(worth), order.price_mct) if order.side == "buy" else max(floor(worth), order.price_mct)
        found.append((price, -sign(order) * area.cash_of(watts, price)))
    return found


def paid_at_rest(area: Area, interval: Interval, deals: Deals, row_price_mct: Sequence[int]) -> Payments:
    """By uniform prices where the market has them, they are given and the operator need not pay in; else as bid."""
    if area.settings.auction_pricing == "uniform" and row_price_mct:
        payments = uniform(area, interval, deals, row_price_mct)
        if sum(cash for _, cash in payments) <= 0:
            return payments
    return as_bid(area, deals)


def greedy(area: Area, interval: Interval) -> Deals:
    """Purchases by price, then arrival, each walking as if it had just come; own orders are passed over. Nothing where the operator
    would pay or the welfare is negative."""
    scene, dealt = Scene(area, interval), {}
    for purchase in sorted((order for order in interval.orders if order.side == "buy"), key=Order.rank):
        for fill in scene.walk(purchase, purchase.open_w, purchase.price_mct, True)[0]:
            dealt[purchase] = dealt.get(purchase, 0) + fill.taker_w
            if fill.maker is not None:
                dealt[fill.maker] = dealt.get(fill.maker, 0) + fill.maker_w
    deals = in_order(area, interval, dealt, None)
    is_paid = sum(cash for _, cash in as_bid(area, deals)) <= 0
    return deals if is_paid and welfare(deals) >= 0 else []
