"""Two power flows, one truth: the dense model and power-grid-model against hand calculation, pandapower and each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks
import pytest

from riskcheck.catalogue import BUILTINS
from riskcheck.network import Network, load
from riskcheck.powerflow import NoSolution, PowerFlow
from riskcheck.reduced import Reduced
from tests import grids


def dense_voltages(network: Network, power_w: Any, interface_pu: float = 1.0) -> Any:
    """[n_buses, phases] of nominal, NaN at the interface."""
    model = Reduced(network)
    power = np.asarray(power_w, dtype=float)
    values = model.values(model.solve(power, interface_pu), interface_pu)[0]
    is_voltage = model.monitors.is_voltage
    table = np.full((network.n_buses, network.phases), np.nan)
    table[model.monitors.element[is_voltage], model.monitors.phase[is_voltage]] = values[is_voltage]
    return table


@pytest.mark.parametrize("power_w", [-60_000, -10_000, 0, 10_000, 60_000])
def test_two_buses_solve_the_quadratic(power_w: int) -> None:
    """interface --z-- home: with s = p + jq drawn per phase, |V|^4 + (2(rp + xq) - |V0|^2) |V|^2 + |z|^2 |s|^2 = 0."""
    z, pf = 0.2 + 0.1j, 0.9
    network = load(grids.two_buses(z, power_factor=pf))
    v0 = 400 / math.sqrt(3)
    p = -power_w / 3
    q = p * math.tan(math.acos(pf)) if p > 0 else 0.0
    b = 2 * (z.real * p + z.imag * q) - v0**2
    expected_v = math.sqrt((-b + math.sqrt(b**2 - 4 * abs(z) ** 2 * (p**2 + q**2))) / 2)
    assert dense_voltages(network, [power_w])[1, 0] == pytest.approx(expected_v / 230, abs=1e-10)
    flows = PowerFlow(network).run([[power_w]], 1.0)
    assert flows.voltage_pu[0, 1, 0] == pytest.approx(expected_v / 230, abs=1e-8)
    assert flows.loading[0, 0, 0] == pytest.approx(math.hypot(p, q) / expected_v / 400, abs=1e-8)


def test_a_load_on_one_phase_moves_the_other_two_by_the_mutual_impedance() -> None:
    """Only phase a carries current i: dVa = -zs i, dVb = dVc = -zm i, with zs = (z0 + 2 z1)/3 and zm = (z0 - z1)/3."""
    z1, z0, watts = 0.2 + 0.1j, 0.8 + 0.4j, 6_000.0
    network = load(grids.three_phase_line(z1, z0))
    v0 = 400 / math.sqrt(3)
    zs, zm = (z0 + 2 * z1) / 3, (z0 - z1) / 3
    va = complex(v0)
    for _ in range(100):
        i = np.conj(watts / va)
        va = v0 - zs * i
    turn = np.exp(2j * np.pi / 3)
    expected = np.abs([va, v0 * turn**2 - zm * i, v0 * turn - zm * i]) / 230
    assert dense_voltages(network, [-watts, 0, 0])[1] == pytest.approx(expected, abs=1e-10)
    assert PowerFlow(network).run([[-watts, 0, 0]], 1.0).voltage_pu[0, 1] == pytest.approx(expected, abs=1e-8)
    assert expected[1] > v0 / 230, "a load on phase a raises phase b"


@pytest.mark.parametrize("name", ["ieee-european-lv", "cigre-lv", "kerber-dorfnetz"])
def test_the_two_engines_agree_at_every_bus_branch_and_phase(name: str) -> None:
    network = grids.feeder() if name == "ieee-european-lv" else load(name)
    model = Reduced(network)
    rng = np.random.default_rng(3)
    caps = network.caps_w()[: model.n_customers] * 0.3
    power = rng.uniform(-caps, caps, (6, model.n_customers))
    flows = PowerFlow(network).run(power, 0.99)
    values = model.values(model.solve(power, 0.99), 0.99)
    monitors = model.monitors
    of_bus = monitors.is_voltage
    assert np.abs(flows.voltage_pu[:, monitors.element[of_bus], monitors.phase[of_bus]] - values[:, of_bus]).max() < 1e-8
    loading = np.zeros(flows.loading.shape)
    for column in np.flatnonzero(~of_bus):
        cell = loading[:, monitors.element[column], monitors.phase[column]]
        np.maximum(cell, values[:, column], out=cell)
    assert np.abs(loading - flows.loading).max() < 1e-7


def test_three_phase_voltages_are_those_of_pandapower() -> None:
    """Two models have to be made equal first. pandapower takes ext_grid.s_sc_max_mva as the source's negative-sequence impedance,
    ours is ideal. And mag0_percent = 100 of this feeder would halve the transformer's zero-sequence impedance, against its source
    (IEEE gives none, so X0 = X1): limex does not model the magnetising path of the zero sequence.
    """
    net = BUILTINS["ieee-european-lv"]()
    rng = np.random.default_rng(1)
    for phase in "abc":
        on = net.asymmetric_load[f"p_{phase}_mw"] > 0
        net.asymmetric_load.loc[on, f"p_{phase}_mw"] = rng.uniform(0.0005, 0.004, on.sum())
        net.asymmetric_load.loc[on, f"q_{phase}_mvar"] = net.asymmetric_load.loc[on, f"p_{phase}_mw"] * math.tan(math.acos(0.95))
    net.ext_grid["vm_pu"], net.ext_grid["s_sc_max_mva"], net.trafo["mag0_percent"] = 1.0, 1e9, 1e9
    network = load(net)
    power_w = -net.asymmetric_load[["p_a_mw", "p_b_mw", "p_c_mw"]].sum(axis=1).to_numpy() * 1e6
    pp.runpp_3ph(net, tolerance_mva=1e-9)
    theirs = net.res_bus_3ph[["vm_a_pu", "vm_b_pu", "vm_c_pu"]].to_numpy() * (network.bus_base_v / network.bus_nominal_v)[:, None]
    assert np.nanmax(np.abs(dense_voltages(network, power_w) - theirs)) < 1e-5


@pytest.mark.parametrize("name", ["cigre-lv", "kerber-dorfnetz"])
def test_balanced_voltages_are_those_of_pandapower(name: str) -> None:
    net = BUILTINS[name]()
    rng = np.random.default_rng(2)
    net.load["p_mw"] = rng.uniform(0.001, 0.006, len(net.load))
    net.load["q_mvar"] = net.load.p_mw * math.tan(math.acos(0.95))
    net.ext_grid["vm_pu"] = 1.0
    network = load(net)
    pp.runpp(net, trafo_model="pi", tolerance_mva=1e-9)
    theirs = net.res_bus.vm_pu.to_numpy()[[int(bus) for bus in network.bus_names]] * network.bus_base_v / network.bus_nominal_v
    assert np.nanmax(np.abs(dense_voltages(network, -net.load.p_mw.to_numpy() * 1e6)[:, 0] - theirs)) < 1e-5


def _three_phase_home(net: Any) -> None:
    pp.create_load(net, 1, p_mw=0.01, name="farm")


def _cable_charging(net: Any) -> None:
    net.line["c_nf_per_km"], net.line["c0_nf_per_km"] = 40_000.0, 15_000.0


def _second_line(net: Any) -> None:
    bus = pp.create_bus(net, vn_kv=0.4)
    for start in (0, 1):
        grids.line(net, start, bus, 0.1 + 0.05j, 0.3 + 0.2j, 200.0)
    pp.create_asymmetric_load(net, bus, p_b_mw=0.001, name="far")


def _station(net: Any) -> None:
    """Iron losses are those of the positive sequence alone."""
    grid = pp.create_bus(net, vn_kv=20.0)
    pp.create_transformer(
        net, grid, 0, "0.25 MVA 20/0.4 kV", vk0_percent=6.0, vkr0_percent=1.44, mag0_percent=100, mag0_rx=0, si0_hv_partial=0.9
    )
    net.ext_grid["bus"] = grid


@pytest.mark.parametrize("feature", [_three_phase_home, _cable_charging, _second_line, _station])
def test_the_two_engines_agree_on(feature: Any) -> None:
    """three-phase customers, cable charging, meshes, a transformer with iron losses"""
    net = grids.three_phase_line()
    feature(net)
    network = load(net)
    power = np.linspace(-9_000, 7_000, len(network.customers))
    flows = PowerFlow(network).run(power, 1.02)
    assert np.nanmax(np.abs(flows.voltage_pu[0] - dense_voltages(network, power, 1.02))) < 1e-8
    model = Reduced(network)
    values = model.values(model.solve(power, 1.02), 1.02)[0]
    currents = ~model.monitors.is_voltage
    assert values[currents].max() == pytest.approx(flows.loading.max(), abs=1e-7)


@pytest.mark.parametrize("vk0_percent", [2.0, 4.01995, 9.0])
def test_the_transformers_own_zero_sequence_impedance_counts(vk0_percent: float) -> None:
    feeder = grids.feeder()
    scaled = [replace(b, z0_ohm=b.z1_ohm * vk0_percent / 4.01995) if b.kind == "transformer" else b for b in feeder.branches]
    network = replace(feeder, branches=tuple(scaled))
    power = np.where([c.phase == "a" for c in network.customers], -2_000.0, 0.0)
    flows = PowerFlow(network).run(power, 1.0)
    assert np.nanmax(np.abs(flows.voltage_pu[0] - dense_voltages(network, power))) < 1e-8


def test_a_collapsed_network_is_said_not_guessed() -> None:
    network = load(grids.two_buses(z=2 + 1j))
    assert np.isnan(Reduced(network).solve(np.array([-200_000.0]), 1.0)).all()
    with pytest.raises(NoSolution):
        PowerFlow(network).run([[-200_000]], 1.0)


def test_sensitivities_are_the_slopes_of_the_power_flow() -> None:
    network = grids.feeder()
    model = Reduced(network)
    rng = np.random.default_rng(0)
    point = rng.uniform(-3_000, 3_000, model.n_customers)
    which = np.flatnonzero(model.monitors.is_extremal)
    _, gradient = model.gradients(point, 1.0, which)
    for customer in (0, 20, 54):
        step = np.zeros(model.n_customers)
        step[customer] = 1.0
        up, down = (model.values(model.solve(point + sign * step, 1.0), 1.0, which)[0] for sign in (1, -1))
        right = customer if point[customer] > 0 else model.n_customers + customer
        direction = 1 if point[customer] > 0 else -1
        assert direction * gradient[:, right] == pytest.approx((up - down) / 2, abs=1e-9)
