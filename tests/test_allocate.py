"""Max-min fairness: nobody can have a watt more unless somebody with less gives it up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower
import pytest
from scipy.optimize import linprog

from benchmarks import allocation as allocation_benchmark
from envelopes.allocate import RATING, InsecureFloorsError, allocate, max_min
from envelopes.refresh import Policy, on_rows, plan, policy_of
from envelopes.water import water_fill
from exchange.bounds import MarketSettings
from riskcheck.network import load
from riskcheck.polytope import Polytope, RowLabel
from tests import grids


def polytope(rows: list[list[float]], slack: list[float], cap: int = 10_000) -> Polytope:
    labels = [RowLabel("thermal", f"line {i}", "abc") for i in range(len(rows))]
    return Polytope.from_rows(rows, slack, labels, [cap] * len(rows[0]))


CASES = {
    "one shared row is divided equally": ([[1, 1, 1, 1]], [4000], [0] * 4, [10_000] * 4, [1000, 1000, 1000, 1000]),
    "a cap leaves more for the others": ([[1, 1, 1, 1]], [4000], [0] * 4, [100, 10_000, 10_000, 10_000], [100, 1300, 1300, 1300]),
    "a tight row stops its own, the rest rises on": (
        [[1, 1, 0, 0], [1, 1, 1, 1]],
        [1000, 4000],
        [0] * 4,
        [10_000] * 4,
        [500, 500, 1500, 1500],
    ),
    "equal watts, not equal use of the row": ([[3, 1, 0, 0]], [4000], [0] * 4, [10_000, 10_000, 7, 8], [1000, 1000, 7, 8]),
    "a floor above the water stays": ([[1, 1, 1, 1]], [4000], [0, 0, 0, 2500], [10_000] * 4, [500, 500, 500, 2500]),
    "a floor that the water reaches joins the rise": ([[1, 1, 1, 1]], [8000], [0, 0, 0, 1500], [10_000] * 4, [2000, 2000, 2000, 2000]),
    "without rows everybody has the rating": ([[0, 0, 0, 0]], [1], [0] * 4, [5, 6, 7, 8], [5, 6, 7, 8]),
    "whole watts, rounded down": ([[1, 1, 1, 0]], [1000], [0] * 4, [10_000, 10_000, 10_000, 0], [333, 333, 333, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_water_filling(case: str) -> None:
    rows, slack, floors, caps, expected = CASES[case]
    rows_checked = polytope(rows, slack)  # type: ignore[arg-type]
    allocation = max_min(rows_checked, floors, caps)
    # integer rows are rounded up, so a row that fits exactly may cost a watt
    assert np.abs(allocation.limits_w - expected).max() <= 1
    assert rows_checked.is_secure(allocation.limits_w)


def test_the_stopping_row_is_the_one_that_filled() -> None:
    rows = polytope([[1, 1, 0, 0], [0, 0, 1, 2]], [1000, 6000])
    assert rows.n_rows == 2
    allocation = max_min(rows, [0] * 4, [10_000, 10_000, 100, 10_000])
    named = [None if row is None else rows.labels[row].element for row in allocation.stopping_row]
    assert named == ["line 0", "line 0", None, "line 1"]
    assert allocation.stopped_by == ("overload of line 0 phase abc", "overload of line 0 phase abc", RATING, "overload of line 1 phase abc")


@pytest.mark.parametrize(
    ("floors", "caps", "message"),
    [
        ([0, 0, 0, 5000], [10_000] * 4, "the floors are not secure: overload of line 0"),
        ([5, 0, 0, 0], [4, 9, 9, 9], "floor <= cap"),
        ([0], [1], "give 4 floors"),
    ],
)
def test_impossible_demands_are_named(floors: list[int], caps: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        max_min(polytope([[1, 1, 1, 1]], [4000]), floors, caps)


def lexicographic_by_highs(share: np.ndarray, floors: np.ndarray, caps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The textbook sequence of linear programs: raise the least, freeze who cannot have more, go on. Exact, slow, and a stranger.

    In units of the weights all rights weigh the same.
    """
    share, floors, caps = share * weights[:, None], floors / weights, caps / weights
    n, rows = share.shape
    value = np.full(n, np.nan)
    while np.isnan(value).any():
        free = np.isnan(value)
        # maximise t with x >= min(t, ...) for the free ones: x_i - t >= 0 unless the floor already holds it up
        bounds = [(value[i], value[i]) if not free[i] else (floors[i], caps[i]) for i in range(n)]
        best = -np.inf
        level = np.inf
        held = np.zeros(n, dtype=bool)
        for _ in range(n + 1):  # floors above the level do not take part in the minimum
            chase = free & ~held
            link = np.zeros((int(chase.sum()), n + 1))
            for k, i in enumerate(np.flatnonzero(chase)):
                link[k, i], link[k, n] = -1.0, 1.0
            a = np.vstack([np.hstack([share.T, np.zeros((rows, 1))]), link])
            b = np.concatenate([np.ones(rows), np.zeros(len(link))])
            solved = linprog([*([0.0] * n), -1.0], A_ub=a, b_ub=b, bounds=[*bounds, (0, None)], method="highs")
            level = solved.x[n]
            above = chase & (floors > level + 1e-9)
            if not above.any():
                best = level
                break
            held |= above
        raised = [(max(lo, min(best, hi)) if free[i] and not held[i] else lo, hi) for i, (lo, hi) in enumerate(bounds)]
        for i in np.flatnonzero(free & ~held):
            objective = np.zeros(n)
            objective[i] = -1.0
            most = linprog(objective, A_ub=share.T, b_ub=np.ones(rows), bounds=raised, method="highs").x[i]
            if most <= best + 1e-7 * max(1.0, best):
                value[i] = best
        if not (free & ~held).any():
            value[free] = floors[free]
    return value * weights


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_equal_to_a_sequence_of_linear_programs(seed: int, is_weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    n, rows = int(rng.integers(3, 12)), int(rng.integers(1, 10))
    share = rng.uniform(0, 1, (n, rows)) * (rng.random((n, rows)) < 0.7) / 1000
    caps = rng.uniform(50, 3000, n)
    floors = np.minimum(caps, rng.uniform(0, 200, n)) * (rng.random(n) < 0.5)
    floors *= min(1.0, 0.9 / max(1e-12, (floors @ share).max()))
    weights = rng.uniform(0.3, 3.0, n) if is_weighted else np.ones(n)
    level, _ = water_fill(share, floors, caps, weights)
    assert level == pytest.approx(lexicographic_by_highs(share, floors, caps, weights), rel=1e-9, abs=1e-6)


def test_twice_the_weight_gets_twice_the_watts() -> None:
    rows = polytope([[1, 1, 0, 0], [0, 0, 1, 1]], [9000, 4000])
    by_customer = allocate(rows, [10_000] * 4, weights=[1.0, 2.0])
    assert np.abs(by_customer.limits_w - [3000, 6000, 1333, 2666]).max() <= 1
    by_right = allocate(rows, [10_000] * 4, weights=[1.0, 2.0, 3.0, 1.0])
    assert np.abs(by_right.limits_w - [3000, 6000, 3000, 1000]).max() <= 1


def test_the_rating_as_the_weight_gives_everybody_the_same_share_of_it() -> None:
    ratings = [10_000, 5_000, 0, 5_000]
    allocation = allocate(polytope([[1, 1, 1, 1]], [10_000]), ratings, weights=ratings)
    assert np.abs(allocation.limits_w - np.array(ratings) / 2).max() <= 1


def test_in_turn_the_first_direction_takes_what_it_wants_and_the_other_gets_the_rest() -> None:
    rows, caps, floors = polytope([[1, 1, 1, 1]], [4000]), [1500] * 4, [100] * 4
    assert np.abs(allocate(rows, caps, floors).limits_w - [1000] * 4).max() <= 1
    assert np.abs(allocate(rows, caps, floors, order="export_first").limits_w - [1500, 1500, 500, 500]).max() <= 1
    first = allocate(rows, caps, floors, order="import_first")
    assert np.abs(first.limits_w - [500, 500, 1500, 1500]).max() <= 1
    assert first.stopping_row == (0, 0, None, None)


def test_the_feeders_envelopes_are_secure_fair_and_below_the_ratings() -> None:
    network, rows = grids.feeder(), grids.feeder_rows()
    allocation = max_min(rows, network.floors_w(), network.caps_w())
    limits = allocation.limits_w
    assert rows.is_secure(limits)
    assert (limits >= network.floors_w()).all()
    assert (limits < network.caps_w() / 3).all(), "rows bind: there is something to trade"
    poorest = limits == limits.min()
    assert not rows.is_secure(limits + 2 * poorest), "the poorest cannot all have more"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rule": "fair"}, "no rule named 'fair'; there are max_min, proportional, total, equal"),
        ({"order": "first"}, "no order named 'first'; there are together, export_first, import_first"),
        ({"weights": [1.0, 0.0]}, "give 4 weights, or 2, all positive"),
        ({"weights": [1.0, float("nan")]}, "give 4 weights, or 2, all positive"),
        ({"weights": [1.0]}, "give 4 weights, or 2, all positive"),
    ],
)
def test_what_is_asked_wrongly_is_named(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        allocate(polytope([[1, 1, 1, 1]], [4000]), [10_000] * 4, **asked)


def test_floors_that_fill_a_row_exactly_are_what_everybody_in_it_gets() -> None:
    rows = Polytope(np.array([[1], [1], [0], [0]], dtype=np.int32), 1000, [RowLabel("thermal", "line 0", "abc")])
    for rule in ("max_min", "proportional", "total", "equal"):
        allocation = allocate(rows, [10_000] * 4, [500, 500, 0, 0], rule=rule)
        assert allocation.limits_w.tolist()[:2] == [500, 500]
        assert allocation.is_proven, rule
    with pytest.raises(InsecureFloorsError, match="overload of line 0"):
        allocate(rows, [10_000] * 4, [500, 501, 0, 0])


def test_the_benchmarks_programs_find_what_the_water_finds() -> None:
    area = allocation_benchmark.area(50)
    floors, caps = area.floors_w.astype(float), area.caps_w.astype(float)
    found, programs = allocation_benchmark.by_programs(area.share, floors, caps)
    level, _ = water_fill(area.share, floors, caps)
    assert level == pytest.approx(found, rel=1e-9)
    assert programs > 3


def test_a_plan_keeps_the_policy_that_it_was_made_by() -> None:
    """Two homes whose ratings are one to three, behind one line."""
    net = grids.two_buses(rating_a=40.0)
    pandapower.create_load(net, 1, p_mw=0.001, name="shop")
    for field in ("rating_export_w", "rating_import_w"):
        net.load[field] = [20_000, 60_000]
    net.load["power_factor"], net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 1.0, 1_000, 1_000
    network = load(net)
    ready = plan(network, "A", MarketSettings(), policy=policy_of(network, "max_min", "rating"))
    for made in (ready, on_rows(ready, ready.rows.tightened(100))):
        home, shop = made.allocation.export_w.tolist()
        assert 3 * home - 3 <= shop <= 3 * home + 3
        assert made.allocation.stopped_by[0].startswith(("overload", "over-voltage"))
    assert policy_of(network) == Policy("max_min", None, "together")
