"""Every element of a network against pandapower's own power flow, and the two engines of limex against each other."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks
import pytest

from riskcheck import catalogue
from riskcheck.network import Network, Passive, VoltVar, load
from riskcheck.powerflow import PowerFlow
from riskcheck.reduced import Reduced
from tests import grids

TANGENT = math.tan(math.acos(0.95))


def assert_engines_agree(network: Network, power_w: Any, interface_pu: float = 1.0, gap: float = 1e-9) -> None:
    """Every voltage, current, neutral current and interface power of the dense model is power-grid-model's."""
    model, power = Reduced(network), np.atleast_2d(power_w)
    flows, monitors = PowerFlow(network).run(power, interface_pu), model.monitors
    values = model.values(model.solve(power, interface_pu), interface_pu)
    volts = monitors.is_voltage
    assert np.abs(flows.voltage_pu[:, monitors.element[volts], monitors.phase[volts]] - values[:, volts]).max() < gap
    loading = np.zeros((len(power), len(network.branches), 4))
    for column in np.flatnonzero(~volts & ~monitors.is_power):
        cell = loading[:, monitors.element[column], monitors.phase[column]]
        np.maximum(cell, values[:, column], out=cell)
    assert np.abs(loading[:, :, : network.phases] - flows.loading).max() < 10 * gap
    assert np.abs(loading[:, :, 3] - flows.neutral).max() < 30 * gap
    limits = np.array([-network.interface_export_w_max, network.interface_import_w_max])
    for column in np.flatnonzero(monitors.is_power):
        assert values[:, column] * limits[monitors.element[column]] == pytest.approx(flows.interface_w, rel=1e-8, abs=1e-4)


def assert_as_pandapower(net: Any, gap: float = 1e-9) -> Network:
    """The net at its own loads: voltages and branch currents of pandapower, power-grid-model and the dense model are equal."""
    net.load["q_mvar"] = net.load.p_mw * TANGENT
    network = load(net)
    pp.runpp(net, trafo_model="pi", calculate_voltage_angles=True, tolerance_mva=1e-11, max_iteration=50, numba=False)
    named = [bus for bus, name in enumerate(network.bus_names) if name.isdigit()]
    theirs = net.res_bus.vm_pu.loc[[int(network.bus_names[bus]) for bus in named]].to_numpy()
    in_service = net.load[net.load.in_service & net.load.bus.isin(net.bus.index[net.bus.in_service])]
    power_w = -(in_service.p_mw * in_service.scaling).to_numpy() * 1e6
    interface_pu = float(net.ext_grid.vm_pu.iloc[0])
    ours = PowerFlow(network).run(power_w, interface_pu)
    to_base = (network.bus_nominal_v / network.bus_base_v)[named]
    assert np.abs(ours.voltage_pu[0, named, 0] * to_base - theirs).max() < gap
    taken_w = net.res_ext_grid.p_mw.sum() * 1e6
    assert ours.interface_w[0] == pytest.approx(taken_w, rel=1e-7, abs=1e-2)
    assert_engines_agree(network, power_w, interface_pu, gap)
    return network


def substation(**trafo: Any) -> Any:
    """110 kV interface, one transformer to 20 kV, a line, two plants."""
    net = grids.source(vn_kv=110.0)
    busbar, far = (pp.create_bus(net, vn_kv=20.0) for _ in range(2))
    pp.create_transformer(net, 0, busbar, "25 MVA 110/20 kV")
    net.trafo["tap_pos"] = 0.0
    for column, value in trafo.items():
        net.trafo[column] = value
    grids.line(net, busbar, far, 0.8 + 1.1j, 3 + 4j, 300.0)
    net.line["c_nf_per_km"] = 250.0
    for bus, megawatts in ((busbar, 6.0), (far, 3.0)):
        pp.create_load(net, bus, p_mw=megawatts, name=f"plant{bus}")
    return net


