"""AC power flow of the whole, unreduced network in batches, by power-grid-model (C++).

This is the evidence behind certificates: it shares nothing with the dense model of `riskcheck/reduced.py` but the network.
Three-phase networks are solved asymmetrically, as lines and transformers with constant-power loads between phase and neutral;
balanced ones symmetrically, where every branch is a pi behind a complex ratio. The source is ideal (the interface voltage is
given, its short-circuit power is not the customers' business): power-grid-model's `sk` is set to 1e18 VA.

Volt-VAr curves are an outer loop: solve, move every reactive power towards its curve at the voltage found, and again until none
moves. How far to move is the dense model's advice (`riskcheck/voltvar.py`); where it ends is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network
    from riskcheck.reduced import Reduced

    Floats = NDArray[np.float64]

IDEAL_SOURCE_VA = 1e18
THREADS = 2
CURVE_TOLERANCE_PU = 1e-9
CURVE_ROUNDS_MAX = 500


class NoSolution(RuntimeError):  # noqa: N818 - the name says it: there is no operating point
    """Some scenario has no power flow solution: the network would collapse there."""


@dataclass(frozen=True)
class Flows:
    """Results by scenario. `phases` is 1 in a balanced network."""

    voltage_pu: Floats  # [batch, n_buses, phases], of nominal voltage
    loading: Floats  # [batch, n_branches, phases], fraction of the rating, the larger end
    neutral: Floats  # [batch, n_branches], fraction of the neutral's rating, the larger end; 0 where it has none
    interface_w: Floats  # [batch], into the network through all sources together, losses included


class PowerFlow:
    """A network loaded into power-grid-model. Build once, run many batches."""

    def __init__(self, network: Network) -> None:
        from power_grid_model import PowerGridModel

        self.network = network
        self._on = np.array([[(p in x.phase) / len(x.phase) for p in "abc"] for x in network.injectors])
        self._has_curves = any(customer.volt_var for customer in network.customers)
        self._model = PowerGridModel(_grid(network), system_frequency=50.0)

    def run(self, power_w: Floats, interface_pu: Floats | float) -> Flows:
        """power_w: [batch, n_injectors], export positive; interface_pu: one for all or [batch]. Raises NoSolution."""
        power_w = np.atleast_2d(np.asarray(power_w, dtype=float))
        reactive_w = _reactive(self.network, power_w)
        if self._has_curves:
            reactive_w = self._settled(power_w, reactive_w, interface_pu)
        return self._flows(self._solve(power_w, reactive_w, interface_pu), len(power_w))

    def _solve(self, power_w: Floats, reactive_w: Floats, interface_pu: Floats | float) -> dict[Any, Any]:
        from power_grid_model import ComponentType, DatasetType, initialize_array
        from power_grid_model.errors import PowerGridError

        network, (batch, injectors) = self.network, power_w.shape
        three = network.phases == 3
        kind = ComponentType.asym_load if three else ComponentType.sym_load
        loads = initialize_array(DatasetType.update, kind, (batch, injectors))
        loads["id"] = _first_load(network) + np.arange(injectors)
        loads["p_specified"] = -power_w[:, :, None] * self._on if three else -power_w
        loads["q_specified"] = -reactive_w[:, :, None] * self._on if three else -reactive_w
        source = initialize_array(DatasetType.update, ComponentType.source, (batch, len(network.sources)))
        source["id"] = _first_source(network) + np.arange(len(network.sources))
        source["u_ref"] = np.broadcast_to(np.asarray(interface_pu, dtype=float).reshape(-1, 1), source.shape)
        try:
            return dict(
                self._model.calculate_power_flow(
                    symmetric=not three,
                    update_data={kind: loads, ComponentType.source: source},
                    threading=THREADS,
                    error_tolerance=1e-9,
                    max_iterations=50,
                    output_component_types=[ComponentType.node, ComponentType.source, *_branch_components(network)],
                )
            )
        except PowerGridError as error:
            raise NoSolution(str(error)) from error

    @cached_property
    def _dense(self) -> Reduced:
        from riskcheck.reduced import Reduced

        return Reduced(self.network)

    def _settled(self, power_w: Floats, fixed_w: Floats, interface_pu: Floats | float) -> Floats:
        """Reactive powers [batch, n_injectors] in var with the curves' own, which are at rest."""
        curves, nodes = self._dense.curves, self._dense.nodes
        assert curves is not None
        reactive = np.zeros((len(power_w), len(curves.holders)))
        for _ in range(CURVE_ROUNDS_MAX):
            reactive_w = fixed_w.copy()
            reactive_w[:, curves.holders] += reactive * curves.base_va
            out = self._solve(power_w, reactive_w, interface_pu)
            change = curves.step(reactive, out["node"]["u_pu"].reshape(len(power_w), -1)[:, nodes])
            if np.abs(change).max() < CURVE_TOLERANCE_PU:
                return reactive_w
            reactive += change
        raise NoSolution(f"the Volt-VAr curves do not settle in {CURVE_ROUNDS_MAX} rounds")

    def _flows(self, out: dict[Any, Any], batch: int) -> Flows:
        network = self.network
        voltage = out["node"]["u_pu"].reshape(batch, network.n_buses, network.phases)
        loading = np.empty((batch, len(network.branches), network.phases))
        neutral = np.zeros((batch, len(network.branches)))
        for component in _branch_components(network):
            indices = _of_component(network, component)
            branches = [network.branches[i] for i in indices]
            shape = (batch, len(indices), network.phases)
            at_to = np.array([b.rating_a for b in branches])
            at_from = at_to / np.array([b.ratio for b in branches])
            i_from, i_to = (out[component][f"i_{end}"].reshape(shape) for end in ("from", "to"))
            loading[:, indices] = np.maximum(i_from / at_from[:, None], i_to / at_to[:, None])
        for i, branch in enumerate(network.branches):
            if network.phases == 3 and np.isfinite(branch.neutral_rating_a):
                neutral[:, i] = self._neutral_a(out, i) / branch.neutral_rating_a
        to_nominal = (network.bus_base_v / network.bus_nominal_v)[:, None]
        return Flows(voltage * to_nominal, loading, neutral, out["source"]["p"].reshape(batch, -1).sum(axis=1))

    def _neutral_a(self, out: dict[Any, Any], number: int) -> Floats:
        """Sum of the phase currents of a branch [batch], at its larger end, at `to_bus` of a transformer."""
        branch = self.network.branches[number]
        component = _component(self.network, branch)
        row = out[component][:, _of_component(self.network, component).index(number)]
        ends = []
        for end, bus in (("from", branch.from_bus), ("to", branch.to_bus)):
            node = out["node"][:, bus]
            current = np.conj((row[f"p_{end}"] + 1j * row[f"q_{end}"]) / (node["u"] * np.exp(1j * node["u_angle"])))
            ends.append(np.abs(current.sum(axis=1)) * (branch.ratio if end == "from" else 1.0))
        return np.asarray(np.maximum(*ends))


