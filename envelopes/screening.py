"""Which of millions of outage rows are needed: those that the caps can fill and that no other row stands for.

A row is signed here: per watt of every area, the share of the row's slack, positive where exports fill it, negative where imports do.
Its *use* is what all caps together fill of it, by area, with the same sign.

1. *Caps.* An area alone fills a row at 1 / share, so no secure limit is above the smallest of these, over all rows. The caps come down
   to it, and it is kept as a row of that one right: exact.
2. *Reach.* A row of which all caps together use no more than 1 cannot be filled. Branch by branch, and never made where a bound on the
   use says so already: with mid and radius of the box, the most is `c + r`, and the radius is at most `r_l + |LODF| r_k`: exact.
3. *Cover.* Row `a` exceeds row `k` over the whole box by at most `sum(max(use_a - use_k, 0))`, by right. Where that is no more than a
   `loss`, `a` goes, and `k` is tightened to 1 - excess, so that it holds `a` at 1: always secure, and every secure point shrunk by the
   loss is still secure. With a loss of 0 this is dominance: exact. First among the rows of one branch, most of which differ by the
   little that a far outage moves, then among all that are left, half of the loss each.

What is left implies every row that is gone, the caps themselves included, and holds for the caps that were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from envelopes.transmission import Flows

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Tell = Callable[[str, float], None]

SLACK_W_MIN = 1.0


@dataclass(frozen=True, eq=False)
class Signed:
    """Rows: share of the slack by watt and area [n_rows, n_areas], slack, and what they protect: branch and outage [n_rows, 2]."""

    share: Floats
    slack_w: Floats
    what: Indices

    def __getitem__(self, which: npt.NDArray[np.generic]) -> Signed:
        return Signed(self.share[which], self.slack_w[which], self.what[which])

    @classmethod
    def joined(cls, parts: list[Signed]) -> Signed:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("share", "slack_w", "what")))

    def by_right(self) -> Floats:
        """The share by right: exports of all areas, then imports."""
        return np.hstack([np.maximum(self.share, 0.0), np.maximum(-self.share, 0.0)])


class Screen:
    """Rows of a grid for areas at these buses, within caps by right."""

    def __init__(self, flows: Flows, buses: Indices, caps_w: npt.NDArray[np.int64], tell: Tell) -> None:
        self._flows, self._tell = flows, tell
        self._of_area = flows.to_balance[:, buses]
        self._n_areas = len(buses)
        self._caps_w = caps_w.astype(float)
        self.binding = 0

    def needed(self, loss: float) -> tuple[Signed, float]:
        """The rows, and the loss that they came to."""
        alone = self._tighten()
        kept, first = [alone], 0.0
        for rows in self._fillable("rows of outages, branch by branch"):
            self.binding += len(rows.slack_w)
            fewer, lost = self._covered(rows, loss / 2)
            kept.append(fewer)
            first = max(first, lost)
        rows, second = self._covered(Signed.joined(kept), loss / 2)
        return rows, 1 - (1 - first) * (1 - second)

    def _tighten(self) -> Signed:
        """Brings the caps down to what each area may have alone, and returns these limits as rows."""
        n, caps_w = self._n_areas, self._caps_w.copy()
        slack_w, what = np.zeros(2 * n), np.zeros((2 * n, 2), dtype=np.int64)
        for rows in self._fillable("what each area may have alone"):
            by_right = rows.by_right()
            fullest = by_right.argmax(axis=0)
            most = by_right[fullest, np.arange(2 * n)]
            lower = np.flatnonzero(most * caps_w > 1)
            caps_w[lower], slack_w[lower], what[lower] = 1 / most[lower], rows.slack_w[fullest[lower]], rows.what[fullest[lower]]
        lower = np.flatnonzero(caps_w < self._caps_w)
        self._caps_w = caps_w
        share = np.zeros((len(lower), n))
        share[np.arange(len(lower)), lower % n] = np.where(lower < n, 1, -1) / caps_w[lower]
        return Signed(share, slack_w[lower], what[lower])

    def _fillable(self, phrase: str) -> Iterator[Signed]:
        """Rows that the caps can fill, by branch and direction."""
        flows, n = self._flows, len(self._flows.grid.names)
        exports, imports = np.split(self._caps_w / 1e6, 2)
        middle, radius = self._of_area @ (exports - imports) / 2, np.abs(self._of_area) @ (exports + imports) / 2
        for branch in range(n):
            outage, factor = flows.rows_of(branch)
            reach = radius[branch] + np.abs(factor) * radius[outage]
            moved = flows.base_mw[branch] + middle[branch] + factor * (flows.base_mw + middle)[outage]
            for sign in (1.0, -1.0):
                could = sign * moved + reach > flows.grid.rating_mw[branch]
                rows = self._made(branch, sign, outage[could], factor[could])
                if len(rows.slack_w):
                    yield rows
            self._tell(phrase, (branch + 1) / n)

    def _made(self, branch: int, sign: float, outage: Indices, factor: Floats) -> Signed:
        coefficient = sign * (self._of_area[branch] + factor[:, None] * self._of_area[outage])
        flow = sign * (self._flows.base_mw[branch] + factor * self._flows.base_mw[outage])
        slack_w = (self._flows.grid.rating_mw[branch] - flow) * 1e6
        rows = Signed(coefficient, slack_w, np.column_stack([np.full(len(outage), branch), outage]))[slack_w >= SLACK_W_MIN]
        rows = Signed(rows.share / rows.slack_w[:, None], rows.slack_w, rows.what)
        return rows[np.abs(self._use(rows)).sum(axis=1) > 1]

    def _use(self, rows: Signed) -> Floats:
        exports, imports = np.split(self._caps_w, 2)
        return np.asarray(rows.share * np.where(rows.share > 0, exports, imports))

    def _covered(self, rows: Signed, loss: float) -> tuple[Signed, float]:
        use = self._use(rows)
        largest = np.argsort(-np.abs(use).sum(axis=1), kind="stable")
        telling = np.argsort(-np.abs(use).sum(axis=0), kind="stable")  # areas that part rows soonest
        kept, excess = _cover(np.ascontiguousarray(use[largest][:, telling]), loss)
        fewer = rows[largest[kept]]
        room = 1 - excess
        return Signed(fewer.share / room[:, None], fewer.slack_w * room, fewer.what), float(excess.max(initial=0.0))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _cover(use: Floats, loss: float) -> tuple[Indices, Floats]:
    """Positions of the rows that stay, of rows by falling use; by each, the most that a row it stands for exceeds it."""
    kept, excess, n = np.empty(len(use), dtype=np.int64), np.zeros(len(use)), 0
    for candidate in range(len(use)):
        home = -1
        for k in range(n - 1, -1, -1):
            over = _excess(use[candidate], use[kept[k]], loss)
            if over <= loss:
                home, excess[k] = k, max(excess[k], over)
                break
        if home < 0:
            kept[n] = candidate
            n += 1
    return kept[:n], excess[:n]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _excess(use: Floats, other: Floats, enough: float) -> float:
    """How far a row can exceed another over the box; no further than `enough` is counted."""
    over = 0.0
    for area in range(len(use)):
        own, its = use[area], other[area]
        if own > 0:
            over += max(own - max(its, 0.0), 0.0)
        else:
            over += max(min(its, 0.0) - own, 0.0)
        if over > enough:
            break
    return over
