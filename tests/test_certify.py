"""Certificates: what breaks somewhere inside the envelopes is found and named, what does not is confirmed by a second engine."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import riskcheck.box as box
from envelopes.allocate import max_min
from gateway.cli import main
from riskcheck.certify import Certificate, Certifier, certify, describe
from riskcheck.corners import Box
from riskcheck.network import Passive, load
from riskcheck.polytope import Polytope
from riskcheck.powerflow import PowerFlow
from tests import grids, random_grids


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


def test_each_kind_of_limit_names_its_own_corner_in_whole_watts() -> None:
    network = dataclasses.replace(
        random_grids.network(4, customers=14, passives=2), interface_export_w_max=40_000.0, interface_import_w_max=30_000.0
    )
    (line, *others) = network.branches
    network = dataclasses.replace(network, branches=(dataclasses.replace(line, neutral_rating_a=20.0), *others))
    found = certify(network, [2_000] * 14, [1_500] * 14)
    assert [one.kind for one in found.kinds] == ["voltage_max", "voltage_min", "thermal", "interface"]
    assert [one.unit for one in found.kinds] == ["pu", "pu", "of rating", "of limit"]
    flow = PowerFlow(network)
    for one in found.kinds:
        point = np.array(one.corner.power_w + one.corner.passive_w, dtype=float)
        flows = flow.run(point[None], one.corner.interface_pu)
        worst = {
            "voltage_max": flows.voltage_pu.max(), "voltage_min": flows.voltage_pu.min(),
            "thermal": max(flows.loading.max(), flows.neutral.max()),
            "interface": max(flows.interface_w[0] / 30_000, -flows.interface_w[0] / 40_000),
        }  # fmt: skip
        assert worst[one.kind] == pytest.approx(one.value, abs=1e-6), one
    assert found.points_tried == sum(found.points_by_strategy.values())
    assert {one.strategy for one in found.kinds} <= set(found.points_by_strategy)


def test_a_neutral_that_only_unbalance_loads_is_found() -> None:
    """Homes on a, b and c at 3 kW, 13 A each: all alike leave nothing in the neutral, one against two 13 + 13 A. It is rated 20 A."""
    network = load(grids.three_phase_line(homes="abc"))
    (line,) = network.branches
    network = dataclasses.replace(network, branches=(dataclasses.replace(line, neutral_rating_a=20.0),))
    found = certify(network, [3_000] * 3, [3_000] * 3)
    assert not found.secure
    (thermal,) = [one for one in found.kinds if one.kind == "thermal"]
    assert (thermal.phase, thermal.element) == ("n", "line 0")
    assert 1.2 < thermal.value < 1.6
    assert len({watts > 0 for watts in thermal.corner.power_w}) == 2


def test_a_forecast_counts_at_its_worst_end() -> None:
    network = load(grids.two_buses(z=0.6 + 0.3j))
    assert certify(network, [20_000], [20_000]).secure
    uncertain = dataclasses.replace(network, passives=(Passive("roof", 1, "abc", 0, 9_000, 1.0),))
    found = certify(uncertain, [20_000], [20_000])
    assert not found.secure
    assert (found.worst_kind, found.worst_corner.power_w, found.worst_corner.passive_w) == ("voltage_max", (20_000,), (9_000,))


def test_the_other_end_of_the_interface_range_can_be_the_worse_one() -> None:
    """A cable whose charging current, in proportion to the voltage, overloads it at the upper end only."""
    network = load(grids.two_buses(z=0.01 + 0.01j, rating_a=100.0))
    (line,) = network.branches
    cable = dataclasses.replace(line, y1_siemens=0.42j)  # 0.42 S * 231 V = 97 A at 1 pu, all of it through the interface end
    network = dataclasses.replace(network, interface_min_pu=0.95, interface_max_pu=1.05, branches=(cable,))
    found = certify(network, [1_000], [1_000])
    assert (found.secure, found.worst_kind, found.worst_corner.interface_pu) == (False, "thermal", 1.05)
    lower = dataclasses.replace(network, interface_max_pu=0.95)
    assert certify(lower, [1_000], [1_000]).secure


def test_envelopes_five_percent_beyond_the_boundary_are_refused_with_the_corner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = grids.village()
    certifier, customers = Certifier(network), len(network.customers)
    inside, outside = 0, 100_000
    while outside - inside > 1:
        middle = (inside + outside) // 2
        secure = certifier.certify([middle] * customers, [middle] * customers).secure
        inside, outside = (middle, outside) if secure else (inside, middle)
    for grown, code in ((inside, 0), (outside, 1), (round(1.05 * inside), 1)):
        path = tmp_path / "made-by-someone.csv"
        path.write_text("customer,export_w,import_w\n" + "".join(f"{one.id},{grown},{grown}\n" for one in network.customers))
        assert main(["certify", "kerber-landnetz", str(path), "--effort", "quick", "--json"]) == code
        found = msgspec.json.decode(capsys.readouterr().out, type=Certificate)
        assert {abs(watts) for watts in found.worst_corner.power_w} == {grown}
    assert main(["certify", "kerber-landnetz", str(path), "--effort", "quick"]) == 1
    said = capsys.readouterr().out
    assert "NOT secure" in said
    assert f"{network.customers[0].id} {found.worst_corner.power_w[0]:+d} W" in said


def test_a_screening_finds_in_every_set_what_its_corners_break() -> None:
    network = random_grids.network(9, customers=14)
    certifier = Certifier(network)
    export_w = np.array([[500] * 14, [1_000] * 14, [9_000] * 14])
    found = certifier.screen(export_w, export_w // 2, corners=300)
    assert (found.corners, found.flows) == (300, 1_800)
    whole = [certifier.certify(row, row // 2, effort="full") for row in export_w]
    for column, name in enumerate(("margin_voltage_max_pu", "margin_voltage_min_pu", "margin_thermal")):
        certified = np.array([getattr(one, name) for one in whole])
        assert (found.margin[:, column] >= certified - 1e-9).all(), "a certificate searches further"
        assert found.margin[:2, column] == pytest.approx(certified[:2], abs=2e-4)
    assert (np.abs(found.worst_w) <= export_w[:, None, :]).all()
    assert found.smallest().keys() == {"voltage_max", "voltage_min", "thermal"}


def searched(certifier: Certifier, export_w: Any, import_w: Any) -> Any:
    """The greatest f of every limit that a quick search finds."""
    where = Box.of(certifier.network, export_w, import_w)
    return box.Adversary(certifier.model, certifier.model, certifier.limits, where, box.EFFORTS["quick"], seed=0).search().f
