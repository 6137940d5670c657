"""A balanced radial network as a tree, referred to its source: no ratios, no phase shifts, no loops.

Where every bus has one path to one source, phase angles play no part in magnitudes, and the ideal transformer of a branch only
scales voltages. So the tree is described in the per unit of its source: the voltage at a bus is `level` times the referred
one, impedances are divided by level squared, powers stay. A bus is known by its position, parents before children; the
branch to the parent has the position of its lower bus, and the root, which has none, carries a branch without impedance.
Equal branches side by side count as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.admittance import BASE_VA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Branch, Customer, Network, Passive

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]
    Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """Arrays [n_buses of the tree] by position, per unit of one phase referred to the source; arrays of `injector` by injector."""

    bus: Indices
    parent: Indices
    branch: Indices  # position in network.branches; -1 at the root
    z: Complexes  # series impedance to the parent
    shunt: Complexes  # admittance to ground at the bus
    end_shunt: Floats  # the larger admittance at the two ends of the branch: what a rating must carry beside the series current
    rating: Floats  # of the branch's current
    v_min: Floats  # squared voltage limits
    v_max: Floats
    injector: Indices  # position among customers, then passives
    at: Indices  # where it is connected
    export_demand: Complexes  # power drawn per watt exported, and per watt imported
    import_demand: Complexes
    fixed_demand: Complexes  # power drawn by its reactive set point

    def below(self) -> NDArray[np.bool_]:
        """[branch, bus]: the bus is fed through the branch."""
        n = len(self.bus)
        reached = np.zeros((n, n), dtype=bool)
        for position in range(n):
            if position:
                reached[:, position] = reached[:, self.parent[position]]
            reached[position, position] = True
        return reached


def tree(network: Network) -> Tree | None:
    """The tree of a balanced network of constant powers; None where it has loops, several sources, phases or voltage control."""
    if network.phases != 1 or len(network.sources) != 1 or any(customer.volt_var for customer in network.customers):
        return None
    walked = _walk(network)
    return None if walked is None else _referred(network, walked)


def _walk(network: Network) -> dict[int, tuple[int, list[int]]] | None:
    """Every bus -> (its parent bus, the equal branches between), parents first; None where there is a loop."""
    around: list[dict[int, list[int]]] = [{} for _ in range(network.n_buses)]
    for number, branch in enumerate(network.branches):
        around[branch.from_bus].setdefault(branch.to_bus, []).append(number)
        around[branch.to_bus].setdefault(branch.from_bus, []).append(number)
    source = network.sources[0]
    walked: dict[int, tuple[int, list[int]]] = {source: (source, [])}
    ahead = [source]
    for bus in ahead:
        for other, numbers in around[bus].items():
            if other == walked[bus][0]:
                continue
            if other in walked or len({replace(network.branches[number], number=0) for number in numbers}) > 1:
                return None
            walked[other] = (bus, numbers)
            ahead.append(other)
    return walked


def _referred(network: Network, walked: dict[int, tuple[int, list[int]]]) -> Tree:
    position = {bus: i for i, bus in enumerate(walked)}
    n = len(walked)
    level, z, shunt = np.ones(n), np.zeros(n, dtype=complex), np.zeros(n, dtype=complex)
    rating, end_shunt = np.full(n, np.inf), np.zeros(n)
    parent, numbers = np.zeros(n, dtype=np.int64), np.full(n, -1)
    for i, (bus, (above, equal)) in enumerate(walked.items()):
        if not equal:
            continue
        branch, many = network.branches[equal[0]], len(equal)
        parent[i], numbers[i] = position[above], equal[0]
        step, to_pu = _turns(branch, network), network.bus_base_v[branch.to_bus] ** 2 / BASE_VA
        level[i] = level[parent[i]] * (1 / step if bus == branch.to_bus else step)
        low = level[position[branch.to_bus]]
        z[i] = branch.z1_ohm / to_pu / low**2 / many
        half = branch.y1_siemens / 2 * to_pu * low**2 * many
        shunt[i] += half
        shunt[parent[i]] += half
        end_shunt[i] = abs(half)
        rating[i] = branch.rating_a * network.bus_base_v[branch.to_bus] / BASE_VA * low * many
    for bus, admittance in network.bus_shunt_siemens:
        if bus in position:
            i = position[bus]
            shunt[i] += admittance * network.bus_base_v[bus] ** 2 / BASE_VA * level[i] ** 2
    buses = np.array(list(walked))
    to_pu_v = 1 / network.bus_base_v[buses] / level
    everyone: list[Customer | Passive] = [*network.customers, *network.passives]
    injectors = [(k, x) for k, x in enumerate(everyone) if x.bus in position]
    demand = np.array([_demand(x) for _, x in injectors], dtype=np.complex128).reshape(-1, 3) / 3 / BASE_VA
    return Tree(
        buses, parent, numbers, z, shunt, end_shunt, rating,
        (network.bus_min_v[buses] * to_pu_v) ** 2, (network.bus_max_v[buses] * to_pu_v) ** 2,
        np.array([k for k, _ in injectors], dtype=np.int64), np.array([position[x.bus] for _, x in injectors], dtype=np.int64),
        demand[:, 0], demand[:, 1], demand[:, 2],
    )  # fmt: skip


def _turns(branch: Branch, network: Network) -> float:
    if branch.kind == "line":
        return 1.0
    return branch.ratio * float(network.bus_base_v[branch.to_bus] / network.bus_base_v[branch.from_bus])


def _demand(injector: Customer | Passive) -> tuple[complex, complex, complex]:
    """Volt-amperes drawn per watt exported, per watt imported, and at no watt at all."""
    drawn = 1 + 1j * math.tan(math.acos(injector.power_factor))
    absorbed = math.tan(math.acos(getattr(injector, "export_power_factor", 1.0)))
    return -1 + 1j * absorbed, drawn, -1j * getattr(injector, "reactive_var", 0)
