"""Reading a network: what is taken over, what is refused, and that all that is wrong is said at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from riskcheck.network import BadNetwork, VoltVar, builtin_names, load
from tests import grids


def test_the_default_feeder_has_fifty_five_single_phase_homes_and_limits_of_230_volt() -> None:
    network = grids.feeder()
    assert (network.phases, network.n_buses, len(network.branches), len(network.customers)) == (3, 907, 906, 55)
    assert {phase: sum(c.phase == phase for c in network.customers) for phase in "abc"} == {"a": 21, "b": 19, "c": 15}
    assert network.bus_min_v[-1] == pytest.approx(207.0)
    assert network.bus_max_v[-1] == pytest.approx(253.0)
    assert (network.caps_w().shape, network.floors_w().shape) == ((110,), (110,))
    assert len({b.rating_a for b in network.branches if b.kind == "line"}) > 5, "ratings come from the cable types"


def test_an_unknown_name_is_answered_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match=r"no network named 'ieee'.*ieee-european-lv.*kerber-vorstadt"):
        load("ieee")
    with pytest.raises(ValueError, match="cannot read a network from int"):
        load(7)


@pytest.mark.parametrize("name", ["cigre-lv", "kerber-landnetz", "kerber-dorfnetz"])
def test_builtin_networks_load(name: str) -> None:
    assert name in builtin_names()
    assert load(name).customers


def test_a_json_file_is_the_same_network(tmp_path: Path) -> None:
    net = grids.three_phase_line()
    file = tmp_path / "street.json"
    pp.to_json(net, str(file))
    assert load(file).content_hash == load(net).content_hash
    assert load(file).name == "street"
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"hello": 1}')
    with pytest.raises(ValueError, match="is not a network that pandapower can read"):
        load(foreign)


def _nan_power(net: Any) -> None:
    net.asymmetric_load.loc[0, "p_a_mw"] = np.nan


def _no_phase(net: Any) -> None:
    net.asymmetric_load.loc[0, "p_a_mw"] = 0.0


def _two_phases(net: Any) -> None:
    net.asymmetric_load.loc[0, "p_b_mw"] = 0.002


def _island(net: Any) -> None:
    pp.create_bus(net, vn_kv=0.4)


def _three_windings(net: Any) -> None:
    buses = [pp.create_bus(net, vn_kv=kv) for kv in (110.0, 20.0, 10.0)]
    pp.create_transformer3w(net, *buses, "63/25/38 MVA 110/20/10 kV")


def _transformer(**columns: Any) -> Any:
    """Plants a transformer that is sound but for these columns."""

    def plant(net: Any) -> None:
        bus = pp.create_bus(net, vn_kv=20.0)
        pp.create_transformer(net, bus, 1, "0.4 MVA 20/0.4 kV")
        net.trafo["vector_group"] = None
        for column, value in columns.items():
            net.trafo[column] = value

    return plant


FAULTS: dict[str, tuple[Any, str]] = {
    "an island": (_island, "bus 2: 1 bus(es) without a path to the interface"),
    "zero impedance": (
        lambda n: n.line.__setitem__("r_ohm_per_km", 0.0) or n.line.__setitem__("x_ohm_per_km", 0.0),
        "line 0: has zero impedance",
    ),
    "no number": (lambda n: n.line.__setitem__("x_ohm_per_km", np.nan), "line 0: has an impedance that is not a number"),
    "no zero sequence": (lambda n: n.line.__setitem__("r0_ohm_per_km", np.nan), "line 0: has an impedance that is not a number"),
    "missing rating": (lambda n: n.line.__setitem__("max_i_ka", np.nan), "line 0: has no usable thermal rating"),
    "placeholder rating": (lambda n: n.line.__setitem__("max_i_ka", 99999.0), "line 0: has no usable thermal rating"),
    "no phase": (_no_phase, "asymmetric_load 0: is on no phase"),
    "two phases": (_two_phases, "asymmetric_load 0: draws unequal powers on phases a, b"),
    "unknown phase": (lambda n: n.asymmetric_load.__setitem__("phase", "x"), "asymmetric_load 0: has the phase 'x'"),
    "power not a number": (_nan_power, "asymmetric_load 0: has a power that is not a number"),
    "duplicate names": (
        lambda n: n.asymmetric_load.__setitem__("name", "twin"),
        "asymmetric_load 1: has the same name as asymmetric_load 0",
    ),
    "a slip in a column": (
        lambda n: n.asymmetric_load.__setitem__("rating_exports_w", 5_000),
        "asymmetric_load.rating_exports_w: is no column that limex knows (rename it to rating_export_w, or to something else)",
    ),
    "a forecast of nobody": (
        lambda n: n.asymmetric_load.__setitem__("forecast_min_w", -500),
        "asymmetric_load 0: has a forecast and is not passive",
    ),
    "failsafe over rating": (lambda n: n.asymmetric_load.__setitem__("failsafe_export_w", 40_000), "asymmetric_load 0: has export rating"),
    "fraction of a watt": (lambda n: n.asymmetric_load.__setitem__("rating_import_w", 1000.5), "asymmetric_load 0: has import rating"),
    "power factor": (lambda n: n.asymmetric_load.__setitem__("power_factor", 0.3), "asymmetric_load 0: has power factor 0.3"),
    "interface upside down": (lambda n: n.ext_grid.__setitem__("interface_min_pu", 1.2), "ext_grid 0: has the interface range 1.2 to 1"),
    "no interface": (lambda n: n.ext_grid.__setitem__("in_service", False), "network: has no ext_grid in service"),
    "a ward": (lambda n: pp.create_ward(n, 1, 0, 0, 0, 0), "ward 0: is not modelled"),
    "an impedance": (lambda n: pp.create_impedance(n, 0, 1, 0.1, 0.1, 1), "impedance 0: is not modelled"),
    "a generator": (lambda n: pp.create_gen(n, 1, p_mw=0.1), "gen 0: is not modelled"),
    "voltage limits": (lambda n: n.bus.__setitem__("max_vm_pu", 0.5), "bus 0: has voltage limits"),
    "voltage levels": (lambda n: n.bus.loc.__setitem__((1, "vn_kv"), 20.0), "line 0: joins buses of 0.4 and 20 kV at a ratio of 1"),
    "text for a number": (lambda n: n.line.__setitem__("max_i_n_ka", "many"), "line 0: has no usable thermal rating (max_i_n_ka = nan)"),
    "negative resistance": (lambda n: n.line.__setitem__("r_ohm_per_km", -0.1), "line 0: has a negative resistance"),
    "negative length": (lambda n: n.line.__setitem__("length_km", -1.0), "line 0: has the length -1 km"),
    "negative charging": (lambda n: n.line.__setitem__("c_nf_per_km", -5.0), "line 0: has a negative charging admittance"),
    "no parallel": (lambda n: n.line.__setitem__("parallel", 0), "line 0: has 0 parallel systems"),
    "loading limit": (lambda n: n.line.__setitem__("max_loading_percent", -80.0), "line 0: may use -0.8 of its rating"),
    "bus unknown": (lambda n: n.asymmetric_load.__setitem__("bus", 77), "asymmetric_load 0: has bus 77, which does not exist"),
    "at the interface": (lambda n: n.asymmetric_load.__setitem__("bus", 0), "asymmetric_load 0: is at the interface itself"),
    "delta": (lambda n: n.asymmetric_load.__setitem__("type", "delta"), "asymmetric_load 0: is connected in delta"),
    "export power factor": (
        lambda n: n.asymmetric_load.__setitem__("export_power_factor", 1.2),
        "asymmetric_load 0: has export power factor 1.2",
    ),
    "reactive range": (lambda n: n.asymmetric_load.__setitem__("reactive_var_max", -5), "asymmetric_load 0: has reactive_var_max -5"),
    "a curve in prose": (lambda n: n.asymmetric_load.__setitem__("volt_var", "falling"), "asymmetric_load 0: has a volt_var that can"),
    "a rising curve": (
        lambda n: n.asymmetric_load.__setitem__("volt_var", "0.9:-1, 1.1:1 @ 3000"),
        "asymmetric_load 0: has a volt_var that is no curve",
    ),
    "a curve with a jump": (
        lambda n: n.asymmetric_load.__setitem__("volt_var", "0.9:1, 1.0:0, 1.0:-1 @ 3000"),
        "asymmetric_load 0: has a volt_var that is no curve",
    ),
    "a curve without reach": (
        lambda n: n.asymmetric_load.__setitem__("volt_var", "0.9:1, 1.1:-1 @ 0"),
        "asymmetric_load 0: has a volt_var that is no curve",
    ),
    "perhaps passive": (lambda n: n.asymmetric_load.__setitem__("passive", "perhaps"), "asymmetric_load 0: has passive 'perhaps'"),
    "forecast upside down": (
        lambda n: n.asymmetric_load.__setitem__("passive", True) or n.asymmetric_load.__setitem__("forecast_min_w", 5_000),
        "asymmetric_load 0: has the forecast 5000 to 0 W",
    ),
    "settings behind the meter": (
        lambda n: pp.create_asymmetric_sgen(n, 1, p_a_mw=0.003, name="roof", rating_export_w=5_000),
        "asymmetric_sgen 0: has rating_export_w, but belongs to the customer of asymmetric_load 0",
    ),
    "interface power": (lambda n: n.ext_grid.__setitem__("interface_export_w_max", -1.0), "ext_grid 0: has interface_export_w_max -1"),
    "two interfaces that differ": (
        lambda n: pp.create_ext_grid(n, 1, vm_pu=1.05),
        "ext_grid 1: is in one island with ext_grid 0 at another voltage range",
    ),
    "a switch with impedance": (
        lambda n: pp.create_switch(n, 0, 1, et="b", z_ohm=0.1),
        "switch 0: has an impedance",
    ),
    "a three-winding transformer": (_three_windings, "trafo3w 0: is not modelled in a three-phase network"),
    "no vector group": (_transformer(), "transformer 0: has vector group 'none'"),
    "a clock that does not fit": (
        _transformer(vector_group="Dyn", shift_degree=0.0, vk0_percent=6.0, vkr0_percent=1.0),
        "transformer 0: turns the phases by 0 degrees, which Dyn cannot",
    ),
    "a phase shifter": (
        _transformer(vector_group="Dyn", shift_degree=160.0, vk0_percent=6.0, vkr0_percent=1.0),
        "transformer 0: turns the phases by 160 degrees",
    ),
    "no transformer rating": (_transformer(sn_mva=np.nan), "transformer 0: has no usable rating"),
    "short circuit below losses": (_transformer(vkr_percent=9.0), "transformer 0: has vkr_percent above vk_percent"),
    "iron losses": (_transformer(pfe_kw=-2.0), "transformer 0: has no usable magnetising branch"),
    "a tap of no type": (
        _transformer(tap_pos=2, tap_changer_type=None),
        "transformer 0: has a tap off neutral of the type None",
    ),
    "a tap from a table": (_transformer(tap_dependency_table=True), "transformer 0: takes its tap from a table"),
    "a tap of no side": (_transformer(tap_pos=2, tap_side=None), "transformer 0: has a tap off neutral and tap_side None"),
    "a tap that is no number": (_transformer(tap_pos="up"), "transformer 0: has a tap of nan steps"),
    "a shifter in two units": (
        _transformer(tap_pos=2, tap_changer_type="Ideal", tap_step_degree=1.0),
        "transformer 0: has an ideal phase shifter with steps in percent and degrees",
    ),
    "a tap that cannot move": (_transformer(tap_operator=True, tap_side="lv"), "transformer 0: has a tap that the operator cannot move"),
    "a shunt of nothing": (lambda n: pp.create_shunt(n, 1, q_mvar=np.nan), "shunt 0: has no usable admittance"),
    "a voltage-dependent load": (
        lambda n: pp.create_load(n, 1, p_mw=0.01, const_z_p_percent=30.0),
        "load 0: depends on the voltage",
    ),
}  # fmt: skip


def test_a_builtin_name_is_one_network() -> None:
    assert load("kerber-vorstadt").content_hash == load("kerber-vorstadt").content_hash


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_is_a_finding_with_element_problem_and_remedy(fault: str) -> None:
    plant, expected = FAULTS[fault]
    net = grids.three_phase_line()
    plant(net)
    with pytest.raises(BadNetwork) as caught:
        load(net)
    assert expected in str(caught.value)
    assert all(f.element and f.problem and f.remedy for f in caught.value.findings)


def test_all_findings_come_at_once() -> None:
    net = grids.three_phase_line()
    for fault in ("an island", "missing rating", "no phase", "power factor", "a ward"):
        FAULTS[fault][0](net)
    with pytest.raises(BadNetwork) as caught:
        load(net)
    told = str(caught.value)
    for fault in ("an island", "missing rating", "no phase", "a ward"):
        assert FAULTS[fault][1] in told
    assert "asymmetric_load 1: has power factor 0.3" in told


def test_columns_override_the_defaults() -> None:
    net = grids.three_phase_line()
    net.asymmetric_load["rating_export_w"] = [3_000, np.nan, 5_000]
    net.asymmetric_load["failsafe_import_w"] = 123
    net.bus["max_vm_pu"], net.bus["min_vm_pu"] = 1.05, 0.95
    network = load(net)
    assert [c.rating_export_w for c in network.customers] == [3_000, 10_000, 5_000]
    assert {c.failsafe_import_w for c in network.customers} == {123}
    assert network.bus_max_v[1] == pytest.approx(1.05 * 400 / 3**0.5)


def test_every_column_of_a_customer_is_read() -> None:
    net = grids.three_phase_line(homes="ab")
    net.asymmetric_load["export_power_factor"], net.asymmetric_load["reactive_var_max"] = 0.9, 2_000
    net.asymmetric_load["volt_var"] = ["0.92:1, 0.98:0, 1.02:0, 1.08:-1 @ 3000", None]
    first, second = load(net).customers
    assert first.volt_var == VoltVar((0.92, 0.98, 1.02, 1.08), (1.0, 0.0, 0.0, -1.0), 3_000.0)
    assert second.volt_var is None
    assert (first.export_power_factor, first.reactive_var_max, first.reactive_var) == (0.9, 2_000, 0)


def test_a_passive_has_a_forecast_and_no_envelope() -> None:
    net = grids.two_buses()
    pp.create_load(net, 1, p_mw=0.004, scaling=0.5, name="shop", passive=True)
    pp.create_sgen(net, 1, p_mw=0.0030005, name="wind", passive=True)
    pp.create_storage(net, 1, p_mw=0.002, max_e_mwh=1, name="cell", passive=True)
    pp.create_load(net, 1, p_mw=0.004, name="school", passive=True, forecast_min_w=-5_000.5, forecast_max_w=1_000)
    network = load(net)
    assert [c.id for c in network.customers] == ["home"]
    assert {p.id: (p.low_w, p.high_w) for p in network.passives} == {
        "shop": (-2_000, 0), "wind": (0, 3_001), "cell": (-2_000, 2_000), "school": (-5_001, 1_000),
    }  # fmt: skip


def test_what_stands_behind_the_meter_counts_for_the_default_rating() -> None:
    net = grids.two_buses()
    net.load = net.load.drop(columns=["rating_export_w", "rating_import_w"])
    pp.create_sgen(net, 1, p_mw=0.060, name="roof")
    pp.create_storage(net, 1, p_mw=0.040, max_e_mwh=1, name="battery")
    (customer,) = load(net).customers
    assert (customer.id, customer.rating_export_w) == ("home", 200_000)


def test_a_storage_alone_is_a_customer_both_ways() -> None:
    net = grids.two_buses()
    net.load["in_service"] = False
    pp.create_storage(net, 1, p_mw=0.5, max_e_mwh=1, name="battery")
    (customer,) = load(net).customers
    assert (customer.id, customer.rating_export_w, customer.rating_import_w) == ("battery", 1_000_000, 1_000_000)


def test_limits_of_neutral_interface_and_loading_are_read() -> None:
    net = grids.three_phase_line()
    net.line["max_i_n_ka"], net.line["max_loading_percent"], net.line["parallel"] = 0.1, 50.0, 2
    net.ext_grid["interface_export_w_max"] = 9_000
    network = load(net)
    assert (network.branches[0].rating_a, network.branches[0].neutral_rating_a) == (400.0, 100.0)
    assert (network.interface_export_w_max, network.interface_import_w_max) == (9_000, np.inf)


def test_an_operators_tap_is_a_range_of_steps_from_where_it_is() -> None:
    net = grids.source(vn_kv=20.0)
    home = pp.create_bus(net, vn_kv=0.4)
    pp.create_transformer(net, 0, home, "0.4 MVA 20/0.4 kV", tap_pos=1)
    net.trafo["tap_operator"] = True
    pp.create_load(net, home, p_mw=0.01, name="home")
    branch = load(net).branches[0]
    assert (branch.tap_low, branch.tap_high) == (-3, 1)
    assert branch.ratio * (1 + branch.tap_step) == pytest.approx(50 * 1.05)


def test_the_tightest_limit_of_joined_buses_holds() -> None:
    net = grids.two_buses()
    net.bus["max_vm_pu"] = 1.08
    spare = pp.create_bus(net, vn_kv=0.4, max_vm_pu=1.05)
    pp.create_switch(net, 1, spare, et="b", closed=True)
    assert load(net).bus_max_v[1] == pytest.approx(1.05 * 400 / 3**0.5)


def test_a_wrong_simbench_code_is_answered_with_codes_near_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="near it: 1-LV-rural3--0-sw"):
        load("simbench:1-LV-rural9--0-sw")
    monkeypatch.setitem(sys.modules, "simbench", None)
    with pytest.raises(ValueError, match=r"pip install 'limex\[simbench\]'"):
        load("simbench:1-LV-rural3--0-sw")


def test_the_hash_follows_physics_and_limits_but_not_the_drawing() -> None:
    reference = load(grids.two_buses()).content_hash
    assert load(grids.two_buses()).content_hash == reference
    for changed in (grids.two_buses(z=0.2001 + 0.1j), grids.two_buses(rating_a=401.0), grids.two_buses(rating_w=200_001)):
        assert load(changed).content_hash != reference
    drawn = grids.two_buses()
    drawn.bus["geo"] = '{"coordinates": [3.0, 4.0], "type": "Point"}'
    assert load(drawn).content_hash == reference
    assert load(drawn).bus_xy.tolist() == [[3.0, 4.0], [3.0, 4.0]]


def test_closed_bus_switches_join_buses_and_open_line_switches_part_them() -> None:
    net = grids.two_buses()
    spare = pp.create_bus(net, vn_kv=0.4)
    pp.create_switch(net, 1, spare, et="b", closed=True)
    pp.create_load(net, spare, p_mw=0.001, name="neighbour")
    network = load(net)
    assert network.n_buses == 2
    assert [c.bus for c in network.customers] == [1, 1]
    pp.create_switch(net, 1, 0, et="l", closed=False)
    with pytest.raises(BadNetwork, match="without a path to the interface"):
        load(net)


def test_a_generator_behind_the_meter_belongs_to_the_home_and_another_is_a_customer() -> None:
    net = grids.three_phase_line(homes="ab")
    pp.create_asymmetric_sgen(net, 1, p_a_mw=0.003, name="roof")
    pp.create_asymmetric_sgen(net, 1, p_c_mw=0.003, name="field")
    assert [(c.id, c.phase) for c in load(net).customers] == [("home0", "a"), ("home1", "b"), ("field", "c")]


def test_names_become_ids_that_fit_into_a_topic() -> None:
    net = grids.two_buses()
    net.load["name"] = "Load R1/+#"
    assert load(net).customers[0].id == "Load-R1-"
