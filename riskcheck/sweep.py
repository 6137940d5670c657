"""Which orders should trade together? The greatest welfare that the rows allow, in whole watts. Knows rows, rights, watts and
prices; nothing of markets.

Order j offers to buy (or to sell) up to `quantity_w[j]` of a right at `price_mct[j]` at most (at least). The program:

    max  sum price * bought - sum price * sold      s.t.   P (bought - sold) <= residual,   0 <= x <= quantity

and in a one-to-one market, within each group of orders (a direction), bought = sold. A row that all purchases together cannot
fill is left out; so is everybody's sale that relieves none of the others. What is left is solved in two steps:

1. **OSQP** (`riskcheck/solver.py`), where there is time for it: variables in units of their quantities, rows in units of their
   largest coefficient, regularised, bounds shrunk, time and iterations limited; rows join as they are broken. Then purchases are
   scaled down by one factor until no row is: sales alone are always secure. (One to one they are not, so there the next step begins
   with nothing.)
2. **A vertex** (`riskcheck/vertex.py`): from that point, exact steps uphill; where it is far, in a large book in which many rows
   bind, HiGHS goes there, if there is time. OSQP alone reaches 0.99 and splits what is worth the same; the vertex is the optimum,
   and at equal welfare the earlier order's: prices carry a tilt by time (`TILT_MCT`, far below any tick), so between two orders of
   one price the earlier is served first. The tilt also lets equal prices trade.

Then whole watts: orders of equal columns and side form one class, whose watts are dealt by price, then time. Purchases are
rounded down and sales up, which no row can mind; float errors are paid for by purchases, watt by watt; what rounding took is
given back as far as rows allow. The result is verified in integers. In a one-to-one market sales follow purchases instead.

An auction has the time. An order that comes has not: there the vertex is sought from nothing, in few steps (`STEPS_QUICK`), and the
best point on the way is as good a proposal as any.

`row_price_mct` are the multipliers: what one more watt of room would be worth, per kWh of the right that uses the row most. From
them every right has its price (`right_price_mct`): who bids more than it, or asks less, is filled whole, and as long as nobody at
rest does, no joint trade is worth anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from riskcheck.blas import use_one_thread
from riskcheck.solver import Nearest, toward_safe
from riskcheck.vertex import climb
from riskcheck.whole import classes, dealt, left_over

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Watts = npt.NDArray[np.int64]

REGULAR = 1e-3  # OSQP does not converge on a program without curvature
EPS = 1e-3
ITERATIONS_MAX = 500
ENTERING = 10  # rows that join OSQP's program at once
ROUNDS_MAX = 6
WHOLE_BOOK_MAX = 500  # orders that OSQP looks at all together (0.1 s); with more the vertex is sought from nothing
NEAR = 30  # orders that OSQP looks at where prices are known already: those that these prices leave nearest to a trade
BROKEN = 2e-3  # of a row's largest term
NEARLY = 0.02
STEPS_MAX = 300  # of the vertex; a book that needs more is finished by HiGHS, in a thirtieth of the time
STEPS_QUICK = 200  # where nothing finishes it: 5 ms for 480 orders and 120 rows that bind
SECONDS_MAX = 5.0  # of HiGHS
TILT_MCT = 0.01
WATTS_MAX = 2**30  # of all offers together: times a coefficient below 2^31, half of what 64 bits hold


class Offers(NamedTuple):
    """Orders in the order of time, one entry each. `column` is the right's place in the columns; `group` is -1 where rates are free."""

    column: Indices
    is_buy: npt.NDArray[np.bool_]
    quantity_w: Watts
    price_mct: Watts
    group: Indices


@dataclass(frozen=True, eq=False)
class Fills:
    """`filled_w` [n_offers]; `welfare_mct_w` = sum of price * watts bought - sold, exactly; `row_price_mct` [n_rows], >= 0.

    `group_price_mct` is what every watt of a group costs beside the rows, one to one; by group.
    """

    filled_w: Watts
    welfare_mct_w: int
    row_price_mct: Floats
    group_price_mct: dict[int, float]


class _Program(NamedTuple):
    """The offers and rows that matter, prices in units of the greatest, watts in units of the largest quantity."""

    offers: Indices
    kept: Indices  # rows of the network; two for each group follow
    groups: Indices
    value: Floats
    rows: Floats
    room: Floats
    high: Floats
    unit_w: float
    unit_mct: float


