"""The closed form against brute force: what it calls the largest secure quantity is secure, and one lot more is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskcheck.headroom import BLOCK, Headroom
from riskcheck.polytope import LIMIT_W_MAX, Polytope, RowLabel

RIGHTS = 4


def polytope(columns: list[list[int]], slack: int = 1_000) -> Polytope:
    rows = len(columns[0])
    return Polytope(np.array(columns, dtype=np.int32), slack, [RowLabel("thermal", f"line {row}", "abc") for row in range(rows)])


coefficients = st.integers(0, 12)
columns = st.integers(0, 6).flatmap(
    lambda rows: st.lists(st.lists(coefficients, min_size=rows, max_size=rows), min_size=RIGHTS, max_size=RIGHTS)
)
limits = st.lists(st.integers(0, 60), min_size=RIGHTS, max_size=RIGHTS)
rights = st.integers(0, RIGHTS - 1)


def admits(rows: Polytope, limits_w: list[int], buyer: int, seller: int, quantity_w: int) -> bool:
    """No row that the trade takes from is broken after it, in Python's integers: a row broken before blocks what takes more."""
    for row in range(rows.n_rows):
        column = [int(take) for take in rows.columns[:, row]]
        takes = (column[buyer] - column[seller]) * quantity_w
        left = rows.slack - sum(take * w for take, w in zip(column, limits_w, strict=True))
        if takes > 0 and left - takes < 0:
            return False
    return True


@given(columns, limits, rights, rights, st.integers(1, 90), st.integers(1, 7), st.integers(1, 1_500))
@settings(max_examples=600, deadline=None)
def test_closed_form_is_the_largest_multiple_of_the_lot_that_brute_force_admits(
    taken: list[list[int]], held: list[int], buyer: int, seller: int, lots: int, lot_w: int, slack: int
) -> None:
    rows = polytope(taken, slack)
    headroom, wanted_w = Headroom(rows, held), lots * lot_w
    secure_w = headroom.secure_w(buyer, seller, wanted_w, lot_w)
    brute_w = max(quantity_w for quantity_w in range(0, wanted_w + 1, lot_w) if admits(rows, held, buyer, seller, quantity_w))
    assert secure_w == brute_w
    assert headroom.residual.tolist() == rows.residual(held).tolist(), "asking changes nothing"


@given(columns, limits, st.lists(st.tuples(rights, rights, st.integers(1, 40)), max_size=30))
@settings(max_examples=300, deadline=None)
def test_after_any_series_of_trades_the_residuals_are_the_recomputed_ones_bit_for_bit(
    taken: list[list[int]], held: list[int], trades: list[tuple[int, int, int]]
) -> None:
    rows, held = polytope(taken), list(held)
    headroom = Headroom(rows, held)
    for buyer, seller, wanted_w in trades:
        traded_w = headroom.trade(buyer, seller, min(wanted_w, held[seller]))
        held[buyer] += traded_w
        held[seller] -= traded_w
        headroom.check(held)


