"""The greatest welfare that orders could have, by HiGHS: all orders known, in fractions of watts.

    max  sum price * bought - sum price * sold     s.t.   P (bought - sold) <= residual,   0 <= x <= quantity

With `one_to_one`, bought = sold within each direction. `net_w` bounds what a right may sell and buy (failsafe and rating), where its
orders together ask for more. A right whose own orders cross either buys or sells, whichever is better for all: no home trades with
itself. Prices are the orders' limits; welfare is in mct/kWh times watts.
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
    """`net_w`: the most that each right may sell and buy. Raises RuntimeError where HiGHS finds no optimum."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    if not len(orders.right):
        return 0.0
    sign = np.where(orders.is_buy, 1.0, -1.0)
    torn = _torn(orders, len(columns))
    size = np.maximum(columns.max(axis=0, initial=1), 1).astype(float)
    rights = (orders.right == np.arange(len(columns))[:, None]) * 1.0
    rows = [(columns[orders.right] / size).T * sign]
    room = [np.maximum(residual, 0) / size]
    if net_w is not None:
        rows += [rights * ~orders.is_buy, rights * orders.is_buy]
        room += list(map(np.asarray, net_w))
    rules = [LinearConstraint(np.hstack([np.vstack(rows), np.zeros((sum(map(len, room)), len(torn)))]), ub=np.concatenate(room))]
    rules += [LinearConstraint(rule, ub=most) for rule, most in _either(orders, rights[torn])]
    if one_to_one:
        half = np.vstack([sign * (orders.right < len(columns) // 2), sign * (orders.right >= len(columns) // 2)])
        rules.append(LinearConstraint(np.hstack([half, np.zeros((2, len(torn)))]), lb=0, ub=0))
    found = milp(
        np.append(-sign * orders.price_mct, np.zeros(len(torn))), constraints=rules,
        bounds=Bounds(0, np.append(orders.quantity_w, np.ones(len(torn)))), integrality=np.append(np.zeros(len(sign)), np.ones(len(torn))),
    )  # fmt: skip
    if found.status != 0:
        raise RuntimeError(f"HiGHS found no optimum: {found.message}")
    return -float(found.fun)


def _torn(orders: Orders, n: int) -> npt.NDArray[np.int64]:
    """The rights whose own orders cross."""
    bid, ask = np.full(n, -1), np.full(n, np.iinfo(np.int64).max)
    np.maximum.at(bid, orders.right[orders.is_buy], orders.price_mct[orders.is_buy])
    np.minimum.at(ask, orders.right[~orders.is_buy], orders.price_mct[~orders.is_buy])
    return np.flatnonzero(bid >= ask)


def _either(orders: Orders, rights: Floats) -> list[tuple[Floats, Floats]]:
    """Rules for the torn `rights` [n_torn, n_orders]: bought <= most * z and sold <= most * (1 - z), z being 0 or 1."""
    bids, asks = rights * orders.is_buy, rights * ~orders.is_buy
    most_bid, most_ask = bids @ orders.quantity_w, asks @ orders.quantity_w
    return [(np.hstack([bids, -np.diag(most_bid)]), np.zeros(len(rights))), (np.hstack([asks, np.diag(most_ask)]), most_ask)]
