"""Volt-VAr curves in the dense model: reactive power that follows the voltage at the customer's own connection.

A curve (`VoltVar`) falls with the voltage it sees, the mean over the customer's phases, so it pulls the voltage towards its middle.
Simply following it overshoots where the curve is steep and the network weak, and then never settles. With x the change of the
voltages by the reactive powers (at no load) and c the steepest slope of each curve,

    q <- q + (I + c x)^-1 (curve(|v|) - q)

settles whatever the loading: in the norm of c^1/2 x c^1/2 (eigenvalues a) an error shrinks by a / (1 + a) at least in each step,
on the steepest segment at once. The slopes where a point comes to rest enter its sensitivities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Network, VoltVar

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Indices = NDArray[np.int64]


class Curves:
    """The curves of a network. Reactive power [.., n_curves] is per unit of `base_va`, positive when injected.

    `holders` are the customers that have a curve.
    """

    def __init__(self, network: Network, nodes: Indices, share: Floats, impedance: Complexes, idle: Complexes, base_va: float) -> None:
        """share: [k, n_injectors] of each injector's power at the nodes; impedance [k, k] and idle voltage [k] of the nodes."""
        self.holders = [i for i, customer in enumerate(network.customers) if customer.volt_var is not None]
        curves = [network.customers[i].volt_var for i in self.holders]
        self._curves = [(curve, np.flatnonzero([c == curve for c in curves])) for curve in dict.fromkeys(curves) if curve is not None]
        self.base_va = base_va
        self.share = share[:, self.holders]
        to_nominal = (network.bus_base_v / network.bus_nominal_v)[nodes // network.phases]
        at = self.share.T > 0
        self._mean = at / at.sum(axis=1, keepdims=True) * to_nominal
        current = -1j * self.share / np.conj(idle)[:, None]
        by_reactive = self._mean @ np.real(np.conj(idle / np.abs(idle))[:, None] * (impedance @ current))
        steepest = -self._each(_steepest, np.ones((1, len(self.holders))))[0]
        self._calm = np.linalg.inv(np.eye(len(self.holders)) + steepest[:, None] * by_reactive)

    def step(self, reactive: Floats, v: Complexes) -> Floats:
        """What to add to these reactive powers, given the node voltages [batch, k] that they lead to."""
        return np.asarray((self._each(share_at, np.abs(v) @ self._mean.T) - reactive) @ self._calm.T)

    def feedback(self, v: Complexes) -> Floats:
        """Change of the nodes' reactive power by the nodes' voltage magnitudes [k, k], per unit, at node voltages v [k]."""
        slope = self._each(_slope_at, (np.abs(v) @ self._mean.T)[None])[0]
        return np.asarray(self.share @ (slope[:, None] * self._mean))

    def _each(self, function: Callable[[VoltVar, Floats], Floats], voltage: Floats) -> Floats:
        out = np.empty_like(voltage)
        for curve, columns in self._curves:
            out[:, columns] = curve.var_max / self.base_va * function(curve, voltage[:, columns])
        return out


def share_at(curve: VoltVar, voltage_pu: Floats) -> Floats:
    """The curve at voltages in pu of nominal."""
    return np.interp(voltage_pu, curve.voltage_pu, curve.share)


def _slope_at(curve: VoltVar, voltage_pu: Floats) -> Floats:
    slopes = np.concatenate([[0.0], np.diff(curve.share) / np.diff(curve.voltage_pu), [0.0]])
    return np.asarray(slopes[np.searchsorted(curve.voltage_pu, voltage_pu, side="right")])


def _steepest(curve: VoltVar, voltage_pu: Floats) -> Floats:
    return np.full_like(voltage_pu, (np.diff(curve.share) / np.diff(curve.voltage_pu)).min())
