"""From joint fills in floats to whole watts that no row minds, verified in integers. Knows classes of equal columns; no prices but order.

Orders of equal columns and side form one class, whose watts are dealt in the order of merit: by price, then time. Where rates are
free, purchases are rounded down and sales up: rows only gain. What is still broken (a float's error, or room that the program
widened) is paid for by the purchases that mend it with the fewest watts. Then what rounding took is given back: sales first, since
it was added to them, then purchases, each as far as the rows have room.

One to one, everything is rounded down, the longer side of each group is cut to the shorter, last in merit first, and while a
row is broken the pair of its group that takes most from it is undone: fewer watts in each turn, and none at all is secure. Where rows
break each other in turn, watt by watt, the steps grow: the time must not depend on how many watts there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Watts = npt.NDArray[np.int64]

WHOLE = 1e-4  # of a watt: closer to a whole one than this is that
PATIENT_TURNS = 1000  # after each so many, pairs are undone in steps of at least twice as many watts


class Classes(NamedTuple):
    """Orders of one column and side together, best price first. `take` [n_classes, n_rows]; `group` -1 where rates are free."""

    take: Watts
    is_buy: npt.NDArray[np.bool_]
    most_w: Watts
    group: Indices


def classes(columns: npt.NDArray[np.int32]) -> Indices:
    """For each column the first that is equal to it."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(column.tobytes(), place) for place, column in enumerate(columns)], dtype=np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def dealt(
    columns: npt.NDArray[np.int32], residual: Watts, class_of: Indices, column: Indices, is_buy: Any, quantity_w: Watts, group: Indices,
    merit: Indices, filled: Floats,
) -> Any:  # fmt: skip
    """Whole watts of each order near `filled`: secure, and within each class of equal columns, side and group in the order of merit."""
    place, head, most_w, wanted = _classed(class_of, column, is_buy, quantity_w, group, merit, filled)
    take = np.empty((len(head), len(residual)), np.int64)
    for one in range(len(head)):
        take[one] = columns[column[head[one]]]
    left = settled(Classes(take, is_buy[head], most_w, group[head]), wanted, np.maximum(residual, 0))
    whole = np.zeros(len(column), np.int64)
    for j in merit:
        if place[j] >= 0:
            whole[j] = min(left[place[j]], quantity_w[j])
            left[place[j]] -= whole[j]
    return whole


@njit(cache=True)  # type: ignore[untyped-decorator]
def _classed(
    class_of: Indices, column: Indices, is_buy: Any, quantity_w: Watts, group: Indices, merit: Indices, filled: Floats
) -> Any:  # fmt: skip
    """The class of each order, -1 where nobody in it is filled; and of each class the first order in merit, the watts that it has at
    most, and those that it wants."""
    key, groups = np.empty(len(column), np.int64), group.max() + 2
    for j in range(len(column)):
        key[j] = (class_of[column[j]] * groups + group[j] + 1) * 2 + is_buy[j]
    place, is_wanted = np.full(key.max() + 1, -1), np.zeros(key.max() + 1, np.bool_)
    for j in range(len(key)):
        is_wanted[key[j]] |= filled[j] > 0
    head, most_w, wanted, count = np.empty(len(key), np.int64), np.zeros(len(key), np.int64), np.zeros(len(key)), 0
    for j in merit:
        if is_wanted[key[j]]:
            if place[key[j]] < 0:
                place[key[j]], head[count] = count, j
                count += 1
            most_w[place[key[j]]] += quantity_w[j]
            wanted[place[key[j]]] += filled[j]
    return place[key], head[:count].copy(), most_w[:count].copy(), wanted[:count].copy()


@njit(cache=True)  # type: ignore[untyped-decorator]
def settled(classes: Classes, wanted: Floats, residual: Watts) -> Any:
    """Whole watts of each class near `wanted`; `residual` >= 0 stays so."""
    take, is_buy, most_w, group = classes
    total, is_grouped = np.zeros(len(wanted), np.int64), len(group) > 0 and group.max() >= 0
    for one in range(len(total)):
        rounded = np.floor(wanted[one] + WHOLE) if is_grouped or is_buy[one] else np.ceil(wanted[one] - WHOLE)
        total[one] = min(max(np.int64(rounded), 0), most_w[one])
    spare = _spare(take, is_buy, total, residual)
    if is_grouped:
        _balance(is_buy, group, total)
        spare = _spare(take, is_buy, total, residual)
        _undo_pairs(take, is_buy, group, total, spare)
    else:
        _lower(take, is_buy, total, spare)
        _give_back(take, is_buy, total, most_w, spare)
    for left in _spare(take, is_buy, total, residual):
        assert left >= 0, "whole watts break a row"
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _spare(take: Watts, is_buy: Any, total: Watts, residual: Watts) -> Any:
    spare = residual.copy()
    for one in range(len(total)):
        if total[one]:
            _book(take[one], spare, total[one] if is_buy[one] else -total[one])
    return spare


