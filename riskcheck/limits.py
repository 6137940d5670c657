"""What must hold: each monitor of the dense model against one side of its range, at an interface voltage.

The measure f of a limit is negative while it holds: `|V| - V_max`, `V_min - |V|`, loading - 1, and interface power over its
limit - 1. A limit is worse at one end of the interface voltage range: over-voltage at the upper, all others at the lower, as a
current serves its power with less voltage. That is a rule and not a theorem (the charging current of cables and Volt-VAr curves
act against it), so an adversary lists every limit at both ends, and rows, whose search is long, at the worse one.

Gradients come two ways. `gradients` has all limits at one point (`Reduced`, one dense factorisation). `slopes` has one limit at a
point of its own for each of many: the derivative di = r - (i/conj v) conj(Z di) of the currents, seen from the limit, is the
fixed point  lambda = a - Z' conj(i/conj(v) lambda)  of the size of a power flow: a whole batch costs what a batch of flows does.
It leaves out the slope of Volt-VAr curves: it says where to look, and is not part of any proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.reduced import Reduced

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Complexes = npt.NDArray[np.complex128]

KINDS = ("voltage_max", "voltage_min", "thermal", "interface")
SLOPE_STEPS = 8


class Engine(Protocol):
    """A batch AC power flow: states of points [batch, n_injectors], and the monitored magnitudes [batch, n_which] in them."""

    def solve(self, power_w: Floats, interface_pu: float) -> Complexes: ...

    def values(self, current: Complexes, interface_pu: float, which: Indices) -> Floats: ...


@dataclass(frozen=True)
class Limits:
    """Arrays [n_limits]; `kind` is a position in KINDS, `sense` +1 for upper and -1 for lower limits."""

    monitor: Indices
    kind: Indices
    sense: Floats
    bound: Floats
    interface_pu: Floats

    @classmethod
    def of(cls, model: Reduced, *, extremal_only: bool = True, both_ends: bool = False) -> Limits:
        monitors, network = model.monitors, model.network
        chosen = monitors.is_extremal if extremal_only else np.ones(len(monitors.is_voltage), dtype=bool)
        kinds = (monitors.is_voltage, monitors.is_voltage, ~monitors.is_voltage & ~monitors.is_power, monitors.is_power)
        of_kind = [np.flatnonzero(chosen & among) for among in kinds]
        monitor, kind = np.concatenate(of_kind), np.repeat(np.arange(len(KINDS)), [len(which) for which in of_kind])
        bound = np.where(kind == 1, monitors.low[monitor], monitors.high[monitor])
        worse_pu = np.where(kind == 0, network.interface_max_pu, network.interface_min_pu)
        limits = cls(monitor, kind, np.where(kind == 1, -1.0, 1.0), bound, worse_pu)
        if not both_ends or network.interface_min_pu == network.interface_max_pu:
            return limits
        return limits.beside(network.interface_min_pu + network.interface_max_pu - worse_pu)

    def beside(self, other_pu: Floats) -> Limits:
        """These limits, and after them the same ones at other interface voltages."""
        twice = self.chosen(np.tile(np.arange(len(self.monitor)), 2))
        return replace(twice, interface_pu=np.concatenate([self.interface_pu, other_pu]))

    def chosen(self, which: Indices) -> Limits:
        return Limits(self.monitor[which], self.kind[which], self.sense[which], self.bound[which], self.interface_pu[which])

    @cached_property
    def ends(self) -> tuple[tuple[Indices, float, Indices, Indices], ...]:
        """By interface voltage: positions of its limits, the voltage, the distinct monitors, and which of those each limit reads."""
        voltages = [(np.flatnonzero(self.interface_pu == pu), float(pu)) for pu in np.unique(self.interface_pu)]
        return tuple((which, pu, *np.unique(self.monitor[which], return_inverse=True)) for which, pu in voltages)

    def measure(self, engine: Engine, power_w: Floats) -> Floats:
        """f of every limit at every point, [batch, n_limits]; +inf where there is no operating point."""
        out = np.empty((len(power_w), len(self.monitor)))
        for which, interface_pu, monitor, position in self.ends:
            values = engine.values(engine.solve(power_w, interface_pu), interface_pu, monitor)
            _spread(values, position, self.sense[which], self.bound[which], which, out)
        return out

    def gradients(self, model: Reduced, power_w: Floats) -> tuple[Floats, Floats]:
        """f [n_limits] at one point and its gradient by right [n_limits, 2 n_injectors]."""
        f, gradient = np.empty(len(self.monitor)), np.empty((len(self.monitor), 2 * power_w.shape[-1]))
        for which, interface_pu, _, _ in self.ends:
            values, slopes = model.gradients(power_w, interface_pu, self.monitor[which])
            f[which] = self.sense[which] * (values - self.bound[which])
            gradient[which] = self.sense[which][:, None] * slopes
        return f, gradient

    def one(self, model: Reduced, limit: int, power_w: Floats) -> tuple[float, Floats]:
        """f and gradient [2 n_injectors] of one limit at one point."""
        f, gradient = self.chosen(np.array([limit])).gradients(model, power_w)
        return float(f[0]), gradient[0]

    def slopes(self, model: Reduced, power_w: Floats) -> Floats:
        """Gradient by right [n_limits, 2 n_injectors] of each limit at its own row of power_w [n_limits, n_injectors], or all at one."""
        out = np.empty((len(self.monitor), 2 * power_w.shape[1]))
        for which, interface_pu, _, _ in self.ends:
            own = power_w if len(power_w) == 1 else power_w[which]
            out[which] = self.sense[which][:, None] * _slopes(model, self.monitor[which], own, interface_pu)
        return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _spread(values: Floats, position: Indices, sense: Floats, bound: Floats, which: Indices, out: Floats) -> None:
    """f of some limits from the values of their monitors [batch, n_monitors], into their columns of out [batch, n_limits]."""
    for point in range(len(values)):
        for limit in range(len(which)):
            value = values[point, position[limit]]
            out[point, which[limit]] = np.inf if np.isnan(value) else sense[limit] * (value - bound[limit])


def _slopes(model: Reduced, monitor: Indices, power_w: Floats, interface_pu: float) -> Floats:
    current = np.nan_to_num(model.solve(power_w, interface_pu))
    v = interface_pu * model.w + current @ model.Z.T
    rows = model.H[monitor]
    phasor = interface_pu * model.h0[monitor] + (rows * current).sum(axis=1)
    seen = model.directions(phasor, interface_pu, monitor)[:, None] * rows
    coupling = current / np.conj(v)
    by_current = seen
    for _ in range(SLOPE_STEPS):
        by_current = seen - np.conj(coupling * by_current) @ model.Z
    by_power = by_current / np.conj(v)
    exports, imports = model.by_right
    return np.hstack([np.real(by_power @ np.conj(exports)), np.real(by_power @ np.conj(imports))])
