"""Reading a network: what is taken over, what is refused, and that all that is wrong is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from riskcheck.network import BadNetwork, builtin_names, load
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
    "failsafe over rating": (lambda n: n.asymmetric_load.__setitem__("failsafe_export_w", 40_000), "asymmetric_load 0: has export rating"),
    "fraction of a watt": (lambda n: n.asymmetric_load.__setitem__("rating_import_w", 1000.5), "asymmetric_load 0: has import rating"),
    "power factor": (lambda n: n.asymmetric_load.__setitem__("power_factor", 0.3), "asymmetric_load 0: has power factor 0.3"),
    "interface upside down": (lambda n: n.ext_grid.__setitem__("interface_min_pu", 1.2), "ext_grid 0: has the interface range 1.2 to 1"),
    "no interface": (lambda n: n.ext_grid.__setitem__("in_service", False), "network: has no ext_grid in service"),
    "a shunt": (lambda n: pp.create_shunt(n, 1, q_mvar=0.1), "shunt 0: is not modelled"),
    "a generator": (lambda n: pp.create_gen(n, 1, p_mw=0.1), "gen 0: is not modelled"),
    "voltage limits": (lambda n: n.bus.__setitem__("max_vm_pu", 0.5), "bus 0: has voltage limits"),
}


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
    for fault in ("an island", "missing rating", "no phase", "power factor", "a shunt"):
        FAULTS[fault][0](net)
    with pytest.raises(BadNetwork) as caught:
        load(net)
    told = str(caught.value)
    for fault in ("an island", "missing rating", "no phase", "a shunt"):
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