def _reactive(network: Network, power_w: Floats) -> Floats:
    """Reactive power in var [batch, n_injectors], injected positive, without what the curves add."""
    reactive = np.zeros_like(power_w)
    for i, x in enumerate(network.customers):
        if x.volt_var is None:
            factor = np.where(power_w[:, i] < 0, x.power_factor, x.export_power_factor)
            reactive[:, i] = -np.abs(power_w[:, i]) * np.tan(np.arccos(factor))
        reactive[:, i] += x.reactive_var
    for i, y in enumerate(network.passives, start=len(network.customers)):
        reactive[:, i] = np.minimum(power_w[:, i], 0.0) * math.tan(math.acos(y.power_factor))
    return reactive


def _first_source(network: Network) -> int:
    return network.n_buses + len(network.branches)


def _first_load(network: Network) -> int:
    return _first_source(network) + len(network.sources)


def _first_shunt(network: Network) -> int:
    return _first_load(network) + len(network.injectors)


def _component(network: Network, branch: Branch) -> str:
    if network.phases == 1:
        return "generic_branch"
    return "line" if branch.kind == "line" else "transformer"


def _of_component(network: Network, component: str) -> list[int]:
    return [i for i, branch in enumerate(network.branches) if _component(network, branch) == component]


def _branch_components(network: Network) -> list[str]:
    return sorted({_component(network, branch) for branch in network.branches})


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
    load = table(kind, len(network.injectors))
    load["id"] = _first_load(network) + np.arange(len(network.injectors))
    load["node"] = [x.bus for x in network.injectors]
    load["status"], load["type"] = 1, LoadGenType.const_power
    load["p_specified"], load["q_specified"] = 0.0, 0.0
    shunt = table(ComponentType.shunt, len(network.bus_shunt_siemens))
    for i, (row, (bus, siemens)) in enumerate(zip(shunt, network.bus_shunt_siemens, strict=True)):
        row["id"], row["node"], row["status"] = _first_shunt(network) + i, bus, 1
        row["g1"], row["b1"], row["g0"], row["b0"] = siemens.real, siemens.imag, siemens.real, siemens.imag
    grid = {ComponentType.node: node, ComponentType.source: source, kind: load, ComponentType.shunt: shunt}
    for component in _branch_components(network):
        grid[ComponentType(component)] = _branch_table(network, component, table)
    return grid


