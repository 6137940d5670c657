"""What is watched in a network: the voltage of every bus and phase, every branch current, the power at the interface.

Each is a phasor h that is linear in the injected currents, and a value made from it: |h| times a scale for voltages (pu of
nominal) and currents (fraction of the rating); Re(h) times the interface voltage times a scale for powers (fraction of the
operator's limit), since at the interface the voltage is given and only the current varies.

`is_extremal` leaves out what cannot break first: a bus inside a uniform stretch of line, and lines in series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Indices = NDArray[np.int64]
    Labels = list[tuple[int, bool, int, int]]

POWERS = ("export", "import")  # the `element` of a power monitor is a position in here


@dataclass(frozen=True)
class Monitors:
    """Names of the monitored phasors, all arrays [n_monitors]: voltages first, then currents, then interface powers.

    `element` is a bus for voltages, a position in `branches` for currents and in `POWERS` for powers.
    """

    is_voltage: NDArray[np.bool_]
    is_power: NDArray[np.bool_]
    element: Indices
    phase: Indices  # 0, 1, 2, always 0 in a balanced network; 3 for the neutral current of a branch
    low: Floats  # smallest allowed value, -inf for currents and powers
    high: Floats  # largest allowed value: pu of nominal voltage, or 1 for currents and powers
    is_extremal: NDArray[np.bool_]  # False where another monitor is always at least as near to its limit


def monitors(network: Network, nodes: Indices, labels: Labels, loading: Complexes, powers: list[int]) -> Monitors:
    """nodes: monitored [n]; labels of the current rows [m]; loading: their phasors [m, 1 + k], idle first, per rating."""
    n, m, p = len(nodes), len(labels), len(powers)
    number = np.arange(n + m + p)
    buses, phase = nodes // network.phases, nodes % network.phases
    nominal = network.bus_nominal_v
    return Monitors(
        is_voltage=number < n,
        is_power=number >= n + m,
        element=np.concatenate([buses, np.array([x[0] for x in labels] + powers, dtype=np.int64)]),
        phase=np.concatenate([phase, np.array([x[2] for x in labels] + [0] * p, dtype=np.int64)]),
        low=np.concatenate([(network.bus_min_v / nominal)[buses], np.full(m + p, -np.inf)]),
        high=np.concatenate([(network.bus_max_v / nominal)[buses], np.ones(m + p)]),
        is_extremal=np.concatenate([~_is_midway(network)[buses], _first_of_each_chain(loading), np.ones(p, dtype=bool)]),
    )


def _is_midway(network: Network) -> NDArray[np.bool_]:
    """Buses inside a uniform stretch of line: their voltage lies on the straight line between those of its two ends."""
    lines: list[list[Branch]] = [[] for _ in range(network.n_buses)]
    for branch in network.branches:
        lines[branch.from_bus].append(branch)
        lines[branch.to_bus].append(branch)
    midway = np.zeros(network.n_buses, dtype=bool)
    special = {*network.sources, *(x.bus for x in network.injectors), *(bus for bus, _ in network.bus_shunt_siemens)}
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
    """Lines in series carry the same current: keep, of equal directions, the one with the smallest rating.

    The idle current (first column) is part of the direction: cables in series whose charging currents differ both stay.
    """
    by_customers = np.abs(loading[:, 1:]).sum(axis=1)
    size = by_customers + np.abs(loading[:, 0])
    kept = np.zeros(len(loading), dtype=bool)
    seen: dict[bytes, int] = {}
    for row in np.argsort(-size, kind="stable"):
        if by_customers[row] < 1e-7 * by_customers.max() and abs(loading[row, 0]) < 0.5:
            continue  # no customer behind it: what is left is rounding
        first = loading[row][np.argmax(np.abs(loading[row]) > 1e-3 * size[row])]
        unit = np.round(loading[row] / (size[row] * first / abs(first)), 5) + 0.0
        if seen.setdefault(unit.tobytes(), row) == row:
            kept[row] = True
    return kept
