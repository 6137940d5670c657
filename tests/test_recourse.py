"""Recourse: settings that make a blocked trade secure, derived by hand, and what verification does to those that do not."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from benchmarks import recourse as benchmark
from riskcheck import recourse as module
from riskcheck.headroom import Headroom
from riskcheck.levers import Lever, levers_of, moved, sensitivities
from riskcheck.linearise import build
from riskcheck.network import Network, load
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.recourse import NoRecourse, Proposal, Recourse, Refused, Verified, apply, verify
from tests import grids

Z, V0, V_MAX = 0.2 + 0.1j, 400 / math.sqrt(3), 253.0


def with_inverters(network: Network, var_max: int) -> Network:
    return dataclasses.replace(network, customers=tuple(dataclasses.replace(c, reactive_var_max=var_max) for c in network.customers))


def with_tap(network: Network, step: float = 0.025, reach: int = 2) -> Network:
    """The first branch as a transformer of the same impedance."""
    first = dataclasses.replace(network.branches[0], kind="transformer", rating_va=300_000.0, tap_step=step, tap_low=-reach, tap_high=reach)
    return dataclasses.replace(network, branches=(first, *network.branches[1:]))


def room_w(rows: Polytope) -> int:
    return Headroom(rows, np.zeros(rows.n_rights, dtype=np.int64)).room_w(0)


def var_at_the_limit(export_w: int) -> float:
    """Exact: |V^2 - z conj(s)| = V0 V at V = 253 V is a quadratic in q, the power s = p + jq being injected per phase."""
    p, r, x, v2 = export_w / 3, Z.real, Z.imag, V_MAX**2
    a, b = abs(Z) ** 2, -2 * x * (v2 - r * p) - 2 * r * x * p
    c = (v2 - r * p) ** 2 + (x * p) ** 2 - V0**2 * v2
    return 3 * (-b - math.sqrt(b * b - 4 * a * c)) / (2 * a)


@pytest.mark.parametrize("extra_w", [1_000, 5_000, 20_000])
def test_an_inverter_that_absorbs_makes_room_under_the_voltage_limit(extra_w: int) -> None:
    """Near no load the voltage rises by (r p + x q) / V, so each watt more asks for r / x = 2 var less; exactly, by 1.7 to 2."""
    network = with_inverters(load(grids.two_buses(Z)), 60_000)
    rows = build(network)
    after = [room_w(rows) + extra_w, 0]
    assert not rows.is_secure(after)
    proposal = Recourse(network, rows).propose(after, extra_w)
    assert isinstance(proposal, Proposal)
    assert (proposal.quantity_w, proposal.tap_steps) == (extra_w, {})
    needed = var_at_the_limit(after[0])
    assert needed < 0
    assert 1.4 * needed < proposal.reactive_var["home"] < needed
    verified = verify(network, proposal, after)
    assert isinstance(verified, Verified)
    assert verified.rows.is_secure(after)
    assert verified.certificate.secure
    assert verified.certificate.rows_hash == verified.rows.content_hash
    assert verified.network.customers[0].reactive_var == proposal.reactive_var["home"]


def test_a_tap_one_step_lower_makes_room_and_is_whole() -> None:
    """A step of 2.5 % lowers the no-load voltage from 230.9 to 225.3 V: the rise that is left grows from 22.1 to 27.7 V."""
    network = with_tap(load(grids.two_buses(Z)))
    rows = build(network)
    after = [room_w(rows) + 5_000, 0]
    proposal = Recourse(network, rows).propose(after, 5_000)
    assert isinstance(proposal, Proposal)
    assert (proposal.reactive_var, proposal.tap_steps) == ({}, {"transformer 0": 1})
    verified = verify(network, proposal, after)
    assert isinstance(verified, Verified)
    changed = verified.network.branches[0]
    assert changed.ratio == pytest.approx(network.branches[0].ratio * 1.025)
    assert (changed.tap_low, changed.tap_high) == (-3, 1)
    assert changed.ratio * changed.tap_step == pytest.approx(network.branches[0].ratio * 0.025), "steps stay as large as they were"
    assert room_w(verified.rows) > after[0] + 5_000


def test_more_than_any_setting_can_relieve_is_named_with_its_row() -> None:
    network = with_inverters(load(grids.two_buses(Z)), 1_000)
    rows = build(network)
    found = Recourse(network, rows).propose([room_w(rows) + 20_000, 0], 20_000)
    assert isinstance(found, NoRecourse)
    assert found.alone
    assert found.label == RowLabel("voltage_max", "bus 1", "abc")
    assert "over-voltage of bus 1 phase abc is short of" in str(found)
    assert "no setting relieves it enough" in str(found)


def test_an_overload_has_no_recourse_in_vars() -> None:
    network = with_inverters(load(grids.two_buses(0.01 + 0.01j, rating_a=50.0)), 10_000)
    rows = build(network)
    found = Recourse(network, rows).propose([room_w(rows) + 2_000, 0], 2_000)
    assert isinstance(found, NoRecourse)
    assert found.label.kind == "thermal"


def test_a_trade_that_is_secure_needs_no_setting() -> None:
    network = with_inverters(load(grids.two_buses(Z)), 60_000)
    rows = build(network)
    assert Recourse(network, rows).propose([1_000, 0], 500) == Proposal(500, {}, {}, pytest.approx(1, abs=0.05))


def test_set_points_in_force_are_where_a_proposal_starts_and_its_bounds_end() -> None:
    """59 of 60 kvar are absorbed already: one more does not do for 5 kW, and the other way there are 119."""
    network = with_inverters(load(grids.two_buses(Z)), 60_000)
    network = dataclasses.replace(network, customers=(dataclasses.replace(network.customers[0], reactive_var=-59_000),))
    assert levers_of(network) == (Lever("reactive_var", "home", 0, -1_000, 119_000),)
    rows = build(network)
    recourse = Recourse(network, rows)
    assert isinstance(recourse.propose([room_w(rows) + 5_000, 0], 5_000), NoRecourse)
    proposal = recourse.propose([room_w(rows) + 200, 0], 200)
    assert isinstance(proposal, Proposal)
    assert -60_000 <= proposal.reactive_var["home"] < -59_000


@pytest.fixture
def two_rows(monkeypatch: pytest.MonkeyPatch) -> tuple[Network, Polytope]:
    """One lever, sensitivities as planted: what relieves the first row by 0.5 takes 0.4 from the second."""
    up = np.array([[-0.5], [0.4]])
    monkeypatch.setattr(module, "sensitivities", lambda *_: (up, -up))
    labels = [RowLabel("voltage_max", "bus 1", "abc"), RowLabel("thermal", "line 0", "abc")]
    return with_inverters(load(grids.two_buses(Z)), 60_000), Polytope(np.array([[10, 0], [0, 10]], dtype=np.int32), 1_000, labels)


def test_a_setting_that_helps_one_row_and_breaks_another_is_no_recourse(two_rows: tuple[Network, Polytope]) -> None:
    recourse = Recourse(*two_rows)
    assert isinstance(recourse.propose([120, 50], 20), Proposal)
    found = recourse.propose([120, 90], 20)
    assert isinstance(found, NoRecourse)
    assert not found.alone
    assert (found.row, found.short) == (0, pytest.approx(0.2))
    assert "what relieves it breaks other limits" in str(found)


def test_the_least_change_is_proposed_and_asking_again_does_not_matter(two_rows: tuple[Network, Polytope]) -> None:
    """0.2 short at 0.5 for all of 60 kvar: 24 kvar."""
    recourse = Recourse(*two_rows)
    first = recourse.propose([120, 0], 20)
    assert isinstance(first, Proposal)
    assert first.reactive_var["home"] == pytest.approx(24_000, rel=0.01)
    recourse.propose([140, 0], 40)
    again = recourse.propose([120, 0], 20)
    assert isinstance(again, Proposal)
    assert again.reactive_var["home"] == pytest.approx(first.reactive_var["home"], rel=1e-3)


@pytest.mark.parametrize("wrong", [-1.0, 5.0])
def test_a_wrong_sensitivity_is_caught_by_verification(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """Planted: the sign turned round, or an effect five times too large. The proposal looks good and is refused."""
    network = with_inverters(load(grids.two_buses(Z)), 60_000)
    rows = build(network)
    true = sensitivities(network, rows, levers_of(network))
    first = np.array([label.kind == "voltage_max" for label in rows.labels])[:, None]
    monkeypatch.setattr(module, "sensitivities", lambda *_: tuple(np.where(first, wrong * each, 0.0) for each in true))
    after = [room_w(rows) + 8_000, 0]
    proposal = Recourse(network, rows).propose(after, 8_000)
    assert isinstance(proposal, Proposal)
    refused = verify(network, proposal, after)
    assert isinstance(refused, Refused)
    assert "voltage_max" in refused.reason or "over-voltage" in refused.reason


def test_rows_that_are_wrong_do_not_get_a_proposal_past_the_certificate_nor_a_lenient_certificate_past_the_rows() -> None:
    network = with_inverters(load(grids.two_buses(Z)), 60_000)
    rows = build(network)
    idle = Proposal(5_000, {"home": 0}, {}, 0.0)
    refused = verify(network, idle, [room_w(rows) + 5_000, 0], make_rows=lambda _: Polytope.unlimited(2))
    assert isinstance(refused, Refused)
    assert "in AC it breaks voltage_max limits where" in refused.reason
    narrow = Polytope(np.array([[10], [0]], dtype=np.int32), 1_000, [RowLabel("voltage_max", "bus 1", "abc")])
    refused = verify(network, idle, [101, 0], make_rows=lambda _: narrow)
    assert refused == Refused("with these settings the trade leaves no room: over-voltage of bus 1 phase abc")


@pytest.mark.parametrize(
    ("proposal", "words"),
    [
        (Proposal(1, {"home": -60_001}, {}, 0.0), "home can be set to -60000..60000, not to -60001"),
        (Proposal(1, {"nobody": 1}, {}, 0.0), "nobody is nothing that the operator may set"),
        (Proposal(1, {}, {"transformer 0": 3}, 0.0), "transformer 0 can be set to -2..2, not to 3"),
        (Proposal(1, {}, {"line 7": 1}, 0.0), "line 7 is nothing that the operator may set"),
    ],
)
def test_what_a_device_cannot_do_is_refused_by_name(proposal: Proposal, words: str) -> None:
    network = with_tap(with_inverters(load(grids.two_buses(Z)), 60_000))
    with pytest.raises(ValueError, match=words):
        apply(network, proposal)
    assert verify(network, proposal, [0, 0]) == Refused(words)


def test_a_network_without_devices_is_told_so() -> None:
    network = load(grids.two_buses(Z))
    with pytest.raises(ValueError, match="no inverter and no tap that the operator may set"):
        Recourse(network, build(network))


@pytest.mark.parametrize(("name", "doubt"), [("village", 0.05), ("three phases", 0.3)])
def test_the_linear_model_says_what_rebuilt_rows_say(name: str, doubt: float) -> None:
    """Inverters of every second home at settings up and down: the greatest use of each limit's rows, as predicted and as rows built for
    these settings have it. Rows that are searched for move with the tangents only roughly. On three phases a var on one phase
    moves the others' voltages as much, with signs of their own."""
    network = grids.village() if name == "village" else load(grids.three_phase_line(rating_a=1_000.0, homes="aabbcc"))
    able = tuple(dataclasses.replace(c, reactive_var_max=2_000 * (i % 2)) for i, c in enumerate(network.customers))
    network = dataclasses.replace(network, customers=able)
    rows, levers = build(network), levers_of(network)
    up, down = sensitivities(network, rows, levers)
    held = network.caps_w() / 3
    held /= max(1.0, (held @ rows.columns / rows.slack).max())
    base = held @ rows.columns / rows.slack
    was, signs = greatest(rows, base), set()
    for change in ([500, 500, 500, 500], [-2_000, -1_000, -500, -1_500], [1_000, -1_000, 1_500, -500]):
        change = change[: len(levers)]
        share = np.array(change) / 2_000
        predicted = greatest(rows, base + up @ np.maximum(share, 0) + down @ np.maximum(-share, 0))
        rebuilt = build(moved(network, levers, change))
        for label, use in greatest(rebuilt, held @ rebuilt.columns / rebuilt.slack).items():
            if label in predicted:
                change_of_use = predicted[label] - was[label]
                assert use - was[label] == pytest.approx(change_of_use, rel=doubt, abs=0.015)
                signs.add(np.sign(change_of_use))
    assert signs == {-1.0, 1.0}


def test_the_benchmark_counts_what_is_possible_proposed_and_verified(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["--network", "cigre-lv", "--inverters", "8", "--taps", "--trades", "25", "--verify", "2", "--json"]
    assert benchmark.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["blocked"], found["levers"]) == (25, 9)
    assert 0 < found["proposals"] <= found["possible_by_linear_program"] < 25
    assert (found["verified"], found["verifications"]) == (2, 2)


def greatest(rows: Polytope, use: np.ndarray) -> dict[RowLabel, float]:
    return {label: max(use[i] for i, other in enumerate(rows.labels) if other == label) for label in rows.labels}
