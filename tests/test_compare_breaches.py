"""The energy of violations: of a conductor only the worst place counts, conductors add up, and homes count while their voltage is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower as pp
import pytest

from compare.breaches import Breaches
from compare.days import INTERVAL_MIN, draw
from compare.physics import Physics
from riskcheck.limits import KINDS
from riskcheck.network import Network, load
from tests import grids

RATING_A, NOMINAL_V = 20.0, 230.0


def three_homes(homes: str = "abc") -> Physics:
    return Physics(load(grids.three_phase_line(rating_a=RATING_A, homes=homes)))


def planted(physics: Physics, *breaks: tuple[str, int, float]) -> np.ndarray:
    """f of one scenario: room everywhere but at the limits of this kind and phase."""
    limits, monitors = physics.limits_at(1.0), physics.model.monitors
    f = np.full((1, len(limits.monitor)), -0.1)
    for kind, phase, excess in breaks:
        f[0, (limits.kind == KINDS.index(kind)) & (monitors.phase[limits.monitor] == phase)] = excess
    return f


def breaches(physics: Physics) -> Breaches:
    return Breaches(physics.model, physics.limits_at(1.0))


def test_what_flows_above_a_rating_adds_up_over_the_phases() -> None:
    physics = three_homes()
    f = planted(physics, ("thermal", 0, 0.5), ("thermal", 1, 0.25), ("voltage_max", 2, 0.01))
    assert breaches(physics).above_va(f) == pytest.approx([0.75 * RATING_A * NOMINAL_V])


def test_one_power_through_two_lines_counts_once_where_it_exceeds_most() -> None:
    """Interface - 20 A - home 0 - 20 A - home 1, balanced: 1.2 and 1.5 times the rating are half a rating of three phases too much."""
    net = grids.two_buses(rating_a=RATING_A)
    end = pp.create_bus(net, vn_kv=0.4)
    grids.line(net, 1, end, 0.2 + 0.1j, 0.8 + 0.4j, RATING_A)
    pp.create_load(net, end, p_mw=0.001, name="far")
    for column in ("power_factor", "rating_export_w", "rating_import_w", "failsafe_export_w", "failsafe_import_w"):
        net.load[column] = net.load[column].ffill()
    physics = Physics(load(net))
    f = np.full((1, len(physics.limits_at(1.0).monitor)), -0.1)
    f[0, np.flatnonzero(physics.limits_at(1.0).kind == KINDS.index("thermal"))[:2]] = 0.2, 0.5
    assert breaches(physics).above_va(f) == pytest.approx([3 * 0.5 * RATING_A * NOMINAL_V])


@pytest.mark.parametrize("kind", ["voltage_max", "voltage_min"])
def test_the_power_of_homes_counts_while_their_own_phase_is_out_of_range(kind: str) -> None:
    physics = three_homes("aab")
    power_w = np.array([[2_000.0, -3_000.0, 7_000.0]])
    f = planted(physics, (kind, 0, 0.01), ("thermal", 1, 0.5))
    assert breaches(physics).outside_w(f, power_w, 1e-6) == pytest.approx([5_000.0])


def test_of_an_export_over_the_rating_the_current_above_it_counts_every_minute() -> None:
    """A lone home exports p on phase a at u: i = p / u, as power_factor is 1. The energy above is (i - 20 A) times 230 V."""
    physics = three_homes()
    network: Network = physics.network
    day = replace(draw(network, 3, None, 1), passive_w=np.zeros((1, 0)))
    power_w = np.tile([9_000.0, 0.0, 0.0], (INTERVAL_MIN, 1))
    minutes, _ = physics.day(day, power_w)
    volts = physics._flow.run(power_w[:1], np.array(day.interface_pu[:1])).voltage_pu[0, -1, 0] * NOMINAL_V
    assert minutes.above_va == pytest.approx((9_000.0 / volts - RATING_A) * NOMINAL_V, rel=1e-5)
    assert (minutes.outside_w > 0).all() == bool(volts > 1.1 * NOMINAL_V)
