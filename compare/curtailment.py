"""Active network management: no limits until the network breaks one, then a central curtailment of what the homes do.

Every minute all homes report power, and the operator runs an AC power flow of the wishes of that minute: what they would draw or feed
in if nobody held them. Where these break a limit it looks for the least power to curtail,

    min sum c_i    subject to    f + J (p(c) - p) <= 0,    0 <= c_i <= |p_i|,

with the AC gradients J at the point reached, again and again until AC holds (sequential linear programming by HiGHS: an optimal power
flow of active power). c_i takes from what home i exports, or from what it imports. The caps hold in the *next* minute: one minute is
measurement, calculation and command together, and the only latency. So limits break when homes change faster than that; caps are
against the wishes of the minute before, not against a forecast. It is given exact powers, exact impedances and no lost messages.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.days import INTERVAL_MIN, MINUTE_MS, START_MS, Day
from compare.living import Lived, Resident, lived

if TYPE_CHECKING:
    import numpy.typing as npt

    from compare.physics import Physics

    Watts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

NAME = "anm"
ROUNDS_MAX = 8
NEAR = 0.03  # limits with less room are in the programme: steps of curtailment move no other limit that far
HOLDS = 1e-5  # pu, or share of a rating: what the last round may leave over
SHORT_COST = 1e6  # watts per pu of a limit that cannot be kept


class Caps(NamedTuple):
    """The most that each home may export and import, watts."""

    export_w: Watts
    import_w: Watts


class Operator:
    """Knows the network, its ratings and nothing of tomorrow."""

    def __init__(self, physics: Physics, day: Day) -> None:
        self._physics, self._day = physics, day
        customers = physics.network.customers
        self.free = Caps(
            np.array([c.rating_export_w for c in customers], dtype=np.int64), np.array([c.rating_import_w for c in customers], dtype=np.int64)
        )
        self.solved = self.unsolved = 0

    def caps(self, wish_w: Watts, interval: int) -> Caps:
        """What is in force after these wishes."""
        limits = self._physics.limits_at(self._day.interface_pu[interval])
        power_w = np.concatenate([wish_w.astype(float), self._day.passive_w[interval]])
        if limits.measure(self._physics.engine, power_w[None]).max() <= 0.0:
            return self.free
        self.solved += 1
        allowed_w = np.floor(np.abs(self._curtailed(power_w, limits)[: len(wish_w)])).astype(np.int64)
        is_cut = allowed_w < np.abs(wish_w) - 1
        export_w = np.where(is_cut & (wish_w > 0), allowed_w, self.free.export_w)
        return Caps(export_w, np.where(is_cut & (wish_w < 0), allowed_w, self.free.import_w))

    def _curtailed(self, wish_w: Floats, limits: object) -> Floats:
        """Powers that hold in AC, with the least taken away from the wishes."""
        power_w = wish_w
        for _ in range(ROUNDS_MAX):
            f = limits.measure(self._physics.engine, power_w[None])[0]
            if f.max() <= HOLDS and power_w is not wish_w:
                return power_w
            power_w = self._step(wish_w, power_w, limits.chosen(np.flatnonzero(f > f.max() - NEAR if f.max() > NEAR else f > -NEAR)))
        self.unsolved += 1
        return power_w

    def _step(self, wish_w: Floats, at_w: Floats, limits: object) -> Floats:
        """The linear programme around one point."""
        from scipy.optimize import linprog

        n = len(self._physics.network.customers)
        f, by_right = limits.gradients(self._physics.model, at_w)
        half = by_right.shape[1] // 2
        # a watt less exported, or a watt less imported, of what this home does
        slope = np.where(wish_w[:n] > 0, -by_right[:, :n], -by_right[:, half : half + n])
        cut_w = np.abs(wish_w[:n]) - np.abs(at_w[:n])
        room = slope @ cut_w - f
        scaled = np.hstack([slope * 1000, -np.ones((len(f), 1))])
        cost = np.append(np.ones(n), SHORT_COST / 1000)
        bounds = [(0.0, most / 1000) for most in np.abs(wish_w[:n])] + [(0.0, None)]
        found = linprog(cost, scaled, room, bounds=bounds, method="highs")
        assert found.x is not None, f"HiGHS found no curtailment: {found.message}"
        out = wish_w.copy()
        out[:n] = np.sign(wish_w[:n]) * np.maximum(np.abs(wish_w[:n]) - 1000 * found.x[:n], 0.0)
        return out


def managed(physics: Physics, day: Day) -> Lived:
    """A day under active network management."""
    operator, residents = Operator(physics, day), [Resident(model) for model in day.homes]
    caps, deciding_s, commands = operator.free, 0.0, 0
    first = residents[0].minute(START_MS)
    for minute in range(day.intervals * INTERVAL_MIN):
        wish_w = np.array([resident.wish_w(first + minute) for resident in residents], dtype=np.int64)
        for resident, *limits in zip(residents, caps.export_w.tolist(), caps.import_w.tolist(), strict=True):
            resident.live(START_MS + minute * MINUTE_MS, 1, *limits)
        began_s = time.perf_counter()
        after = operator.caps(wish_w, minute // INTERVAL_MIN)
        deciding_s += time.perf_counter() - began_s
        commands += int(((after.export_w != caps.export_w) | (after.import_w != caps.import_w)).sum())
        caps = after
    messages = Counter({"measurements": day.intervals * INTERVAL_MIN * len(residents), "commands": commands})
    notes = {"programmes": operator.solved, "not settled": operator.unsolved}
    return lived(NAME, residents, None, None, messages, deciding_s, notes)
