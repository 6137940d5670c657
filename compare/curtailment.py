"""Active network management: no limits until the network breaks one, then a central curtailment of what the homes do.

Every minute all homes report power, and the operator runs an AC power flow of the wishes of that minute: what they would draw or feed
in if nobody held them. Where these break a limit it looks for the least power to curtail,

    min sum c_i    subject to    f + deadband + J (p(c) - p) <= 0,    0 <= c_i <= |p_i|,

with the AC gradients J at the point reached, again and again until AC holds: an optimal power flow of active power, by HiGHS. Tangents
of earlier points stay in (cutting planes, Kelley 1960: currents are convex in the powers, so each of them bounds; dropped, the next
round takes back what held). c_i takes from what home i exports, or from what it imports. The caps hold in the *next* minute: one minute is
measurement, calculation and command together, and the only latency. So limits break when homes change faster than that; caps are
against the wishes of the minute before, not against a forecast. It is given exact powers, exact impedances and no lost messages.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.days import INTERVAL_MIN, MINUTE_MS, START_MS, Day
from compare.living import Lived, Resident, lived
from riskcheck.limits import KINDS

if TYPE_CHECKING:
    import numpy.typing as npt

    from compare.physics import Physics
    from riskcheck.limits import Limits
    from riskcheck.reduced import Reduced

    Watts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

NAME = "anm"
ROUNDS_MAX = 12
KILO = 1000.0
DEADBAND_PU, DEADBAND_SHARE = 0.002, 0.02  # it aims so far below a limit, and acts above
NEAR = 5  # deadbands: limits that came so near are in the programme
SETTLED = 0.5  # of the deadband is left: near enough
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
            np.array([c.rating_export_w for c in customers], dtype=np.int64),
            np.array([c.rating_import_w for c in customers], dtype=np.int64),
        )
        is_thermal = physics.limits_at(day.interface_pu[0]).kind == KINDS.index("thermal")
        self._deadband = np.where(is_thermal, DEADBAND_SHARE, DEADBAND_PU)
        self._aims: dict[float, Limits] = {}
        self.solved = self.unsolved = 0

    def caps(self, wish_w: Watts, interval: int) -> Caps:
        """What is in force after these wishes."""
        limits = self._aims_at(self._day.interface_pu[interval])
        power_w = np.concatenate([wish_w.astype(float), self._day.passive_w[interval]])
        if limits.measure(self._physics.engine, power_w[None]).max() <= 0.0:
            return self.free
        self.solved += 1
        allowed_w = np.floor(np.abs(self._curtailed(power_w, limits)[: len(wish_w)])).astype(np.int64)
        is_cut = allowed_w < np.abs(wish_w) - 1
        export_w = np.where(is_cut & (wish_w > 0), allowed_w, self.free.export_w)
        return Caps(export_w, np.where(is_cut & (wish_w < 0), allowed_w, self.free.import_w))

    def _aims_at(self, interface_pu: float) -> Limits:
        """Every limit less its deadband."""
        if interface_pu not in self._aims:
            limits = self._physics.limits_at(interface_pu)
            self._aims[interface_pu] = replace(limits, bound=limits.bound - limits.sense * self._deadband)
        return self._aims[interface_pu]

    def _curtailed(self, wish_w: Floats, limits: Limits) -> Floats:
        """Powers that hold in AC, with the least taken away from the wishes."""
        power_w, planes = wish_w, Planes(wish_w, len(self.free.export_w))
        for _ in range(ROUNDS_MAX):
            f = limits.measure(self._physics.engine, power_w[None])[0]
            if power_w is not wish_w and self._holds(f):
                return self._refined(wish_w, power_w, f, limits)
            self._add(planes, limits, f, power_w)
            power_w = planes.least()
        self.unsolved += 1
        return power_w

    def _refined(self, wish_w: Floats, power_w: Floats, f: Floats, limits: Limits) -> Floats:
        """Tangents of far-away points cut a little too much: once more from the point reached, where that holds too."""
        planes = Planes(wish_w, len(self.free.export_w))
        self._add(planes, limits, f, power_w)
        other_w = planes.least()
        is_less = np.abs(wish_w - other_w).sum() < np.abs(wish_w - power_w).sum()
        return other_w if is_less and self._holds(limits.measure(self._physics.engine, other_w[None])[0]) else power_w

    def _holds(self, f: Floats) -> bool:
        return bool((f <= SETTLED * self._deadband).all())

    def _add(self, planes: Planes, limits: Limits, f: Floats, power_w: Floats) -> None:
        planes.add(limits.chosen(np.flatnonzero(f > -NEAR * self._deadband)), self._physics.model, power_w)


class Planes:
    """The linear programme of one minute: the tangents of every round stay in."""

    def __init__(self, wish_w: Floats, n_customers: int) -> None:
        self._wish_w, self._n = wish_w, n_customers
        self._size_w = np.abs(wish_w[:n_customers])
        self._slope, self._room = np.empty((0, n_customers)), np.empty(0)

    def add(self, limits: Limits, model: Reduced, at_w: Floats) -> None:
        """A tangent of each limit at one point: slope . cut <= room, per watt less of what the home does."""
        n = self._n
        f, by_right = limits.gradients(model, at_w)
        half = by_right.shape[1] // 2
        slope = np.where(self._wish_w[:n] > 0, -by_right[:, :n], -by_right[:, half : half + n])
        self._slope = np.vstack([self._slope, slope])
        self._room = np.append(self._room, slope @ (self._size_w - np.abs(at_w[:n])) - f)

    def least(self) -> Floats:
        """The powers after the least curtailment; where nothing holds, what breaks least."""
        from scipy.optimize import linprog

        shortfall = -np.ones((len(self._room), 1))
        cost = np.append(np.ones(self._n), SHORT_COST / KILO)
        bounds = [(0.0, most / KILO) for most in self._size_w] + [(0.0, None)]
        found = linprog(cost, np.hstack([KILO * self._slope, shortfall]), self._room, bounds=bounds, method="highs")
        assert found.x is not None, f"HiGHS found no curtailment: {found.message}"
        out = self._wish_w.copy()
        out[: self._n] = np.sign(out[: self._n]) * np.maximum(self._size_w - KILO * found.x[: self._n], 0.0)
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
        began_s = time.process_time()
        after = operator.caps(wish_w, minute // INTERVAL_MIN)
        deciding_s += time.process_time() - began_s
        commands += int(((after.export_w != caps.export_w) | (after.import_w != caps.import_w)).sum())
        caps = after
    messages = Counter({"measurements": day.intervals * INTERVAL_MIN * len(residents), "commands": commands})
    notes = {"programmes": float(operator.solved), "not settled": float(operator.unsolved)}
    return lived(NAME, residents, None, None, messages, deciding_s, notes)
