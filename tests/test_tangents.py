"""Searched rows: phases, loops, neutrals, forecasts, curves and interface limits, attacked from outside after they are built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest

from riskcheck.limits import Limits
from riskcheck.linearise import build, is_proven
from riskcheck.network import Network, load
from riskcheck.reduced import Reduced
from tests import grids
from tests.test_distflow import corners, saturated


def street(homes: str = "abcabc") -> Any:
    """Three phases: interface -- bus -- bus, homes by turns on both."""
    net = grids.three_phase_line(z1=0.1 + 0.05j, z0=0.4 + 0.2j, rating_a=150.0, homes=homes)
    end = pp.create_bus(net, vn_kv=0.4)
    grids.line(net, 1, end, 0.1 + 0.05j, 0.4 + 0.2j, 100.0)
    net.asymmetric_load.loc[net.asymmetric_load.index[3:], "bus"] = end
    net.asymmetric_load["power_factor"] = 0.95
    return net


def with_forecasts() -> Any:
    net = street("abcabcac")
    lamps = net.asymmetric_load.index[6:]
    net.asymmetric_load["passive"] = False
    net.asymmetric_load.loc[lamps, "passive"] = True
    net.asymmetric_load["forecast_min_w"], net.asymmetric_load["forecast_max_w"] = float("nan"), float("nan")
    net.asymmetric_load.loc[lamps, "forecast_min_w"] = [-3_000, 500]
    net.asymmetric_load.loc[lamps, "forecast_max_w"] = [1_000, 2_500]
    return net


def with_curves() -> Any:
    net = street()
    net.asymmetric_load["volt_var"] = "0.92:1, 0.98:0, 1.02:0, 1.08:-1 @ 2000"
    return net


def with_neutral() -> Any:
    net = street()
    net.line["max_i_n_ka"] = 0.03
    return net


def with_interface_limits() -> Any:
    net = street()
    net.ext_grid["interface_import_w_max"], net.ext_grid["interface_export_w_max"] = 12_000, 15_000
    return net


def meshed() -> Any:
    """Four buses in a balanced loop of cables that charge."""
    net = grids.source(vn_kv=20.0, low_pu=0.98, high_pu=1.02)
    for _ in range(3):
        pp.create_bus(net, vn_kv=20.0)
    for start, end in ((0, 1), (1, 2), (2, 3), (3, 0)):
        grids.line(net, start, end, 2.0 + 1.5j, 2.0 + 1.5j, 60.0)
    net.line["c_nf_per_km"] = 2_000.0
    for bus in (1, 2, 3):
        pp.create_load(net, bus, p_mw=1.0, name=f"village{bus}")
    net.load["rating_export_w"], net.load["rating_import_w"] = 3_000_000, 3_000_000
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 0, 0
    return net


NETWORKS = {
    "phases": street, "forecasts": with_forecasts, "curves": with_curves, "neutral": with_neutral,
    "interface": with_interface_limits, "meshed": meshed,
}  # fmt: skip
MUST_BIND = {"neutral": ("thermal", "n"), "interface": ("interface", "abc")}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[str, Network]:
    return request.param, load(NETWORKS[request.param]())


def test_no_power_within_admitted_envelopes_breaks_a_limit(case: tuple[str, Network]) -> None:
    name, network = case
    assert not is_proven(network)
    polytope, rng, model = build(network), np.random.default_rng(7), Reduced(network)
    assert name not in MUST_BIND or MUST_BIND[name] in {(label.kind, label.phase) for label in polytope.labels}
    limits = Limits.of(model, extremal_only=False, both_ends=True)
    found = []
    for _ in range(30):
        x = saturated(polytope, network.caps_w(), rng)
        found.append(limits.measure(model, corners(network, x, rng, 400)).max())
    assert max(found) < 0
    assert max(found) > -0.08, "what saturates the rows comes near a limit, or this test proves nothing"
