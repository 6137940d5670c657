"""How much of a trade is secure, in closed form and integers. Knows the residuals of one interval; nothing of orders or money.

Moving q watts from the seller's right s to the buyer's right b takes d = P[:, b] - P[:, s] per watt from the residuals.
The largest secure q is the minimum over the rows with d > 0 of floor(residual / d): exact, no solver. The row that attains
it is the blocking row. A row that is already broken blocks whatever takes more of it, and nothing that relieves it.

Division is slow and rarely needed: rows are tested 128 at a time as a vector and divided only in a block that is violated.
No overflow: |d| < 2^31 and q <= 2^31 - 1, so |d * q| < 2^62; a residual lies in [-2^62, 2^44].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from riskcheck.polytope import LIMIT_W_MAX, Polytope, RowLabel, Watts

BLOCK = 128
ROW_SHIFT = 32  # compiled code answers one integer, quantity and row + 1: a tuple costs a third of the call
QUANTITY = (1 << ROW_SHIFT) - 1


class Headroom:
    """Mutable slack of one interval's rows at the holdings of the moment."""

    def __init__(self, polytope: Polytope, limits_w: npt.ArrayLike) -> None:
        self.polytope = polytope
        self.residual = polytope.residual(limits_w)
        self._columns = polytope.compiled_columns

    def secure_w(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> int:
        """Largest secure part of `wanted_w`, a multiple of `lot_w`; commits nothing."""
        return int(_secure(self._columns, self.residual, buyer, seller, wanted_w, lot_w)) & QUANTITY

    def trade(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> int:
        """The same, and commits it."""
        return self.trade_or_row(buyer, seller, wanted_w, lot_w)[0]

    def trade_or_row(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> tuple[int, int]:
        """Committed quantity, and the row that limits it (-1 where none does): the one call per candidate of the matching loop."""
        packed: int = _trade(self._columns, self.residual, buyer, seller, wanted_w, lot_w)
        return packed & QUANTITY, (packed >> ROW_SHIFT) - 1

    def change(self, right: int, change_w: int) -> None:
        """Books a leg that was decided elsewhere: the right's limit rises (or falls) by `change_w`. No check."""
        _change(self._columns, self.residual, right, change_w)

    def blocking_row(self, buyer: int, seller: int) -> int | None:
        """The row that limits a trade between the two, or None where none ever does."""
        row = int(_blocking_row(self._columns, self.residual, buyer, seller))
        return None if row < 0 else row

    def room_w(self, right: int) -> int:
        """How far this right alone could rise, in watts."""
        return int(_room(self._columns, self.residual, right))

    def check(self, limits_w: npt.ArrayLike) -> None:
        """The incremental residuals equal full recomputation, bit for bit."""
        expected = self.polytope.residual(limits_w)
        assert np.array_equal(expected, self.residual), "residuals drifted from the holdings"


def warm() -> None:
    """Compiles (or loads from the cache) everything here, so that no trade has to wait for it."""
    columns = np.ones((2, 1), dtype=np.int32)
    headroom = Headroom(Polytope(columns, 2**40, [RowLabel("thermal", "warm", "a")]), [0, 0])
    headroom.secure_w(0, 1, 1)
    headroom.trade(0, 1, 1)
    headroom.change(0, 1)
    headroom.blocking_row(0, 1)
    headroom.room_w(0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _secure(columns: npt.NDArray[np.int32], residual: Watts, buyer: int, seller: int, wanted: int, lot: int) -> Any:
    take, give = columns[buyer], columns[seller]
    q, limiting = np.int64(wanted), np.int64(0)
    n, block, start = np.uint64(residual.shape[0]), np.uint64(BLOCK), np.uint64(0)  # unsigned: no wrap-around test, so it vectorises
    while start < n and q > 0:
        stop = min(start + block, n)
        taken, given, room = take[start:stop], give[start:stop], residual[start:stop]
        q32, worst = np.int64(np.int32(q)), np.int64(0)
        for row in range(room.shape[0]):
            worst = min(worst, room[row] - np.int64(np.int32(taken[row] - given[row])) * q32)
        if worst < 0:
            for row in range(room.shape[0]):
                d = np.int64(taken[row]) - np.int64(given[row])
                if d > 0 and room[row] < d * q:
                    q = max(room[row], 0) // d
                    limiting = np.int64(start) + row + 1
                    if q == 0:
                        break
        start = stop
    return (q - q % lot) | limiting << ROW_SHIFT


@njit(cache=True)  # type: ignore[untyped-decorator]
def _trade(columns: npt.NDArray[np.int32], residual: Watts, buyer: int, seller: int, wanted: int, lot: int) -> Any:
    packed = _secure(columns, residual, buyer, seller, wanted, lot)
    q32 = np.int64(np.int32(packed & QUANTITY))
    if q32 > 0:
        take, give = columns[buyer], columns[seller]
        for row in range(residual.shape[0]):
            residual[row] -= np.int64(np.int32(take[row] - give[row])) * q32
    return packed


@njit(cache=True)  # type: ignore[untyped-decorator]
def _change(columns: npt.NDArray[np.int32], residual: Watts, right: int, change: int) -> None:
    column = columns[right]
    for row in range(residual.shape[0]):
        residual[row] -= np.int64(column[row]) * change


@njit(cache=True)  # type: ignore[untyped-decorator]
def _blocking_row(columns: npt.NDArray[np.int32], residual: Watts, buyer: int, seller: int) -> Any:
    take, give = columns[buyer], columns[seller]
    best, blocking = np.int64(LIMIT_W_MAX) + 1, -1
    for row in range(residual.shape[0]):
        d = np.int64(take[row]) - np.int64(give[row])
        if d > 0 and max(residual[row], 0) // d < best:
            best = max(residual[row], 0) // d
            blocking = row
    return blocking


@njit(cache=True)  # type: ignore[untyped-decorator]
def _room(columns: npt.NDArray[np.int32], residual: Watts, right: int) -> Any:
    column = columns[right]
    room = np.int64(LIMIT_W_MAX)
    for row in range(residual.shape[0]):
        if column[row] > 0:
            room = min(room, max(residual[row], 0) // np.int64(column[row]))
    return room
