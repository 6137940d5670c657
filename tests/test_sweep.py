"""Joint fills: by hand, against HiGHS, and in their promises: secure, whole, deterministic, fair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.optimum import Orders, optimum
from riskcheck import sweep
from riskcheck.solver import Answer, Nearest
from riskcheck.sweep import Fills, Offers, best, right_price_mct
from riskcheck.vertex import climb
from riskcheck.whole import classes, left_over

FREE = -1


def offers(*orders: tuple[int, str, int, int], group: int | None = FREE) -> Offers:
    """(column, side, watts, price), in the order of time; with `group` None each half of the columns is a group of its own."""
    column, side, quantity, price = zip(*orders, strict=True)
    groups = np.array(column) % 2 if group is None else np.full(len(column), group)
    return Offers(np.array(column), np.array([s == "buy" for s in side]), np.array(quantity), np.array(price), groups)


def columns(*of_right: list[int]) -> npt.NDArray[np.int32]:
    return np.array(of_right, dtype=np.int32)


def residual_after(cols: npt.NDArray[np.int32], residual: npt.ArrayLike, asked: Offers, fills: Fills) -> npt.NDArray[np.int64]:
    change = np.where(asked.is_buy, fills.filled_w, -fills.filled_w)
    return np.asarray(residual, dtype=np.int64) - change @ cols[asked.column].astype(np.int64)


def random_book(seed: int, *, grouped: bool = False) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Offers]:
    """A street: rows that take from runs of neighbours, some of them full; most rights ask or bid. No right does both."""
    rng = np.random.default_rng(seed)
    rights, rows, n = 2 * int(rng.integers(3, 12)), int(rng.integers(1, 15)), int(rng.integers(2, 40))
    cols = (rng.random((rights, rows)) * (rng.random((rights, rows)) < 0.7) * 2**20).astype(np.int32)
    residual = (rng.random(rows) * (rng.random(rows) < 0.5) * 2**32).astype(np.int64)
    buys = rng.random(rights) < 0.5
    column = rng.integers(rights, size=n)
    group = (column >= rights // 2).astype(np.int64) if grouped else np.full(n, FREE)
    return cols, residual, Offers(column, buys[column], 10 * rng.integers(1, 500, n), 10 * rng.integers(1, 1000, n), group)


def highs(cols: npt.NDArray[np.int32], residual: npt.NDArray[np.int64], asked: Offers) -> float:
    orders = Orders(asked.column, asked.is_buy, asked.quantity_w, asked.price_mct)
    return optimum(cols, residual, orders, one_to_one=bool((asked.group >= 0).any()))


# --- by hand ------------------------------------------------------------------------------------------------------


def test_a_watt_far_out_frees_three_near_the_transformer() -> None:
    """The row is full and the far end takes three times as much: 100 W given there are 300 W here."""
    asked = offers((0, "sell", 100, 50), (1, "buy", 400, 40))
    fills = best(columns([3], [1]), np.array([0]), asked)
    assert fills.filled_w.tolist() == [100, 300]
    assert fills.welfare_mct_w == 300 * 40 - 100 * 50


def test_two_sellers_relieve_a_row_each_that_neither_can_relieve_alone() -> None:
    """What pairs cannot do at all: the buyer takes from both rows, every seller gives to one."""
    asked = offers((0, "sell", 100, 10), (1, "sell", 100, 20), (2, "buy", 80, 50))
    fills = best(columns([1, 0], [0, 1], [1, 1]), np.array([0, 0]), asked)
    assert fills.filled_w.tolist() == [80, 80, 80]
    assert fills.welfare_mct_w == 80 * (50 - 10 - 20)


def test_the_price_of_a_row_is_that_of_its_marginal_order() -> None:
    """The seller is not used up, so the row's watt is worth what the seller asks for a watt that takes as much as any."""
    asked = offers((0, "sell", 500, 60), (1, "buy", 300, 40))
    fills = best(columns([4], [2]), np.array([0]), asked)
    assert fills.filled_w.tolist() == [150, 300]
    assert fills.row_price_mct == pytest.approx([60], abs=0.1)
    assert right_price_mct(columns([4], [2]), fills.row_price_mct) == pytest.approx([60, 30], abs=0.1)


def test_room_that_nobody_holds_goes_to_the_best_bid_and_costs_nothing() -> None:
    asked = offers((0, "buy", 100, 30), (1, "buy", 100, 70))
    fills = best(columns([1], [1]), np.array([130]), asked)
    assert fills.filled_w.tolist() == [30, 100]


def test_one_to_one_what_is_bought_in_a_group_is_sold_in_it() -> None:
    asked = offers((0, "sell", 100, 10), (2, "buy", 60, 50), (1, "buy", 60, 90), group=None)
    fills = best(columns([1], [1], [1]), np.array([10]), asked)
    assert fills.filled_w.tolist() == [60, 60, 0]