@given(columns, limits, st.lists(st.tuples(rights, rights, st.integers(1, 40)), max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_series_of_trades_leaves_the_secure_set(taken: list[list[int]], held: list[int], trades: list[tuple[int, int, int]]) -> None:
    rows, held = polytope(taken, 6_000), list(held)
    if not rows.is_secure(held):
        return
    headroom = Headroom(rows, held)
    for buyer, seller, wanted_w in trades:
        traded_w = headroom.trade(buyer, seller, min(wanted_w, held[seller]))
        held[buyer] += traded_w
        held[seller] -= traded_w
        assert rows.is_secure(held)


@given(columns, limits, rights, rights)
@settings(max_examples=300, deadline=None)
def test_the_blocking_row_is_the_first_that_one_watt_more_would_break(
    taken: list[list[int]], held: list[int], buyer: int, seller: int
) -> None:
    rows = polytope(taken)
    headroom = Headroom(rows, held)
    row = headroom.blocking_row(buyer, seller)
    most_w = headroom.secure_w(buyer, seller, LIMIT_W_MAX)
    if row is None:
        assert most_w == LIMIT_W_MAX
        return
    takes = int(rows.columns[buyer, row]) - int(rows.columns[seller, row])
    assert takes > 0
    assert int(headroom.residual[row]) - takes * (most_w + 1) < 0
    earlier = [int(rows.columns[buyer, r]) - int(rows.columns[seller, r]) for r in range(row)]
    assert not any(take > 0 and int(headroom.residual[r]) - take * (most_w + 1) < 0 for r, take in enumerate(earlier)), "the first such row"


@given(columns, limits, rights, st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_a_leg_booked_and_taken_back_leaves_no_trace(taken: list[list[int]], held: list[int], right: int, change_w: int) -> None:
    headroom = Headroom(polytope(taken), held)
    before = headroom.residual.tolist()
    headroom.change(right, change_w)
    headroom.check([w + change_w * (position == right) for position, w in enumerate(held)])
    headroom.change(right, -change_w)
    assert headroom.residual.tolist() == before


@given(columns, limits, rights)
@settings(max_examples=200, deadline=None)
def test_room_is_how_far_one_right_can_rise_alone(taken: list[list[int]], held: list[int], right: int) -> None:
    rows = polytope(taken, 2_000)
    headroom = Headroom(rows, held)
    room_w = headroom.room_w(right)
    nothing = [0] * RIGHTS

    def fits(quantity_w: int) -> bool:
        left = headroom.residual.tolist()
        return all(take == 0 or max(spare, 0) >= take * quantity_w for spare, take in zip(left, rows.columns[right].tolist(), strict=True))

    assert fits(room_w)
    assert not fits(room_w + 1) or room_w == LIMIT_W_MAX
    assert Headroom(polytope([[], [], [], []]), nothing).room_w(right) == LIMIT_W_MAX


@pytest.mark.parametrize("seed", range(12))
def test_many_rows_some_of_them_broken_answer_as_python_integers_do(seed: int) -> None:
    """Naively: the watts are the least over the rows that lose, the row is the first that allows no more. Three blocks and a bit."""
    random = np.random.default_rng(seed)
    taken = random.integers(0, 2**29, (RIGHTS, 3 * BLOCK + 77)) * (random.random((RIGHTS, 3 * BLOCK + 77)) < 0.3)
    held = random.integers(0, 4_000, RIGHTS)
    rows = polytope(taken.tolist(), int(2**44 if seed % 3 else (held @ taken).max() - 2**30))
    headroom = Headroom(rows, held.tolist())
    for _ in range(60):
        buyer, seller, wanted_w, lot_w = (int(random.integers(*span)) for span in ((0, RIGHTS), (0, RIGHTS), (1, 3_000), (1, 9)))
        wanted_w = min(wanted_w, int(held[seller]))
        left, takes = headroom.residual.tolist(), (taken[buyer] - taken[seller]).tolist()
        most = [max(room, 0) // take if take > 0 else wanted_w for room, take in zip(left, takes, strict=True)]
        fits_w = min([*most, wanted_w])
        traded_w, row = headroom.trade_or_row(buyer, seller, wanted_w, lot_w)
        assert traded_w == fits_w - fits_w % lot_w
        assert row == (most.index(fits_w) if fits_w < wanted_w else -1)
        held[buyer] += traded_w
        held[seller] -= traded_w
        headroom.check(held)


def test_by_hand() -> None:
    """Slack 100. Held 10, 10, 10, 0. Row 0 takes 1, 2, 4, 0: 30 left. Row 1 takes 3, 0, 0, 5: 70 left."""
    headroom = Headroom(polytope([[1, 3], [2, 0], [4, 0], [0, 5]], 100), [10, 10, 10, 0])
    assert headroom.residual.tolist() == [30, 70]
    assert headroom.secure_w(2, 0, 50) == 10  # 3 per watt of row 0
    assert headroom.secure_w(2, 0, 50, 4) == 8
    assert headroom.secure_w(2, 0, 7) == 7
    assert headroom.secure_w(0, 2, 50) == 23  # gives 3 of row 0, takes 3 of row 1: 70 / 3
    assert headroom.blocking_row(0, 2) == 1
    assert headroom.blocking_row(2, 0) == 0
    assert headroom.blocking_row(1, 0) == 0
    assert headroom.secure_w(3, 0, 50) == 35  # takes 5 - 3 of row 1: 70 / 2
    assert headroom.room_w(3) == 14
    assert headroom.trade(2, 0, 50) == 10
    assert headroom.residual.tolist() == [0, 100]
    assert headroom.trade(2, 0, 50) == 0
    assert headroom.trade(2, 2, 50) == 50, "within one right nothing moves"


def test_a_broken_row_blocks_what_takes_more_of_it_and_nothing_that_relieves_it() -> None:
    headroom = Headroom(polytope([[1], [5], [1], [0]], 100), [0, 30, 0, 10])
    assert headroom.residual.tolist() == [-50]
    assert headroom.secure_w(0, 3, 10) == 0
    assert headroom.secure_w(0, 1, 10) == 10
    assert headroom.secure_w(0, 2, 10) == 10, "takes as much as it gives"


@pytest.mark.parametrize("binding", [0, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 1])
@pytest.mark.parametrize("rows", [3 * BLOCK, 3 * BLOCK + 7])
def test_a_binding_row_is_found_in_whatever_block_it_lies(binding: int, rows: int) -> None:
    taken = [[1] * rows, [0] * rows, [0] * rows, [0] * rows]
    taken[0][binding] = 40
    headroom = Headroom(polytope(taken), [0, 500, 0, 0])
    assert headroom.secure_w(0, 1, 500) == 25
    assert headroom.blocking_row(0, 1) == binding


@pytest.mark.parametrize("binding", [(5, 200), (200, 5), (5, 6)])
def test_a_later_row_that_admits_more_never_overrules_an_earlier_one(binding: tuple[int, int]) -> None:
    taken = [[0] * 300, [0] * 300, [0] * 300, [0] * 300]
    taken[0][binding[0]], taken[0][binding[1]] = 40, 10
    assert Headroom(polytope(taken), [0, 500, 0, 0]).secure_w(0, 1, 500) == 25


def test_the_largest_numbers_do_not_overflow() -> None:
    most, slack = 2**31 - 1, 2**44
    headroom = Headroom(polytope([[most], [0], [most], [0]], slack), [0, most, 0, most])
    assert headroom.secure_w(0, 1, most) == slack // most
    assert headroom.trade(0, 1, most) == slack // most
    assert headroom.secure_w(0, 1, most) == 0
    assert headroom.secure_w(1, 0, most) == most


@pytest.mark.parametrize(
    ("takes", "left", "wanted_w", "traded", "blocking"),
    [
        ([1], [9], 10, (9, 0), 0),  # short of a single unit
        ([4, 4], [40, 40], 20, (10, 0), 0),  # the first of equals
        ([4, 4], [40, 39], 20, (9, 1), 1),
        ([1, 1], [1, 0], 5, (0, 1), 1),
        ([1, 1], [0, 0], 5, (0, 0), 0),
        ([1], [5], 5, (5, -1), 0),
        ([1], [LIMIT_W_MAX], LIMIT_W_MAX, (LIMIT_W_MAX, -1), 0),
        ([1], [LIMIT_W_MAX + 1], LIMIT_W_MAX, (LIMIT_W_MAX, -1), None),
    ],
)
def test_the_limit_and_its_row_to_the_last_unit(
    takes: list[int], left: list[int], wanted_w: int, traded: tuple[int, int], blocking: int | None
) -> None:
    headroom = Headroom(polytope([takes, [0] * len(takes)]), [0, 0])
    headroom.residual[:] = left
    assert headroom.blocking_row(0, 1) == blocking
    assert headroom.room_w(0) == min(LIMIT_W_MAX, max(0, min(left)) // takes[0])
    assert headroom.trade_or_row(0, 1, wanted_w) == traded
    assert headroom.residual.tolist() == [room - take * traded[0] for room, take in zip(left, takes, strict=True)]


def test_of_rows_that_are_broken_the_first_blocks() -> None:
    headroom = Headroom(polytope([[1, 1, 1], [0, 0, 0]]), [0, 0])
    headroom.residual[:] = [4, -3, -5]
    assert (headroom.blocking_row(0, 1), headroom.room_w(0), headroom.secure_w(0, 1, 5)) == (1, 0, 0)


def test_a_right_that_is_added_takes_at_once_what_it_holds() -> None:
    headroom = Headroom(polytope([[1, 0], [0, 1]], 100), [10, 20])
    headroom.add_column(np.array([3, 5], dtype=np.int32), 4)
    headroom.add_column(np.array([1, 0], dtype=np.int32), 7)
    assert headroom.residual.tolist() == [100 - 10 - 12 - 7, 100 - 20 - 20]
    headroom.check([10, 20, 4, 7])
    headroom.change(2, -4)
    assert headroom.residual.tolist() == [83, 80]
