"""An adversary that shares nothing with the rows' physics or with `certify`: no sensitivities, no dense model.

It looks for a point of the box [-import_w, export_w] that breaks a limit by breeding. The first brood has both joint corners, all
mixtures of whole phases, everything behind a branch against all the rest, the corners of the rows that are nearly full, corners drawn at
random and points inside. Every point is one AC power flow of the whole, unreduced network by power-grid-model, at both ends of the
interface voltage range. Then those that came nearest to breaking each kind of limit have offspring: a few customers turned
over, or two parents mixed. Margins are in pu, pu and fractions of a rating, as in a certificate; a network that has no operating
point at all has the margin COLLAPSED. For networks whose only unknown powers are the customers';
neutral currents and interface power are left to `certify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

from riskcheck.powerflow import NoSolution, PowerFlow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

COLLAPSED = -1.0
PARENTS = 3  # of each kind of limit
BROOD = 96


class Found(msgspec.Struct, frozen=True):
    """By kind of limit (over-voltage, under-voltage, overload): smallest margin and the point [n_customers] in watts that has it."""

    margins: tuple[float, float, float]
    points_w: Floats
    flows: int


class BlindAdversary:
    def __init__(self, network: Network) -> None:
        if network.passives:
            raise ValueError(f"{network.name} has passive customers, which this adversary does not know")
        self._network, self._flow = network, PowerFlow(network)
        nominal = network.bus_nominal_v
        self._low, self._high = network.bus_min_v / nominal, network.bus_max_v / nominal
        self._behind = behind_branches(network)
        first = np.array(["abc".index(customer.phase[0]) for customer in network.customers])
        masks = range(1, 7) if network.phases == 3 else ()
        self._joint = np.array([np.ones_like(first), np.zeros_like(first), *((mask >> first) & 1 for mask in masks)], dtype=bool)

    def margins(self, power_w: Floats) -> Floats:
        """Smallest margin of each kind [batch, 3] over both ends of the interface voltage range."""
        network = self._network
        ends = sorted({network.interface_min_pu, network.interface_max_pu})
        margins = [self._at(power_w, interface_pu) for interface_pu in ends]
        return np.asarray(np.minimum.reduce(margins))

    def _at(self, power_w: Floats, interface_pu: float) -> Floats:
        try:
            flows = self._flow.run(power_w, interface_pu)
        except NoSolution:
            if len(power_w) == 1:
                return np.full((1, 3), COLLAPSED)
            return np.concatenate([self._at(half, interface_pu) for half in np.array_split(power_w, 2)])
        over = (self._high[:, None] - flows.voltage_pu).min(axis=(1, 2))
        under = (flows.voltage_pu - self._low[:, None]).min(axis=(1, 2))
        return np.stack([over, under, 1 - flows.loading.max(axis=(1, 2), initial=0.0)], axis=1)

    def search(self, export_w: Floats, import_w: Floats, rng: np.random.Generator, flows: int, corners: Bools) -> Found:
        """Breeds until `flows` points were tried. corners: [m, n_customers] to start from beside its own, True exports."""
        points = self._first_brood(export_w, import_w, rng, corners)
        margins, tried = self.margins(points), len(points)
        while tried < flows:
            parents = np.unique(np.argsort(margins, axis=0, kind="stable")[:PARENTS])
            points, margins = points[parents], margins[parents]
            young = self._offspring(points, export_w, import_w, rng, min(BROOD, flows - tried))
            points, margins = np.vstack([points, young]), np.vstack([margins, self.margins(young)])
            tried += len(young)
        smallest = margins.min(axis=0)
        return Found((float(smallest[0]), float(smallest[1]), float(smallest[2])), points[margins.argmin(axis=0)], tried)

    def _first_brood(self, export_w: Floats, import_w: Floats, rng: np.random.Generator, corners: Bools) -> Floats:
        n = len(export_w)
        behind = self._behind[rng.integers(0, len(self._behind), BROOD // 6)] if len(self._behind) else self._joint[:1]
        drawn = rng.random((BROOD // 6, n)) < rng.random((BROOD // 6, 1))
        signs = np.vstack([self._joint, corners, behind, ~behind, drawn])
        against_idle = np.where(behind, export_w, 0.0), np.where(behind, -import_w, 0.0)
        inside = np.where(drawn, export_w, -import_w) * rng.random(drawn.shape)
        return np.vstack([np.where(signs, export_w, -import_w), *against_idle, inside])

    @staticmethod
    def _offspring(parents: Floats, export_w: Floats, import_w: Floats, rng: np.random.Generator, count: int) -> Floats:
        mother, father = parents[rng.integers(0, len(parents), (2, count))]
        mixed = np.where(rng.random((count, 1)) < 0.3, np.where(rng.random(mother.shape) < 0.5, mother, father), mother)
        turned = rng.random(mother.shape) < rng.choice([0.01, 0.05, 0.2], (count, 1)) + 1 / mother.shape[1]
        return np.where(turned, np.where(mixed > 0, -import_w, export_w), mixed)


def behind_branches(network: Network) -> Bools:
    """[m, n_customers]: for each branch that divides the customers, who is fed through it. On a loop, by the shortest path."""
    n = network.n_buses
    ends = np.array([(branch.from_bus, branch.to_bus) for branch in network.branches]).T
    links = coo_matrix((np.ones(ends.shape[1]), ends), shape=(n, n)).tocsr()
    at = np.array([customer.bus for customer in network.customers])
    found: dict[bytes, Bools] = {}
    for source in network.sources:
        order, above = breadth_first_order(links, source, directed=False)
        fed = {int(bus): at == bus for bus in order}
        for bus in order[:0:-1].tolist():
            fed[above[bus]] = fed[above[bus]] | fed[bus]
            if fed[bus].any():
                found.setdefault(fed[bus].tobytes(), fed[bus])
    return np.array(list(found.values()), dtype=bool).reshape(-1, len(at))
