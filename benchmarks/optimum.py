"""The greatest welfare that orders could have, by HiGHS: the linear program, all orders known, in fractions of watts.

    max  sum price * bought - sum price * sold     s.t.   P (bought - sold) <= residual,   0 <= x <= quantity

With `one_to_one`, bought = sold within each direction. `net_w` bounds what a right may buy and sell on balance (rating and failsafe),
where its orders together ask for more. Prices are the orders' limits; welfare is in mct/kWh times watts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Watts = npt.NDArray[np.int64]


class Orders(NamedTuple):
    """One entry for each order: the right that it is for, and its terms."""

    right: Watts
    is_buy: npt.NDArray[np.bool_]
    quantity_w: Watts
    price_mct: Watts


def optimum(
    columns: npt.NDArray[np.int32], residual: Watts, orders: Orders, *, one_to_one: bool = False, net_w: tuple[Watts, Watts] | None = None
) -> float:  # fmt: skip
    """`net_w`: the most that each right may sell and buy, on balance. Raises RuntimeError where HiGHS finds no optimum."""
    from scipy.optimize import linprog

    if not len(orders.right):
        return 0.0
    sign = np.where(orders.is_buy, 1.0, -1.0)
    size = np.maximum(columns.max(axis=0, initial=1), 1).astype(float)
    rows = [(columns[orders.right] / size).T * sign]
    room = [np.maximum(residual, 0) / size]
    rights = (orders.right == np.arange(len(columns))[:, None]) * sign
    if net_w is not None:
        rows += [-rights, rights]
        room += list(map(np.asarray, net_w))
    half = len(columns) // 2
    equal = np.vstack([rights[:half].sum(axis=0), rights[half:].sum(axis=0)]) if one_to_one else None
    found = linprog(
        -sign * orders.price_mct, A_ub=np.vstack(rows), b_ub=np.concatenate(room), A_eq=equal, b_eq=None if equal is None else np.zeros(2),
        bounds=np.column_stack([np.zeros(len(sign)), orders.quantity_w]), method="highs",
    )  # fmt: skip
    if found.status != 0:
        raise RuntimeError(f"HiGHS found no optimum: {found.message}")
    return -float(found.fun)
