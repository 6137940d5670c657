"""AC power flow of a whole multi-level network at corners of all homes' envelopes at once, against every operator's limits.

The operators never saw this network: each knew its own part and the limits at its interfaces. Here all parts are one network again
(`riskcheck/fixedpoint.py`, sparse), and every sample asks three things: does every voltage and loading keep its limits; is every
interface's voltage within the range that was granted; is the power through it within the power that was granted, and its reactive
power within the band?

A sample is a corner: every home at the end of its envelope, drawn with one share for all, one per area, or one per home; a
tenth of the samples have some homes idle. The first samples are the joint corners, and each area against all others. The voltage
at the top is at either end of its range, and passives at either end of their forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from riskcheck.admittance import BASE_VA, branch_blocks
from riskcheck.fixedpoint import FixedPoint
from riskcheck.network import load
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from envelopes.cascade import Cascade
    from envelopes.operator_messages import Grant
    from riskcheck.network import Network

    Floats = npt.NDArray[np.float64]
    Complexes = npt.NDArray[np.complex128]

KINDS = ("voltage_max", "voltage_min", "thermal", "interface voltage", "interface power", "interface reactive power")
TOLERANCE = dict(zip(KINDS, (1e-6, 1e-6, 1e-4, 1e-6, 1e-6, 1e-6), strict=True))
BATCH = 512


@dataclass
class Tally:
    """Samples with a limit broken, by kind; the smallest margins: pu, and shares of the rating or of the granted power."""

    samples: int = 0
    broken: int = 0
    no_solution: int = 0
    by_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    margin: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, np.inf))

    def note(self, margins: dict[str, Floats]) -> None:
        """Margins [batch] of each kind; NaN where there is no operating point."""
        bad = np.zeros(len(next(iter(margins.values()))), dtype=bool)
        for kind, margin in margins.items():
            broken = ~(margin >= -TOLERANCE[kind])
            bad |= broken
            self.by_kind[kind] += int(broken.sum())
            self.margin[kind] = min(self.margin[kind], float(np.nanmin(margin, initial=np.inf)))
        self.samples += len(bad)
        self.broken += int(bad.sum())
        self.no_solution += int(np.isnan(margins["voltage_max"]).sum())


class WholeNetwork:
    """All areas of a cascade as one network. `net` is the pandapower network that was split."""

    def __init__(self, cascade: Cascade, net: Any) -> None:
        self.network: Network = load(net)
        self.model = Reduced(self.network)
        self._engine = FixedPoint(self.model)
        homes = {bus: name for name, area in cascade.areas.items() for bus in area.buses}
        self.area_of = self._areas(homes, cascade)
        self._cascade = cascade
        self._interfaces = [(name, self._at(area.interface_bus)) for name, area in cascade.areas.items() if area.parent is not None]
        self._into = self._currents()

    def _at(self, bus: int | None) -> int:
        return self.network.bus_names.index(str(bus))

    def _areas(self, homes: dict[int, str], cascade: Cascade) -> list[str]:
        """The area of every bus; the star of a three-winding transformer is in the lowest area that it touches."""
        names = [homes[int(name)] if name.isdigit() else "" for name in self.network.bus_names]
        depth = {name: i for i, name in enumerate(cascade.areas)}
        for star in [i for i, name in enumerate(names) if not name]:
            ends = [b.to_bus if b.from_bus == star else b.from_bus for b in self.network.branches if star in (b.from_bus, b.to_bus)]
            names[star] = max((names[end] for end in ends), key=lambda name: depth.get(name, -1))
        return names

    def _currents(self) -> sparse.csr_matrix:
        """Current into each area below through its interface bus, from all bus voltages [n_interfaces, n_buses]."""
        matrix = sparse.lil_matrix((len(self._interfaces), self.network.n_buses), dtype=complex)
        for row, (name, bus) in enumerate(self._interfaces):
            for branch in self.network.branches:
                ends = (branch.from_bus, branch.to_bus)
                other = ends[1] if ends[0] == bus else ends[0]
                if bus not in ends or self.area_of[other] != name:
                    continue
                yff, yft, ytf, ytt = (block[0, 0] for block in branch_blocks(branch, self.network))
                own, far = (yff, yft) if ends[0] == bus else (ytt, ytf)
                matrix[row, bus] += own
                matrix[row, other] += far
        return matrix.tocsr()

    # ------------------------------------------------------------------------------------------------------- samples

    def corners(self, envelopes_w: dict[str, tuple[int, int]], samples: int, seed: int) -> Iterator[tuple[Floats, float]]:
        """Batches of powers [batch, n_injectors] with the voltage at the top."""
        network, rng = self.network, np.random.default_rng(seed)
        high = np.array([envelopes_w[c.id][0] for c in network.customers] + [p.high_w for p in network.passives], dtype=float)
        low = np.array([-envelopes_w[c.id][1] for c in network.customers] + [p.low_w for p in network.passives], dtype=float)
        areas, member = np.unique([self.area_of[x.bus] for x in network.injectors], return_inverse=True)
        joint = np.vstack(
            [np.zeros((1, len(high))), np.ones((1, len(high))), np.eye(len(areas))[:, member], 1 - np.eye(len(areas))[:, member]]
        )
        done = 0
        while done < samples:
            n = min(BATCH, samples - done)
            kind = rng.integers(0, 3, (n, 1))
            odds = np.choose(kind, [rng.random((n, 1)), rng.random((n, len(areas)))[:, member], rng.random((n, len(high)))])
            is_high = rng.random(odds.shape) < odds
            if done < 2 * BATCH:  # at both ends of the range above
                is_high[: len(joint)] = joint[:n] > 0.5
            idle = (rng.random((n, len(high))) < 0.2) & (rng.random((n, 1)) < 0.1) & (low <= 0) & (high >= 0)
            idle[: len(joint)] = False
            ends = network.interface_min_pu, network.interface_max_pu
            yield np.where(idle, 0.0, np.where(is_high, high, low)), ends[(done // BATCH) % 2]
            done += n

    def check(self, power_w: Floats, interface_pu: float, grants: dict[str, Grant] | None) -> dict[str, Floats]:
        """Margins of every kind at these powers, the smallest of each sample."""
        network, model, n = self.network, self.model, len(self.model.inner)
        voltage = np.empty((len(power_w), network.n_buses), dtype=complex)
        voltage[:] = interface_pu * model.idle
        solved = self._engine.solve(power_w, interface_pu)
        voltage[:, model.inner] = solved
        values = self._engine.values(solved, interface_pu, np.arange(len(model.scale)))
        flow = ~model.monitors.is_voltage & ~model.monitors.is_power
        volts = values[:, :n]
        found = {
            "voltage_max": (model.monitors.high[:n] - volts).min(axis=1),
            "voltage_min": (volts - model.monitors.low[:n]).min(axis=1),
            "thermal": (1 - values[:, flow]).min(axis=1),
        }
        return found | (self._at_interfaces(voltage, grants) if grants is not None and self._interfaces else {})

    def _at_interfaces(self, voltage: Complexes, grants: dict[str, Grant]) -> dict[str, Floats]:
        margins: dict[str, list[Floats]] = {kind: [] for kind in KINDS[3:]}
        current = (self._into @ voltage.T).T
        for i, (name, bus) in enumerate(self._interfaces):
            grant = grants[name]
            drawn = voltage[:, bus] * np.conj(current[:, i]) * BASE_VA * 3
            pu = np.abs(voltage[:, bus])
            margins["interface voltage"].append(np.minimum(pu - grant.range.min_pu, grant.range.max_pu - pu))
            most_w = max(grant.export_w, grant.import_w, 1)
            margins["interface power"].append(np.minimum(grant.export_w + drawn.real, grant.import_w - drawn.real) / most_w)
            margins["interface reactive power"].append(_in_band(drawn, grant) / most_w)
        return {kind: np.min(margin, axis=0) for kind, margin in margins.items()}


def _in_band(drawn: Complexes, grant: Grant) -> Floats:
    """Var between a power and the ends of the band that goes with its active power (`envelopes/operator_messages.py`)."""
    power, band = -drawn.real, grant.reactive
    least_y, most_y = np.maximum(0.0, -power), np.maximum(0.0, np.minimum(grant.import_w, grant.export_w - power))
    most = band.constant_most + band.export_most * np.maximum(power + most_y, 0.0) + band.import_most * most_y
    least = band.constant_least + band.export_least * np.maximum(power + least_y, 0.0) + band.import_least * least_y
    return np.asarray(np.minimum(most - drawn.imag, drawn.imag - least))
