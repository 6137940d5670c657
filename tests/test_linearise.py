"""Rows: whatever they admit holds in AC, wherever trading goes, and they admit nearly all that AC allows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envelopes.allocate import max_min
from riskcheck.adversary import Climb, Hunt
from riskcheck.certify import Certifier
from riskcheck.limits import Limits
from riskcheck.linearise import Insecure, build
from riskcheck.network import load
from riskcheck.polytope import Polytope
from riskcheck.reduced import Reduced
from riskcheck.tangents import Points
from tests import grids


def greatest_w(rows: Polytope, right: int) -> int:
    """The largest limit of one right alone."""
    column = rows.columns[right]
    return int(np.min(rows.slack // column[column > 0].astype(np.int64))) if (column > 0).any() else -1


def test_two_buses_get_the_limits_of_the_quadratic_less_a_small_margin() -> None:
    """z = r + jx, unity power factor: the exact limits follow from V^4 + (2rp - V0^2) V^2 + |z|^2 p^2 = 0 at V = 253 and 207."""
    z, v0 = 0.2 + 0.1j, 400 / math.sqrt(3)
    rows = build(load(grids.two_buses(z, rating_a=1_000.0)))
    for right, v, sign in ((0, 253.0, -1), (1, 207.0, 1)):
        b = 2 * z.real * v**2
        exact_w = 3 * sign * (-b + math.sqrt(b**2 - 4 * abs(z) ** 2 * (v**4 - v0**2 * v**2))) / (2 * abs(z) ** 2)
        assert 0.97 * exact_w < greatest_w(rows, right) < exact_w


def test_a_thermal_row_stops_at_the_rating() -> None:
    network = load(grids.two_buses(z=0.01 + 0.01j, rating_a=50.0))
    rows = build(network)
    assert {label.kind for label in rows.labels} == {"thermal"}
    for right in (0, 1):
        assert 0.97 * 3 * 50 * 400 / math.sqrt(3) < greatest_w(rows, right) < 3 * 50 * 400 / math.sqrt(3) * 1.01


def test_export_on_one_phase_and_import_on_the_others_take_from_the_same_row() -> None:
    """With z0 > z1 the mutual impedance (z0 - z1)/3 is positive: a watt drawn on b lifts phase a as a watt fed in on a does, only less."""
    rows = build(load(grids.three_phase_line(rating_a=1_000.0)))
    row = next(i for i, label in enumerate(rows.labels) if (label.kind, label.phase) == ("voltage_max", "a"))
    column = rows.columns[:, row].astype(float)
    export_a, export_b, export_c, import_a, import_b, import_c = column / column[0]
    assert export_a == 1.0
    assert export_b == pytest.approx(0.0, abs=0.05)
    assert export_c == pytest.approx(0.0, abs=0.05)
    assert import_a == 0.0
    assert min(import_b, import_c) > 0.05
    assert max(import_b, import_c) < 0.6


def test_the_ring_keeps_opposite_plants_apart() -> None:
    """Line 1-2 carries (p1 - p2)/3 of 0.5: export of one and import of the other share one row, each up to 1.5 together."""
    rows = build(load(grids.ring()))
    opposite = np.array([740_000, 0, 0, 740_000])
    assert rows.is_secure(opposite)
    assert not rows.is_secure(opposite * 1.02)
    assert rows.is_secure([740_000, 740_000, 0, 0])


def test_building_is_deterministic() -> None:
    assert build(grids.village()).content_hash == build(grids.village()).content_hash


def test_no_room_at_no_load_is_refused_with_the_element() -> None:
    net = grids.two_buses()
    net.ext_grid["interface_max_pu"] = 1.12
    with pytest.raises(Insecure, match="over-voltage of bus 1 phase abc is at its limit already at no load"):
        build(load(net))


def test_progress_is_told_from_nothing_to_done() -> None:
    told: list[tuple[str, float]] = []
    build(load(grids.two_buses()), progress=lambda phrase, done: told.append((phrase, done)))
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(phrase for phrase, _ in told)


def test_every_point_that_trading_can_reach_on_the_feeder_holds_in_ac() -> None:
    """Another seed than the builder's: 3,000 maximal points and climbs from the worst of them."""
    network, rows = grids.feeder(), grids.feeder_rows()
    model = Reduced(network)
    limits = Limits.of(model)
    share, caps = np.ascontiguousarray(rows.columns / rows.slack), network.caps_w().astype(float)
    hunt = Hunt(np.array(["abc".index(c.phase) for c in network.customers]), seed=987)
    n = model.n_customers
    climb = Climb(model, limits, Points(model, limits), share, caps)
    worst = -np.inf
    for _ in range(2):
        x, genes = hunt.strike(share, caps, 1000, 500)
        f = limits.measure(model, x[:, :n] - x[:, n:])
        hunt.learn(genes, np.unique(f.argmax(axis=0)))
        worst = max(worst, float(f.max()))
    for kind in range(3):
        which = np.flatnonzero(limits.kind == kind)
        for limit in which[np.argsort(-f[:, which].max(axis=0))[:6]]:
            points = np.array([point for point, _ in climb.from_point(int(limit), x[f[:, limit].argmax()])])
            worst = max(worst, float(limits.measure(model, points[:, :n] - points[:, n:]).max()))
    assert worst < 0


@pytest.mark.parametrize("name", ["feeder", "village"])
def test_little_is_left_on_the_table(name: str) -> None:
    """Max-min envelopes against the same ones scaled up until AC breaks: at least 92 %."""
    network = grids.feeder() if name == "feeder" else grids.village()
    rows = grids.feeder_rows() if name == "feeder" else build(network)
    allocation = max_min(rows, network.floors_w(), network.caps_w())
    certifier = Certifier(network)

    def secure(scale: float) -> bool:
        return certifier.certify(
            np.floor(allocation.export_w * scale).astype(int), np.floor(allocation.import_w * scale).astype(int)
        ).secure

    assert secure(1.0)
    low, high = 1.0, 2.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if secure(middle) else (low, middle)
    assert 1 / low > 0.92
