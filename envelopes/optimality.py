"""What a stranger can check: how much better, by a rule's own measure, any other secure envelopes could be.

Every function here takes an answer in floats, with the evidence that came with it, and looks only at rows, floors and caps. The gap
is a share: 0.001 says that nothing secure is better by more than 0.1 %. Each is an upper bound, so a small gap is a proof.

* Max-min: by the row that stopped each right. It could only rise by what is left of that row and what those would give who have
  more for their weight and are not at their floor; the gap is that, as a share of what the right has.
* The same for all: by the row that stopped all of them, of which the next part of the common rise would take.
* Greatest total and proportional fairness: by weak duality. At any prices >= 0 of the rows' room, what everybody would choose at
  these prices between floor and cap, plus the worth of all room, is at least what any secure choice is worth. Stronger than a small
  residual of the optimality (KKT) conditions, which says nothing about how far the answer is from the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from envelopes.water import Floats, Stopping

SAME = 1e-9  # levels nearer to each other than this share are one


def feasible(limit: Floats, share: Floats, floors: Floats, caps: Floats) -> float:
    """By how much, as a share of a row's slack or of a cap, the answer breaks anything; 0 where nothing is broken."""
    outside = np.maximum(floors - limit, limit - caps) / np.maximum(caps, 1.0)
    return max(float((limit @ share - 1.0).max(initial=0.0)), float(outside.max(initial=0.0)))


def max_min_gap(limit: Floats, stopping: Stopping, share: Floats, floors: Floats, caps: Floats, weights: Floats) -> float:
    """The most by which any right could rise, as a share of its limit, if only those gave that have more for their weight."""
    level, room = limit / weights, 1.0 - limit @ share
    row_of = np.array([-1 if row is None else row for row in stopping], dtype=np.int64)
    gap = float(((caps - limit) / np.maximum(limit, 1.0))[row_of < 0].max(initial=0.0))
    for row in np.unique(row_of[row_of >= 0]).tolist():
        stopped = np.flatnonzero(row_of == row)
        lowered = np.maximum(floors, weights * float(level[stopped].min()) * (1 + SAME))
        left = max(float(room[row]), 0.0) + float(share[:, row] @ np.maximum(limit - lowered, 0.0))
        gap = max(gap, float((left / (share[stopped, row] * np.maximum(limit[stopped], 1.0))).max()))
    return gap


def in_step_gap(limit: Floats, stopping: Stopping, share: Floats, floors: Floats, caps: Floats, weights: Floats) -> float:
    """The most by which the common level could rise, as a share of it; infinite where the limits are of no common level."""
    stopped = np.array([row is not None for row in stopping], dtype=bool)
    if not stopped.any():
        return float(((caps - limit) / np.maximum(limit, 1.0)).max(initial=0.0))
    row = next(row for row in stopping if row is not None)
    level = float((limit / weights)[stopped & (share[:, row] > 0)].min(initial=np.inf))
    if np.abs(np.clip(weights * level, floors, caps) - limit).max() > SAME * max(1.0, float(limit.max())):
        return np.inf
    rising = stopped & (floors <= weights * level * (1 + SAME))
    pull, left = float(weights[rising] @ share[rising, row]), max(1.0 - float(limit @ share[:, row]), 0.0)
    return left / (pull * max(level, 1.0 / float(weights.max())))


def total_gap(limit: Floats, price: Floats, share: Floats, floors: Floats, caps: Floats, weights: Floats) -> float:
    """The most by which the weighted sum of those that can rise could grow, as a share of it."""
    worth, can = weights - share @ price, caps > floors
    bound = float(np.maximum(worth * floors, worth * caps).sum() + price.sum())
    return (bound - float(weights @ limit)) / max(float(weights[can] @ limit[can]), float(weights.max(initial=1.0)))


def proportional_gap(limit: Floats, price: Floats, share: Floats, floors: Floats, caps: Floats, weights: Floats) -> float:
    """The most by which the weighted geometric mean of those that can rise could grow, as a share of it."""
    high = reachable(share, floors, caps)
    can = high > floors
    if not can.any():
        return 0.0
    w, cost, room = weights[can], share[can] @ price, 1.0 - floors[~can] @ share[~can]
    chosen = dearest(w, cost, floors[can], high[can])
    bound = float(w @ np.log(chosen) - cost @ chosen + price @ room)
    with np.errstate(divide="ignore"):
        return float(np.expm1((bound - float(w @ np.log(limit[can]))) / w.sum()))


def reachable(share: Floats, floors: Floats, caps: Floats) -> Floats:
    """The caps, but the floors of whom a row keeps from a whole watt more even if all others stay at their floors."""
    room = 1.0 - floors @ share
    is_stuck = (share > np.maximum(room, 0.0)).any(axis=1)
    return np.where(is_stuck, floors, caps)


def dearest(weights: Floats, cost: Floats, floors: Floats, caps: Floats) -> Floats:
    """Where w log x - cost x is greatest between floor and cap."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(weights / cost, floors, caps))
