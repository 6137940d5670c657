"""The network seen from its customers: a dense model that answers thousands of AC power flows per second.

Every bus without a customer is eliminated exactly (Kron). What is left is, per unit, with `i` the currents injected at the
k customer nodes, `u` the interface voltage and `s` the complex powers:

    v = u w + Z i          i = conj(s / v)          h = u h0 + H i

`h` are the monitored phasors: the voltage of every bus and phase, the current of every branch, end and phase. They are
linear in `i`; the only nonlinearity is `i = conj(s / v)`, solved by the fixed point of the first two equations (it contracts
by about |Z s| / v^2, a tenth in a network within its limits). |h| times its scale is what limits refer to: per unit of
nominal voltage, or a fraction of the thermal rating.

Sensitivities come from the same equations, differentiated:  dv = Z di,  conj(v) di + i' conj(dv) = conj(ds), i' = conj(i) as
column - a real linear system of size 2k, one factorisation per operating point, exact for every monitor at once.

It is an AC power flow of its own, equal to power-grid-model's to solver precision (tests/test_powerflow.py); certificates
re-check the worst corners with power-grid-model on the unreduced network (`riskcheck/powerflow.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from riskcheck.blas import use_one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Indices = NDArray[np.int64]

BASE_VA = 1e5  # per phase
TOLERANCE_PU = 1e-11
ITERATIONS_MAX = 200
_A = np.exp(2j * np.pi / 3)
_TO_PHASES = np.array([[1, 1, 1], [1, _A**2, _A], [1, _A, _A**2]])
_TO_SEQUENCE = np.linalg.inv(_TO_PHASES)


@dataclass(frozen=True)
class Monitors:
    """Names of the monitored phasors, all arrays [n_monitors]. `element` is a bus for voltages, a position in `branches` else."""

    is_voltage: NDArray[np.bool_]
    element: Indices
    phase: Indices  # 0, 1, 2, always 0 in a balanced network
    low: Floats  # smallest allowed value, -inf for currents
    high: Floats  # largest allowed value: pu of nominal voltage, or 1 for currents
    is_extremal: NDArray[np.bool_]  # False where another monitor is always at least as near to its limit


class Reduced:
    """Dense model of one network. Powers are per customer in watts, export positive, shape [batch, n_customers]."""

    def __init__(self, network: Network) -> None:
        use_one_thread()
        self.network = network
        admittance, ends = _admittance(network)
        phases = network.phases
        is_source = np.zeros(network.n_buses * phases, dtype=bool)
        for bus in network.sources:
            is_source[bus * phases : (bus + 1) * phases] = True
        inner, outer = np.flatnonzero(~is_source), np.flatnonzero(is_source)
        nodes, self.share = _injections(network)
        self.tangent = np.array([math.tan(math.acos(c.power_factor)) for c in network.customers])

        factor = splu(admittance[inner][:, inner].tocsc())
        position = np.full(len(is_source), -1)
        position[inner] = np.arange(len(inner))
        unit = np.zeros((len(inner), len(nodes)), dtype=complex)
        unit[position[nodes], np.arange(len(nodes))] = 1.0
        impedance = np.zeros((len(is_source), len(nodes)), dtype=complex)
        impedance[inner] = factor.solve(unit)
        idle = np.zeros(len(is_source), dtype=complex)
        idle[outer] = np.tile([1, _A**2, _A][:phases], len(network.sources))
        idle[inner] = factor.solve(-(admittance[inner][:, outer] @ idle[outer]))

        self.Z, self.w = impedance[nodes], idle[nodes]
        flows, labels = _flow_rows(network, ends, len(is_source))
        self.H = np.vstack([impedance[inner], flows @ impedance])
        self.h0 = np.concatenate([idle[inner], flows @ idle])
        base_a = BASE_VA / network.bus_base_v
        buses = inner // phases
        ratings = np.array([network.branches[b].rating_a / (1.0 if at_to else network.branches[b].ratio) for b, at_to, _, _ in labels])
        self.scale = np.concatenate([(network.bus_base_v / network.bus_nominal_v)[buses], [base_a[x[3]] for x in labels] / ratings])
        self.monitors = _monitors(network, buses, inner % phases, labels, self.H, self.scale)

    @property
    def n_customers(self) -> int:
        return len(self.network.customers)

    def powers(self, power_w: Floats) -> Complexes:
        """Complex per-unit power at each injection node: reactive power follows imports only."""
        complex_w = power_w + 1j * np.minimum(power_w, 0.0) * self.tangent
        return np.asarray(complex_w @ self.share.T / BASE_VA, dtype=complex)

    def solve(self, power_w: Floats, interface_pu: float) -> Complexes:
        """Injected currents [batch, k]; NaN where no operating point exists (voltage collapse)."""
        power = self.powers(np.atleast_2d(power_w))
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

    def values(self, current: Complexes, interface_pu: float, which: Indices | slice = slice(None)) -> Floats:
        """Monitored magnitudes [batch, n_which] at the injected currents; NaN where there was no solution."""
        return np.asarray(np.abs(self.phasors(current, interface_pu, which)) * self.scale[which])

    def phasors(self, current: Complexes, interface_pu: float, which: Indices | slice = slice(None)) -> Complexes:
        return np.asarray(interface_pu * self.h0[which] + current @ self.H[which].T)

    def margins(self, power_w: Floats, interface_pu: float, which: Indices | slice = slice(None)) -> tuple[Floats, Floats]:
        """Distance of every monitor to its high and to its low limit [batch, n_which]; negative is a violation, NaN becomes -inf."""
        values = self.values(self.solve(power_w, interface_pu), interface_pu, which)
        above, below = self.monitors.high[which] - values, values - self.monitors.low[which]
        return np.where(np.isnan(above), -np.inf, above), np.where(np.isnan(below), -np.inf, below)

    def current_sensitivities(self, power_w: Floats, interface_pu: float) -> tuple[Complexes, Complexes]:
        """Currents [k] at an operating point [n_customers] and their derivative [k, 2 n_customers] by right, per watt.

        The first half is by watts exported, the second by watts imported (with their reactive power). NaN without a solution.
        """
        current = self.solve(power_w, interface_pu)[0]
        v = interface_pu * self.w + self.Z @ current
        by_right = np.hstack([self.share, -(self.share * (1 + 1j * self.tangent))]) / BASE_VA
        # di = conj(ds)/conj(v) - (i/conj(v)) conj(Z di): solve for di in real and imaginary parts.
        if not np.isfinite(v).all():
            return current, np.full(by_right.shape, np.nan + 0j)
        coupling = (current / np.conj(v))[:, None] * np.conj(self.Z)
        right = np.conj(by_right) / np.conj(v)[:, None]
        k = len(v)
        real, imag = coupling.real, coupling.imag
        system = np.block([[np.eye(k) + real, imag], [imag, np.eye(k) - real]])
        solution = np.linalg.solve(system, np.vstack([right.real, right.imag]))
        return current, solution[:k] + 1j * solution[k:]

    def gradients(self, power_w: Floats, interface_pu: float, which: Indices | slice = slice(None)) -> tuple[Floats, Floats]:
        """Monitored magnitudes [n_which] and their gradient by right [n_which, 2 n_customers] at one operating point."""
        current, by_right = self.current_sensitivities(power_w, interface_pu)
        phasor = self.phasors(current, interface_pu, which)
        size = np.abs(phasor)
        with np.errstate(invalid="ignore"):
            direction = np.conj(phasor) / np.maximum(size, 1e-12)  # a current of zero has no direction, hence no gradient
        gradient = np.real(direction[:, None] * (self.H[which] @ by_right)) * self.scale[which][:, None]
        return size * self.scale[which], gradient


def _sequence_blocks(branch: Branch, network: Network) -> tuple[Complexes, Complexes, Complexes, Complexes]:
    """The four blocks Yff, Yft, Ytf, Ytt of a branch, per unit, [phases, phases] each."""
    base_v = network.bus_base_v[branch.to_bus]
    to_pu = base_v**2 / BASE_VA
    turn = branch.ratio * base_v / network.bus_base_v[branch.from_bus] * np.exp(1j * np.pi / 180 * branch.shift_degree)
    if branch.kind == "line":
        turn = 1.0 + 0j
    y1, shunt1 = to_pu / branch.z1_ohm, branch.y1_siemens * to_pu / 2
    positive = _two_port(y1, shunt1, turn)
    if network.phases == 1:
        return tuple(np.array([[y]]) for y in positive)  # type: ignore[return-value]
    y0, shunt0 = to_pu / branch.z0_ohm, branch.y0_siemens * to_pu / 2
    zero = _two_port(y0, shunt0, turn) if branch.zero_path == "through" else (0j, 0j, 0j, y0)
    negative = _two_port(y1, shunt1, np.conj(turn))
    return tuple(_TO_PHASES @ np.diag(y) @ _TO_SEQUENCE for y in zip(zero, positive, negative, strict=True))  # type: ignore[return-value]


def _two_port(y: complex, shunt: complex, turn: complex) -> tuple[complex, complex, complex, complex]:
    return (y + shunt) / abs(turn) ** 2, -y / np.conj(turn), -y / turn, y + shunt


def _admittance(network: Network) -> tuple[sparse.csr_matrix, list[tuple[Complexes, Complexes, Complexes, Complexes]]]:
    phases = network.phases
    rows, columns, values = [], [], []
    blocks = [_sequence_blocks(branch, network) for branch in network.branches]
    grid_i, grid_j = np.indices((phases, phases))
    for branch, (yff, yft, ytf, ytt) in zip(network.branches, blocks, strict=True):
        f, t = branch.from_bus * phases, branch.to_bus * phases
        for (i, j), block in (((f, f), yff), ((f, t), yft), ((t, f), ytf), ((t, t), ytt)):
            rows.append((i + grid_i).ravel())
            columns.append((j + grid_j).ravel())
            values.append(block.ravel())
    size = network.n_buses * phases
    matrix = sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(size, size))
    return matrix.tocsr(), blocks


def _injections(network: Network) -> tuple[Indices, Floats]:
    """Injection nodes [k] and the share of each customer's power per phase base at each of them [k, n_customers]."""
    phases = network.phases
    pairs: list[tuple[int, int, float]] = []
    for number, customer in enumerate(network.customers):
        on = [0] if phases == 1 else ["abc".index(p) for p in customer.phase]
        part = 1 / 3 if phases == 1 else 1 / len(on)
        pairs += [(customer.bus * phases + p, number, part) for p in on]
    nodes = np.unique([node for node, _, _ in pairs])
    share = np.zeros((len(nodes), len(network.customers)))
    for node, number, part in pairs:
        share[np.searchsorted(nodes, node), number] += part
    return nodes, share