def is_countable(offers: Offers) -> bool:
    """Whether all changes together stay within 64 bits, whatever is filled: `best` must not be asked otherwise."""
    return int(offers.quantity_w.sum()) <= WATTS_MAX


def best(
    columns: npt.NDArray[np.int32], residual: Watts, offers: Offers, *,
    class_of: Indices | None = None, hint_mct: Floats | None = None, is_quick: bool = False,
) -> Fills:  # fmt: skip
    """The joint fills. `columns` [n_columns, n_rows], `residual` >= 0 [n_rows]; `class_of` [n_columns] where it is known already.

    `hint_mct` [n_rows]: prices of an earlier solution nearby; OSQP then looks only at what they leave open. Quickly, the vertex is
    sought from 0, and not to the end where that is far: mostly the same optimum. No right trades with itself: either
    what it would is left out on both sides, or its smaller side at all and the rest is solved again, whichever is worth more.
    """
    assert is_countable(offers), "a sum of changes may overflow"
    known = classes(columns) if class_of is None else class_of
    fills = _joint(columns, residual, offers, known, hint_mct, is_quick)
    own = _smaller_sides(offers.column, offers.is_buy, fills.filled_w, len(columns))
    if not own.any():
        return fills
    one_sided = offers._replace(quantity_w=np.where(own, 0, offers.quantity_w))
    again = _netted(offers, _joint(columns, residual, one_sided, known, hint_mct, is_quick))
    return max(_netted(offers, fills), again, key=lambda found: found.welfare_mct_w)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _smaller_sides(column: Indices, is_buy: Any, filled_w: Watts, rights: int) -> Any:
    """The orders of the side with fewer watts, of each right that would trade with itself."""
    bought, sold = np.zeros(rights, np.int64), np.zeros(rights, np.int64)
    for j in range(len(column)):
        (bought if is_buy[j] else sold)[column[j]] += filled_w[j]
    found = np.zeros(len(column), np.bool_)
    for j in range(len(column)):
        own_bought, own_sold = bought[column[j]], sold[column[j]]
        found[j] = own_bought > 0 and own_sold > 0 and is_buy[j] == (own_bought <= own_sold)
    return found


def _netted(offers: Offers, fills: Fills) -> Fills:
    """Without what rights would trade with themselves: as many watts less on both sides, the worst prices first. Rows see no difference."""
    filled = fills.filled_w.copy()
    bought = np.bincount(offers.column, np.where(offers.is_buy, filled, 0)).astype(np.int64)
    sold = np.bincount(offers.column, np.where(offers.is_buy, 0, filled)).astype(np.int64)
    for column in np.flatnonzero((bought > 0) & (sold > 0)):
        for is_buy in (True, False):
            side = np.flatnonzero((offers.column == column) & (offers.is_buy == is_buy))
            over = min(bought[column], sold[column])
            for one in side[np.lexsort((-side, offers.price_mct[side] if is_buy else -offers.price_mct[side]))]:
                less = min(over, filled[one])
                filled[one] -= less
                over -= less
    signed = np.where(offers.is_buy, filled, -filled)
    return replace(fills, filled_w=filled, welfare_mct_w=int(signed @ offers.price_mct))


def _joint(
    columns: npt.NDArray[np.int32], residual: Watts, offers: Offers, class_of: Indices, hint_mct: Floats | None, is_quick: bool
) -> Fills:  # fmt: skip
    program = _Program(*_posed(columns, residual, *offers))
    x, price = _solved(program, hint_mct, is_quick)
    row_price, n_kept = np.zeros(len(residual)), len(program.kept)
    row_price[program.kept] = price[:n_kept] * program.unit_mct
    of_groups = (price[n_kept::2] - price[n_kept + 1 :: 2]) * program.unit_mct
    group_price = dict(zip(program.groups.tolist(), of_groups.tolist(), strict=True))
    filled = np.zeros(len(offers.column))
    filled[program.offers] = x * program.unit_w
    whole = _whole(columns, residual, class_of, offers, filled)
    signed = np.where(offers.is_buy, whole, -whole)
    return Fills(whole, int(signed @ offers.price_mct), row_price, group_price)