def test_one_to_one_the_network_still_decides_which_pair_trades() -> None:
    """The dearest buyer takes more from the full row than any seller gives: only the other can trade."""
    asked = offers((0, "sell", 100, 10), (2, "buy", 100, 90), (4, "buy", 100, 50), group=0)
    fills = best(columns([2], [0], [3], [0], [2]), np.array([0]), asked)
    assert fills.filled_w.tolist() == [100, 0, 100]


def test_a_right_does_not_trade_with_itself() -> None:
    """Its own bid and ask cross; the larger of what it would trade stays."""
    asked = offers((0, "sell", 50, 10), (0, "buy", 100, 90))
    fills = best(columns([1]), np.array([20]), asked)
    assert fills.filled_w.tolist() == [0, 20]


@pytest.mark.parametrize("orders", [[(0, "buy", 10, 5)], [(0, "sell", 10, 5)]])
def test_nothing_to_match(orders: list[tuple[int, str, int, int]]) -> None:
    fills = best(columns([1]), np.array([0]), offers(*orders))
    assert fills.filled_w.tolist() == [0]
    assert fills.welfare_mct_w == 0


# --- fairness -----------------------------------------------------------------------------------------------------


def test_equal_rights_are_served_by_price_then_time() -> None:
    asked = offers((0, "buy", 50, 40), (1, "buy", 50, 40), (2, "buy", 50, 60), (3, "sell", 80, 10))
    fills = best(columns([1], [1], [1], [1]), np.array([0]), asked)
    assert fills.filled_w.tolist() == [30, 0, 50, 80]


@pytest.mark.parametrize("swapped", [False, True])
def test_at_equal_welfare_the_earlier_order_goes_first_also_between_unequal_rights(swapped: bool) -> None:
    """Rights 0 and 1 take the same from the full row and differ in one that does not bind: both bids are worth the same."""
    cols = columns([1, 5], [1, 4], [1, 0]) if not swapped else columns([1, 4], [1, 5], [1, 0])
    asked = offers((0, "buy", 100, 40), (1, "buy", 100, 40), (2, "sell", 100, 10))
    assert best(cols, np.array([0, 850]), asked).filled_w.tolist() == [100, 0, 100]


def test_the_earlier_of_two_equal_sellers_sells() -> None:
    cols = columns([1, 5], [1, 4], [1, 0])
    asked = offers((1, "sell", 100, 40), (0, "sell", 100, 40), (2, "buy", 100, 70))
    assert best(cols, np.array([0, 850]), asked).filled_w.tolist() == [100, 0, 100]


def test_equal_prices_trade() -> None:
    asked = offers((0, "sell", 100, 40), (1, "buy", 100, 40))
    assert best(columns([1], [1]), np.array([0]), asked).filled_w.tolist() == [100, 100]


# --- against HiGHS ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_secure_whole_and_near_the_optimum(seed: int) -> None:
    """Each class may lose a watt to rounding, at no more than the greatest price; and nothing else."""
    cols, residual, asked = random_book(seed)
    fills = best(cols, residual, asked)
    assert (residual_after(cols, residual, asked, fills) >= 0).all()
    assert ((fills.filled_w >= 0) & (fills.filled_w <= asked.quantity_w)).all()
    assert fills.welfare_mct_w == int(np.where(asked.is_buy, fills.filled_w, -fills.filled_w) @ asked.price_mct)
    most = highs(cols, residual, asked)
    lost_to_rounding = 2 * len(asked.column) * int(asked.price_mct.max())
    assert most - lost_to_rounding <= fills.welfare_mct_w <= most * (1 + 1e-6) + 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_one_to_one_fills_are_secure_and_balanced(seed: int) -> None:
    cols, residual, asked = random_book(seed, grouped=True)
    fills = best(cols, residual, asked)
    assert (residual_after(cols, residual, asked, fills) >= 0).all()
    signed = np.where(asked.is_buy, fills.filled_w, -fills.filled_w)
    assert not np.bincount(asked.group, signed).any()
    assert fills.welfare_mct_w <= highs(cols, residual, asked) * (1 + 1e-6) + 1


@pytest.mark.parametrize("seed", range(12))
def test_a_hint_or_no_osqp_at_all_lead_to_the_same_welfare(seed: int) -> None:
    cols, residual, asked = random_book(seed)
    plain = best(cols, residual, asked)
    again = best(cols, residual, asked)
    assert again.filled_w.tolist() == plain.filled_w.tolist()
    for other in (best(cols, residual, asked, hint_mct=plain.row_price_mct), best(cols, residual, asked, is_quick=True)):
        lost_to_rounding = 2 * len(asked.column) * int(asked.price_mct.max())
        assert abs(other.welfare_mct_w - plain.welfare_mct_w) <= lost_to_rounding


