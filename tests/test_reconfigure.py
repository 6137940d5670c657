"""Switches and taps as decisions: a ring of three feeders whose answer can be found by hand, and by trying everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandapower as pp
import pytest

from envelopes.reconfigure import reconfigure
from gateway.cli import main


def ring(*, near_ka: float = 0.2, far_ka: float = 0.2, homes: int = 2) -> Any:
    """Two feeders from one busbar, joined at their ends by an open switch; all homes on the second."""
    net = pp.create_empty_network()
    grid, bar = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, grid)
    pp.create_transformer(net, grid, bar, std_type="0.4 MVA 20/0.4 kV")
    ends = []
    for limit_ka in (near_ka, far_ka):
        end = pp.create_bus(net, 0.4)
        pp.create_line_from_parameters(net, bar, end, 0.1, r_ohm_per_km=0.2, x_ohm_per_km=0.08, c_nf_per_km=0, max_i_ka=limit_ka)
        ends.append(end)
    for number in range(homes):
        home = pp.create_bus(net, 0.4)
        pp.create_line_from_parameters(net, ends[1], home, 0.02, r_ohm_per_km=0.6, x_ohm_per_km=0.08, c_nf_per_km=0, max_i_ka=0.2)
        pp.create_load(net, home, p_mw=0.001, name=f"home {number}")
    net.load["rating_export_w"], net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 60_000, 0, 0
    net.load["rating_import_w"] = 60_000
    pp.create_switch(net, bar, 0, et="l", closed=True)  # 0: the first feeder at the busbar
    pp.create_switch(net, bar, 1, et="l", closed=True)  # 1: the second
    pp.create_switch(net, ends[0], ends[1], et="b", closed=False)  # 2: their ends
    return net


def test_homes_are_fed_by_the_feeder_that_carries_more() -> None:
    found = reconfigure(ring(near_ka=0.2, far_ka=0.02), [0, 1, 2], with_taps=False)
    assert found.best.state.closed == (0, 2), "through the first feeder, for the second carries a tenth"
    assert found.best.smallest_w > 2 * found.today.smallest_w > 0
    assert found.is_exact


def test_states_with_a_loop_or_without_supply_do_not_count() -> None:
    found = reconfigure(ring(), [0, 1, 2], with_taps=False)
    assert found.tried == 3, "two of three switches closed: every pair feeds all, and no other state does"


def test_a_net_that_is_best_as_it_is_stays_so() -> None:
    found = reconfigure(ring(near_ka=0.02, far_ka=0.2), [0, 1, 2], with_taps=False)
    assert found.best.state == found.today.state


def test_the_descent_finds_what_trying_everything_finds_on_a_ring() -> None:
    net = ring(near_ka=0.2, far_ka=0.02)
    exact, walked = reconfigure(net, [0, 1, 2], with_taps=False), reconfigure(net, [0, 1, 2], with_taps=False, states_max=0)
    assert (walked.best.state, walked.is_exact) == (exact.best.state, False)


def test_a_tap_makes_room_where_voltage_is_the_limit() -> None:
    net = ring()
    net.line["max_i_ka"] = 5.0
    net.line["length_km"] = 1.0
    net.ext_grid["vm_pu"] = 1.06
    net.trafo["tap_operator"] = True
    found = reconfigure(net, [0, 1, 2])
    assert found.taps == ("transformer 0",)
    assert found.best.state.tap_steps != (0,)
    assert found.best.smallest_w > found.today.smallest_w


def test_requests_decide_whose_envelope_counts() -> None:
    found = reconfigure(ring(), [0, 1, 2], with_taps=False, requests_w=[2_000, 0, 0, 0])
    assert found.best.smallest_w == 2_000


def test_unknown_switches_are_named() -> None:
    with pytest.raises(ValueError, match="no such switches, or named twice: 7"):
        reconfigure(ring(), [0, 7])


def test_the_command_says_what_to_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ring.json"
    pp.to_json(ring(near_ka=0.2, far_ka=0.02), str(path))
    assert main(["reconfigure", str(path), "--no-taps"]) == 0
    told = capsys.readouterr().out
    assert "open  switch 1 (l 1 at bus 1)" in told
    assert "close switch 2 (b 3 at bus 2)" in told
    assert main(["reconfigure", str(path), "--switch", "9"]) == 2
    assert "no such switches" in capsys.readouterr().err