def _whole(columns: npt.NDArray[np.int32], residual: Watts, class_of: Indices, offers: Offers, filled: Floats) -> Watts:
    """Whole watts near `filled`. Not compiled: numba's cache would keep the `dealt` of another version of its file."""
    column, is_buy, quantity_w, price_mct, group = offers
    merit = np.argsort(np.where(is_buy, -price_mct, price_mct), kind="stable")
    whole: Watts = dealt(columns, residual, class_of, column, is_buy, quantity_w, group, merit, filled)
    return whole


@njit(cache=True)  # type: ignore[untyped-decorator]
def right_price_mct(columns: npt.NDArray[np.int32], row_price_mct: Floats) -> Any:
    """What a watt of each right [n_columns] costs at these prices of rows, in mct/kWh."""
    rights, price = columns.shape[0], np.zeros(columns.shape[0])
    for row in np.flatnonzero(row_price_mct):
        most = 1.0
        for right in range(rights):
            most = max(most, float(columns[right, row]))
        for right in range(rights):
            price[right] += columns[right, row] * (row_price_mct[row] / most)
    return price


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _posed(
    columns: npt.NDArray[np.int32], residual: Watts, column: Indices, is_buy: Any, quantity_w: Watts, price_mct: Watts, group: Indices
) -> Any:  # fmt: skip
    """The fields of a `_Program`."""
    kept, groups = _fillable(columns, residual, column, is_buy, quantity_w), np.unique(group[group >= 0])
    offers = _useful(columns, kept, column, is_buy, group)
    unit_w, unit_mct = 1.0, 1.0
    for j in range(len(column)):
        unit_w, unit_mct = max(unit_w, float(quantity_w[j])), max(unit_mct, float(price_mct[j]))
    rows, room = np.zeros((len(kept) + 2 * len(groups), len(offers))), np.zeros(len(kept) + 2 * len(groups))
    value, sign = np.empty(len(offers)), np.where(is_buy[offers], 1.0, -1.0)
    for i, j in enumerate(offers):
        late = j / len(column)
        value[i] = (price_mct[j] + TILT_MCT * (2 - late) if is_buy[j] else -price_mct[j] - TILT_MCT * late) / unit_mct
    for place, row in enumerate(kept):
        most = 1.0
        for right in range(columns.shape[0]):
            most = max(most, float(columns[right, row]))
        room[place] = max(residual[row], 0) / most / unit_w
        for i, j in enumerate(offers):
            rows[place, i] = sign[i] * columns[column[j], row] / most
    for place, name in enumerate(groups):
        for i, j in enumerate(offers):
            share = sign[i] if group[j] == name else 0.0
            rows[len(kept) + 2 * place, i], rows[len(kept) + 2 * place + 1, i] = share, -share
    return offers, kept, groups, value, rows, room, quantity_w[offers] / unit_w, unit_w, unit_mct


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fillable(columns: npt.NDArray[np.int32], residual: Watts, column: Indices, is_buy: Any, quantity_w: Watts) -> Any:
    """The rows that all purchases together can fill."""
    demand, use = np.zeros(columns.shape[0]), np.zeros(len(residual))
    for j in range(len(column)):
        if is_buy[j]:
            demand[column[j]] += quantity_w[j]
    for right in np.flatnonzero(demand):
        for row in range(len(use)):
            use[row] += demand[right] * columns[right, row]
    return np.flatnonzero(use > residual)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _useful(columns: npt.NDArray[np.int32], kept: Indices, column: Indices, is_buy: Any, group: Indices) -> Any:
    """Purchases, sales that relieve a row, and whoever is bound to a group."""
    useful = is_buy | (group >= 0)
    for j in np.flatnonzero(~useful):
        for row in kept:
            if columns[column[j], row] > 0:
                useful[j] = True
                break
    return np.flatnonzero(useful)


