"""Four power flows behind one face: the two of limex, pandapower's and OpenDSS's, each asked the same question in the same words.

Question: what each customer exports (W, reactive power by its power factor) and the interface voltage (pu). Answer: every bus
voltage in pu of nominal and every branch current as a fraction of its rating, the larger end, by phase. limex reads the net
once (`riskcheck.network`); pandapower and OpenDSS are built from pandapower's own tables and take from limex only the order of
buses and branches, where each customer is, and the rating that a current is divided by.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.opendss import Circuit, Connection
from riskcheck.powerflow import PowerFlow
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Branch, Network

    Floats = NDArray[np.float64]

LOAD_TABLES = ("load", "sgen", "asymmetric_load", "asymmetric_sgen")
MVA_TOLERANCE = 1e-10
OUTER_TOLERANCE = "outer_tolerance_mva = 3e-8"


@dataclass(frozen=True)
class Answer:
    """voltage_pu [n_buses, phases] of nominal; loading [n_branches, phases], fraction of the rating, the larger end."""

    voltage_pu: Floats
    loading: Floats


class Opinion(Protocol):
    def answer(self, power_w: Floats, interface_pu: float) -> Answer: ...


class GridModel:
    """power-grid-model on the whole network, as certificates use it."""

    def __init__(self, network: Network) -> None:
        self._flow = PowerFlow(network)

    def answer(self, power_w: Floats, interface_pu: float) -> Answer:
        flows = self._flow.run(power_w[None], interface_pu)
        return Answer(flows.voltage_pu[0], flows.loading[0])


class Dense:
    """limex's own model, from which the rows come."""

    def __init__(self, network: Network) -> None:
        self._model = Reduced(network)

    def answer(self, power_w: Floats, interface_pu: float) -> Answer:
        model, network, monitors = self._model, self._model.network, self._model.monitors
        values = model.values(model.solve(power_w, interface_pu), interface_pu)[0]
        nominal_share = network.bus_base_v / network.bus_nominal_v
        voltage = np.repeat(interface_pu * nominal_share[:, None], network.phases, axis=1)  # what has no monitor is the interface
        loading = np.zeros((len(network.branches), network.phases))
        for is_voltage, table in ((True, voltage), (False, loading)):
            which = np.flatnonzero(monitors.is_voltage == is_voltage)
            cells = monitors.element[which], monitors.phase[which]
            table[cells] = 0.0
            np.maximum.at(table, cells, values[which])
        return Answer(voltage, loading)


