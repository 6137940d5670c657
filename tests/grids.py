"""Small networks that can be solved by hand, and the demo's feeder with its rows, built once for all tests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pandapower as pp

from riskcheck.linearise import build
from riskcheck.network import Network, load
from riskcheck.polytope import Polytope


def line(net: Any, start: int, end: int, z1: complex, z0: complex, rating_a: float) -> None:
    """One line of these impedances in ohms."""
    pp.create_line_from_parameters(
        net, start, end, length_km=1.0, r_ohm_per_km=z1.real, x_ohm_per_km=z1.imag, c_nf_per_km=0.0, max_i_ka=rating_a / 1e3,
        r0_ohm_per_km=z0.real, x0_ohm_per_km=z0.imag, c0_nf_per_km=0.0,
    )  # fmt: skip


def source(vn_kv: float = 0.4, low_pu: float = 1.0, high_pu: float = 1.0) -> Any:
    """A net with one bus, the interface, at a voltage range."""
    net = pp.create_empty_network()
    bus = pp.create_bus(net, vn_kv=vn_kv)
    pp.create_ext_grid(net, bus, vm_pu=1.0, s_sc_max_mva=1e9, rx_max=0.1, r0x0_max=0.1, x0x_max=1.0)
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = low_pu, high_pu
    return net


def two_buses(z: complex = 0.2 + 0.1j, rating_a: float = 400.0, power_factor: float = 1.0, rating_w: int = 200_000) -> Any:
    """Balanced: interface --z-- home, 400 V."""
    net = source()
    home = pp.create_bus(net, vn_kv=0.4)
    line(net, 0, home, z, 4 * z, rating_a)
    pp.create_load(net, home, p_mw=0.001, name="home")
    net.load["power_factor"] = power_factor
    net.load["rating_export_w"], net.load["rating_import_w"] = rating_w, rating_w
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 1_000, 1_000
    return net


def three_phase_line(z1: complex = 0.2 + 0.1j, z0: complex = 0.8 + 0.4j, rating_a: float = 400.0, homes: str = "abc") -> Any:
    """Three phases: interface --(z1, z0)-- one bus with a single-phase home for each letter of `homes`."""
    net = source()
    bus = pp.create_bus(net, vn_kv=0.4)
    line(net, 0, bus, z1, z0, rating_a)
    for number, phase in enumerate(homes):
        pp.create_asymmetric_load(net, bus, **{f"p_{phase}_mw": 0.001}, name=f"home{number}")
    net.asymmetric_load["power_factor"] = 1.0
    net.asymmetric_load["rating_export_w"], net.asymmetric_load["rating_import_w"] = 30_000, 30_000
    return net


def ring() -> Any:
    """Balanced ring of three equal lines at 20 kV; one unit is 1 MW, rated 1, 1 and (between the homes) 0.5."""
    net = source(vn_kv=20.0)
    unit_a = 1e6 / (3**0.5 * 20e3)
    for _ in range(2):
        pp.create_bus(net, vn_kv=20.0)
    for start, end, rating in ((0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.5)):
        line(net, start, end, 0.01 + 0.1j, 0.04 + 0.4j, rating * unit_a)
    for bus in (1, 2):
        pp.create_load(net, bus, p_mw=0.5, name=f"plant{bus}")
    net.load["power_factor"] = 1.0
    net.load["rating_export_w"], net.load["rating_import_w"] = 2_000_000, 2_000_000
    return net


@lru_cache(maxsize=1)
def feeder() -> Network:
    return load()


@lru_cache(maxsize=1)
def feeder_rows() -> Polytope:
    return build(feeder())


@lru_cache(maxsize=1)
def village() -> Network:
    """Kerber Landnetz: 8 balanced homes, small enough to try every corner."""
    return load("kerber-landnetz")