def _flow_rows(
    network: Network, blocks: list[tuple[Complexes, Complexes, Complexes, Complexes]], size: int
) -> tuple[sparse.csr_matrix, list[tuple[int, bool, int, int]]]:
    """Rows that give branch currents from node voltages, with (branch, at to_bus, phase, bus) for each.

    A line without shunt has one current; with shunt, and for transformers, both ends are monitored.
    """
    phases = network.phases
    rows, columns, values = [], [], []
    labels: list[tuple[int, bool, int, int]] = []
    for b, branch in enumerate(network.branches):
        f, t = branch.from_bus * phases, branch.to_bus * phases
        yff, yft, ytf, ytt = blocks[b]
        sides = [(False, yff, yft, branch.from_bus), (True, ytf, ytt, branch.to_bus)]
        if branch.kind == "line" and not branch.y1_siemens and not branch.y0_siemens:
            sides = sides[:1]
        for at_to, left, right, bus in sides:
            for phase in range(phases):
                rows.append(np.full(2 * phases, len(labels)))
                columns.append(np.concatenate([f + np.arange(phases), t + np.arange(phases)]))
                values.append(np.concatenate([left[phase], right[phase]]))
                labels.append((b, at_to, phase, bus))
    matrix = sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(len(labels), size))
    return matrix.tocsr(), labels


