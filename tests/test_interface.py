"""Where a network is cut, who owns what, and what cannot be cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandapower as pp
import pytest
from pandapower.networks import example_multivoltage

from envelopes.cascade import own_network
from envelopes.interface import opened, split
from riskcheck.network import BadNetwork


def village(feeders: int = 2, homes: int = 2) -> Any:
    """110 kV -- 20 kV bus 1 -- bus 2 -- bus 3, and an LV feeder each behind buses 2 and 3; zones mv, lv0, lv1."""
    net = pp.create_empty_network()
    top, *mv = [pp.create_bus(net, kv, zone="mv") for kv in (110.0, 20.0, 20.0, 20.0)]
    pp.create_ext_grid(net, top, vm_pu=1.02)
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 1.0, 1.04
    pp.create_transformer(net, top, mv[0], "25 MVA 110/20 kV")
    for start, end in pairwise(mv):
        pp.create_line(net, start, end, 4.0, "NA2XS2Y 1x185 RM/25 12/20 kV")
    pp.create_load(net, mv[1], 1.0, name="plant")
    for k in range(feeders):
        lv = [pp.create_bus(net, 0.4, zone=f"lv{k}") for _ in range(homes + 1)]
        pp.create_transformer(net, mv[1 + k], lv[0], "0.25 MVA 20/0.4 kV")
        for start, end in pairwise(lv):
            pp.create_line(net, start, end, 0.15, "NAYY 4x150 SE")
        for j, bus in enumerate(lv[1:]):
            pp.create_load(net, bus, 0.02, name=f"home{k}{j}")
    return net


def findings(net: Any, by: str = "zone") -> str:
    with pytest.raises(BadNetwork) as raised:
        split(net, by)
    return str(raised.value)


def test_areas_stand_below_each_other_and_own_their_transformers() -> None:
    areas = split(village(), "zone")
    assert [(name, area.parent, area.interface_bus) for name, area in areas.items()] == [
        ("mv", None, None),
        ("lv0", "mv", 2),
        ("lv1", "mv", 3),
    ]
    assert areas["mv"].interfaces == {"lv0": 2, "lv1": 3}
    assert areas["lv0"].cut == ("trafo 1",)
    assert len(areas["mv"].net.trafo) == 1 and len(areas["lv0"].net.trafo) == 1


@pytest.mark.parametrize("by", ["zone", "level"])
def test_every_element_belongs_to_exactly_one_operator(by: str) -> None:
    net = village()
    areas = split(net, by)
    for table in ("line", "trafo", "load"):
        owned = [index for area in areas.values() for index in area.net[table].index]
        assert sorted(owned) == sorted(net[table].index), table


def test_a_zone_in_two_pieces_is_one_operator_with_two_areas() -> None:
    areas = split(village(), "level")
    assert [(name, area.operator) for name, area in areas.items()][1:] == [("lv-1", "lv"), ("lv-2", "lv")]


def test_a_bus_that_only_carries_the_ext_grid_is_no_area() -> None:
    net = village()
    assert list(split(net, "level")) == ["mv", "lv-1", "lv-2"]
    net.bus.loc[0, "zone"] = "above"
    assert list(split(net, "zone")) == ["mv", "lv0", "lv1"]
    station = pp.create_bus(net, 20.0, zone="other")
    pp.create_transformer(net, 0, station, "25 MVA 110/20 kV")
    assert "bus 0: feeds mv and other and is alone in its zone (give it the zone of one of them)" in findings(net)


@pytest.mark.slow
def test_pandapowers_multivoltage_example_is_cut_at_its_transformers() -> None:
    areas = split(example_multivoltage())
    assert {name: area.cut for name, area in areas.items()} == {"hv": (), "mv": ("trafo3w 0",), "lv": ("trafo 1",)}
    assert len(own_network(areas["lv"]).customers) == 12


def test_tie_lines_are_cuts_too_and_belong_to_the_area_below() -> None:
    net = village(feeders=1)
    net.bus.loc[3, "zone"] = "neighbour"
    areas = split(net, "zone")
    assert areas["neighbour"].cut == ("line 1",) and areas["neighbour"].interface_bus == 2
    assert 1 in areas["neighbour"].net.line.index and 1 not in areas["mv"].net.line.index


def looped() -> Any:
    """A village of one feeder with a station at both ends: bus 2 -- 4 -- 5 -- 6 -- 7 -- bus 3, the last line the longest."""
    net = village(feeders=1, homes=2)
    far = pp.create_bus(net, 0.4, zone="lv0")
    pp.create_line(net, 6, far, 0.25, "NAYY 4x150 SE")
    pp.create_transformer(net, 3, far, "0.25 MVA 20/0.4 kV")
    return net


def test_an_area_fed_at_two_buses_cannot_be_cut_and_the_finding_says_what_to_open() -> None:
    said = findings(looped())
    assert "area lv0: is fed in parallel at buses 2, 3 of mv by trafo 1, trafo 2" in said
    assert "open line 3: each part then has one interface" in said


def test_opened_between_its_feeds_an_area_is_two_with_an_interface_each() -> None:
    """From bus 4: 0.15 km to 5; from 7: 0.25 km to 6; so 5 goes with 4, 6 with 7 (0.25 < 0.3), and line 5 -- 6 parts them."""
    net, points = opened(looped(), "zone")
    assert points == ("line 3",)
    areas = split(net, "zone")
    assert {name: (area.buses, area.interface_bus, area.operator) for name, area in areas.items() if name != "mv"} == {
        "lv0-1": ((4, 5), 2, "lv0"),
        "lv0-2": ((6, 7), 3, "lv0"),
    }


def test_of_two_feeds_at_one_bus_one_is_opened_and_a_coupler_before_any_line() -> None:
    net = village()
    second = pp.create_transformer(net, 3, 4, "0.25 MVA 20/0.4 kV")
    assert opened(net, "zone")[1] == (f"trafo {second}",)
    coupled = village(feeders=1)
    section = pp.create_bus(coupled, 0.4, zone="lv0")
    coupler = pp.create_switch(coupled, 4, section, et="b", closed=True)
    pp.create_transformer(coupled, 3, section, "0.25 MVA 20/0.4 kV")
    assert opened(coupled, "zone")[1] == (f"switch {coupler}",)


def test_nothing_is_opened_where_every_area_hangs_on_one_bus() -> None:
    assert opened(village(), "zone")[1] == ()


def test_two_transformers_at_one_bus_are_one_interface() -> None:
    net = village()
    pp.create_transformer(net, 2, 4, "0.25 MVA 20/0.4 kV")
    assert split(net, "zone")["lv0"].cut == ("trafo 1", "trafo 3")


def test_a_line_between_siblings_cannot_be_cut() -> None:
    net = village()
    pp.create_line(net, 6, 9, 0.1, "NAYY 4x150 SE")
    assert "joins lv0 and lv1, neither of which is above the other" in findings(net)


def test_an_open_line_between_areas_is_no_cut_and_charges_from_its_closed_end() -> None:
    net = village()
    line = pp.create_line(net, 6, 9, 0.1, "NAYY 4x150 SE")
    pp.create_switch(net, 9, line, et="l", closed=False)
    areas = split(net, "zone")
    assert line in areas["lv0"].net.line.index and line not in areas["lv1"].net.line.index
    assert own_network(areas["lv0"]).bus_shunt_siemens


def test_findings_name_what_is_missing() -> None:
    net = village()
    net.bus.loc[4, "zone"] = None
    assert "bus 4: has no zone" in findings(net)
    lone = village()
    pp.create_bus(lone, 0.4, zone="lost")
    assert "area lost: has no path to an ext_grid" in findings(lone)


def test_two_sources_in_connected_areas_are_refused() -> None:
    net = village()
    pp.create_ext_grid(net, 5)
    assert "which both have an ext_grid" in findings(net)


def test_generators_at_an_interface_bus_stay_with_the_area_above() -> None:
    net = village()
    pp.create_sgen(net, 3, 0.5, name="wind")
    areas = split(net, "zone")
    assert len(areas["mv"].net.sgen) == 1 and not len(areas["lv1"].net.sgen)
    assert [c.id for c in own_network(areas["mv"]).customers] == ["plant", "wind"]