def _solved(program: _Program, hint_mct: Floats | None, is_quick: bool) -> tuple[Floats, Floats]:
    """(x, price of each row) at the optimum, in the program's units."""
    start, steps_max = np.zeros(len(program.offers)), STEPS_QUICK if is_quick else STEPS_MAX
    if not len(program.room):
        start = np.where(program.value > 0, program.high, 0.0)
    elif not is_quick and len(program.room) == len(program.kept) and (hint_mct is not None or len(start) <= WHOLE_BOOK_MAX):
        hint = None if hint_mct is None else hint_mct[program.kept] / program.unit_mct
        start = _secured(program, _by_osqp(program, hint))
    x, price, steps = _climbed(program, start, steps_max)
    return (x, price) if is_quick or steps < steps_max else _by_highs(program, x, price)


def _climbed(program: _Program, start: Floats, steps_max: int) -> tuple[Floats, Floats, int]:
    """The vertex; the start, as after all steps, where the climb comes to rows that it cannot tell apart."""
    try:
        x, price, steps = climb(program.value, program.rows, program.room, program.high, start, steps_max)
    except np.linalg.LinAlgError:
        return start, np.zeros(len(program.room)), steps_max
    return x, price, steps


def _by_highs(program: _Program, x: Floats, price: Floats) -> tuple[Floats, Floats]:
    """The optimum of a large, degenerate book; what was there already where HiGHS has none in time."""
    from scipy.optimize import linprog

    bounds = np.column_stack([np.zeros(len(program.high)), program.high])
    found = linprog(
        -program.value, A_ub=program.rows, b_ub=program.room, bounds=bounds, method="highs", options={"time_limit": SECONDS_MAX}
    )
    if found.x is None or not np.isfinite(found.x).all():
        return x, price
    return np.clip(found.x, 0.0, program.high), np.maximum(-found.ineqlin.marginals, 0.0)


def _by_osqp(program: _Program, hint: Floats | None) -> Floats:
    """OSQP's point; rows join while it breaks them, the most broken first. Nearly nothing is nothing, and nearly all is all."""
    rows, nothing = program.rows, np.zeros(len(program.offers))
    if hint is None or not hint.any():
        chosen, working = np.arange(len(nothing)), np.zeros(len(rows), dtype=bool)
    else:
        edge, working = program.value - hint @ rows, hint > 0
        chosen = np.sort(np.argsort(np.where(edge > 0, 0.0, -edge), kind="stable")[:NEAR])
    scaled = rows[:, chosen] * program.high[chosen]
    gain = program.value[chosen] * program.high[chosen]
    part = _regular(gain / np.abs(gain).max(), scaled, program.room, working)
    nothing[chosen] = np.where(part < NEARLY, 0.0, np.where(part > 1 - NEARLY, 1.0, part)) * program.high[chosen]
    return nothing


def _regular(gain: Floats, rows: Floats, room: Floats, working: npt.NDArray[np.bool_]) -> Floats:
    """max gain.z - REGULAR |z|^2 / 2 with variables in [0, 1], `rows` z <= `room`. `working` names the rows to begin with."""
    point, size = (gain > 0).astype(float), np.maximum(np.abs(rows).max(axis=1), 1e-300)
    for turn in range(ROUNDS_MAX):
        over = (rows @ point - room) / size
        broken = np.flatnonzero((over > BROKEN) & ~working)
        working[broken[np.argsort(-over[broken], kind="stable")[:ENTERING]]] = True
        if not len(broken) and (turn or not working.any()):
            break
        low = np.zeros(len(gain))
        nearest = Nearest(rows[working], gain / REGULAR, low, low + 1, weight=REGULAR, eps=EPS, iterations_max=ITERATIONS_MAX)
        found = nearest.ask(room[working]).point
        point = low if found is None else found
    return point


def _secured(program: _Program, point: Floats) -> Floats:
    """Fewer purchases, by one factor, until no row is broken: sales alone only relieve."""
    return toward_safe(point, np.where(program.value < 0, point, 0.0), program.rows, program.room)


def warm() -> None:
    """Compiles (or loads from the cache) everything here, so that no order has to wait for it. Small products need no threads."""
    use_one_thread()
    columns, full = np.array([[2], [1]], dtype=np.int32), np.zeros(1, dtype=np.int64)
    for group in (-1, 0):
        asked = Offers(np.array([0, 1]), np.array([False, True]), np.array([10, 10]), np.array([1, 2]), np.full(2, group))
        fills = best(columns, full, asked)
    right_price_mct(columns, fills.row_price_mct)
    left_over(columns, full, np.array([0, 1]), np.array([-1, 1]))