TAPS: dict[str, dict[str, Any]] = {
    "a tap on the high side": {"tap_pos": 4, "tap_side": "hv"},
    "a tap on the low side": {"tap_pos": -3, "tap_side": "lv"},
    "a tap that turns as well": {"tap_pos": 5, "tap_side": "hv", "tap_step_degree": 60.0, "tap_changer_type": "Symmetrical"},
    "a turning tap on the low side": {"tap_pos": 5, "tap_side": "lv", "tap_step_degree": 90.0},
    "an ideal phase shifter by degrees": {
        "tap_pos": 3, "tap_step_degree": 1.25, "tap_step_percent": 0.0, "tap_changer_type": "Ideal", "tap_side": "hv",
    },
    "an ideal phase shifter by percent": {"tap_pos": -4, "tap_changer_type": "Ideal", "tap_side": "lv"},
    "any clock": {"shift_degree": 17.5},
    "two in parallel": {"parallel": 2},
}  # fmt: skip


@pytest.mark.parametrize("feature", TAPS)
def test_a_transformer_is_pandapowers(feature: str) -> None:
    assert_as_pandapower(substation(**TAPS[feature]))


def test_a_phase_shifter_in_a_mesh_drives_power_around_it() -> None:
    """A line beside a shifting transformer: nothing is drawn, and power circulates."""
    net = grids.source(vn_kv=20.0)
    end = pp.create_bus(net, vn_kv=20.0)
    grids.line(net, 0, end, 0.5 + 1.5j, 2 + 6j, 600.0)
    pp.create_transformer_from_parameters(
        net, 0, end, sn_mva=10, vn_hv_kv=20, vn_lv_kv=20, vkr_percent=0.5, vk_percent=8, pfe_kw=5, i0_percent=0.1, shift_degree=2.0
    )
    pp.create_load(net, end, p_mw=0.001, name="plant")
    network = assert_as_pandapower(net)
    idle = PowerFlow(network).run([[0.0]], 1.0)
    assert idle.loading[0].min() > 0.1


@pytest.mark.parametrize(
    "tap", [{}, {"tap_pos": 3}, {"tap_pos": -2, "tap_side": "mv"}, {"tap_pos": 4, "tap_side": "lv", "tap_step_degree": 30.0}]
)
@pytest.mark.parametrize("at_star_point", [False, True])
def test_a_three_winding_transformer_is_pandapowers(tap: dict[str, Any], at_star_point: bool) -> None:
    net = three_windings(**{"tap_at_star_point": at_star_point, "tap_changer_type": "Ratio", "tap_step_degree": 0.0, **tap})
    network = assert_as_pandapower(net)
    assert [b.name for b in network.branches[1:]] == [f"winding {side} of trafo3w 0" for side in ("hv", "mv", "lv")]
    assert "trafo3w 0 star" in network.bus_names


def three_windings(**columns: Any) -> Any:
    net = grids.source(vn_kv=110.0)
    middle, low, far = (pp.create_bus(net, vn_kv=kv) for kv in (20.0, 10.0, 10.0))
    pp.create_transformer3w(net, 0, middle, low, "63/25/38 MVA 110/20/10 kV")
    net.trafo3w["tap_pos"] = 0.0
    for column, value in columns.items():
        net.trafo3w[column] = value
    grids.line(net, low, far, 0.2 + 0.3j, 1 + 1j, 900.0)
    for bus, megawatts in ((middle, 9.0), (far, 5.0)):
        pp.create_load(net, bus, p_mw=megawatts, name=f"plant{bus}")
    return net


def test_a_winding_behind_an_open_switch_is_out() -> None:
    net = three_windings()
    pp.create_switch(net, 1, 0, et="t3", closed=False)
    grids.line(net, 1, pp.create_bus(net, vn_kv=20.0), 0.2 + 0.3j, 1 + 1j, 900.0)
    with pytest.raises(ValueError, match=r"bus 1, 4: 2 bus\(es\) without a path to the interface"):
        load(net)
    grids.line(net, 0, 1, 0.2 + 0.3j, 1 + 1j, 900.0)
    net.bus.loc[[1, 4], "vn_kv"] = 110.0
    net.trafo3w["vn_mv_kv"] = 110.0
    assert len(assert_as_pandapower(net).branches) == 5


def test_a_shunt_is_pandapowers_also_at_another_voltage_and_in_steps() -> None:
    net = substation()
    pp.create_shunt(net, 2, q_mvar=-1.2, p_mw=0.05, vn_kv=21.0, step=2)
    pp.create_shunt(net, 1, q_mvar=0.7)
    assert_as_pandapower(net)


