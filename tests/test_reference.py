"""OSQP as the reference of the closed form: the same watt, from whatever point the solver gives it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import reference as benchmark
from envelopes.allocate import max_min
from riskcheck.headroom import Headroom
from riskcheck.linearise import build
from riskcheck.network import load
from riskcheck.polytope import LIMIT_W_MAX, Polytope, RowLabel
from riskcheck.reference import Reference, _searched
from riskcheck.solver import Answer, Nearest, toward_safe


def rows_of(columns: list[list[int]], slack: int) -> Polytope:
    labels = [RowLabel("thermal", f"line {row}", "abc") for row in range(len(columns[0]))]
    return Polytope(np.array(columns, dtype=np.int32), slack, labels)


@pytest.mark.parametrize("name", ["cigre-lv", "kerber-landnetz"])
def test_reference_and_closed_form_agree_to_the_watt_over_saturated_and_broken_holdings(name: str) -> None:
    network = load(name)
    rows = build(network)
    first = {"max-min": max_min(rows, network.floors_w(), network.caps_w()).limits_w, "failsafe": network.floors_w()}
    tally = benchmark.run(rows, network.caps_w(), first, 800, 3, lambda _: None)
    assert (tally.trades, tally.differing, tally.difference_w_max) == (800, 0, 0)
    assert tally.limited > 100, "trades that the network limits are what is tested"
    assert tally.broken > 50, "and rows that are already broken"


def test_by_hand() -> None:
    """Slack 100, held 10, 10, 10, 0. Row 0 takes 1, 2, 4, 0: 30 left. Row 1 takes 3, 0, 0, 5: 70 left."""
    rows = rows_of([[1, 3], [2, 0], [4, 0], [0, 5]], 100)
    residual = rows.residual([10, 10, 10, 0])
    reference = Reference(rows)
    assert reference.secure_w(residual, 2, 0, 50).quantity_w == 10  # 30 / (4 - 1)
    assert reference.secure_w(residual, 0, 2, 50).quantity_w == 23  # 70 / 3
    assert reference.secure_w(residual, 2, 0, 7).quantity_w == 7
    assert reference.secure_w(np.array([-1, 70]), 2, 0, 7).quantity_w == 0, "a broken row is full"
    assert reference.secure_w(np.array([-1, 70]), 0, 2, 7).quantity_w == 7, "and does not stop who relieves it"


@pytest.mark.parametrize("nonsense", [np.nan, 0.0, 1.0, -5.0, 1e9])
def test_a_solver_that_talks_nonsense_changes_nothing_but_the_number_of_questions(nonsense: float) -> None:
    rows = rows_of([[7], [0]], 2**20)
    residual = rows.residual([0, 1_000_000])
    reference = Reference(rows)
    point = None if np.isnan(nonsense) else np.clip(np.array([nonsense]), 0.0, 1.0)
    reference._nearest.ask = lambda *_, **__: Answer(point, np.zeros(1), 0)  # type: ignore[method-assign]
    assert reference.secure_w(residual, 0, 1, 1_000_000).quantity_w == 2**20 // 7


def test_the_search_ends_at_the_same_watt_wherever_it_starts_and_asks_little_when_it_starts_near() -> None:
    takes, room = np.array([3, -2, 5]), np.array([3_001, 10**18, 6_000])
    assert {_searched(takes, room, start, 50_000)[0] for start in (0, 1, 999, 1_000, 1_001, 5_000, 50_000)} == {1_000}
    assert _searched(takes, room, 1_000, 50_000)[1] == 2
    assert _searched(takes, room, 0, 50_000)[1] > 10
    assert _searched(np.array([0]), np.array([0]), 0, 9)[0] == 9
    assert _searched(np.array([2**31 - 1]), np.array([2**44]), LIMIT_W_MAX, LIMIT_W_MAX)[0] == 2**44 // (2**31 - 1)


def test_no_row_at_all_leaves_everything_secure() -> None:
    rows = Polytope.unlimited(2)
    assert Reference(rows).secure_w(rows.residual([0, 5]), 0, 1, 5).quantity_w == Headroom(rows, [0, 5]).secure_w(0, 1, 5) == 5


def test_the_solver_finds_the_nearest_point_and_finds_it_again_with_other_bounds() -> None:
    """Nearest to (1, 1) on z1 + z2 <= r is (r/2, r/2); with z1 <= 0.1 the other takes what is left."""
    one = np.ones(2)
    nearest = Nearest(np.array([[1.0, 1.0]]), one, np.zeros(2), one)
    for room in (1.0, 0.4, 3.0):
        assert nearest.ask(np.array([room])).point == pytest.approx(one * min(1.0, room / 2), abs=1e-4)
    assert nearest.ask(np.array([1.0]), high=np.array([0.1, 1.0])).point == pytest.approx([0.1, 0.9], abs=1e-4)
    assert nearest.ask(np.array([2.0]), rows=np.array([[4.0, 1.0]]), high=one).point == pytest.approx([0.294, 0.824], abs=1e-3)


def test_a_question_without_an_answer_names_the_rows_that_leave_none() -> None:
    nearest = Nearest(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), np.zeros(2), -np.ones(2), np.ones(2))
    answer = nearest.ask(np.array([-0.5, -0.5, 1.0]))
    assert answer.point is None
    assert min(answer.stress[:2]) > 10 * abs(answer.stress[2])


def test_a_point_is_pulled_toward_the_safe_one_only_as_far_as_it_must() -> None:
    rows, room, safe = np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([1.0, 5.0]), np.array([0.2, 0.2])
    assert toward_safe(np.array([0.4, 0.5]), safe, rows, room).tolist() == [0.4, 0.5]
    pulled = toward_safe(np.array([1.2, 1.2]), safe, rows, room)
    assert pulled == pytest.approx([0.5, 0.5])


def test_the_benchmark_prints_one_object_and_agrees(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert benchmark.main(["--network", "kerber-landnetz", "--trades", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trades"], found["differing"]) == (50, 0)
    assert found["osqp_within_a_watt"] + found["osqp_too_little"] + found["osqp_too_much"] + found["osqp_no_number"] == 50
