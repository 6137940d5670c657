"""The network seen from its customers: a dense model that answers thousands of AC power flows per second.

Every bus without a customer is eliminated exactly (Kron). What is left is, per unit, with `i` the currents injected at the
k customer nodes, `u` the interface voltage and `s` the complex powers:

    v = u w + Z i          i = conj(s / v)          h = u h0 + H i

`h` are the monitored phasors: the voltage of every bus and phase, the current of every branch, end and phase. They are
linear in `i`; the only nonlinearity is `i = conj(s / v)`, solved by the fixed point of the first two equations (it contracts
by about |Z s| / v^2, a tenth in a network within its limits). |h| times its scale is what limits refer to: per unit of
nominal voltage, or a fraction of the thermal rating; interface power is Re(h) (`riskcheck/monitors.py`).

The powers are those of the injectors: the network's customers, then its passives. Where customers have Volt-VAr curves, s
depends on v, and the same loop settles both (`riskcheck/voltvar.py`).

Sensitivities come from the same equations, differentiated:  dv = Z di,  conj(v) di + i conj(dv) = conj(ds), with ds = j B d|v|
more for curves - a real linear system of size 2k, one factorisation per operating point, exact for every monitor at once.

It is an AC power flow of its own, equal to power-grid-model's to solver precision (tests/test_powerflow.py); certificates
re-check the worst corners with power-grid-model on the unreduced network (`riskcheck/powerflow.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from riskcheck.admittance import BASE_VA, NEUTRAL, PHASE_TURNS, branch_blocks, current_rows, node_admittance
from riskcheck.blas import use_one_thread
from riskcheck.monitors import monitors
from riskcheck.voltvar import Curves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Indices = NDArray[np.int64]

TOLERANCE_PU = 1e-11
ITERATIONS_MAX = 200
CURVE_ITERATIONS_MAX = 2000


class Reduced:
    """Dense model of one network. Powers are per injector in watts, export positive, shape [batch, n_injectors].

    Public for other engines, all per unit: `admittance` of all nodes (bus by bus, phase by phase), `inner` (the nodes that are no
    source), `nodes` (where the k injections are), `rows` (currents, then interface powers, from all node voltages), `idle` (all node
    voltages at no load), `share` [k, n_injectors], and by monitor `h0`, `H` and `scale`.
    """

    def __init__(self, network: Network) -> None:
        use_one_thread()
        self.network = network
        blocks = [branch_blocks(branch, network) for branch in network.branches]
        self.admittance = node_admittance(network, blocks)
        phases, size = network.phases, network.n_buses * network.phases
        is_source = np.isin(np.arange(size) // phases, network.sources)
        self.inner, outer = np.flatnonzero(~is_source), np.flatnonzero(is_source)
        self.nodes, self.share = _injections(network)
        self._share_rows = sparse.csr_matrix(self.share / BASE_VA)  # nearly empty where customers are many
        self._read_reactive_power()

        factor = splu(self.admittance[self.inner][:, self.inner].tocsc())
        unit = np.zeros((len(self.inner), len(self.nodes)), dtype=complex)
        unit[np.searchsorted(self.inner, self.nodes), np.arange(len(self.nodes))] = 1.0
        impedance = np.zeros((size, len(self.nodes)), dtype=complex)
        impedance[self.inner] = factor.solve(unit)
        self.idle = np.zeros(size, dtype=complex)
        self.idle[outer] = np.tile(PHASE_TURNS[:phases], len(network.sources))
        self.idle[self.inner] = factor.solve(-(self.admittance[self.inner][:, outer] @ self.idle[outer]))

        self.Z, self.w = impedance[self.nodes], self.idle[self.nodes]
        currents, labels = current_rows(network, blocks)
        powers, power_scale, power_kinds = self._interface_rows(outer)
        self.rows = sparse.vstack([currents, powers]).tocsr()
        del unit
        self.H = np.empty((len(self.inner) + self.rows.shape[0], len(self.nodes)), dtype=complex)
        self.H[: len(self.inner)], self.H[len(self.inner) :] = impedance[self.inner], self.rows @ impedance
        del impedance
        self.h0 = np.concatenate([self.idle[self.inner], self.rows @ self.idle])
        to_nominal = (network.bus_base_v / network.bus_nominal_v)[self.inner // phases]
        self.scale = np.concatenate([to_nominal, _per_rating(network, labels), power_scale])
        flows = slice(len(self.inner), len(self.inner) + len(labels))
        loading = np.hstack([self.h0[flows, None], self.H[flows]])
        loading *= self.scale[flows, None]
        self.monitors = monitors(network, self.inner, labels, loading, power_kinds)
        has_curves = any(customer.volt_var for customer in network.customers)
        self.curves = Curves(network, self.nodes, self.share, self.Z, self.w, BASE_VA) if has_curves else None

    def _read_reactive_power(self) -> None:
        customers, passives = self.network.customers, self.network.passives
        imports = [1.0 if c.volt_var else c.power_factor for c in customers] + [p.power_factor for p in passives]
        exports = [1.0 if c.volt_var else c.export_power_factor for c in customers] + [1.0] * len(passives)
        told = [c.reactive_var for c in customers] + [0] * len(passives)
        self.tangent, self.export_tangent = (np.array([math.tan(math.acos(pf)) for pf in share]) for share in (imports, exports))
        self.reactive_var = np.array(told, dtype=float)
        self._plain = not (self.export_tangent.any() or self.reactive_var.any())

    def _interface_rows(self, outer: Indices) -> tuple[sparse.csr_matrix, list[float], list[int]]:
        """Rows that give sum(conj(e) I) over the source nodes, I the current into the network and e their voltage at 1 pu."""
        network = self.network
        row = sparse.csr_matrix(np.conj(self.idle[outer])) @ self.admittance[outer]
        total_va = BASE_VA * (3 if network.phases == 1 else 1)
        limits = (-network.interface_export_w_max, network.interface_import_w_max)
        chosen = [kind for kind, limit in enumerate(limits) if np.isfinite(limit)]
        return sparse.vstack([row] * len(chosen)) if chosen else row[:0], [total_va / limits[kind] for kind in chosen], chosen

    @property
    def n_customers(self) -> int:
        return len(self.network.customers)

    @property
    def n_injectors(self) -> int:
        return len(self.tangent)

    @property
    def by_right(self) -> tuple[Complexes, Complexes]:
        """Per-unit power at each node [k, n_injectors] for a watt exported, and for a watt imported, with its reactive power."""
        return self.share * (1 - 1j * self.export_tangent) / BASE_VA, -(self.share * (1 + 1j * self.tangent)) / BASE_VA

    def powers(self, power_w: Floats) -> Complexes:
        """Complex per-unit power at each injection node, without what the curves add."""
        reactive = np.minimum(power_w, 0.0) * self.tangent
        if not self._plain:
            reactive = reactive - np.maximum(power_w, 0.0) * self.export_tangent + self.reactive_var
        return np.ascontiguousarray((self._share_rows @ (power_w + 1j * reactive).T).T)

    def solve(self, power_w: Floats, interface_pu: float) -> Complexes:
        """Injected currents [batch, k]; NaN where no operating point exists (voltage collapse)."""
        power = self.powers(np.atleast_2d(power_w))
        if self.curves is not None:
            return self._solve_with_curves(self.curves, power, interface_pu)
        idle = interface_pu * self.w
        v = np.broadcast_to(idle, power.shape).astype(complex)
        with np.errstate(all="ignore"):
            for _ in range(ITERATIONS_MAX):
                current = np.conj(power / v)
                after = idle + current @ self.Z.T
                step = np.abs(after - v).max(axis=1)
                v = after
                if not np.any(step > TOLERANCE_PU):
                    break
            current = np.conj(power / v)
        current[~(step <= 1e-9)] = np.nan
        return np.asarray(current)

    def _solve_with_curves(self, curves: Curves, power: Complexes, interface_pu: float) -> Complexes:
        idle = interface_pu * self.w
        v = np.broadcast_to(idle, power.shape).astype(complex)
        reactive = np.zeros((len(power), curves.share.shape[1]))
        with np.errstate(all="ignore"):
            for _ in range(CURVE_ITERATIONS_MAX):
                current = np.conj((power + 1j * (reactive @ curves.share.T)) / v)
                after = idle + current @ self.Z.T
                change = curves.step(reactive, after)
                step = np.maximum(np.abs(after - v).max(axis=1), np.abs(change).max(axis=1))
                v, reactive = after, reactive + change
                if not np.any(step > TOLERANCE_PU):
                    break
            current = np.conj((power + 1j * (reactive @ curves.share.T)) / v)
        current[~(step <= 1e-9)] = np.nan
        return np.asarray(current)

    def values(self, current: Complexes, interface_pu: float, which: Indices | slice = slice(None)) -> Floats:
        """Monitored values [batch, n_which] at the injected currents; NaN where there was no solution."""
        return self._measured(self.phasors(current, interface_pu, which), interface_pu, which)

    def phasors(self, current: Complexes, interface_pu: float, which: Indices | slice = slice(None)) -> Complexes:
        return np.asarray(interface_pu * self.h0[which] + current @ self.H[which].T)

    def _measured(self, phasor: Complexes, interface_pu: float, which: Indices | slice) -> Floats:
        size = np.abs(phasor)
        is_power = self.monitors.is_power[which]
        if is_power.any():
            size[..., is_power] = interface_pu * phasor[..., is_power].real
        return np.asarray(size * self.scale[which])

    def directions(self, phasor: Complexes, interface_pu: float, which: Indices | slice = slice(None)) -> Complexes:
        """d with: change of the monitored values = Re(d * change of their phasors). phasor: [.., n_which]."""
        with np.errstate(invalid="ignore"):
            unit = np.conj(phasor) / np.maximum(np.abs(phasor), 1e-12)  # a current of zero has no direction, hence no gradient
        return np.asarray(np.where(self.monitors.is_power[which], interface_pu, unit) * self.scale[which])

    def margins(self, power_w: Floats, interface_pu: float, which: Indices | slice = slice(None)) -> tuple[Floats, Floats]:
        """Distance of every monitor to its high and to its low limit [batch, n_which]; negative is a violation, NaN becomes -inf."""
        values = self.values(self.solve(power_w, interface_pu), interface_pu, which)
        above, below = self.monitors.high[which] - values, values - self.monitors.low[which]
        return np.where(np.isnan(above), -np.inf, above), np.where(np.isnan(below), -np.inf, below)

    def current_sensitivities(self, power_w: Floats, interface_pu: float) -> tuple[Complexes, Complexes]:
        """Currents [k] at an operating point [n_injectors] and their derivative [k, 2 n_injectors] by right, per watt.

        The first half is by watts exported, the second by watts imported (with their reactive power). NaN without a solution.
        """
        current = self.solve(power_w, interface_pu)[0]
        v = interface_pu * self.w + self.Z @ current
        by_right = np.hstack(self.by_right)
        if not np.isfinite(v).all():
            return current, np.full(by_right.shape, np.nan + 0j)
        # di = conj(ds)/conj(v) - (i/conj(v)) conj(Z di): solve for di in real and imaginary parts.
        coupling = (current / np.conj(v))[:, None] * np.conj(self.Z)
        right = np.conj(by_right) / np.conj(v)[:, None]
        k = len(v)
        real, imag = coupling.real, coupling.imag
        system = np.block([[np.eye(k) + real, imag], [imag, np.eye(k) - real]])
        if self.curves is not None:
            system += self._feedback(self.curves, v)
        solution = np.linalg.solve(system, np.vstack([right.real, right.imag]))
        return current, solution[:k] + 1j * solution[k:]

    def _feedback(self, curves: Curves, v: Complexes) -> Floats:
        """The curves' part of the system: ds has j B d|v| more, d|v| = Re(conj(v)/|v| Z di)."""
        seen = (np.conj(v) / np.abs(v))[:, None] * self.Z
        answer = (1j / np.conj(v))[:, None] * curves.feedback(v)
        return np.block([[answer.real @ seen.real, -answer.real @ seen.imag], [answer.imag @ seen.real, -answer.imag @ seen.imag]])

    def gradients(self, power_w: Floats, interface_pu: float, which: Indices | slice = slice(None)) -> tuple[Floats, Floats]:
        """Monitored values [n_which] and their gradient by right [n_which, 2 n_injectors] at one operating point."""
        current, by_right = self.current_sensitivities(power_w, interface_pu)
        phasor = self.phasors(current, interface_pu, which)
        direction = self.directions(phasor, interface_pu, which)
        return self._measured(phasor, interface_pu, which), np.real(direction[:, None] * (self.H[which] @ by_right))


def _injections(network: Network) -> tuple[Indices, Floats]:
    """Injection nodes [k] and the share of each injector's power per phase base at each of them [k, n_injectors]."""
    phases, injectors = network.phases, network.injectors
    pairs: list[tuple[int, int, float]] = []
    for number, injector in enumerate(injectors):
        on = [0] if phases == 1 else ["abc".index(p) for p in injector.phase]
        part = 1 / 3 if phases == 1 else 1 / len(on)
        pairs += [(injector.bus * phases + p, number, part) for p in on]
    nodes = np.unique([node for node, _, _ in pairs])
    share = np.zeros((len(nodes), len(injectors)))
    for node, number, part in pairs:
        share[np.searchsorted(nodes, node), number] += part
    return nodes, share


def _per_rating(network: Network, labels: list[tuple[int, bool, int, int]]) -> Floats:
    """What turns the per-unit current of each row into a fraction of its rating."""
    scale = []
    for number, at_to, phase, bus in labels:
        branch = network.branches[number]
        rating_a = branch.neutral_rating_a if phase == NEUTRAL else branch.rating_a
        scale.append(BASE_VA / network.bus_base_v[bus] / rating_a * (1.0 if at_to else branch.ratio))
    return np.array(scale)