def test_medium_and_low_voltage_are_one_network() -> None:
    net = substation(tap_pos=-2)
    low, home = (pp.create_bus(net, vn_kv=0.4) for _ in range(2))
    pp.create_transformer(net, 2, low, "0.4 MVA 20/0.4 kV", tap_pos=1)
    grids.line(net, low, home, 0.05 + 0.02j, 0.2 + 0.1j, 200.0)
    pp.create_load(net, home, p_mw=0.03, name="home")
    network = assert_as_pandapower(net)
    assert network.bus_nominal_v.round().tolist() == [63509, 11547, 11547, 230, 230]


def test_feeders_with_interfaces_of_their_own_are_one_network() -> None:
    net = grids.two_buses()
    second, home = pp.create_bus(net, vn_kv=0.4), pp.create_bus(net, vn_kv=0.4)
    pp.create_ext_grid(net, second, vm_pu=1.0)
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 0.99, 1.01
    grids.line(net, second, home, 0.3 + 0.1j, 1 + 1j, 200.0)
    pp.create_load(net, home, p_mw=0.002, name="second", rating_export_w=9_000)
    net.load["power_factor"], net.load["rating_export_w"], net.load["failsafe_import_w"] = 0.95, 9_000, 500
    network = assert_as_pandapower(net)
    assert len(network.sources) == 2


@lru_cache(maxsize=4)
def simbench(code: str) -> Any:
    return catalogue.make(f"simbench:{code}")


@pytest.mark.parametrize("code", ["1-LV-rural3--0-sw", "1-MV-rural--0-sw"])
def test_simbench_networks_are_pandapowers(code: str) -> None:
    net = simbench(code)
    net.sgen["in_service"] = False
    assert_as_pandapower(net)


def test_the_cigre_medium_voltage_network_is_pandapowers() -> None:
    net = catalogue.make("cigre-mv")
    net.load["p_mw"] *= 0.5
    assert_as_pandapower(net)


def test_the_largest_network_is_pandapowers() -> None:
    net = catalogue.make("lv-schutterwald")
    net.load["q_mvar"] = net.load.p_mw * TANGENT
    pp.runpp(net, trafo_model="pi", calculate_voltage_angles=True, tolerance_mva=1e-11, numba=False)
    network = load(net)
    ours = PowerFlow(network).run(-net.load.p_mw.to_numpy() * 1e6, 1.0)
    theirs = net.res_bus.vm_pu.loc[[int(bus) for bus in network.bus_names]].to_numpy() * network.bus_base_v / network.bus_nominal_v
    assert np.abs(ours.voltage_pu[0, :, 0] - theirs).max() < 1e-9
    assert ours.interface_w[0] == pytest.approx(net.res_ext_grid.p_mw.sum() * 1e6, rel=1e-8)


