"""The exact end of a linear program, from a good point: a primal simplex that may start anywhere inside.

    max value.x     s.t.   rows x <= room,   0 <= x <= high

OSQP's point is near the optimum but in the middle of faces: it splits what is worth the same, stays a little away from every
row, and regularisation costs a little welfare. From there this walks uphill, feasible at every step, until no variable and no
row has a gain left: the optimum of the program, at which the multipliers of the rows are their prices.

Between steps the state is (x, tight rows W, as many basic variables B): B moves so that the spare room of W stays as it is.
Variables outside B may be anywhere between their bounds, which is all that a start inside asks for. Only the square
rows[W, B] is inverted; everything else is a product with it. Room is widened a little, each row by another amount
(`WIDENED`), so that ties do not keep the walk in place; whoever rounds to integers afterwards has to look anyway.

The best rise over the whole range of a variable enters first. An answer after `steps_max` is a point like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

GAIN = 1e-10  # per unit of a variable, of the greatest value: less is none
PIVOT = 1e-9
WIDENED = 1e-7  # of the greatest range


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def climb(value: Floats, rows: Floats, room: Floats, high: Floats, start: Floats, steps_max: int) -> Any:
    """(x [n], price of each row [m], steps taken). `start` must be feasible; `value` and `high` of the order of one."""
    x = start.copy()
    price, steps = _climb(value, rows, _widened(room, high), high, x, steps_max)
    return x, price, steps


@njit(cache=True)  # type: ignore[untyped-decorator]
def _widened(room: Floats, high: Floats) -> Any:
    widest = 0.0
    for span in high:
        widest = max(widest, span)
    ties = (np.arange(len(room)) * 0.618033988749895) % 1.0
    return room + WIDENED * (1.0 + ties) * widest


@njit(cache=True)  # type: ignore[untyped-decorator]
def _climb(value: Floats, rows: Floats, room: Floats, high: Floats, x: Floats, steps_max: int) -> Any:
    m, n = rows.shape
    tight, basic = np.empty(min(m, n), np.int64), np.empty(min(m, n), np.int64)
    is_basic, is_tight = np.zeros(n, np.bool_), np.zeros(m, np.bool_)
    spare = np.maximum(room - rows @ x, 0.0)
    k, is_new = 0, True
    for step in range(steps_max):
        if is_new:
            inverse = _inverse(rows, tight[:k], basic[:k])
            worth = _worth(value, inverse, basic[:k])
            gain = _gain(value, rows, tight[:k], worth)
        entering, leaving_row, sign = _enter(gain, high, x, worth, is_basic)
        if entering < 0 and leaving_row < 0:
            return _prices(m, tight[:k], worth), step
        along = _along(rows, inverse, tight[:k], entering, leaving_row, sign)
        use = _use(rows, basic[:k], along, entering, sign)
        reach, basic_end, row_end = _reach(use, spare, is_tight, x, high, basic[:k], along, entering, sign)
        if not np.isfinite(reach):
            break
        _move(x, spare, high, basic[:k], along, use, is_tight, entering, sign, reach)
        if leaving_row >= 0:
            spare[tight[leaving_row]] += reach
        is_new = entering < 0 or basic_end >= 0 or row_end >= 0  # else it reached its own bound
        k = _exchange(tight, basic, is_tight, is_basic, k, entering, leaving_row, basic_end, row_end)
        if row_end >= 0:
            spare[row_end] = 0.0
    return _prices(m, tight[:k], _worth(value, _inverse(rows, tight[:k], basic[:k]), basic[:k])), steps_max


@njit(cache=True)  # type: ignore[untyped-decorator]
def _inverse(rows: Floats, tight: Indices, basic: Indices) -> Any:
    k = len(tight)
    square = np.empty((k, k))
    for i in range(k):
        for j in range(k):
            square[i, j] = rows[tight[i], basic[j]]
    return np.linalg.inv(square) if k else square


@njit(cache=True)  # type: ignore[untyped-decorator]
def _worth(value: Floats, inverse: Floats, basic: Indices) -> Any:
    """Multipliers of the tight rows: a basic variable gains nothing by itself."""
    k = len(basic)
    worth = np.zeros(k)
    for j in range(k):
        for i in range(k):
            worth[i] += value[basic[j]] * inverse[j, i]
    return worth


@njit(cache=True)  # type: ignore[untyped-decorator]
def _prices(m: int, tight: Indices, worth: Floats) -> Any:
    price = np.zeros(m)
    for i in range(len(tight)):
        price[tight[i]] = max(worth[i], 0.0)
    return price


@njit(cache=True)  # type: ignore[untyped-decorator]
def _gain(value: Floats, rows: Floats, tight: Indices, worth: Floats) -> Any:
    """What one unit more of each variable gains at these prices."""
    gain = value.copy()
    for i in range(len(tight)):
        for j in range(len(gain)):
            gain[j] -= worth[i] * rows[tight[i], j]
    return gain


@njit(cache=True)  # type: ignore[untyped-decorator]
def _enter(gain: Floats, high: Floats, x: Floats, worth: Floats, is_basic: Any) -> Any:
    """(variable, place of a row in `tight`, sign): what rises (or falls, sign -1) next; -1, -1 where nothing gains."""
    best, entering, leaving_row, sign = 0.0, -1, -1, 1.0
    for j in range(len(gain)):
        span = high[j] - x[j] if gain[j] > 0 else x[j]
        if not is_basic[j] and abs(gain[j]) > GAIN and abs(gain[j]) * span > best:
            best, entering, sign = abs(gain[j]) * span, j, (1.0 if gain[j] > 0 else -1.0)
    for i in range(len(worth)):
        if worth[i] < -GAIN and (-worth[i] > best or entering < 0):
            best, entering, leaving_row, sign = -worth[i], -1, i, 1.0
    return entering, leaving_row, sign


@njit(cache=True)  # type: ignore[untyped-decorator]
def _along(rows: Floats, inverse: Floats, tight: Indices, entering: int, leaving_row: int, sign: float) -> Any:
    """How the basic variables move with the entering one, or with one unit of room given back by the leaving row."""
    k = len(tight)
    if leaving_row >= 0:
        return -inverse[:, leaving_row].copy()
    along = np.zeros(k)
    for j in range(k):
        for i in range(k):
            along[j] -= inverse[j, i] * rows[tight[i], entering] * sign
    return along


@njit(cache=True)  # type: ignore[untyped-decorator]
def _use(rows: Floats, basic: Indices, along: Floats, entering: int, sign: float) -> Any:
    """What each row loses per unit of the step."""
    m = rows.shape[0]
    use = np.zeros(m)
    for row in range(m):
        total = 0.0
        for j in range(len(basic)):
            total += rows[row, basic[j]] * along[j]
        use[row] = total + (rows[row, entering] * sign if entering >= 0 else 0.0)
    return use


@njit(cache=True)  # type: ignore[untyped-decorator]
def _reach(
    use: Floats, spare: Floats, is_tight: Any, x: Floats, high: Floats, basic: Indices, along: Floats, entering: int, sign: float
) -> Any:  # fmt: skip
    """(length of the step, place of the basic variable that ends it or -1, row that ends it or -1)."""
    reach = np.inf
    if entering >= 0:
        reach = high[entering] - x[entering] if sign > 0 else x[entering]
    basic_end, row_end = -1, -1
    for j in range(len(basic)):
        if abs(along[j]) > PIVOT:
            room = high[basic[j]] - x[basic[j]] if along[j] > 0 else x[basic[j]]
            if room / abs(along[j]) < reach:
                reach, basic_end = max(room, 0.0) / abs(along[j]), j
    for row in range(len(use)):
        if not is_tight[row] and use[row] > PIVOT and spare[row] / use[row] < reach:
            reach, basic_end, row_end = spare[row] / use[row], -1, row
    return reach, basic_end, row_end


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(
    x: Floats, spare: Floats, high: Floats, basic: Indices, along: Floats, use: Floats, is_tight: Any,
    entering: int, sign: float, reach: float,
) -> None:  # fmt: skip
    for j in range(len(basic)):
        x[basic[j]] = min(max(x[basic[j]] + along[j] * reach, 0.0), high[basic[j]])
    if entering >= 0:
        x[entering] = min(max(x[entering] + sign * reach, 0.0), high[entering])
    for row in range(len(use)):
        if not is_tight[row]:
            spare[row] = max(spare[row] - use[row] * reach, 0.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _exchange(
    tight: Indices, basic: Indices, is_tight: Any, is_basic: Any, k: int, entering: int, leaving_row: int, basic_end: int, row_end: int
) -> Any:
    """The new square: who entered takes the place of who ended the step."""
    if entering >= 0 and basic_end < 0 and row_end < 0:
        return k  # it reached its own bound
    if leaving_row >= 0:
        is_tight[tight[leaving_row]] = False
    if basic_end >= 0:
        is_basic[basic[basic_end]] = False
    if row_end >= 0:
        is_tight[row_end] = True
    if entering >= 0:
        is_basic[entering] = True
        if basic_end >= 0:
            basic[basic_end] = entering
            return k
        tight[k], basic[k] = row_end, entering
        return k + 1
    if row_end >= 0:
        tight[leaving_row] = row_end
        return k
    tight[leaving_row], basic[basic_end] = tight[k - 1], basic[k - 1]
    return k - 1