class Pandapower:
    """runpp or runpp_3ph on a copy of the net, its loads replaced by limex's customers.

    trafo_model is runpp's; runpp_3ph knows only the T model. `as_shipped` keeps the outer loop of runpp_3ph at its 3e-8 MVA.
    """

    def __init__(self, net: Any, network: Network, *, trafo_model: str = "pi", as_shipped: bool = False) -> None:
        import pandapower

        self._network, self._trafo_model, self._run = network, trafo_model, pandapower.runpp
        self._run_3ph = pandapower.runpp_3ph if as_shipped else _runpp_3ph_to_the_end()
        self._net = copy.deepcopy(net)
        for table in LOAD_TABLES:
            self._net[table] = self._net[table].iloc[:0]
        places = connections(network)
        create = pandapower.create_asymmetric_load if network.phases == 3 else pandapower.create_load
        for place in places:
            create(self._net, place.bus, **({} if network.phases == 3 else {"p_mw": 0.0}))
        self._on = np.array([[(phase in place.phase) / len(place.phase) for phase in "abc"] for place in places])

    def answer(self, power_w: Floats, interface_pu: float) -> Answer:
        net, drawn_mva = self._net, drawn_va(self._network, power_w) / 1e6
        net.ext_grid["vm_pu"] = interface_pu
        if self._network.phases == 3:
            for column, phase in enumerate("abc"):
                on_phase = drawn_mva * self._on[:, column]
                net.asymmetric_load[f"p_{phase}_mw"], net.asymmetric_load[f"q_{phase}_mvar"] = on_phase.real, on_phase.imag
            self._run_3ph(net, trafo_model="t", tolerance_mva=MVA_TOLERANCE, max_iteration=200, numba=False)
        else:
            net.load["p_mw"], net.load["q_mvar"] = drawn_mva.real, drawn_mva.imag
            self._run(net, trafo_model=self._trafo_model, tolerance_mva=MVA_TOLERANCE, max_iteration=100, init="dc", numba=False)
        return Answer(self._voltages(), self._loading())

    def _voltages(self) -> Floats:
        network = self._network
        three = network.phases == 3
        table = self._net["res_bus_3ph" if three else "res_bus"]
        columns = [f"vm_{phase}_pu" for phase in "abc"] if three else ["vm_pu"]
        values = table.loc[[int(bus) for bus in network.bus_names], columns].to_numpy()
        return np.asarray(values * (network.bus_base_v / network.bus_nominal_v)[:, None])

    def _loading(self) -> Floats:
        network = self._network
        suffix, phases = ("_3ph", ("a_", "b_", "c_")) if network.phases == 3 else ("", ("",))
        loading = np.zeros((len(network.branches), network.phases))
        for i, branch in enumerate(network.branches):
            table, ends = ("res_line", ("from", "to")) if branch.kind == "line" else ("res_trafo", ("hv", "lv"))
            row = self._net[table + suffix].loc[branch.number]
            current_a = np.array([[row[f"i_{phase}{end}_ka"] * 1e3 for phase in phases] for end in ends])
            loading[i] = _loading(branch, current_a)
        return loading


class OpenDSS:
    """OpenDSS, see benchmarks/opendss.py."""

    def __init__(self, net: Any, network: Network, magnetising: str = "both ends") -> None:
        self._network = network
        self._circuit = Circuit(net, network.phases, connections(network), magnetising)

    def answer(self, power_w: Floats, interface_pu: float) -> Answer:
        network, circuit = self._network, self._circuit
        circuit.solve(drawn_va(network, power_w), interface_pu)
        volts = np.array([np.abs(circuit.voltage_v(int(bus))) for bus in network.bus_names])
        loading = [_loading(branch, np.abs(circuit.current_a(branch.kind, branch.number))) for branch in network.branches]
        return Answer(volts / network.bus_nominal_v[:, None], np.array(loading))


def _runpp_3ph_to_the_end() -> Callable[..., None]:
    """pandapower's own function with 1e-10 MVA where its outer loop has 3e-8, which no argument reaches."""
    module = importlib.import_module("pandapower.pf.runpp_3ph")
    source = inspect.getsource(module.runpp_3ph)
    assert OUTER_TOLERANCE in source, "another pandapower: look at the end of its outer loop"
    names = dict(vars(module))
    exec(source.replace(OUTER_TOLERANCE, "outer_tolerance_mva = 1e-10"), names)
    tightened: Callable[..., None] = names["runpp_3ph"]
    return tightened


def connections(network: Network) -> list[Connection]:
    """Where limex has put each customer, in pandapower's bus numbers."""
    return [Connection(int(network.bus_names[customer.bus]), customer.phase) for customer in network.customers]


def drawn_va(network: Network, power_w: Floats) -> NDArray[np.complex128]:
    """What each customer draws: imports with lagging reactive power by the customer's power factor, exports at unity."""
    tangent = np.array([math.tan(math.acos(customer.power_factor)) for customer in network.customers])
    return np.asarray(-power_w + 1j * np.maximum(-power_w, 0.0) * tangent)


def _loading(branch: Branch, current_a: Floats) -> Floats:
    """Fraction of the rating, the larger end; current_a: [from and to, phases]."""
    rating_a = np.array([branch.rating_a / (branch.ratio if branch.kind == "transformer" else 1.0), branch.rating_a])
    return np.asarray((current_a / rating_a[:, None]).max(axis=0))