def everything(network: Network) -> Network:
    """The network with a curve for every third customer, inverters that absorb, set points, passives, a shunt, limits at the interface."""
    curve = VoltVar((0.92, 0.98, 1.02, 1.08), (1.0, 0.0, 0.0, -1.0), 0.44 * network.customers[0].rating_export_w)
    first, last = network.customers[0], network.customers[-1]
    siemens = 0.05 * first.rating_export_w / network.bus_base_v[last.bus] ** 2 * (0.2 + 1j)
    return replace(
        network,
        customers=tuple(
            replace(c, volt_var=None if i % 3 else curve, export_power_factor=0.95, reactive_var=c.rating_export_w // 20)
            for i, c in enumerate(network.customers)
        ),
        passives=tuple(Passive(f"p{c.id}", c.bus, c.phase, -1_000, 1_000, 0.9) for c in (first, last)),
        bus_shunt_siemens=((last.bus, siemens),),
        branches=tuple(replace(b, neutral_rating_a=b.rating_a / 2) for b in network.branches),
        interface_export_w_max=1e5,
        interface_import_w_max=2e5,
    )


@pytest.mark.parametrize("name", ["ieee-european-lv", "cigre-lv", "cigre-mv"])
def test_the_two_engines_agree_with_everything_at_once(name: str) -> None:
    network = everything(grids.feeder() if name == "ieee-european-lv" else load(name))
    rng = np.random.default_rng(4)
    caps = network.caps_w()[: len(network.customers)] * 0.2
    power = np.hstack([rng.uniform(-caps, caps, (3, len(caps))), np.tile([800.0, -900.0], (3, 1))])
    assert_engines_agree(network, power, 0.99)


@pytest.mark.parametrize("name", ["ieee-european-lv", "cigre-mv"])
def test_what_is_not_extremal_is_never_nearer_to_its_limit(name: str) -> None:
    """also with charging currents, shunts, passives and neutral ratings"""
    network = everything(grids.feeder() if name == "ieee-european-lv" else load(name))
    model = Reduced(network)
    monitors = model.monitors
    caps = network.caps_w()[: len(network.customers)] * 0.2
    power = np.random.default_rng(6).uniform(-1, 1, (40, model.n_injectors)) * np.concatenate([caps, [1_000, 1_000]])
    values = model.values(model.solve(power, 1.0), 1.0)
    for kind in (monitors.is_voltage, ~monitors.is_voltage & ~monitors.is_power):
        kept = values[:, kind & monitors.is_extremal]
        assert (values[:, kind].max(axis=1) <= kept.max(axis=1) + 1e-6).all()
        if kind is monitors.is_voltage:
            assert (values[:, kind].min(axis=1) >= kept.min(axis=1) - 1e-6).all()


@pytest.mark.parametrize("hours", [0, 2, 4, 6, 8, 10])
def test_zero_sequence_passes_a_wye_transformer_with_the_sign_of_its_clock(hours: int) -> None:
    network = load(grids.three_phase_line())
    line = network.branches[0]
    trafo = replace(line, kind="transformer", rating_va=250e3, shift_degree=30.0 * hours)
    turned = replace(network, branches=(trafo,))
    assert_engines_agree(turned, [[-9_000.0, 4_000.0, 0.0], [5_000.0, 5_000.0, -2_000.0]])


def test_sensitivities_are_the_slopes_also_with_curves_and_at_the_interface() -> None:
    network = everything(grids.feeder())
    model = Reduced(network)
    rng = np.random.default_rng(0)
    point = rng.uniform(-3_000, 3_000, model.n_injectors)
    _, gradient = model.gradients(point, 1.0)
    for injector in (0, 20, 54, 55):
        step = np.zeros(model.n_injectors)
        step[injector] = 1.0
        up, down = (model.values(model.solve(point + sign * step, 1.0), 1.0)[0] for sign in (1, -1))
        right, direction = (injector, 1) if point[injector] > 0 else (model.n_injectors + injector, -1)
        assert direction * gradient[:, right] == pytest.approx((up - down) / 2, abs=2e-9)


def test_a_single_load_returns_all_its_current_through_the_neutral() -> None:
    net = grids.three_phase_line(homes="a")
    net.line["max_i_n_ka"] = 0.1
    network = load(net)
    flows = PowerFlow(network).run([[-6_000]], 1.0)
    assert flows.neutral[0, 0] * 100 == pytest.approx(flows.loading[0, 0, 0] * 400, rel=1e-9)
    three = load(grids.three_phase_line())
    model = Reduced(replace(three, branches=tuple(replace(b, neutral_rating_a=100.0) for b in three.branches)))
    values = model.values(model.solve(np.full(3, -3_000.0), 1.0), 1.0)[0]
    assert values[model.monitors.phase == 3] == pytest.approx(0, abs=1e-9), "three equal loads return nothing"


@pytest.mark.parametrize("steepness", [1, 30])
def test_curves_come_to_rest_on_the_curve_however_steep(steepness: int) -> None:
    """interface --jx-- home: q = V (V - V0) / x is the reactive power that holds V; it must be the curve's at V."""
    reactance, half = 0.4, 0.06 / steepness
    network = load(grids.two_buses(z=1e-6 + 1j * reactance, rating_w=30_000))
    curve = VoltVar((1 - half, 1.0, 1 + half), (1.0, 0.0, -1.0), 20_000.0)
    network = replace(network, customers=(replace(network.customers[0], volt_var=curve),))
    for watts in (-20_000.0, 0.0, 20_000.0):
        assert_engines_agree(network, [[watts]], 0.97, gap=2e-9)
    at_rest = PowerFlow(network).run([[0.0]], 0.97).voltage_pu[0, 1, 0]
    volts = at_rest * 230
    injected = 3 * volts * (volts - 0.97 * 400 / math.sqrt(3)) / reactance
    assert injected == pytest.approx(20_000 * np.interp(at_rest, curve.voltage_pu, curve.share), abs=0.5)
