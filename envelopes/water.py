"""Water-filling: weighted lexicographic max-min over packing rows, in floats. Knows rows and rights; nothing of grids or watts.

All rights rise together, each as fast as its weight; a right starts to rise when the water reaches its floor, and stops at its cap,
or when a row in which it takes part is full: that row is its *stopping row*. In a packing polytope this greedy is exact
(Radunovic and Le Boudec, "A unified framework for max-min and min-max fairness", 2007): a full row can only be relieved by
lowering a right in it, and none of those has more for its weight unless its floor holds it there.

The level of the water moves from event to event: a floor is reached, a cap is reached, a row fills. Between two events every row
loses room at a constant rate, its `pull`, and an event changes the pull only by the rights that join or stop. So all of it costs
one look at each coefficient, and one at each row per event. `in_step` stops everybody with the first row that fills: the same
limit for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Stopping = tuple[int | None, ...]

FULL = 1e-12  # of a row's slack: a row with less left is full
SAME = 1e-9  # of the level: rows that fill so close to each other fill together


def water_fill(
    share: Floats, floors: Floats, caps: Floats, weights: Floats | None = None, room: Floats | None = None, *, in_step: bool = False
) -> tuple[Floats, Stopping]:
    """The limit of every right, [n_rights], and the row that stopped it, None where its cap did.

    share: [n_rights, n_rows], of a row's slack per unit of a right. floors <= caps, and the floors fit. weights: positive.
    room: of the rows where every right is zero, 1 where not given.
    """
    ones = np.ones(len(floors))
    water = _Water(share, floors, caps, ones if weights is None else weights, in_step)
    water.rise(np.ones(share.shape[1]) if room is None else room)
    return water.limit, tuple(None if row < 0 else int(row) for row in water.stopping)


class _Water:
    """The state while the water rises. `pull` [n_rows] is what the rights afloat take of each row per unit of level."""

    def __init__(self, share: Floats, floors: Floats, caps: Floats, weights: Floats, in_step: bool) -> None:
        self.share, self.floors, self.caps, self.weights, self.in_step = share, floors, caps, weights, in_step
        self.limit, self.level = floors.astype(float), 0.0
        self.stopping = np.full(len(floors), -1, dtype=np.int64)
        self.is_afloat, self.is_done = np.zeros(len(floors), dtype=bool), caps <= floors
        self.pull, self.is_full = np.zeros(share.shape[1]), np.zeros(share.shape[1], dtype=bool)
        self.joins, self.tops = _Queue(floors / weights, self.is_done), _Queue(caps / weights, self.is_done)

    def rise(self, room: Floats) -> None:
        self.room = room - self.floors @ self.share
        if not self.in_step:
            self._fill(np.flatnonzero(self.room <= FULL))
        while not self.is_done.all():
            full_at = self.level + self._until_full()
            level = max(self.level, min(full_at, self.joins.next(), self.tops.next()))
            self.room -= (level - self.level) * self.pull
            self.level = level
            if full_at <= level:
                self._fill(np.flatnonzero(self._fills_now()))
            self._top(self.tops.reached(self.level))
            self._join(self.joins.reached(self.level))

    def _until_full(self) -> float:
        pulled = np.flatnonzero((self.pull > 0) & ~self.is_full)
        return float((self.room[pulled] / self.pull[pulled]).min(initial=np.inf))

    def _fills_now(self) -> npt.NDArray[np.bool_]:
        return (self.pull > 0) & ~self.is_full & (self.room <= np.maximum(FULL, SAME * self.level * self.pull))

    def _join(self, rights: Indices) -> None:
        rights = rights[~self.is_afloat[rights]]
        self.is_afloat[rights] = True
        self.pull += self._taken(rights)

    def _top(self, rights: Indices) -> None:
        self._stop(rights)
        self.limit[rights] = self.caps[rights]

    def _fill(self, rows: Indices) -> None:
        """These rows are full: nobody in them rises on, and the first of them is what stopped it."""
        for row in rows.tolist():
            rights = np.flatnonzero(~self.is_done & (self.in_step | (self.share[:, row] > 0)))
            self.stopping[rights] = row
            self._stop(rights)
        self.is_full[rows] = True

    def _stop(self, rights: Indices) -> None:
        afloat = rights[self.is_afloat[rights]]
        self.limit[afloat] = self.level * self.weights[afloat]
        self.pull -= self._taken(afloat)
        self.is_afloat[afloat], self.is_done[rights] = False, True

    def _taken(self, rights: Indices) -> Floats:
        """What these rights take of each row per unit of level. Of most rights at once without a copy of their coefficients."""
        if 2 * len(rights) < len(self.weights):
            return np.asarray(self.weights[rights] @ self.share[rights])
        weights = np.zeros(len(self.weights))
        weights[rights] = self.weights[rights]
        return np.asarray(weights @ self.share)


class _Queue:
    """Rights by the level at which something happens to them, the next first; those that are done are left out."""

    def __init__(self, at: Floats, is_done: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(at, kind="stable")
        self._at, self._is_done, self._head = at[self._order], is_done, 0

    def next(self) -> float:
        while self._head < len(self._order) and self._is_done[self._order[self._head]]:
            self._head += 1
        return float(self._at[self._head]) if self._head < len(self._order) else np.inf

    def reached(self, level: float) -> Indices:
        """Takes out whom the level has reached."""
        start, self._head = self._head, max(self._head, int(np.searchsorted(self._at, level, side="right")))
        found = self._order[start : self._head]
        return np.asarray(found[~self._is_done[found]])
