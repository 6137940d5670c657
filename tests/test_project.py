"""Re-basing: nearest secure holdings, whole watts. By hand, against a dual method that shares no code, and in its promises."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from envelopes.allocate import max_min
from riskcheck.headroom import Headroom
from riskcheck.linearise import build
from riskcheck.network import load
from riskcheck.polytope import Polytope, RowLabel, Watts
from riskcheck.project import InsecureFloorsError, project
from riskcheck.solver import Answer, Nearest


def rows_of(columns: npt.ArrayLike, slack: int) -> Polytope:
    columns = np.array(columns, dtype=np.int32)
    return Polytope(columns, slack, [RowLabel("thermal", f"line {row}", "abc") for row in range(columns.shape[1])])


def street(customers: int, rows: int, seed: int) -> tuple[Polytope, Watts, Watts]:
    """Rows like those of a street (each takes from a run of neighbours), holdings that break many of them, and floors."""
    rng = np.random.default_rng(seed)
    takes = np.zeros((rows, 2 * customers))
    for row in range(rows):
        first, length = int(rng.integers(customers)), int(5 + rng.exponential(customers / 6))
        run = np.arange(first, min(customers, first + length)) + customers * int(rng.integers(2))
        takes[row, run] = rng.random(len(run)) + 0.05 if row % 2 else 1.0
    slack = takes.sum(axis=1) * rng.uniform(2_500, 4_000, rows) + 1
    polytope = rows_of(np.ceil(takes / slack[:, None] * 2**40).T, 2**40)
    return polytope, rng.integers(1_000, 6_000, 2 * customers), np.full(2 * customers, 500)


def distance(holding_w: Watts, limits_w: npt.NDArray[np.float64] | Watts) -> float:
    return float(((holding_w - limits_w) ** 2.0).sum())


def least_distance(polytope: Polytope, holding_w: Watts, floor_w: Watts) -> float:
    """By the dual: x(price) = clip(holding - P' price, floor, holding); its value is a lower bound at any price, so no secure
    point is nearer than the greatest found."""
    unit = polytope.columns / polytope.slack * float(holding_w.max())

    def negative(price: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        x = np.clip(holding_w - unit @ price, floor_w, holding_w)
        over = x @ unit - float(holding_w.max())
        return -(distance(holding_w, x) / 2 + price @ over), -over

    start = np.zeros(polytope.n_rows)
    solved = minimize(negative, start, jac=True, bounds=[(0, None)] * len(start), method="L-BFGS-B", options={"maxiter": 5_000})
    return -2 * float(solved.fun)


def test_one_row_takes_from_each_in_proportion_to_what_it_uses() -> None:
    """3 x1 + 4 x2 <= 25,000 at (6000, 8000): 25,000 over, |(3, 4)|^2 = 25, so 1,000 times (3, 4) is given up."""
    polytope = rows_of([[3], [4]], 25_000)
    assert project(polytope, [6_000, 8_000], [0, 0]).tolist() == [3_000, 4_000]


def test_who_is_at_the_floor_gives_no_more_and_the_others_give_it() -> None:
    """x1 + x2 <= 6000 at (6000, 4000): 2000 each, but the second keeps 3500, so the first gives 3500."""
    polytope = rows_of([[1], [1]], 6_000)
    assert project(polytope, [6_000, 4_000], [0, 0]).tolist() == [4_000, 2_000]
    assert project(polytope, [6_000, 4_000], [0, 3_500]).tolist() == [2_500, 3_500]


def test_holdings_that_are_secure_stay_and_so_does_who_has_no_part_in_a_broken_row() -> None:
    polytope = rows_of([[1, 0], [1, 0], [0, 1]], 6_000)
    assert project(polytope, [1_000, 5_000, 6_000], [0, 0, 0]).tolist() == [1_000, 5_000, 6_000]
    assert project(polytope, [4_000, 4_000, 6_000], [0, 0, 0]).tolist() == [3_000, 3_000, 6_000]


def test_a_floor_above_the_holding_is_the_holding() -> None:
    polytope = rows_of([[1], [1]], 6_000)
    assert project(polytope, [1_000, 8_000], [2_000, 0]).tolist() == [1_000, 5_000]


def test_floors_that_fill_a_row_exactly_are_the_answer() -> None:
    assert project(rows_of([[1], [1]], 6_000), [9_000, 9_000], [2_500, 3_500]).tolist() == [2_500, 3_500]


def test_insecure_floors_are_refused_with_the_row() -> None:
    with pytest.raises(InsecureFloorsError, match="overload of line 0 phase abc"):
        project(rows_of([[1], [1]], 6_000), [9_000, 9_000], [3_000, 3_001])


@pytest.mark.parametrize(("holding", "floor"), [([1, 2, 3], [0, 0]), ([1, 2], [0, 0, 0]), ([1, -2], [0, 0]), ([1, 2], [0, -1])])
def test_what_does_not_fit_is_refused(holding: list[int], floor: list[int]) -> None:
    with pytest.raises(ValueError, match="give 2 holdings and floors in whole watts"):
        project(rows_of([[1], [1]], 6_000), holding, floor)


whole = st.integers(0, 12)
columns = st.integers(1, 5).flatmap(lambda rows: st.lists(st.lists(whole, min_size=rows, max_size=rows), min_size=4, max_size=4))
watts = st.lists(st.integers(0, 400), min_size=4, max_size=4)


@given(columns, watts, watts, st.integers(1, 10_000))
@settings(max_examples=150, deadline=None)
def test_the_answer_is_secure_between_floor_and_holding_and_cannot_rise(
    taken: list[list[int]], holding: list[int], floor: list[int], slack: int
) -> None:
    polytope = rows_of(taken, slack)
    low = np.minimum(floor, holding)
    if not polytope.is_secure(low):
        with pytest.raises(InsecureFloorsError):
            project(polytope, holding, floor)
        return
    limits = project(polytope, holding, floor)
    assert polytope.is_secure(limits)
    assert (low <= limits).all()
    assert (limits <= holding).all()
    headroom = Headroom(polytope, limits)
    assert all(headroom.room_w(right) == 0 for right in np.flatnonzero(limits < holding).tolist())


@pytest.mark.parametrize(("customers", "rows", "within"), [(3, 8, 2e-3), (30, 60, 1e-3), (200, 300, 2e-4)])
def test_nothing_secure_is_nearer_but_by_what_whole_watts_cost(customers: int, rows: int, within: float) -> None:
    for seed in range(3):
        polytope, held, floors = street(customers, rows, seed)
        assert not polytope.is_secure(held)
        limits = project(polytope, held, floors)
        assert polytope.is_secure(limits)
        least = least_distance(polytope, held, floors)
        assert least * (1 - 1e-6) <= distance(held, limits) <= least * (1 + within)


def test_a_real_network_whose_limits_shrink_by_a_fifth() -> None:
    network = load("cigre-lv")
    polytope, floors, caps = build(network), network.floors_w(), network.caps_w()
    held = max_min(polytope, floors, caps).limits_w * 6 // 5
    limits = project(polytope, held, floors)
    assert polytope.is_secure(limits)
    assert distance(held, limits) <= least_distance(polytope, held, floors) * (1 + 2e-4)


def test_the_same_question_gets_the_same_answer() -> None:
    polytope, held, floors = street(60, 100, 9)
    assert project(polytope, held, floors).tolist() == project(polytope, held, floors).tolist()


@pytest.mark.parametrize("nonsense", [None, -1.0, 0.0, 0.3, 1.0])
def test_a_solver_that_talks_nonsense_costs_distance_and_never_security(monkeypatch: pytest.MonkeyPatch, nonsense: float | None) -> None:
    def ask(self: Nearest, room: npt.NDArray[np.float64]) -> Answer:
        point = None if nonsense is None else np.clip(np.full(len(self._low), nonsense), self._low, self._high)
        return Answer(point, np.zeros(len(room)), 0)

    polytope, held, floors = street(30, 60, 1)
    monkeypatch.setattr(Nearest, "ask", ask)
    limits = project(polytope, held, floors)
    assert polytope.is_secure(limits)
    assert ((floors <= limits) & (limits <= held)).all()


def test_fifteen_hundred_customers_and_two_thousand_rows() -> None:
    polytope, held, floors = street(1_500, 2_200, 4)
    limits = project(polytope, held, floors)
    assert polytope.is_secure(limits)
    assert ((floors <= limits) & (limits <= held)).all()
