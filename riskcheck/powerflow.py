"""AC power flow of the whole, unreduced network in batches, by power-grid-model (C++).

This is the evidence behind certificates: it shares nothing with the dense model of `riskcheck/reduced.py` but the network.
Three-phase networks are solved asymmetrically with constant-power loads between phase and neutral; balanced ones symmetrically.
The source is ideal (the interface voltage is given, its short-circuit power is not the customers' business): power-grid-model's
`sk` is set to 1e15 VA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network

    Floats = NDArray[np.float64]

IDEAL_SOURCE_VA = 1e15
THREADS = 2


class NoSolution(RuntimeError):  # noqa: N818 - the name says it: there is no operating point
    """Some scenario has no power flow solution: the network would collapse there."""


@dataclass(frozen=True)
class Flows:
    """Results by scenario. `phases` is 1 in a balanced network."""

    voltage_pu: Floats  # [batch, n_buses, phases], of nominal voltage
    loading: Floats  # [batch, n_branches, phases], fraction of the rating, the larger end


class PowerFlow:
    """A network loaded into power-grid-model. Build once, run many batches."""

    def __init__(self, network: Network) -> None:
        from power_grid_model import PowerGridModel

        self.network = network
        self._model = PowerGridModel(_grid(network), system_frequency=50.0)

    def run(self, power_w: Floats, interface_pu: Floats | float) -> Flows:
        """power_w: [batch, n_customers], export positive; interface_pu: one for all or [batch]. Raises NoSolution."""
        from power_grid_model import ComponentType, DatasetType, initialize_array
        from power_grid_model.errors import PowerGridError

        network = self.network
        power_w = np.atleast_2d(np.asarray(power_w, dtype=float))
        batch, customers = power_w.shape
        three = network.phases == 3
        kind = ComponentType.asym_load if three else ComponentType.sym_load
        loads = initialize_array(DatasetType.update, kind, (batch, customers))
        loads["id"] = _first_load(network) + np.arange(customers)
        tangent = np.array([math.tan(math.acos(c.power_factor)) for c in network.customers])
        reactive = np.minimum(power_w, 0.0) * tangent
        on = _on_phases(network)
        loads["p_specified"] = -power_w[:, :, None] * on if three else -power_w
        loads["q_specified"] = -reactive[:, :, None] * on if three else -reactive
        source = initialize_array(DatasetType.update, ComponentType.source, (batch, len(network.sources)))
        source["id"] = _first_source(network) + np.arange(len(network.sources))
        source["u_ref"] = np.broadcast_to(np.asarray(interface_pu, dtype=float).reshape(-1, 1), source.shape)
        try:
            out = self._model.calculate_power_flow(
                symmetric=not three,
                update_data={kind: loads, ComponentType.source: source},
                threading=THREADS,
                error_tolerance=1e-9,
                max_iterations=50,
                output_component_types=[ComponentType.node, ComponentType.line, ComponentType.transformer],
            )
        except PowerGridError as error:
            raise NoSolution(str(error)) from error
        return self._flows(out, batch)

    def _flows(self, out: dict[Any, Any], batch: int) -> Flows:
        network = self.network
        voltage = out["node"]["u_pu"].reshape(batch, network.n_buses, network.phases)
        loading = np.empty((batch, len(network.branches), network.phases))
        lines = [i for i, b in enumerate(network.branches) if b.kind == "line"]
        transformers = [i for i, b in enumerate(network.branches) if b.kind != "line"]
        for component, indices in (("line", lines), ("transformer", transformers)):
            if not indices:
                continue
            branches = [network.branches[i] for i in indices]
            at_to = np.array([b.rating_a for b in branches])[:, None]
            at_from = at_to / np.array([b.ratio for b in branches])[:, None]
            shape = (batch, len(indices), network.phases)
            i_from, i_to = out[component]["i_from"].reshape(shape), out[component]["i_to"].reshape(shape)
            loading[:, indices] = np.maximum(i_from / at_from, i_to / at_to)
        return Flows(voltage * (network.bus_base_v / network.bus_nominal_v)[:, None], loading)


def _first_source(network: Network) -> int:
    return network.n_buses + len(network.branches)


def _first_load(network: Network) -> int:
    return _first_source(network) + len(network.sources)


def _on_phases(network: Network) -> Floats:
    """Share of each customer's power on each phase, [n_customers, 3]."""
    return np.array([[(p in c.phase) / len(c.phase) for p in "abc"] for c in network.customers])