def _monitors(
    network: Network, buses: Indices, phase: Indices, labels: list[tuple[int, bool, int, int]], H: Complexes, scale: Floats
) -> Monitors:
    n, m = len(buses), len(labels)
    is_voltage = np.arange(n + m) < n
    nominal = network.bus_nominal_v
    return Monitors(
        is_voltage=is_voltage,
        element=np.concatenate([buses, np.array([x[0] for x in labels], dtype=np.int64)]),
        phase=np.concatenate([phase, np.array([x[2] for x in labels], dtype=np.int64)]),
        low=np.concatenate([(network.bus_min_v / nominal)[buses], np.full(m, -np.inf)]),
        high=np.concatenate([(network.bus_max_v / nominal)[buses], np.ones(m)]),
        is_extremal=np.concatenate([~_is_midway(network)[buses], _first_of_each_chain(H[n:] * scale[n:, None])]),
    )


def _is_midway(network: Network) -> NDArray[np.bool_]:
    """Buses inside a uniform stretch of line: their voltage lies on the straight line between those of its two ends."""
    lines: list[list[Branch]] = [[] for _ in range(network.n_buses)]
    for branch in network.branches:
        lines[branch.from_bus].append(branch)
        lines[branch.to_bus].append(branch)
    midway = np.zeros(network.n_buses, dtype=bool)
    special = {*network.sources, *(c.bus for c in network.customers)}
    for bus, around in enumerate(lines):
        if bus in special or len(around) != 2 or any(b.kind != "line" or b.y1_siemens or b.y0_siemens for b in around):
            continue
        one, other = around
        same = abs(one.z1_ohm * other.z0_ohm - one.z0_ohm * other.z1_ohm) < 1e-9 * abs(one.z0_ohm * other.z1_ohm)
        aligned = abs((one.z1_ohm * other.z1_ohm.conjugate()).imag) < 1e-9 * abs(one.z1_ohm * other.z1_ohm)
        limits = all(
            network.bus_max_v[bus] >= network.bus_max_v[end] and network.bus_min_v[bus] <= network.bus_min_v[end]
            for b in around for end in (b.from_bus, b.to_bus)
        )  # fmt: skip
        midway[bus] = same and aligned and limits
    return midway


def _first_of_each_chain(loading: Complexes) -> NDArray[np.bool_]:
    """Lines in series carry the same current: keep, of equal directions, the one with the smallest rating."""
    size = np.abs(loading).sum(axis=1)
    kept = np.zeros(len(loading), dtype=bool)
    seen: dict[bytes, int] = {}
    for row in np.argsort(-size, kind="stable"):
        if size[row] < 1e-7 * size.max():
            continue  # no customer behind it: what is left is rounding
        first = loading[row][np.argmax(np.abs(loading[row]) > 1e-3 * size[row])]
        unit = np.round(loading[row] / (size[row] * first / abs(first)), 5) + 0.0
        if seen.setdefault(unit.tobytes(), row) == row:
            kept[row] = True
    return kept
