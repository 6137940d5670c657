"""DC rows of every single outage for an operator whose network limex can read: beside its AC rows, not instead of them.

    cascade(net, more_rows={"hv": partial(outage_rows, share=0.85)})

AC rows guard voltages and loadings with everything in; these guard loadings with one branch out (`envelopes/transmission.py`), for
every combination of powers of the own customers and the areas below, with passives anywhere in their forecasts. `share` of every
rating is used. Outages that part the network are not guarded: what they cut off is dark, whatever the envelopes are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from envelopes.transmission import Grid, secured
from riskcheck.rows import Insecure, Rows

if TYPE_CHECKING:
    from riskcheck.network import Network


def outage_rows(network: Network, share: float) -> Rows:
    """Rows over the rights of the network's customers. Raises Insecure where limits are broken before anybody moves."""
    n, total = len(network.customers), len(network.injectors)
    exports = [c.rating_export_w for c in network.customers] + [max(p.high_w, 0) for p in network.passives]
    imports = [c.rating_import_w for c in network.customers] + [max(-p.low_w, 0) for p in network.passives]
    caps = np.array(exports + imports, dtype=np.int64)
    found = secured(grid_of(network).rated(share), [x.bus for x in network.injectors], caps, loss=0.0)  # passives cannot shrink
    if found.violated:
        raise Insecure(f"limits are broken before anybody moves: {found.violated[0]}")
    chosen = np.concatenate([np.arange(n), total + np.arange(n)])
    passive = np.setdiff1d(np.arange(2 * total), chosen)
    slack = found.rows.slack - found.rows.coefficient[:, passive] @ caps[passive]
    return Rows(found.rows.coefficient[:, chosen], slack, found.rows.labels)


def grid_of(network: Network) -> Grid:
    """The DC model of a balanced network: reactances at rated voltage, the sources balance. Raises ValueError with three phases."""
    if network.phases != 1:
        raise ValueError("DC rows are of balanced networks")
    ends = np.array([(b.from_bus, b.to_bus) for b in network.branches])
    level_v = network.bus_base_v[ends[:, 1]] * np.sqrt(3)
    balance = np.zeros(network.n_buses)
    balance[list(network.sources)] = 1 / len(network.sources)
    return Grid(
        names=tuple(branch.name for branch in network.branches),
        from_bus=ends[:, 0],
        to_bus=ends[:, 1],
        susceptance_mw=level_v**2 / np.array([b.z1_ohm.imag for b in network.branches]) / 1e6,
        shift_rad=np.radians([b.shift_degree for b in network.branches]),
        rating_mw=np.sqrt(3) * level_v * np.array([b.rating_a for b in network.branches]) / 1e6,
        injection_mw=np.zeros(network.n_buses),
        balance=balance,
    )
