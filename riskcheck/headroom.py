"""How much of a trade is secure, in closed form and integers. Knows the residuals of one interval; nothing of orders or money.

Moving q watts from the seller's right s to the buyer's right b takes d = P[:, b] - P[:, s] per watt from the residuals.
The largest secure q is the minimum over the rows with d > 0 of floor(residual / d): exact, no solver. The row that attains
it is the blocking row. A row that is already broken blocks whatever takes more of it, and nothing that relieves it.

Most trades are secure as a whole, so a trade is booked at once, a block of rows at a time, and the signs of what is left are
gathered on the way: two columns and the residuals are read once, as much memory as any bookkeeping must touch. Only a block
with a negative sign is divided, and what its rows do not allow is given back to all rows before it: integers leave no trace.
No overflow: |d| < 2^31 and q <= 2^31 - 1, so |d * q| < 2^62; a residual lies in [-2^62, 2^44], and one trade less in int64.

The compiled code of one signature is called directly (`Dispatcher.compile`): numba's choice among signatures by the types of
six arguments takes longer than the check itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from riskcheck.polytope import LIMIT_W_MAX, Polytope, RowLabel, Watts

BLOCK = 512
ROW_SHIFT = 32  # compiled code answers one integer, quantity and row + 1: a tuple costs a third of the call
QUANTITY = (1 << ROW_SHIFT) - 1
TRADE = "int64(int32[:, ::1], int64[::1], int64, int64, int64, int64)"


class Headroom:
    """Mutable slack of one interval's rows at the holdings of the moment."""

    def __init__(self, polytope: Polytope, limits_w: npt.ArrayLike) -> None:
        self.polytope = polytope
        self.residual = polytope.residual(limits_w)
        self.columns = polytope.compiled_columns
        self._compiled_trade = _compiled_trade()

    def secure_w(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> int:
        """Largest secure part of `wanted_w`, a multiple of `lot_w`; commits nothing."""
        secure = self.trade(buyer, seller, wanted_w, lot_w)
        _take(self.residual, self.columns[buyer], self.columns[seller], 0, len(self.residual), -secure)
        return secure

    def trade(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> int:
        """The same, and commits it."""
        return self.trade_or_row(buyer, seller, wanted_w, lot_w)[0]

    def trade_or_row(self, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> tuple[int, int]:
        """Committed quantity, and the row that limits it (-1 where none does): the one call per candidate of the matching loop."""
        packed: int = self._compiled_trade(self.columns, self.residual, buyer, seller, wanted_w, lot_w)
        return packed & QUANTITY, (packed >> ROW_SHIFT) - 1

    def change(self, right: int, change_w: int) -> None:
        """Books a leg that was decided elsewhere: the right's limit rises (or falls) by `change_w`. No check."""
        _change(self.columns, self.residual, right, change_w)

    def add_column(self, column: npt.NDArray[np.int32], limit_w: int) -> None:
        """One more right that takes from the rows, at so many watts: headroom that is set aside."""
        self.columns = np.ascontiguousarray(np.vstack([self.columns, column[None, :]]))
        self.change(len(self.columns) - 1, limit_w)

    def blocking_row(self, buyer: int, seller: int) -> int | None:
        """The row that limits a trade between the two, or None where none ever does."""
        row = int(_blocking_row(self.columns, self.residual, buyer, seller))
        return None if row < 0 else row

    def room_w(self, right: int) -> int:
        """How far this right alone could rise, in watts."""
        return int(_room(self.columns, self.residual, right))

    def check(self, limits_w: npt.ArrayLike) -> None:
        """The incremental residuals equal full recomputation, bit for bit. Limits of added columns follow those of the polytope's."""
        n, limits = self.polytope.n_rights, np.asarray(limits_w, dtype=np.int64)
        expected = self.polytope.residual(limits[:n]) - limits[n:] @ self.columns[n:].astype(np.int64)
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


@cache
def _compiled_trade() -> Any:
    return _trade.compile(TRADE)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _trade(columns: npt.NDArray[np.int32], residual: Watts, buyer: int, seller: int, wanted: int, lot: int) -> Any:
    take, give = columns[buyer], columns[seller]
    q, limiting, start, n = np.int64(wanted), np.int64(0), 0, residual.shape[0]
    while start < n and q > 0:
        stop = min(start + BLOCK, n)
        if _take(residual, take, give, start, stop, q) < 0:
            fits, row = _fitting(residual, take, give, start, stop, q)
            limiting = row + 1 if fits < q else limiting
            _take(residual, take, give, 0, stop, fits - q)
            q = fits
        start = stop
    odd = q % lot
    if odd:
        _take(residual, take, give, 0, n, -odd)
    return (q - odd) | limiting << ROW_SHIFT


@njit(cache=True)  # type: ignore[untyped-decorator]
def _take(residual: Watts, take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], start: int, stop: int, q: int) -> Any:
    """Takes q watts of the trade from the rows of a block; negative where one of them is negative now."""
    taken, given, room = take[start:stop], give[start:stop], residual[start:stop]
    q32, signs = np.int64(np.int32(q)), np.int64(0)  # a product of two sign-extended 32-bit numbers is one vector instruction
    for row in range(room.shape[0]):
        left = room[row] - np.int64(np.int32(taken[row] - given[row])) * q32
        room[row] = left
        signs |= left
    return signs


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fitting(residual: Watts, take: npt.NDArray[np.int32], give: npt.NDArray[np.int32], start: int, stop: int, q: int) -> Any:
    """(largest quantity that a block admits, the row that says so), of q watts that it has booked already."""
    fits, limiting = q, start
    for row in range(start, stop):
        if residual[row] < 0:
            d = np.int64(take[row]) - np.int64(give[row])
            if d > 0 and residual[row] + d * (q - fits) < 0:
                fits = max(residual[row] + d * q, 0) // d
                limiting = row
    return fits, limiting


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
