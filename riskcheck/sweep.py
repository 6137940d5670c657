"""Which orders should trade together? The greatest welfare that the rows allow, in whole watts. Knows rows, rights, watts and
prices; nothing of markets.

Order j offers to buy (or to sell) up to `quantity_w[j]` of a right at `price_mct[j]` at most (at least). The program:

    max  sum price * bought - sum price * sold      s.t.   P (bought - sold) <= residual,   0 <= x <= quantity

and in a one-to-one market, within each group of orders (a direction), bought = sold. A row that all purchases together cannot
fill is left out; so is everybody's sale that relieves none of the others. What is left is solved in two steps:

1. **OSQP** (`riskcheck/solver.py`): variables in units of their quantities, rows in units of their largest coefficient,
   regularised, bounds shrunk, time and iterations limited; rows join as they are broken. Then purchases are scaled down by one
   factor until no row is: sales alone are always secure. (One to one they are not, so there the next step begins with nothing.)
2. **A vertex** (`riskcheck/vertex.py`): from that point, exact steps uphill; where it is far, in a large book in which many rows
   bind, HiGHS goes there. OSQP alone reaches 0.99 and splits what is worth the same; the vertex is the optimum, and at equal welfare
   the earlier order's: prices carry a tilt by time (`TILT_MCT`, far below any tick), so between two orders of one price the earlier
   is served first. The tilt also lets equal prices trade.

Then whole watts: orders of equal columns and side form one class, whose watts are dealt by price, then time. Purchases are
rounded down and sales up, which no row can mind; float errors are paid for by purchases, watt by watt; what rounding took is
given back as far as rows allow. The result is verified in integers. In a one-to-one market sales follow purchases instead.

`row_price_mct` are the multipliers: what one more watt of room would be worth, per kWh of the right that uses the row most. From
them every right has its price (`right_price_mct`): who bids more than it, or asks less, is filled whole, and as long as nobody at
rest does, no joint trade is worth anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from riskcheck.blas import use_one_thread
from riskcheck.solver import Nearest, toward_safe
from riskcheck.vertex import climb
from riskcheck.whole import Classes, settled

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
SECONDS_MAX = 5.0  # of HiGHS
TILT_MCT = 0.01


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
    kept: Indices  # rows of the network; those of groups follow
    value: Floats
    rows: Floats
    room: Floats
    high: Floats
    unit_w: float
    unit_mct: float


def classes(columns: npt.NDArray[np.int32]) -> Indices:
    """A number for each column: the same for equal ones."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(column.tobytes(), len(known)) for column in np.ascontiguousarray(columns)], dtype=np.int64)


def is_countable(coefficient_max: int, residual: Watts, offers: Offers) -> bool:
    """Whether all changes together stay within 64 bits, whatever is filled: `best` must not be asked otherwise."""
    change_max = float(offers.quantity_w.sum()) * float(coefficient_max)
    return change_max + float(np.abs(residual).max(initial=0)) < 2.0**62


def best(
    columns: npt.NDArray[np.int32], residual: Watts, offers: Offers, *,
    class_of: Indices | None = None, hint_mct: Floats | None = None, ask_osqp: bool = True,
) -> Fills:  # fmt: skip
    """The joint fills. `columns` [n_columns, n_rows], `residual` >= 0 [n_rows]; `class_of` [n_columns] where it is known already.

    `hint_mct` [n_rows]: prices of an earlier solution nearby; OSQP then looks only at what they leave open. Without OSQP the vertex is
    sought from 0: the same optimum, later or sooner. No right trades with itself: either
    what it would is left out on both sides, or its smaller side at all and the rest is solved again, whichever is worth more.
    """
    known = classes(columns) if class_of is None else class_of
    fills = _joint(columns, residual, offers, known, hint_mct, ask_osqp)
    own = _smaller_sides(offers, fills.filled_w)
    if not own.any():
        return fills
    one_sided = offers._replace(quantity_w=np.where(own, 0, offers.quantity_w))
    again = _netted(offers, _joint(columns, residual, one_sided, known, hint_mct, ask_osqp))
    return max(_netted(offers, fills), again, key=lambda found: found.welfare_mct_w)


def _smaller_sides(offers: Offers, filled_w: Watts) -> npt.NDArray[np.bool_]:
    """The orders of the side with fewer watts, of each right that would trade with itself."""
    bought = np.bincount(offers.column, np.where(offers.is_buy, filled_w, 0))
    sold = np.bincount(offers.column, np.where(offers.is_buy, 0, filled_w))
    is_both = ((bought > 0) & (sold > 0))[offers.column]
    return np.asarray(is_both & (offers.is_buy == (bought <= sold)[offers.column]))


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
    columns: npt.NDArray[np.int32], residual: Watts, offers: Offers, class_of: Indices, hint_mct: Floats | None, ask_osqp: bool
) -> Fills:  # fmt: skip
    assert is_countable(int(columns.max(initial=0)), residual, offers), "a sum of changes may overflow"
    program = _program(columns, residual, offers)
    x, price = _solved(program, hint_mct, ask_osqp)
    filled = np.zeros(len(offers.column), dtype=float)
    filled[program.offers] = x * program.unit_w
    row_price, n_kept = np.zeros(len(residual)), len(program.kept)
    row_price[program.kept] = price[:n_kept] * program.unit_mct
    of_groups = (price[n_kept::2] - price[n_kept + 1 :: 2]) * program.unit_mct
    group_price = dict(zip(np.unique(offers.group[offers.group >= 0]).tolist(), of_groups.tolist(), strict=True))
    whole = _whole(columns, residual, offers, filled, class_of)
    signed = np.where(offers.is_buy, whole, -whole)
    return Fills(whole, int(signed @ offers.price_mct), row_price, group_price)


