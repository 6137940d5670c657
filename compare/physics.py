"""AC power flow of a day's actual powers, minute by minute: which limits are broken, and by how much.

Every minute is run at the voltage that the interface has then, by the dense model (`riskcheck/reduced.py`); the worst minutes of the
day are run again by power-grid-model on the whole network, and the two must agree. Excess is above the limit: pu of nominal for
voltages, share of the rating for currents; `compare/breaches.py` says how much power it is. What has no operating point counts as an
excess of 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.breaches import Breaches
from compare.days import INTERVAL_MIN, Day
from riskcheck.certify import TOLERANCE
from riskcheck.fixedpoint import engine
from riskcheck.limits import KINDS, Limits
from riskcheck.powerflow import PowerFlow
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.network import Network

    Floats = npt.NDArray[np.float64]

COLLAPSED = 1.0
CONFIRMED = 24  # minutes of a day that power-grid-model sees again
AGREEMENT = 1e-6


class Excess(NamedTuple):
    """By scenario: worst excess of voltages in pu and of currents as a share, negative is room; power above ratings, power out of range."""

    voltage_pu: Floats
    thermal: Floats
    above_va: Floats
    outside_w: Floats

    def is_broken(self) -> npt.NDArray[np.bool_]:
        return (self.voltage_pu > TOLERANCE["voltage_max"]) | (self.thermal > TOLERANCE["thermal"])


class Physics:
    """A network ready for AC: build once in every process."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.model = Reduced(network)
        self.engine = engine(self.model)
        self._limits = Limits.of(self.model)
        self._at: dict[float, Limits] = {}
        self._is_volts = np.array([KINDS[kind].startswith("voltage") for kind in self._limits.kind])
        self._breaches = Breaches(self.model, self._limits)
        self._flow = PowerFlow(network)

    def limits_at(self, interface_pu: float) -> Limits:
        """Every limit, at one interface voltage."""
        if interface_pu not in self._at:
            self._at[interface_pu] = replace(self._limits, interface_pu=np.full(len(self._limits.monitor), interface_pu))
        return self._at[interface_pu]

    def day(self, day: Day, net_w: Floats) -> tuple[Excess, Excess]:
        """Of every minute, and of every interval at its mean powers. net_w: [minutes, customers]."""
        means_w = net_w.reshape(day.intervals, INTERVAL_MIN, -1).mean(axis=1)
        minutes = self._excess(self._all(day, net_w, INTERVAL_MIN), np.repeat(day.interface_pu, INTERVAL_MIN))
        self._confirm(day, net_w, minutes)
        return minutes, self._excess(self._all(day, means_w, 1), np.array(day.interface_pu))

    def _all(self, day: Day, net_w: Floats, per_interval: int) -> Floats:
        """With the passives' power, [scenarios, n_injectors]."""
        return np.hstack([net_w, np.repeat(day.passive_w, per_interval, axis=0)])

    def _excess(self, power_w: Floats, interface_pu: Floats) -> Excess:
        found = Excess(*np.full((len(Excess._fields), len(power_w)), -np.inf))
        for level in np.unique(interface_pu):
            which = np.flatnonzero(interface_pu == level)
            f = self.limits_at(float(level)).measure(self.engine, power_w[which])
            for column, values in zip(found, self._exceeding(np.where(np.isfinite(f), f, COLLAPSED), power_w[which]), strict=True):
                column[which] = values
        return found

    def _exceeding(self, f: Floats, power_w: Floats) -> Excess:
        volts, currents = f[:, self._is_volts].max(axis=1), f[:, ~self._is_volts].max(axis=1)
        outside_w = self._breaches.outside_w(f, power_w, TOLERANCE["voltage_max"])
        return Excess(volts, currents, self._breaches.above_va(f), outside_w)

    def _confirm(self, day: Day, net_w: Floats, found: Excess) -> None:
        """Power-grid-model at the worst minutes. Asserts that it finds the same excess of voltage."""
        network = self.network
        worst = np.argsort(-found.voltage_pu)[:CONFIRMED]
        worst = worst[found.voltage_pu[worst] < COLLAPSED]
        interface_pu = np.array(day.interface_pu)[worst // INTERVAL_MIN]
        volts = self._flow.run(self._all(day, net_w, INTERVAL_MIN)[worst], interface_pu).voltage_pu
        inner = ~np.isin(np.arange(network.n_buses), network.sources)
        high, low = ((limit / network.bus_nominal_v)[None, :, None] for limit in (network.bus_max_v, network.bus_min_v))
        excess = np.maximum(volts - high, low - volts)[:, inner].max(axis=(1, 2), initial=-np.inf)
        gap = float(np.abs(excess - found.voltage_pu[worst]).max(initial=0.0))
        assert gap < AGREEMENT, f"the two power flow engines of {network.name} disagree by {gap:.2e} pu"