def _grid(network: Network) -> dict[Any, Any]:
    from power_grid_model import ComponentType, DatasetType, LoadGenType, initialize_array

    def table(component: Any, rows: int) -> Any:
        return initialize_array(DatasetType.input, component, rows)

    node = table(ComponentType.node, network.n_buses)
    node["id"] = np.arange(network.n_buses)
    node["u_rated"] = network.bus_base_v * math.sqrt(3)
    source = table(ComponentType.source, len(network.sources))
    source["id"] = _first_source(network) + np.arange(len(network.sources))
    source["node"], source["status"], source["u_ref"] = network.sources, 1, 1.0
    source["sk"], source["rx_ratio"], source["z01_ratio"] = IDEAL_SOURCE_VA, 0.1, 1.0
    kind = ComponentType.asym_load if network.phases == 3 else ComponentType.sym_load
    load = table(kind, len(network.customers))
    load["id"] = _first_load(network) + np.arange(len(network.customers))
    load["node"] = [c.bus for c in network.customers]
    load["status"], load["type"] = 1, LoadGenType.const_power
    load["p_specified"], load["q_specified"] = 0.0, 0.0
    grid = {ComponentType.node: node, ComponentType.source: source, kind: load}
    for component, fill in ((ComponentType.line, _fill_line), (ComponentType.transformer, _fill_transformer)):
        chosen = [(i, b) for i, b in enumerate(network.branches) if b.kind == component.value]
        rows = table(component, len(chosen))
        for row, (i, branch) in zip(rows, chosen, strict=True):
            row["id"] = network.n_buses + i
            row["from_node"], row["to_node"] = branch.from_bus, branch.to_bus
            row["from_status"], row["to_status"] = 1, 1
            fill(row, branch, network)
        if chosen:
            grid[component] = rows
    return grid


def _fill_line(row: Any, branch: Branch, _network: Network) -> None:
    omega = 2 * math.pi * 50.0
    row["r1"], row["x1"], row["r0"], row["x0"] = branch.z1_ohm.real, branch.z1_ohm.imag, branch.z0_ohm.real, branch.z0_ohm.imag
    for name, y in (("1", branch.y1_siemens), ("0", branch.y0_siemens)):
        row[f"c{name}"] = y.imag / omega
        row[f"tan{name}"] = y.real / y.imag if y.imag else 0.0
    row["i_n"] = branch.rating_a


def _fill_transformer(row: Any, branch: Branch, network: Network) -> None:
    from power_grid_model import BranchSide, WindingType

    sn, low = branch.rating_va, network.bus_base_v[branch.to_bus] * math.sqrt(3)
    base = low**2 / sn
    row["u2"], row["u1"], row["sn"] = low, branch.ratio * low, sn
    row["uk"], row["pk"] = abs(branch.z1_ohm) / base, branch.z1_ohm.real / base * sn
    row["i0"], row["p0"] = abs(branch.y1_siemens) * base, branch.y1_siemens.real * low**2
    # In a balanced network only the parity of the clock decides the winding; zero sequence plays no part there.
    delta = branch.zero_path == "to_ground" if network.phases == 3 else round(branch.shift_degree / 30) % 2 == 1
    row["winding_from"] = WindingType.delta if delta else WindingType.wye_n
    row["winding_to"] = WindingType.wye_n
    # power-grid-model has no zero-sequence leakage of its own: what it differs by stands in the star point, a third of it
    grounding = (branch.z0_ohm - branch.z1_ohm) / 3
    row["r_grounding_to"], row["x_grounding_to"] = grounding.real, grounding.imag
    row["clock"] = round(branch.shift_degree / 30) % 12
    row["tap_side"], row["tap_pos"], row["tap_min"], row["tap_max"], row["tap_size"] = BranchSide.from_side, 0, 0, 0, 0.0
