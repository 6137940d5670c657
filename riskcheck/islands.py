"""The parts of a network that only meet at their sources: power in one does not move voltage or current in another.

Each is a network of its own, with the customers that it feeds, if any; rows are built part by part and laid side by side. A limit of
interface power belongs to all of them together, so a part among several has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network

    Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Island:
    network: Network
    customers: Indices  # their positions in the whole network

    def rights(self, n_customers: int) -> Indices:
        """Positions of its rights among those of the whole network, exports then imports."""
        return np.concatenate([self.customers, n_customers + self.customers])


def islands(network: Network) -> tuple[Island, ...]:
    """In the order of their first bus. Those without customers too: their passives and losses pass the interface, and have limits."""
    ends = np.array([(b.from_bus, b.to_bus) for b in network.branches], dtype=np.int64).reshape(-1, 2)
    links = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(network.n_buses, network.n_buses))
    _, part = connected_components(links, directed=False)
    owners = np.array([part[c.bus] for c in network.customers])
    return tuple(Island(_part(network, part == p), np.flatnonzero(owners == p)) for p in dict.fromkeys(part))


def _part(network: Network, inside: NDArray[np.bool_]) -> Network:
    if inside.all():
        return network
    buses = np.flatnonzero(inside)
    compact = {int(bus): i for i, bus in enumerate(buses)}
    return replace(
        network,
        bus_names=tuple(network.bus_names[bus] for bus in buses),
        bus_xy=network.bus_xy[buses],
        bus_base_v=network.bus_base_v[buses],
        bus_nominal_v=network.bus_nominal_v[buses],
        bus_min_v=network.bus_min_v[buses],
        bus_max_v=network.bus_max_v[buses],
        branches=tuple(
            replace(b, from_bus=compact[b.from_bus], to_bus=compact[b.to_bus]) for b in network.branches if b.from_bus in compact
        ),
        interface_export_w_max=math.inf,
        interface_import_w_max=math.inf,
        sources=tuple(compact[s] for s in network.sources if s in compact),
        customers=tuple(replace(c, bus=compact[c.bus]) for c in network.customers if c.bus in compact),
        passives=tuple(replace(p, bus=compact[p.bus]) for p in network.passives if p.bus in compact),
        bus_shunt_siemens=tuple((compact[bus], y) for bus, y in network.bus_shunt_siemens if bus in compact),
    )
