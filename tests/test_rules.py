"""Each rule does what it says, against methods that share no code with it; and a wrong answer is found out by its gap."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from envelopes.fairness import Fairness, fairness, gini, jain
from envelopes.optimality import feasible, in_step_gap, max_min_gap, proportional_gap, total_gap
from envelopes.rules import RULES, Shared, equal, max_min, proportional, total

Floats = npt.NDArray[np.float64]
Case = tuple[Floats, Floats, Floats, Floats]
SEEDS = range(8)


def case(seed: int, rights: int = 8, rows: int = 6) -> Case:
    """Rows in which some take part, floors that fit, caps and weights of all sizes."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 1, (rights, rows)) * (rng.random((rights, rows)) < 0.6) / 4000
    caps = rng.uniform(500, 6000, rights)
    floors = np.minimum(caps, rng.uniform(0, 400, rights)) * (rng.random(rights) < 0.5)
    floors *= min(1.0, 0.9 / max(1e-12, float((floors @ share).max())))
    return share, floors, caps, rng.uniform(0.5, 2.0, rights)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_rows_floors_and_caps_proves_itself_and_names_what_stops(rule: str, seed: int) -> None:
    share, floors, caps, weights = case(seed)
    shared = RULES[rule](share, floors, caps, weights)
    assert feasible(shared.limit, share, floors, caps) < 1e-9
    assert -1e-9 <= shared.gap < 1e-6
    room = 1 - shared.limit @ share
    for right, row in enumerate(shared.stopping):
        if row is None:
            assert shared.limit[right] == pytest.approx(caps[right], rel=1e-5)
        else:
            assert room[row] < 1e-6, "the row that stops somebody is full"
            assert rule == "equal" or share[right, row] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_proportional_is_what_another_solver_finds(seed: int) -> None:
    share, floors, caps, weights = case(seed, 6, 4)
    unit = caps.max()

    def loss(x: Floats) -> tuple[float, Floats]:
        return -float(weights @ np.log(x)), -weights / x

    rows = {"type": "ineq", "fun": lambda x: 1 - unit * x @ share, "jac": lambda x: -unit * share.T}
    start = np.maximum(floors, 1.0) / unit
    bounds = np.column_stack([np.maximum(floors, 1e-3), caps]) / unit
    by_slsqp = minimize(loss, start, jac=True, bounds=bounds, constraints=[rows], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500})
    assert proportional(share, floors, caps, weights).limit == pytest.approx(unit * by_slsqp.x, rel=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_gains_more_from_another_choice_in_percent_than_others_lose(seed: int) -> None:
    """The definition of proportional fairness (Kelly, 1997), at the corners that other wishes lead to."""
    share, floors, caps, weights = case(seed)
    limit, rng = proportional(share, floors, caps, weights).limit, np.random.default_rng(seed)
    for _ in range(20):
        other = total(share, floors, caps, rng.uniform(0, 1, len(caps)) + 1e-3).limit
        assert float(weights @ ((other - limit) / limit)) < 1e-4


@pytest.mark.parametrize("seed", SEEDS)
def test_no_corner_of_a_small_polytope_has_a_greater_total(seed: int) -> None:
    """All corners of 3 rights: any 3 of the limits hold with equality."""
    share, floors, caps, weights = case(seed, 3, 3)
    normals = np.vstack([share.T, np.eye(3), -np.eye(3)])
    bounds = np.concatenate([np.ones(3), caps, -floors])
    greatest = -np.inf
    for chosen in itertools.combinations(range(9), 3):
        if abs(np.linalg.det(normals[list(chosen)])) < 1e-14:
            continue
        corner = np.linalg.solve(normals[list(chosen)], bounds[list(chosen)])
        if (normals @ corner <= bounds * (1 + 1e-9) + 1e-9).all():
            greatest = max(greatest, float(weights @ corner))
    assert float(weights @ total(share, floors, caps, weights).limit) == pytest.approx(greatest, rel=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_is_the_highest_level_that_fits(seed: int) -> None:
    share, floors, caps, weights = case(seed)
    low, high = 0.0, float((caps / weights).max())
    for _ in range(100):
        level = (low + high) / 2
        fits = float((np.clip(weights * level, floors, caps) @ share).max()) <= 1
        low, high = (level, high) if fits else (low, level)
    assert equal(share, floors, caps, weights).limit == pytest.approx(np.clip(weights * low, floors, caps), rel=1e-9)


def test_what_the_rules_are_for() -> None:
    """A far home takes three times what a near one does: max-min gives them the same, the greatest total gives it nothing."""
    share, floors, caps, alike = np.array([[1.0], [3.0]]) / 8000, np.zeros(2), np.array([20_000.0, 20_000.0]), np.ones(2)
    assert max_min(share, floors, caps, alike).limit == pytest.approx([2000, 2000])
    assert equal(share, floors, caps, alike).limit == pytest.approx([2000, 2000])
    assert proportional(share, floors, caps, alike).limit == pytest.approx([4000, 8000 / 6])
    assert total(share, floors, caps, alike).limit == pytest.approx([8000, 0])


def test_a_full_row_stops_only_its_own_but_with_equal_everybody() -> None:
    share, floors, caps, alike = np.array([[1.0, 0.0], [0.0, 1.0]]) / [1000, 5000], np.zeros(2), np.full(2, 9000.0), np.ones(2)
    assert max_min(share, floors, caps, alike).limit == pytest.approx([1000, 5000])
    assert equal(share, floors, caps, alike) == Shared(pytest.approx([1000, 1000]), (0, 0), pytest.approx(0.0))


def test_who_cannot_have_anything_does_not_spoil_the_product() -> None:
    """A floor that fills a row leaves its neighbour there nothing."""
    share, floors, caps = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) / 1000, np.array([1000.0, 0.0, 0.0]), np.full(3, 5000.0)
    shared = proportional(share, floors, caps, np.ones(3))
    assert shared.limit == pytest.approx([1000, 0, 1000])
    assert shared.gap < 1e-6


def test_without_rows_everybody_has_its_cap() -> None:
    share, floors, caps = np.zeros((3, 0)), np.zeros(3), np.array([1.0, 2.0, 3.0])
    for rule in RULES.values():
        shared = rule(share, floors, caps, np.ones(3))
        assert shared.limit == pytest.approx(caps)
        assert shared.stopping == (None, None, None)
        assert shared.gap == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_answer_has_a_gap(seed: int) -> None:
    """Everybody a tenth below the best is secure, and not the best."""
    share, floors, caps, weights = case(seed)
    floors = floors * 0
    for rule, gap in ((max_min, max_min_gap), (equal, in_step_gap)):
        shared = rule(share, floors, caps, weights)
        assert gap(0.9 * shared.limit, shared.stopping, share, floors, caps, weights) > 0.1
    best = total(share, floors, caps, weights)
    prices = np.ones(share.shape[1])
    assert total_gap(0.9 * best.limit, prices, share, floors, caps, weights) > 0.1
    assert proportional_gap(0.9 * best.limit, prices, share, floors, caps, weights) > 0.1


def test_a_right_that_has_more_at_the_cost_of_one_that_has_less_is_found_out() -> None:
    share, floors, caps, alike = np.full((2, 1), 1 / 4000), np.zeros(2), np.full(2, 9000.0), np.ones(2)
    assert max_min_gap(np.array([2000.0, 2000.0]), (0, 0), share, floors, caps, alike) == pytest.approx(0, abs=1e-8)
    assert max_min_gap(np.array([1500.0, 2500.0]), (0, 0), share, floors, caps, alike) == pytest.approx(1000 / 1500, rel=1e-6)
    assert max_min_gap(np.array([1500.0, 2500.0]), (0, 0), share, np.array([0.0, 2500.0]), caps, alike) == pytest.approx(0, abs=1e-8)


def test_the_figures_of_fairness_are_those_of_the_books() -> None:
    """Jain's own example: of 5 resources to 5, 1 each is 1, and all to one is 1/5. Gini of 1, 2, 3, 4 is 0.25."""
    assert jain(np.ones(5)) == pytest.approx(1.0)
    assert jain(np.array([5.0, 0, 0, 0, 0])) == pytest.approx(0.2)
    assert gini(np.array([4.0, 1.0, 3.0, 2.0])) == pytest.approx(0.25)
    assert gini(np.array([5.0, 0, 0, 0, 0])) == pytest.approx(0.8)
    assert fairness([3, 1]) == Fairness(1.0, 4.0, pytest.approx(0.8), pytest.approx(0.25))
    assert fairness([]) == fairness([0.0, 0.0]) == Fairness(0.0, 0.0, 1.0, 0.0)


def test_caps_far_beyond_what_rows_allow_do_not_hide_the_solvers_tolerances() -> None:
    share, floors, caps = np.array([[3.0], [1.0]]) / 100, np.zeros(2), np.full(2, 1e8)
    shared = total(share, floors, caps, np.ones(2))
    assert shared.limit == pytest.approx([0, 100], abs=1e-6)
    assert shared.gap < 1e-6


def test_what_is_less_than_a_whole_watt_is_not_shared_by_the_product() -> None:
    """The first takes its row but for a hundredth of a watt, as rounding may leave it when the other direction has its turn."""
    share, floors, caps = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) / 1000, np.array([999.99, 0.0, 0.0]), np.full(3, 5000.0)
    shared = proportional(share, floors, caps, np.ones(3))
    assert shared.limit == pytest.approx([999.99, 0, 1000], abs=1e-3)
    assert shared.gap < 1e-6
