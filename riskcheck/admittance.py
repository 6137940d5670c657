"""The network as matrices, per unit: node admittances, and the rows that give branch currents from node voltages.

One base power for all, `BASE_VA` per phase; voltages are per unit of `bus_base_v`, phase to neutral. Nodes are numbered bus by
bus, phase by phase. A branch is the pi of its `to_bus` behind an ideal transformer whose complex ratio is `turn`:

    Yff = (y + b/2) / |turn|^2      Yft = -y / conj(turn)      Ytf = -y / turn      Ytt = y + b/2

A three-phase branch has this pi once for each sequence (the negative one with the conjugate `turn`), turned into phases by
Fortescue's matrix. Zero sequence passes a wye-wye transformer with its sign, by the clock hour: windings that are connected in
reverse (hours 2, 6, 10) invert it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Blocks = tuple[Complexes, Complexes, Complexes, Complexes]

BASE_VA = 1e5  # per phase
NEUTRAL = 3  # the phase of a neutral current
_A = np.exp(2j * np.pi / 3)
PHASE_TURNS = np.array([1, _A**2, _A])  # of a balanced source
_TO_PHASES = np.array([[1, 1, 1], [1, _A**2, _A], [1, _A, _A**2]])
_TO_SEQUENCE = np.linalg.inv(_TO_PHASES)


def branch_blocks(branch: Branch, network: Network) -> Blocks:
    """The four blocks Yff, Yft, Ytf, Ytt of a branch, per unit, [phases, phases] each."""
    base_v = network.bus_base_v[branch.to_bus]
    to_pu = base_v**2 / BASE_VA
    size = 1.0 if branch.kind == "line" else branch.ratio * base_v / network.bus_base_v[branch.from_bus]
    turn = size * np.exp(1j * np.pi / 180 * branch.shift_degree)
    y1, shunt1 = to_pu / branch.z1_ohm, branch.y1_siemens * to_pu / 2
    positive = _two_port(y1, shunt1, turn)
    if network.phases == 1:
        return tuple(np.array([[y]]) for y in positive)  # type: ignore[return-value]
    y0, shunt0 = to_pu / branch.z0_ohm, branch.y0_siemens * to_pu / 2
    sign = (-1) ** (round(branch.shift_degree / 30) // 2)
    zero = _two_port(y0, shunt0, sign * size) if branch.zero_path == "through" else (0j, 0j, 0j, y0)
    negative = _two_port(y1, shunt1, np.conj(turn))
    return tuple(_TO_PHASES @ np.diag(y) @ _TO_SEQUENCE for y in zip(zero, positive, negative, strict=True))  # type: ignore[return-value]


def _two_port(y: complex, shunt: complex, turn: complex) -> tuple[complex, complex, complex, complex]:
    return (y + shunt) / abs(turn) ** 2, -y / np.conj(turn), -y / turn, y + shunt


def node_admittance(network: Network, blocks: list[Blocks]) -> sparse.csr_matrix:
    phases = network.phases
    rows, columns, values = [], [], []
    grid_i, grid_j = np.indices((phases, phases))
    for branch, (yff, yft, ytf, ytt) in zip(network.branches, blocks, strict=True):
        f, t = branch.from_bus * phases, branch.to_bus * phases
        for (i, j), block in (((f, f), yff), ((f, t), yft), ((t, f), ytf), ((t, t), ytt)):
            rows.append((i + grid_i).ravel())
            columns.append((j + grid_j).ravel())
            values.append(block.ravel())
    for bus, siemens in network.bus_shunt_siemens:
        at = bus * phases + np.arange(phases)
        rows.append(at)
        columns.append(at)
        values.append(np.full(phases, siemens * network.bus_base_v[bus] ** 2 / BASE_VA))
    size = network.n_buses * phases
    matrix = sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(size, size))
    return matrix.tocsr()


def current_rows(network: Network, blocks: list[Blocks]) -> tuple[sparse.csr_matrix, list[tuple[int, bool, int, int]]]:
    """Rows that give branch currents from node voltages, with (branch, at to_bus, phase, bus) for each.

    A line without shunt has one current; with shunt, and for transformers, both ends are monitored. Where the neutral has a
    rating the sum of the phase currents is one more row, of phase `NEUTRAL`.
    """
    phases = network.phases
    rows, columns, values = [], [], []
    labels: list[tuple[int, bool, int, int]] = []
    for b, branch in enumerate(network.branches):
        at = np.concatenate([branch.from_bus * phases + np.arange(phases), branch.to_bus * phases + np.arange(phases)])
        for at_to, bus in _monitored_ends(branch):
            by_phase = np.hstack(blocks[b][2:] if at_to else blocks[b][:2])
            with_neutral = phases == 3 and np.isfinite(branch.neutral_rating_a)
            for phase, row in enumerate([*by_phase, by_phase.sum(axis=0)] if with_neutral else by_phase):
                rows.append(np.full(2 * phases, len(labels)))
                columns.append(at)
                values.append(row)
                labels.append((b, at_to, phase, bus))
    shape = (len(labels), network.n_buses * phases)
    if not labels:
        return sparse.csr_matrix(shape, dtype=complex), labels
    return sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape).tocsr(), labels


def _monitored_ends(branch: Branch) -> list[tuple[bool, int]]:
    if branch.kind == "line" and not branch.y1_siemens and not branch.y0_siemens:
        return [(False, branch.from_bus)]
    return [(False, branch.from_bus), (True, branch.to_bus)]
