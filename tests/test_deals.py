"""What a proposal's verdict hangs on: which rights are alike, and what all changes together leave of the rows. By hand, in integers."""

from __future__ import annotations

import gc
from itertools import permutations
from weakref import ref

import numpy as np
import pytest

from exchange.dealing import _classes_of, classes
from riskcheck import whole
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, OPEN, Market

LINE = RowLabel("thermal", "line", "a")
EXPORTS, IMPORTS = [1, 1, 2], [1, 2, 1]


@pytest.mark.parametrize(
    ("at_rates", "first", "members"),
    [(True, [0, 0, 2, 0, 2, 0], {0: [0, 1, 3, 5], 2: [2, 4]}), (False, [0, 0, 2, 3, 4, 3], {0: [0, 1], 2: [2], 3: [3, 5], 4: [4]})],
)
def test_rights_are_alike_whose_columns_are_equal_one_to_one_within_a_book(
    at_rates: bool, first: list[int], members: dict[int, list[int]]
) -> None:
    kinds = _classes_of(Polytope(np.array([EXPORTS + IMPORTS], dtype=np.int32).T.copy(), 100, [LINE]), at_rates)
    assert (kinds.first, kinds.members) == (first, members)
    assert [kinds.of(right) for right in range(8)] == [*first, 6, 7], "each of the operator's is a class of its own"
    assert [kinds.rights(kind) for kind in (*members, 6, 7)] == [*members.values(), [6], [7]]
    assert kinds.of_all(8).tolist() == [*first, 6, 7]


def test_rows_are_not_kept_for_their_classes() -> None:
    """An interval that is retired leaves its rows to nobody."""
    market = Market(Polytope(np.ones((6, 1), dtype=np.int32), 30_000, [LINE]))
    interval = market.engine.areas[AREA].intervals[OPEN]
    kinds, rows = classes(interval), ref(interval.headroom.polytope)
    assert classes(interval) is kinds
    del market, interval
    gc.collect()
    assert rows() is None


def left(changes: list[tuple[int, int]], residual: tuple[int, int] = (10, 0)) -> list[int]:
    """Of two rows, from which right 0 takes 2 and 1, right 1 takes 1 and 3, right 2 nothing and 1."""
    columns = np.array([[2, 1], [1, 3], [0, 1]], dtype=np.int32)
    rights, watts = (np.array(figures, dtype=np.int64) for figures in zip(*changes, strict=True))
    return whole.left_over(columns, np.array(residual, dtype=np.int64), rights, watts).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("changes", list(permutations([(0, 4), (1, -1), (2, -1)])))
def test_sales_make_room_for_purchases_wherever_they_stand(changes: tuple[tuple[int, int], ...]) -> None:
    assert left(list(changes)) == [10 - 8 + 1, 0 - 4 + 3 + 1]


@pytest.mark.parametrize(
    ("changes", "residual", "is_broken"),
    [
        ([(0, 5)], (10, 5), False),
        ([(0, 5)], (9, 5), True),
        ([(0, 5)], (10, 4), True),
        ([(0, 3), (2, 3)], (10, 6), False),
        ([(0, 3), (2, 3)], (10, 5), True),
        ([(0, 6), (2, -9), (1, 1)], (12, 9), True),  # the first row, by the second purchase
        ([(1, -5)], (-9, 0), True),  # broken before, and still
        ([(1, -9)], (-9, 0), False),
    ],
)
def test_all_changes_together_keep_every_row_to_the_last_unit(
    changes: list[tuple[int, int]], residual: tuple[int, int], is_broken: bool
) -> None:
    assert (min(left(changes, residual)) < 0) == is_broken


def test_no_sum_of_purchases_overflows_into_what_looks_like_room() -> None:
    """Each takes nearly 2^62; three of them would be positive again in 64 bits."""
    most = 2**31 - 1
    columns = np.full((4, 1), most, dtype=np.int32)
    rights, watts = np.arange(4), np.full(4, most, dtype=np.int64)
    assert whole.left_over(columns, np.array([0], dtype=np.int64), rights, watts).min() < 0


def test_without_rows_everything_is_left() -> None:
    none = np.zeros((1, 0), dtype=np.int32)
    assert whole.left_over(none, np.zeros(0, dtype=np.int64), np.array([0]), np.array([5])).tolist() == []