def _branch_table(network: Network, component: str, table: Callable[[Any, int], Any]) -> Any:
    fill = {"line": _fill_line, "transformer": _fill_transformer, "generic_branch": _fill_generic}[component]
    indices = _of_component(network, component)
    rows = table(component, len(indices))
    for row, i in zip(rows, indices, strict=True):
        branch = network.branches[i]
        row["id"], row["from_node"], row["to_node"] = network.n_buses + i, branch.from_bus, branch.to_bus
        row["from_status"], row["to_status"] = 1, 1
        fill(row, branch, network)
    return rows


def _fill_generic(row: Any, branch: Branch, network: Network) -> None:
    row["r1"], row["x1"] = branch.z1_ohm.real, branch.z1_ohm.imag
    row["g1"], row["b1"] = branch.y1_siemens.real, branch.y1_siemens.imag
    row["k"] = 1.0 if branch.kind == "line" else branch.ratio * network.bus_base_v[branch.to_bus] / network.bus_base_v[branch.from_bus]
    row["theta"] = math.radians(branch.shift_degree)


def _fill_line(row: Any, branch: Branch, _network: Network) -> None:
    omega = 2 * math.pi * 50.0
    row["r1"], row["x1"], row["r0"], row["x0"] = branch.z1_ohm.real, branch.z1_ohm.imag, branch.z0_ohm.real, branch.z0_ohm.imag
    for name, y in (("1", branch.y1_siemens), ("0", branch.y0_siemens)):
        charging = max(y.imag, 1e-9 * y.real)  # conductance is given as a share of it
        row[f"c{name}"] = charging / omega
        row[f"tan{name}"] = y.real / charging if charging else 0.0
    row["i_n"] = branch.rating_a


def _fill_transformer(row: Any, branch: Branch, network: Network) -> None:
    from power_grid_model import BranchSide, WindingType

    sn, low = branch.rating_va, network.bus_base_v[branch.to_bus] * math.sqrt(3)
    base = low**2 / sn
    row["u2"], row["u1"], row["sn"] = low, branch.ratio * low, sn
    row["uk"], row["pk"] = abs(branch.z1_ohm) / base, branch.z1_ohm.real / base * sn
    row["i0"], row["p0"] = abs(branch.y1_siemens) * base, branch.y1_siemens.real * low**2
    row["i0_zero_sequence"], row["p0_zero_sequence"] = abs(branch.y0_siemens) * base, branch.y0_siemens.real * low**2
    row["winding_from"] = WindingType.delta if branch.zero_path == "to_ground" else WindingType.wye_n
    row["winding_to"] = WindingType.wye_n
    # power-grid-model has no zero-sequence leakage of its own: what it differs by stands in the star point, a third of it
    grounding = (branch.z0_ohm - branch.z1_ohm) / 3
    row["r_grounding_to"], row["x_grounding_to"] = grounding.real, grounding.imag
    row["clock"] = round(branch.shift_degree / 30) % 12
    row["tap_side"], row["tap_pos"], row["tap_min"], row["tap_max"], row["tap_size"] = BranchSide.from_side, 0, 0, 0, 0.0
