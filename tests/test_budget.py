"""A budget of uncertainty: what it promises, by trying all who may sit at their limits; what it loses; and what the box costs."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from envelopes.allocate import InsecureFloorsError, allocate
from envelopes.robust import allocate_within, price_of_robustness
from envelopes.water import water_fill
from riskcheck.budget import Budget, violation_probability_max
from riskcheck.certify import certify
from riskcheck.linearise import build
from riskcheck.polytope import Polytope, RowLabel
from tests import grids

CUSTOMERS, ROWS = 5, 3


def polytope(seed: int, customers: int = CUSTOMERS, rows: int = ROWS) -> Polytope:
    rng = np.random.default_rng(seed)
    columns = rng.integers(1, 1000, (2 * customers, rows)) * (rng.random((2 * customers, rows)) < 0.7)
    return Polytope(columns.astype(np.int32), 2_000_000, [RowLabel("thermal", f"line {row}", "abc") for row in range(rows)])


def choices(customers: int, at_limit: int) -> list[npt.NDArray[np.bool_]]:
    """Who may be at their limits, by right."""
    chosen = []
    for group in itertools.combinations(range(customers), at_limit):
        is_in = np.isin(np.arange(customers), group)
        chosen.append(np.concatenate([is_in, is_in]))
    return chosen


def least_residual(budget: Budget, limits: npt.NDArray[np.int64]) -> list[Fraction]:
    """By all choices, in fractions."""
    phi, columns = Fraction(budget.nominal_per_mille, 1000), budget.rows.columns.astype(object)
    left = []
    for row in range(budget.rows.n_rows):
        taken = columns[:, row] * limits.astype(object)
        used = [sum(taken[is_in]) + phi * sum(taken[~is_in]) for is_in in choices(budget.customers, budget.at_limit)]
        left.append(Fraction(budget.rows.slack) - max(used))
    return left


@pytest.mark.parametrize("at_limit", range(1, CUSTOMERS + 1))
@pytest.mark.parametrize("nominal", [0, 250, 333, 1000])
def test_the_residual_is_that_of_the_worst_choice_rounded_to_the_safe_side(at_limit: int, nominal: int) -> None:
    rng = np.random.default_rng(at_limit)
    for seed in range(6):
        budget = Budget(polytope(seed), at_limit, nominal)
        limits = rng.integers(0, rng.choice([800, 1500, 3000]), 2 * CUSTOMERS)
        residual, exact = budget.residual(limits), least_residual(budget, limits)
        assert not budget.is_secure(limits) or min(exact) >= 0
        alone = (budget.rows.columns.astype(np.int64) * limits[:, None]).reshape(2, CUSTOMERS, ROWS).sum(axis=0).max()
        if alone <= budget.rows.slack:
            assert all(found <= true < found + nominal + 1 for found, true in zip(residual.tolist(), exact, strict=True))
        else:
            assert not budget.is_secure(limits)
            assert min(exact) < 0


def test_one_customer_beyond_a_row_breaks_it_whatever_the_numbers() -> None:
    budget = Budget(polytope(1), 1, 0)
    assert not budget.is_secure(np.full(2 * CUSTOMERS, 2**31 - 1))
    assert Budget(polytope(1), 1, 0).is_secure(np.zeros(2 * CUSTOMERS, dtype=np.int64))


@pytest.mark.parametrize("at_limit", range(1, CUSTOMERS + 1))
@pytest.mark.parametrize("nominal", [0, 400])
@pytest.mark.parametrize("seed", range(4))
def test_max_min_is_that_over_the_rows_of_all_choices(seed: int, at_limit: int, nominal: int) -> None:
    budget = Budget(polytope(seed), at_limit, nominal)
    share, phi = budget.rows.columns / budget.rows.slack, nominal / 1000
    every = np.hstack([np.where(is_in[:, None], share, phi * share) for is_in in choices(CUSTOMERS, at_limit)])
    caps, floors = np.full(2 * CUSTOMERS, 9000), np.full(2 * CUSTOMERS, 50)
    expected, _ = water_fill(every, floors.astype(float), caps.astype(float))
    found = allocate_within(budget, caps, floors)
    assert budget.is_secure(found.limits_w)
    assert np.abs(found.limits_w - np.floor(expected)).max() <= 2
    assert found.is_proven


@pytest.mark.parametrize("rule", ["max_min", "proportional", "total", "equal"])
def test_the_budget_of_all_customers_is_the_full_box_under_every_rule(rule: str) -> None:
    rows, caps = polytope(3), np.full(2 * CUSTOMERS, 9000)
    box, found = allocate(rows, caps, rule=rule), allocate_within(Budget(rows, CUSTOMERS, 250), caps, rule=rule)
    assert found.limits_w.sum() == pytest.approx(box.limits_w.sum(), rel=1e-3)
    assert Budget(rows, CUSTOMERS, 250).is_secure(box.limits_w)
    assert rows.is_secure(found.limits_w)


def test_what_it_promises_holds_and_one_customer_more_may_break_it() -> None:
    rows, caps = polytope(5), np.full(2 * CUSTOMERS, 9000)
    limits = allocate_within(Budget(rows, 2, 300), caps).limits_w
    for is_in in choices(CUSTOMERS, 2):
        assert rows.is_secure(np.where(is_in, limits, limits * 3 // 10))
    assert any(not rows.is_secure(np.where(is_in, limits, limits * 3 // 10)) for is_in in choices(CUSTOMERS, 3))


def test_what_it_promises_holds_in_ac() -> None:
    """Of 8 homes any 2 at their limits and the others within a quarter; with all 8 at their limits, the search breaks it."""
    network = grids.village()
    n, budget = len(network.customers), Budget(build(network), 2, 250)
    limits = allocate_within(budget, network.caps_w(), network.floors_w()).limits_w
    for is_in in choices(n, 2)[::9]:
        used = np.where(is_in, limits, limits // 4)
        assert certify(network, used[:n], used[n:], effort="quick").secure
    assert not certify(network, limits[:n], limits[n:], effort="quick").secure


def test_a_row_is_named_for_everybody_below_the_cap() -> None:
    found = allocate_within(Budget(polytope(2), 2, 200), np.full(2 * CUSTOMERS, 9000))
    for right, (row, named) in enumerate(zip(found.stopping_row, found.stopped_by, strict=True)):
        assert named == ("rating" if row is None else f"overload of line {row} phase abc")
        assert row is not None or found.limits_w[right] == 9000


def test_the_price_falls_with_the_budget_and_is_nothing_for_the_full_box() -> None:
    rows, caps, floors = polytope(7, 8), np.full(16, 9000), np.zeros(16, dtype=int)
    prices = price_of_robustness(rows, caps, floors, range(1, 9), 250)
    assert [price.at_limit for price in prices] == list(range(1, 9))
    smallest, lost, chance = ([getattr(price, name) for price in prices] for name in ("smallest_w", "lost_w", "violation_probability_max"))
    assert smallest == sorted(smallest, reverse=True)
    assert chance == sorted(chance, reverse=True)
    assert lost[0] > 0
    assert abs(lost[-1]) <= 16


@pytest.mark.parametrize("customers", range(1, 9))
def test_the_bound_is_that_of_customers_who_toss_a_coin(customers: int) -> None:
    """P(sum of n signs >= Gamma), by all 2^n of them; exact where n + Gamma is even, above it otherwise."""
    sums = [sum(signs) for signs in itertools.product((-1, 1), repeat=customers)]
    for at_limit in range(customers + 1):
        exact, bound = sum(one >= at_limit for one in sums) / len(sums), violation_probability_max(customers, at_limit)
        assert bound >= exact
        if (customers + at_limit) % 2 == 0:
            assert bound == exact


def test_independent_symmetric_customers_break_a_row_less_often_than_the_bound() -> None:
    """30 homes that use nothing or their limit, one row, nominal half."""
    customers, rng = 30, np.random.default_rng(0)
    weights = rng.integers(1, 1000, customers)
    rows = Polytope(np.concatenate([weights, 0 * weights])[:, None].astype(np.int32), 10**7, [RowLabel("thermal", "line 0", "abc")])
    limits = allocate_within(Budget(rows, 10, 500), np.full(2 * customers, 9000)).export_w
    used = (rng.integers(0, 2, (20_000, customers)) * limits) @ weights
    broken = float((used > rows.slack).mean())
    assert 0 < broken <= violation_probability_max(customers, 10) < 0.05


@pytest.mark.parametrize(("at_limit", "nominal"), [(0, 0), (CUSTOMERS + 1, 0), (1, -1), (1, 1001)])
def test_a_budget_that_is_none_is_refused(at_limit: int, nominal: int) -> None:
    with pytest.raises(ValueError, match=r"at_limit must be in \[1, 5\] and nominal_per_mille in \[0, 1000\]"):
        Budget(polytope(0), at_limit, nominal)


def test_insecure_floors_are_named_under_a_budget_too() -> None:
    with pytest.raises(InsecureFloorsError, match="overload of line"):
        allocate_within(Budget(polytope(0), 2, 500), np.full(2 * CUSTOMERS, 9000), np.full(2 * CUSTOMERS, 8000))