@njit(cache=True)  # type: ignore[untyped-decorator]
def left_over(columns: npt.NDArray[np.int32], residual: Watts, right: Indices, change_w: Watts) -> Any:
    """The residuals after so many watts more of each right, sales first; it ends at the purchase that breaks a row.

    So no sum overflows: holdings that are given back are in the residuals already, and one purchase is below 2^31 * 2^31.
    """
    left = residual.copy()
    for is_buy in (False, True):
        for one in range(len(right)):
            if (change_w[one] > 0) == is_buy:
                _book(columns[right[one]], left, change_w[one])
                if is_buy and len(left) and left.min() < 0:
                    return left
    return left


@njit(cache=True)  # type: ignore[untyped-decorator]
def _book(take: Watts, spare: Watts, change: int) -> None:
    for row in range(len(spare)):
        spare[row] -= np.int64(take[row]) * change


@njit(cache=True)  # type: ignore[untyped-decorator]
def _lower(take: Watts, is_buy: Any, total: Watts, spare: Watts) -> None:
    """Lowers purchases until no row is broken: each time the one that mends its row with the fewest watts, the last in merit of equals."""
    for row in range(len(spare)):
        while spare[row] < 0:
            best, fewest = -1, 0
            for one in range(len(total)):
                if is_buy[one] and total[one] > 0 and take[one, row] > 0:
                    needed = -(spare[row] // take[one, row])
                    if best < 0 or needed <= fewest:
                        best, fewest = one, needed
            less = min(total[best], fewest)
            _book(take[best], spare, -less)
            total[best] -= less


@njit(cache=True)  # type: ignore[untyped-decorator]
def _room(take: Watts, spare: Watts, wanted: int) -> Any:
    for row in range(len(spare)):
        if take[row] > 0 and spare[row] < take[row] * wanted:
            wanted = spare[row] // take[row]
    return wanted


@njit(cache=True)  # type: ignore[untyped-decorator]
def _give_back(take: Watts, is_buy: Any, total: Watts, most_w: Watts, spare: Watts) -> None:
    """Less is sold and more is bought by those that take part, as far as rows allow."""
    for one in range(len(total) - 1, -1, -1):
        if not is_buy[one] and total[one] > 0:
            less = _room(take[one], spare, total[one])
            _book(take[one], spare, less)
            total[one] -= less
    for one in range(len(total)):
        if is_buy[one] and total[one] > 0:
            more = _room(take[one], spare, most_w[one] - total[one])
            _book(take[one], spare, more)
            total[one] += more


@njit(cache=True)  # type: ignore[untyped-decorator]
def _balance(is_buy: Any, group: Indices, total: Watts) -> None:
    """Cuts the longer side of each group to the shorter, the last in merit first."""
    for name in range(group.max() + 1):
        over = 0
        for one in range(len(total)):
            if group[one] == name:
                over += total[one] if is_buy[one] else -total[one]
        for one in range(len(total) - 1, -1, -1):
            if group[one] == name and over != 0 and is_buy[one] == (over > 0):
                less = min(total[one], abs(over))
                total[one] -= less
                over += -less if over > 0 else less


@njit(cache=True)  # type: ignore[untyped-decorator]
def _undo_pairs(take: Watts, is_buy: Any, group: Indices, total: Watts, spare: Watts) -> None:
    """While a row is broken, undoes part of the pair that takes most from it."""
    turns = 0
    while len(spare):
        row = spare.argmin()
        if spare[row] >= 0:
            return
        buyer, seller = _pair(take[:, row].copy(), is_buy, group, total)
        per_watt = take[buyer, row] - take[seller, row]
        step = np.int64(1) << min(turns // PATIENT_TURNS, 31)
        less = min(total[buyer], total[seller], max(step, -(spare[row] // per_watt)))
        turns += 1
        for one, sign in ((buyer, -1), (seller, 1)):
            _book(take[one], spare, sign * less)
            total[one] -= less


@njit(cache=True)  # type: ignore[untyped-decorator]
def _pair(take: Watts, is_buy: Any, group: Indices, total: Watts) -> Any:
    """Buyer and seller of one group that together take most from a row. Some pair takes from a row that is broken."""
    best, found = 0, (-1, -1)
    for name in range(group.max() + 1):
        buyer, seller = -1, -1
        for one in range(len(total)):
            if group[one] == name and total[one] > 0:
                if is_buy[one] and (buyer < 0 or take[one] > take[buyer]):
                    buyer = one
                if not is_buy[one] and (seller < 0 or take[one] < take[seller]):
                    seller = one
        if buyer >= 0 and seller >= 0 and take[buyer] - take[seller] > best:
            best, found = take[buyer] - take[seller], (buyer, seller)
    return found