@pytest.mark.parametrize("seed", range(12))
def test_at_its_prices_nobody_is_left_out_who_would_pay_more(seed: int) -> None:
    """Duality: who bids above the price of its right is filled whole, who bids below it not at all; asks the other way round."""
    cols, residual, asked = random_book(seed)
    fills = best(cols, residual, asked)
    price = right_price_mct(cols, fills.row_price_mct)[asked.column]
    edge = np.where(asked.is_buy, asked.price_mct - price, price - asked.price_mct)
    assert (fills.filled_w[edge > 1] >= asked.quantity_w[edge > 1] - 10).all()  # some watts go where rounding left room
    assert (fills.filled_w[edge < -1] <= 10).all()


def test_without_a_point_from_osqp_the_vertex_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cols, residual, asked = random_book(7)
    expected = best(cols, residual, asked)
    monkeypatch.setattr(Nearest, "ask", lambda self, room, **_: Answer(None, np.zeros(len(room)), 0))
    assert abs(best(cols, residual, asked).welfare_mct_w - expected.welfare_mct_w) <= 20 * int(asked.price_mct.max())


def test_a_walk_that_is_cut_short_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "STEPS_MAX", 0)
    monkeypatch.setattr(sweep, "_by_highs", lambda _program, x, price: (x, price))
    cols, residual, asked = random_book(3)
    assert (residual_after(cols, residual, asked, best(cols, residual, asked)) >= 0).all()


def test_the_vertex_walk_leaves_a_face_for_its_best_corner() -> None:
    """max x + y s.t. x + 2y <= 2, 2x + y <= 2, from the middle: the corner (2/3, 2/3), both rows at price 1/3."""
    rows = np.array([[1.0, 2.0], [2.0, 1.0]])
    x, price, _ = climb(np.ones(2), rows, np.array([2.0, 2.0]), np.ones(2), np.array([0.3, 0.1]), 100)
    assert x == pytest.approx([2 / 3, 2 / 3], abs=1e-5)
    assert price == pytest.approx([1 / 3, 1 / 3], abs=1e-6)


@pytest.mark.parametrize("is_quick", [True, False])
def test_rows_that_cannot_be_told_apart_end_the_climb_and_nothing_else(monkeypatch: pytest.MonkeyPatch, is_quick: bool) -> None:
    def singular(*_: object) -> None:
        raise np.linalg.LinAlgError("Matrix is singular to machine precision.")

    cols, residual, asked = random_book(3)
    expected = best(cols, residual, asked).welfare_mct_w
    monkeypatch.setattr(sweep, "climb", singular)
    found = best(cols, residual, asked, is_quick=is_quick)
    assert (residual_after(cols, residual, asked, found) >= 0).all()
    assert is_quick or abs(found.welfare_mct_w - expected) <= 20 * int(asked.price_mct.max())


def test_equal_columns_are_one_class() -> None:
    assert classes(columns([1, 2], [1, 2], [2, 1], [1, 2])).tolist() == [0, 0, 2, 0]


def test_what_sales_give_back_counts_before_purchases_and_a_broken_row_ends_the_sum() -> None:
    """Of 5 units of room 100 W at 3 units each take 300, of which 100 W at 3 give back 300: all are left, and with 99 W 2 are."""
    cols, room = columns([3], [3]), np.array([5])
    assert left_over(cols, room, np.array([0, 1]), np.array([100, -100])).tolist() == [5]
    assert left_over(cols, room, np.array([0, 1]), np.array([100, -99])).tolist() == [2]
    assert left_over(cols, room, np.array([0, 1, 0]), np.array([100, -98, 2**31])).tolist() == [-1]


def test_in_a_hurry_a_walk_that_is_cut_short_is_a_proposal_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "STEPS_QUICK", 1)
    monkeypatch.setattr(sweep, "_by_highs", None)
    cols, residual, asked = random_book(3)
    fills = best(cols, residual, asked, is_quick=True)
    assert (residual_after(cols, residual, asked, fills) >= 0).all()
    assert 0 <= fills.welfare_mct_w <= best(cols, residual, asked).welfare_mct_w


def test_sums_that_could_overflow_are_refused() -> None:
    asked = offers((0, "buy", 2**31 - 1, 10), (1, "buy", 2**31 - 1, 10), (2, "buy", 2**31 - 1, 10))
    with pytest.raises(AssertionError, match="overflow"):
        best(columns([2**31 - 1], [2**31 - 1], [2**31 - 1]), np.array([2**44]), asked)
