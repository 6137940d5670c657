"""How evenly something is shared: three figures that people know, and what there is of it. Of any numbers, none negative.

Jain's index (sum x)^2 / (n sum x^2) is 1 where all have the same and 1/n where one has everything (Jain, Chiu and Hawe, "A
quantitative measure of fairness and discrimination", 1984). The Gini coefficient sum |x_i - x_j| / (2 n sum x) is 0 where all have the
same and 1 - 1/n where one has everything. Where nobody has anything, all have the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


class Fairness(msgspec.Struct, frozen=True):
    """Of the watts of those who have a connection in this direction: with a rating of nothing there is nothing to share."""

    smallest_w: float
    total_w: float
    jain: float
    gini: float


def fairness(watts: npt.ArrayLike) -> Fairness:
    """Of all of these watts; zeros count."""
    shared = np.asarray(watts, dtype=float)
    return Fairness(float(shared.min()) if shared.size else 0.0, float(shared.sum()), jain(shared), gini(shared))


def jain(shared: npt.NDArray[np.float64]) -> float:
    squares = float((shared**2).sum())
    return float(shared.sum()) ** 2 / (len(shared) * squares) if squares else 1.0


def gini(shared: npt.NDArray[np.float64]) -> float:
    """By the sorted form: sum over ranks k = 1..n of (2 k - n - 1) x_k / (n sum x)."""
    n, total = len(shared), float(shared.sum())
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    return float(ranks @ np.sort(shared)) / (n * total) if total else 0.0
