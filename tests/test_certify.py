"""Certificates: what breaks somewhere inside the envelopes is found and named, what does not is confirmed by a second engine."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

import riskcheck.box as box
from envelopes.allocate import max_min
from riskcheck.certify import Certificate, Certifier, certify, describe
from riskcheck.corners import Box
from riskcheck.network import load
from riskcheck.polytope import Polytope
from tests import grids


def test_a_ring_is_broken_by_neither_joint_corner_but_by_the_mixed_one() -> None:
    """Equal reactances, plants of +-1 at buses 1 and 2. Line 1-2 carries (p1 - p2)/3: nothing when both export or both import,
    2/3 when one exports and the other imports. It is rated 0.5: loading 4/3.
    """
    network = load(grids.ring())
    certifier = Certifier(network)
    element = certifier.model.monitors.element[certifier.limits.monitor]
    line = int(np.flatnonzero((certifier.limits.kind == 2) & (element == 2))[0])
    joint = certifier.limits.measure(certifier.model, np.array([[1e6, 1e6], [-1e6, -1e6], [1e6, -1e6]]))[:, line] + 1
    assert joint == pytest.approx([0.0, 0.0, 4 / 3], abs=2e-3)
    found = certifier.certify([1_000_000] * 2, [1_000_000] * 2)
    assert not found.secure
    assert (found.worst_branch.name, found.worst_kind) == ("line 2", "thermal")
    assert found.worst_branch.loading_percent == pytest.approx(133.3, abs=0.3)
    assert certifier.certify([740_000] * 2, [740_000] * 2).secure, "at 0.74 it carries 0.493 of 0.5"


@pytest.mark.parametrize("direction", ["export", "import"])
def test_the_limit_of_two_buses_is_found_to_the_watt_the_formula_gives(direction: str) -> None:
    """On z = r + jx at unity power factor, |V0 + ...|: the drawn p at voltage V obeys V^4 + (2rp - V0^2) V^2 + |z|^2 p^2 = 0."""
    z, v0 = 0.2 + 0.1j, 400 / math.sqrt(3)
    v = 253.0 if direction == "export" else 207.0
    sign = -1 if direction == "export" else 1
    b = 2 * z.real * v**2
    per_phase = (-b + math.sqrt(b**2 - 4 * abs(z) ** 2 * (v**4 - v0**2 * v**2))) / (2 * abs(z) ** 2)
    limit_w = math.floor(3 * sign * per_phase)
    network = load(grids.two_buses(z, rating_a=1_000.0))
    for watts, secure in ((limit_w, True), (limit_w + 30, False)):
        envelope = ([watts], [0]) if direction == "export" else ([0], [watts])
        assert certify(network, *envelope).secure is secure


def test_envelopes_that_pass_both_joint_corners_fail_when_phases_oppose() -> None:
    network = grids.feeder()
    certifier = Certifier(network)
    n = len(network.customers)
    limit_w = 1_800
    joint = np.array([np.full(n, limit_w), np.full(n, -limit_w)], dtype=float)
    assert certifier.limits.measure(certifier.model, joint).max() < 0, "the test that others make is passed"
    found = certifier.certify([limit_w] * n, [limit_w] * n)
    assert not found.secure
    assert found.margin_voltage_max_pu < -0.005
    worst = max(found.highest_voltages, key=lambda v: v.voltage_pu)
    assert f"{worst.phase} export" in worst.corner
    assert "import" in worst.corner


def test_the_certificate_says_where_how_much_and_by_what() -> None:
    network, rows = grids.feeder(), grids.feeder_rows()
    allocation = max_min(rows, network.floors_w(), network.caps_w())
    found = certify(network, allocation.export_w, allocation.import_w, rows_hash=rows.content_hash)
    assert found.secure
    assert 0 < found.margin_voltage_max_pu < 0.01
    assert found.points_tried > 200
    assert found.points_confirmed > 10
    assert (len(found.bus_margin_pu), len(found.branch_margin)) == (network.n_buses, len(network.branches))
    assert min(found.bus_margin_pu) == pytest.approx(min(found.margin_voltage_max_pu, found.margin_voltage_min_pu))
    assert min(found.branch_margin) == pytest.approx(found.margin_thermal)
    assert [v.phase for v in found.highest_voltages] == ["a", "b", "c"]
    assert all(v.voltage_v == pytest.approx(230 * v.voltage_pu) for v in found.highest_voltages)
    assert len(found.worst_corner.power_w) == len(network.customers)
    assert (found.network_hash, found.rows_hash) == (network.content_hash, rows.content_hash)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Certificate) == found


def test_the_same_question_has_the_same_answer() -> None:
    network = grids.village()
    assert certify(network, [9_000] * 8, [9_000] * 8, seed=4) == certify(network, [9_000] * 8, [9_000] * 8, seed=4)


def test_the_search_finds_what_trying_every_corner_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    network = grids.village()
    certifier = Certifier(network)
    rng = np.random.default_rng(0)
    for _ in range(5):
        export, imports = rng.integers(0, 30_000, 8).astype(float), rng.integers(0, 30_000, 8).astype(float)
        every = searched(certifier, export, imports)
        monkeypatch.setattr(box, "EXHAUSTIVE_INJECTORS_MAX", 0)
        found = searched(certifier, export, imports)
        monkeypatch.undo()
        near = every > -0.02
        assert found[near] == pytest.approx(every[near], abs=1e-9)


def test_a_wrong_row_is_caught() -> None:
    """The row that bound the allocation is lost, say by a fault in a file: the envelopes that follow do not get a certificate."""
    network, rows = grids.feeder(), grids.feeder_rows()
    bus = rows.labels[max_min(rows, network.floors_w(), network.caps_w()).stopping_row[0] or 0].phase
    kept = [i for i, label in enumerate(rows.labels) if not (label.kind == "voltage_max" and label.phase == bus)]
    wrong = Polytope(rows.columns[:, kept], rows.slack, [rows.labels[i] for i in kept])
    allocation = max_min(wrong, network.floors_w(), network.caps_w())
    assert not certify(network, allocation.export_w, allocation.import_w).secure


def test_a_collapse_is_insecure_not_an_exception() -> None:
    found = certify(load(grids.two_buses(z=2 + 1j)), [0], [200_000])
    assert not found.secure
    assert found.margin_voltage_min_pu == -1.0


@pytest.mark.parametrize(
    ("export_w", "import_w", "message"),
    [([1, 2], [1], "export_w has shape"), ([1.5], [1], "whole watts"), ([-1], [1], "whole watts"), ([1], [[1]], "import_w has shape")],
)
def test_envelopes_that_do_not_fit_are_refused(export_w: Any, import_w: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certify(load(grids.two_buses()), export_w, import_w)
    with pytest.raises(ValueError, match="effort is"):
        certify(load(grids.two_buses()), [1], [1], effort="extreme")


def test_corners_are_described_by_phase() -> None:
    network = load(grids.three_phase_line(homes="aabc"))
    told = {
        (1, 1, -1, -1): "phase a exports, b and c import",
        (1, 1, 1, 1): "all export",
        (-1, -1, -1, -1): "all import",
        (1, -1, 0, 1): "phase a mixed (1 of 2 export), b idle, c exports",
    }
    for powers, words in told.items():
        assert describe(network, np.array(powers, dtype=float)) == words


def searched(certifier: Certifier, export_w: Any, import_w: Any) -> Any:
    """The greatest f of every limit that a quick search finds."""
    where = Box.of(certifier.network, export_w, import_w)
    return box.Adversary(certifier.model, certifier.model, certifier.limits, where, box.EFFORTS["quick"], seed=0).search().f
