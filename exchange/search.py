"""Who is next: the compiled search for the counterpart of an incoming order. Integers only; docs/market.md says the rules.

It reads the rows (`columns`, `residual`) and, for each side of an interval, `heads`: price, shown watts, arrival and owner of the first
order of every line, by right; a price of NONE where the line is empty. A pair that is found is booked in `residual` at once.
At rates the answers lie in `out`: right, watts bought, watts sold; one to one they are packed into one integer (`unpacked`), for every
array that goes in or out costs a tenth of the call. Where nothing trades the right is that of the best-priced line that is crossed in
plain price all the same, or -1. `rows` holds three numbers of each row: its largest coefficient, the search's own notes, and the residual
as it was before the first fill of a walk (`fills` counts them). All loops run over rights and rows, never over orders.

No overflow: columns and watts are below 2^31, residuals in [0, 2^44], a rate at most 2^22, so every product is below 2^62; where a
slope times a quantity could be more, doubles decide only whether the exact division is needed. Everything compiled is in this file:
numba's cache looks at the file of a function alone, and would keep what another file had.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

NONE = -1  # price of an empty line
PRICE, SHOWN, ARRIVAL, OWNER, PASSED = 0, 1, 2, 3, 4  # the last is the search's own
LARGEST, BEFORE, NOTES = 0, 1, 2
RATE_BITS = 16
RATE_MAX = 64  # and at most the lot: so the first order of a line always has enough for one watt of a buyer
WATTS_MAX = 2**31 - 1
NOTHING, PAIR, LEFTOVER, OWN = 0, 1, 2, 3
RIGHT, BOUGHT, SOLD = 0, 1, 2
NEAR_SHIFT, RIGHT_SHIFT, QUANTITY_SHIFT = 2, 3, 32
RIGHT_MASK = (1 << QUANTITY_SHIFT - RIGHT_SHIFT) - 1
Integers = npt.NDArray[np.int64]
Columns = npt.NDArray[np.int32]

_STATE = "int64(int32[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1]"
_AT_RATES = _STATE + 8 * ", int64" + ", int64[::1])"


@cache
def one_to_one() -> Any:
    return _one_to_one.compile(_STATE + 9 * ", int64" + ")")


@cache
def seller_at_rates() -> Any:
    return _seller_at_rates.compile(_AT_RATES)


@cache
def buyer_at_rates() -> Any:
    return _buyer_at_rates.compile(_AT_RATES)


def unpacked(answer: int) -> tuple[int, bool, int, int]:
    """(what was found, whether any row was nearly full before, right or -1, watts) of a one-to-one search."""
    return answer & 3, bool(answer >> NEAR_SHIFT & 1), (answer >> RIGHT_SHIFT & RIGHT_MASK) - 1, answer >> QUANTITY_SHIFT


@cache
def mark() -> Any:
    return _mark.compile("boolean(int32[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64, int64, int8[::1])")


@njit(cache=True)  # type: ignore[untyped-decorator]
def _one_to_one(
    columns: Columns, residual: Integers, rows: Integers, heads: Integers,
    right: int, is_buy: int, price: int, wanted: int, lot: int, barred: int, passes_own: int, n: int, fills: int,
) -> Any:  # fmt: skip
    """The next secure pair within one direction. Lines that the network blocks are passed over (noted in `heads`), and
    so are own ones where they do not end the walk."""
    start, blocking = right // n * n, -1
    for line in range(start, start + n):
        heads[PASSED, line] = passes_own and heads[OWNER, line] == barred
    best = _first_crossing(heads, start, start + n, is_buy, price)
    crossed_line = best
    while best >= 0:
        if heads[OWNER, best] == barred:
            return OWN
        buyer, seller = (right, best) if is_buy else (best, right)
        quantity = min(np.int64(wanted), heads[SHOWN, best])
        is_near = _keep(residual, rows, lot, fills)
        if blocking < 0 and _takes_whole(columns[buyer], columns[seller], residual, quantity):
            return _packed(PAIR, is_near, best, quantity)
        blocking = _blocking(columns[buyer], columns[seller], residual, min(lot, quantity), blocking)
        if blocking < 0:
            return _packed(PAIR, is_near, best, _book_secure(columns[buyer], columns[seller], residual, quantity, lot))
        heads[PASSED, best] = 1
        best = _first_crossing(heads, start, start + n, is_buy, price)
    return _packed(NOTHING, False, crossed_line, 0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _packed(found: int, is_near: int, right: int, quantity: int) -> Any:
    return np.int64(quantity) << QUANTITY_SHIFT | np.int64(right + 1) << RIGHT_SHIFT | is_near << NEAR_SHIFT | found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _takes_whole(take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], residual: Integers, quantity: int) -> Any:
    """Books a one-to-one trade if every row has room for all of it: most have, and then the rows are read once."""
    watts, signs = np.int64(np.int32(quantity)), np.int64(0)  # a product of two sign-extended 32-bit numbers is one vector instruction
    for row in range(residual.shape[0]):
        left = residual[row] - np.int64(np.int32(take[row] - give[row])) * watts
        residual[row] = left
        signs |= left
    if signs >= 0:
        return True
    for row in range(residual.shape[0]):
        residual[row] += np.int64(np.int32(take[row] - give[row])) * watts
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
def _blocking(take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], residual: Integers, least: int, likely: int) -> Any:
    """A row that has no room for the least of a one-to-one trade, -1 where there is none. The likely one is asked first."""
    if likely >= 0 and (np.int64(take[likely]) - np.int64(give[likely])) * least > max(residual[likely], 0):
        return likely
    for row in range(residual.shape[0]):
        needed = (np.int64(take[row]) - np.int64(give[row])) * least
        if needed > 0 and needed > residual[row]:
            return row
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _keep(residual: Integers, rows: Integers, lot: int, fills: int) -> Any:
    """Before the first fill of a walk: the residuals as they are, and whether any row may be too full for a lot of somebody."""
    if fills:
        return False
    is_near = False
    for row in range(residual.shape[0]):
        rows[BEFORE, row] = residual[row]
        is_near |= residual[row] < rows[LARGEST, row] * lot
    return is_near


@njit(cache=True)  # type: ignore[untyped-decorator]
def _first_crossing(heads: Integers, start: int, stop: int, is_buy: int, price: int) -> Any:
    best, best_price, best_arrival = -1, np.int64(0), np.int64(0)
    for line in range(start, stop):
        offered = heads[PRICE, line]
        if offered == NONE or heads[PASSED, line] or (offered > price if is_buy else offered < price):
            continue
        better = offered < best_price if is_buy else offered > best_price
        if best < 0 or better or (offered == best_price and heads[ARRIVAL, line] < best_arrival):
            best, best_price, best_arrival = line, offered, heads[ARRIVAL, line]
    return best


@njit(cache=True)  # type: ignore[untyped-decorator]
def _book_secure(take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], residual: Integers, wanted: int, lot: int) -> Any:
    """Books the largest secure part of a one-to-one trade: all that is wanted, or whole lots."""
    quantity = np.int64(wanted)
    for row in range(residual.shape[0]):
        needed = np.int64(take[row]) - np.int64(give[row])
        if needed > 0 and needed * quantity > residual[row]:
            quantity = max(residual[row], 0) // needed
    if quantity < wanted:
        quantity -= quantity % lot
    for row in range(residual.shape[0]):
        residual[row] -= (np.int64(take[row]) - np.int64(give[row])) * quantity
    return quantity


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tight(take: npt.NDArray[np.int32], residual: Integers, lot: int, rows: Integers) -> Any:
    """Fills `rows` with those that have no room for a lot of the buyer; how many."""
    count = 0
    for row in range(residual.shape[0]):
        if residual[row] < np.int64(take[row]) * lot and take[row] > 0:
            rows[count] = row
            count += 1
    return count


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rate(
    take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], residual: Integers, rows: Integers, count: int, lot: int, ask: int, bid: int
) -> Any:
    """Watts of the seller for one of the buyer, in 2^-16, over the rows that are tight for it; 0 where there is none, or the bid does
    not pay for what is asked. Seen by products, before the divisions: most pairs end there."""
    for i in range(count):
        row = rows[i]
        taken, given = np.int64(take[row]), np.int64(give[row])
        if residual[row] < taken * lot and (given == 0 or ask * taken > bid * given):
            return np.int64(0)
    rate = np.int64(0)
    for i in range(count):
        row = rows[i]
        taken, given = np.int64(take[row]), np.int64(give[row])
        if residual[row] < taken * lot:
            rate = max(rate, ((taken << RATE_BITS) + given - 1) // given)
    return rate if rate <= min(lot, RATE_MAX) << RATE_BITS and accepts(rate, lot, ask, bid) else np.int64(0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def accepts(rate: int, lot: int, ask: int, bid: int) -> Any:
    """Whether what is bid for a lot pays for the whole watts that a lot takes from the seller: then it pays for any number of lots."""
    return ask * ((np.int64(lot) * rate + (1 << RATE_BITS) - 1) >> RATE_BITS) <= np.int64(bid) * lot


@njit(cache=True)  # type: ignore[untyped-decorator]
def _quantity(rate: int, sellers: int, buyers: int, lot: int, ask: int, bid: int) -> Any:
    """What the two could trade, in watts bought: whole lots of what a buyer wants, where its odd watts do not pay for what they take."""
    quantity = min(buyers, (sellers << RATE_BITS) // rate)
    is_paid = quantity < buyers or quantity % lot == 0 or accepts(rate, quantity, ask, bid)
    return quantity if is_paid else quantity - quantity % lot


@njit(cache=True)  # type: ignore[untyped-decorator]
def _room(take: npt.NDArray[np.int32], residual: Integers) -> Any:
    room = np.int64(WATTS_MAX)
    for row in range(residual.shape[0]):
        if take[row] > 0:
            room = min(room, residual[row] // np.int64(take[row]))
    return room


@njit(cache=True)  # type: ignore[untyped-decorator]
def book_at_rate(
    take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], residual: Integers, rate: int, quantity: int, lot: int, out: Integers
) -> None:
    """Books the largest secure part of a trade at a rate, of `quantity` watts bought."""
    m = residual.shape[0]
    limited = np.int64(quantity)
    for row in range(m):
        if residual[row] < np.int64(take[row]) * lot:
            continue  # tight: the rate keeps it
        slope = (np.int64(take[row]) << RATE_BITS) - np.int64(give[row]) * rate
        if slope > 0 and float(slope) * float(limited) > float(residual[row]) * 65535.0:
            limited = min(limited, (residual[row] << RATE_BITS) // slope)
    if limited < quantity:
        limited -= limited % lot
    given = (limited * rate + (1 << RATE_BITS) - 1) >> RATE_BITS
    for row in range(m):
        residual[row] += np.int64(give[row]) * given - np.int64(take[row]) * limited
    out[BOUGHT], out[SOLD] = limited, given


@njit(cache=True)  # type: ignore[untyped-decorator]
def _seller_at_rates(
    columns: Columns, residual: Integers, rows: Integers, heads: Integers,
    buyer: int, price: int, wanted: int, lot: int, barred: int, shut: int, n: int, fills: int, out: Integers,
) -> Any:  # fmt: skip
    """What a purchase takes next: left-over headroom, else the seller with the least effective price that accepts."""
    take = columns[buyer]
    tight = rows[NOTES]
    count = _tight(take, residual, lot, tight)
    if count == 0:
        _keep(residual, rows, lot, fills)
        room = _room(take, residual)
        quantity = wanted if room >= wanted else room - room % lot
        for row in range(residual.shape[0]):
            residual[row] -= np.int64(take[row]) * quantity
        out[RIGHT], out[BOUGHT], out[SOLD] = -1, quantity, 0
        return LEFTOVER
    best, best_cost, best_rate = -1, np.int64(0), np.int64(0)
    for line in range(heads.shape[1]):
        offered = heads[PRICE, line]
        if offered == NONE or heads[OWNER, line] == barred or _is_shut(line, n, shut):
            continue
        rate = _rate(take, columns[line], residual, tight, count, lot, offered, np.int64(price))
        if rate == 0 or (wanted < lot and _quantity(rate, heads[SHOWN, line], np.int64(wanted), lot, offered, np.int64(price)) == 0):
            continue
        cost = (offered * rate + (1 << RATE_BITS) - 1) >> RATE_BITS
        if best < 0 or cost < best_cost or (cost == best_cost and heads[ARRIVAL, line] < heads[ARRIVAL, best]):
            best, best_cost, best_rate = line, cost, rate
    if best < 0:
        out[RIGHT] = crossed(heads, 0, heads.shape[1], 1, price, barred, n, shut)
        return NOTHING
    quantity = _quantity(best_rate, heads[SHOWN, best], np.int64(wanted), lot, heads[PRICE, best], np.int64(price))
    _keep(residual, rows, lot, fills)
    out[RIGHT] = best
    book_at_rate(take, columns[best], residual, best_rate, quantity, lot, out)
    return PAIR


@njit(cache=True)  # type: ignore[untyped-decorator]
def _buyer_at_rates(
    columns: Columns, residual: Integers, rows: Integers, heads: Integers,
    seller: int, price: int, wanted: int, lot: int, barred: int, shut: int, n: int, fills: int, out: Integers,
) -> Any:  # fmt: skip
    """The purchase that brings a sale the most for one of its watts, and accepts the rate."""
    possibly = rows[NOTES]
    count = _possibly_tight(residual, rows[LARGEST], lot, possibly)
    best, best_value, best_rate = -1, np.int64(0), np.int64(0)
    for line in range(heads.shape[1]):
        bid = heads[PRICE, line]
        if bid == NONE or heads[OWNER, line] == barred or _is_shut(line, n, shut):
            continue
        rate = _rate(columns[line], columns[seller], residual, possibly, count, lot, np.int64(price), bid)
        limit = (np.int64(wanted) << RATE_BITS) // rate if rate else np.int64(0)
        if limit == 0 or (wanted < lot and not accepts(rate, min(heads[SHOWN, line], limit), price, bid)):
            continue
        value = (bid << RATE_BITS) // rate
        if best < 0 or value > best_value or (value == best_value and heads[ARRIVAL, line] < heads[ARRIVAL, best]):
            best, best_value, best_rate = line, value, rate
    if best < 0:
        out[RIGHT] = crossed(heads, 0, heads.shape[1], 0, price, barred, n, shut)
        return NOTHING
    quantity = _quantity(best_rate, np.int64(wanted), heads[SHOWN, best], lot, np.int64(price), heads[PRICE, best])
    _keep(residual, rows, lot, fills)
    out[RIGHT] = best
    book_at_rate(columns[best], columns[seller], residual, best_rate, quantity, lot, out)
    return PAIR


@njit(cache=True)  # type: ignore[untyped-decorator]
def _possibly_tight(residual: Integers, row_largest: Integers, lot: int, rows: Integers) -> Any:
    count = 0
    for row in range(residual.shape[0]):
        if residual[row] < row_largest[row] * lot:
            rows[count] = row
            count += 1
    return count


@njit(cache=True)  # type: ignore[untyped-decorator]
def _is_shut(line: int, n: int, shut: int) -> Any:
    """`shut` has bit 1 where the export book is halted, bit 2 where the import book is."""
    return shut != 0 and line < 2 * n and (shut >> (line // n)) & 1 == 1


@njit(cache=True)  # type: ignore[untyped-decorator]
def rate_and_row(columns: Columns, residual: Integers, buyer: int, seller: int, lot: int) -> Any:
    """(rate or 0, the row that sets it or bars it; -1 where no row is tight for the buyer). The first row of equals."""
    rate, worst = np.int64(0), -1
    for row in range(residual.shape[0]):
        taken, given = np.int64(columns[buyer, row]), np.int64(columns[seller, row])
        if residual[row] >= taken * lot or taken == 0:
            continue
        if given == 0:
            return np.int64(0), row
        needed = ((taken << RATE_BITS) + given - 1) // given
        if needed > rate:
            rate, worst = needed, row
    return (rate if rate <= min(lot, RATE_MAX) << RATE_BITS else np.int64(0)), worst


@njit(cache=True)  # type: ignore[untyped-decorator]
def crossed(heads: Integers, start: int, stop: int, is_buy: int, price: int, barred: int, n: int, shut: int) -> Any:
    """The best-priced line, then the earliest, that an order at this price crosses in plain price; -1 where none."""
    best = -1
    for line in range(start, stop):
        offered = heads[PRICE, line]
        if offered == NONE or heads[OWNER, line] == barred or _is_shut(line, n, shut) or (offered > price if is_buy else offered < price):
            continue
        if best >= 0:
            leads = offered < heads[PRICE, best] if is_buy else offered > heads[PRICE, best]
            if not leads and not (offered == heads[PRICE, best] and heads[ARRIVAL, line] < heads[ARRIVAL, best]):
                continue
        best = line
    return best


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mark(
    columns: Columns, before: Integers, after: Integers, row_largest: Integers, heads: Integers, lot: int, at_rates: int,
    marks: npt.NDArray[np.int8],
) -> Any:  # fmt: skip
    """Marks the purchases that a rise of residuals may unblock; whether there are any."""
    found = False
    for row in range(after.shape[0]):
        if after[row] <= before[row] or before[row] >= row_largest[row] * lot:
            continue
        for line in range(heads.shape[1]):
            need = np.int64(columns[line, row]) * lot
            if heads[PRICE, line] != NONE and before[row] < need and (not at_rates or after[row] >= need):
                marks[line] = 1
                found = True
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def next_marked(marks: npt.NDArray[np.int8], heads: Integers, n: int, shut: int) -> Any:
    """Takes the mark from the best-priced marked purchase, then the earliest, and names it; -1 where none is left."""
    best = -1
    for line in range(heads.shape[1]):
        if not marks[line]:
            continue
        if heads[PRICE, line] == NONE or _is_shut(line, n, shut):
            marks[line] = 0
        elif best < 0 or heads[PRICE, line] > heads[PRICE, best] or (
            heads[PRICE, line] == heads[PRICE, best] and heads[ARRIVAL, line] < heads[ARRIVAL, best]
        ):  # fmt: skip
            best = line
    if best >= 0:
        marks[best] = 0
    return best


def warm() -> None:
    """Compiles (or loads from the cache) everything here, so that no order has to wait for it."""
    one_to_one(), seller_at_rates(), buyer_at_rates(), mark()
    columns, residual, heads = np.ones((2, 1), dtype=np.int32), np.ones(1, dtype=np.int64), np.full((5, 2), NONE, dtype=np.int64)
    rate_and_row(columns, residual, 0, 1, 1)
    crossed(heads, 0, 2, 1, 1, 1, 1, 0)
    accepts(1, 1, 1, 1)
    next_marked(np.zeros(2, dtype=np.int8), heads, 1, 0)