def right_price_mct(columns: npt.NDArray[np.int32], row_price_mct: Floats) -> Floats:
    """What a watt of each right [n_columns] costs at these prices of rows, in mct/kWh."""
    priced = np.flatnonzero(row_price_mct)
    taken = columns[:, priced].astype(float)
    return np.asarray((taken / np.maximum(taken.max(axis=0, initial=1.0), 1.0)) @ row_price_mct[priced])


def _program(columns: npt.NDArray[np.int32], residual: Watts, offers: Offers) -> _Program:
    demand = np.bincount(offers.column, np.where(offers.is_buy, offers.quantity_w, 0), len(columns))
    used = np.flatnonzero(demand)
    kept = np.flatnonzero(demand[used] @ columns[used] > residual)
    size = np.maximum(columns[:, kept].max(axis=0, initial=1), 1).astype(float)
    is_bound = offers.group >= 0
    share = columns[offers.column][:, kept]
    useful = np.flatnonzero(offers.is_buy | is_bound | (share > 0).any(axis=1))
    unit_w = float(offers.quantity_w.max(initial=1))
    unit_mct = float(max(1, offers.price_mct.max(initial=1)))
    late = np.arange(len(offers.column)) / max(1, len(offers.column))
    tilted = np.where(offers.is_buy, offers.price_mct + TILT_MCT * (2 - late), -offers.price_mct - TILT_MCT * late)
    sign = np.where(offers.is_buy, 1.0, -1.0)[useful]
    balance = [sign * (offers.group[useful] == group) for group in np.unique(offers.group[is_bound])]
    rows = np.vstack([(share[useful] / size).T * sign, *(side for one in balance for side in (one, -one))])
    padded = np.append(np.maximum(residual[kept], 0) / size, np.zeros(2 * len(balance))) / unit_w
    return _Program(useful, kept, tilted[useful] / unit_mct, rows, padded, offers.quantity_w[useful] / unit_w, unit_w, unit_mct)


def _solved(program: _Program, hint_mct: Floats | None, ask_osqp: bool) -> tuple[Floats, Floats]:
    """(x, price of each row) at the optimum, in the program's units."""
    if not len(program.offers):
        return program.high, np.zeros(len(program.room))
    start = np.zeros(len(program.offers))
    if not len(program.room):
        start = np.where(program.value > 0, program.high, 0.0)
    elif ask_osqp and len(program.kept) == len(program.room) and (hint_mct is not None or len(start) <= WHOLE_BOOK_MAX):
        hint = None if hint_mct is None else hint_mct[program.kept] / program.unit_mct
        start = _secured(program, _by_osqp(program, hint))
    x, price, steps = climb(program.value, program.rows, program.room, program.high, start, STEPS_MAX)
    return _by_highs(program, x, price) if steps == STEPS_MAX else (x, price)


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


def _whole(columns: npt.NDArray[np.int32], residual: Watts, offers: Offers, filled: Floats, class_of: Indices) -> Watts:
    """Whole watts near `filled`: secure, dealt by price and time within each class."""
    merit = np.lexsort((np.arange(len(filled)), np.where(offers.is_buy, -offers.price_mct, offers.price_mct)))
    key = (class_of[offers.column] * (offers.group.max() + 2) + offers.group + 1) * 2 + offers.is_buy
    names, first, member = np.unique(key[merit], return_index=True, return_inverse=True)
    rank = np.argsort(first)
    head, place = merit[first[rank]], np.argsort(rank)[member]
    most = np.bincount(place, offers.quantity_w[merit], len(names)).astype(np.int64)
    all_classes = Classes(columns[offers.column[head]].astype(np.int64), offers.is_buy[head], most, offers.group[head])
    total = settled(all_classes, np.bincount(place, filled[merit], len(names)).astype(float), np.maximum(residual, 0))
    whole = np.zeros(len(filled), dtype=np.int64)
    for j, one in zip(merit.tolist(), place.tolist(), strict=True):
        whole[j] = min(total[one], offers.quantity_w[j])
        total[one] -= whole[j]
    return whole


def warm() -> None:
    """Compiles (or loads from the cache) everything here, so that no order has to wait for it. Small products need no threads."""
    use_one_thread()
    columns, full = np.array([[2], [1]], dtype=np.int32), np.zeros(1, dtype=np.int64)
    for group in (-1, 0):
        asked = Offers(np.array([0, 1]), np.array([False, True]), np.array([10, 10]), np.array([1, 2]), np.full(2, group))
        best(columns, full, asked)
