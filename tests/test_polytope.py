"""Integer packing rows: never more generous than the exact rows they came from, reduced without changing a single answer."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskcheck import polytope as module
from riskcheck.polytope import COEFFICIENT_MAX, LIMIT_W_MAX, SLACK_BITS_MAX, Polytope, RowLabel

CAPS = [7_000, 10_000, 3_000, 14_000]
RIGHTS = len(CAPS)


def labels(rows: int) -> list[RowLabel]:
    return [RowLabel("thermal", f"line {row}", "abc") for row in range(rows)]


def from_rows(rows: list[list[float]], slack: list[float], caps: list[int] = CAPS) -> Polytope:
    return Polytope.from_rows(np.array(rows).reshape(-1, len(caps)), slack, labels(len(rows)), caps)


coefficient = st.one_of(st.just(0.0), st.floats(1e-9, 1e-3), st.sampled_from([1e-4, 2e-4, 0.25, 1.0]))
some_rows = st.lists(st.lists(coefficient, min_size=RIGHTS, max_size=RIGHTS), min_size=1, max_size=6)
some_slack = st.floats(1.0, 50.0)
points = st.tuples(*(st.integers(0, cap) for cap in CAPS)).map(list)


def exact_use(row: list[float], limits_w: list[int]) -> Fraction:
    return sum((Fraction(take) * w for take, w in zip(row, limits_w, strict=True)), Fraction(0))


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points)
@settings(max_examples=600, deadline=None)
def test_what_the_integers_call_secure_is_secure_in_exact_arithmetic(
    rows: list[list[float]], slack: list[float], limits_w: list[int]
) -> None:
    slack = slack[: len(rows)]
    if from_rows(rows, slack).is_secure(limits_w):
        assert all(exact_use(row, limits_w) <= Fraction(room) for row, room in zip(rows, slack, strict=True))


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points)
@settings(max_examples=600, deadline=None)
def test_rounding_loses_at_most_one_integer_step_per_watt(rows: list[list[float]], slack: list[float], limits_w: list[int]) -> None:
    slack = slack[: len(rows)]
    integer = from_rows(rows, slack)
    step = Fraction(sum(limits_w) + 1, integer.slack) + Fraction(1, 10**12)
    if all(exact_use(row, limits_w) <= Fraction(room) * (1 - step) for row, room in zip(rows, slack, strict=True)):
        assert integer.is_secure(limits_w)


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), st.lists(points, min_size=20, max_size=20))
@settings(max_examples=150, deadline=None)
def test_dropping_rows_never_changes_an_answer_within_the_caps(rows: list[list[float]], slack: list[float], many: list[list[int]]) -> None:
    slack = slack[: len(rows)]
    reduced = from_rows(rows, slack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_undominated", lambda integer, order: np.sort(order))
        whole = from_rows(rows, slack, [LIMIT_W_MAX] * RIGHTS)
    assert reduced.n_rows <= whole.n_rows
    assert reduced.slack == whole.slack
    for limits_w in [*many, CAPS]:
        assert reduced.is_secure(limits_w) == whole.is_secure(limits_w)


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_no_row_that_is_kept_implies_another_one(rows: list[list[float]], slack: list[float]) -> None:
    kept = from_rows(rows, slack[: len(rows)]).columns.T
    for one in range(len(kept)):
        for two in range(len(kept)):
            assert one == two or (kept[one] > kept[two]).any()


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points, st.integers(0, RIGHTS - 1), st.integers(0, 14_000))
@settings(max_examples=200, deadline=None)
def test_lowering_a_limit_is_always_secure(
    rows: list[list[float]], slack: list[float], limits_w: list[int], right: int, less_w: int
) -> None:
    integer = from_rows(rows, slack[: len(rows)])
    was_secure, room = integer.is_secure(limits_w), integer.residual(limits_w)
    limits_w[right] = max(0, limits_w[right] - less_w)
    assert (integer.residual(limits_w) >= room).all()
    assert integer.is_secure(limits_w) or not was_secure


def test_by_hand() -> None:
    """One row, 1 e1 + 3 e2 <= 10,000 of the same unit: 4,000 and 2,000 fit to the watt, one watt more does not."""
    integer = from_rows([[1.0, 3.0, 0.0, 0.0]], [10_000.0])
    assert integer.is_secure([3_999, 2_000, 3_000, 14_000])
    assert not integer.is_secure([4_001, 2_000, 0, 0])
    assert str(integer.labels[0]) == "overload of line 0 phase abc"


@pytest.mark.parametrize(
    ("rows", "slack", "kept"),
    [
        ([[1, 1, 0, 0], [1, 1, 0, 0]], [9_000, 9_000], ["line 0"]),
        ([[1, 1, 0, 0], [2, 2, 0, 0]], [9_000, 18_000], ["line 0"]),
        ([[1, 1, 0, 0], [1, 2, 0, 0]], [9_000, 9_000], ["line 1"]),
        ([[1, 1, 0, 0], [1, 1, 0, 0]], [9_000, 8_999], ["line 1"]),
        ([[1, 2, 0, 0], [2, 1, 0, 0]], [9_000, 9_000], ["line 0", "line 1"]),
        ([[1, 1, 0, 0], [0, 0, 1, 1]], [9_000, 9_000], ["line 0", "line 1"]),
        ([[1, 1, 0, 0], [0, 0, 1, 1]], [17_001, 16_000], ["line 1"]),
        ([[0, 0, 0, 0], [1, 1, 1, 1]], [1, 34_001], []),
    ],
    ids=["twice", "twice, scaled", "one implies the other", "less slack", "neither", "disjoint", "not fillable by the caps", "none binds"],
)
def test_which_rows_are_kept(rows: list[list[float]], slack: list[float], kept: list[str]) -> None:
    integer = from_rows(rows, slack)
    assert [label.element for label in integer.labels] == kept
    assert integer.rows_given == len(rows)
    assert integer.n_rows == len(kept)
    assert integer.n_rights == RIGHTS


def test_a_ring_is_judged_at_its_worst_corner_not_at_the_joint_ones() -> None:
    """Three buses, equal reactances: line 1-2 carries (p1 - p2) / 3, rated 0.5 kW. With boxes of +-1 kW at buses 1 and 2 the
    joint corners give 0, the corner (+1, -1) gives 2/3."""
    rows = [[1 / 3, 0, 0, 1 / 3], [0, 1 / 3, 1 / 3, 0]]  # exports 1, 2, imports 1, 2: both directions of flow
    integer = from_rows(rows, [500.0, 500.0], [1_000] * 4)
    assert not integer.is_secure([1_000] * 4)
    assert integer.is_secure([749] * 4)
    assert not integer.is_secure([751] * 4)
    assert integer.is_secure([1_000, 0, 1_000, 0])


def test_the_slack_is_the_largest_power_of_two_that_keeps_coefficients_below_2_31() -> None:
    assert from_rows([[1.0, 0, 0, 0]], [2.0]).slack == 2**31
    assert from_rows([[1.0, 0, 0, 0]], [1_000.0]).slack == 2**40
    assert from_rows([[1.0, 1.0, 1.0, 1.0]], [20_000.0]).slack == 2**SLACK_BITS_MAX


@pytest.mark.parametrize("share", [1.0, 0.5, 0.5 + 1e-9, 1 / 3, 2.0**-13, 2.0**-13 * (1 - 1e-15), 2.0**-13 * (1 + 1e-15), 1e-5])
def test_no_coefficient_is_cut_down_to_fit(share: float) -> None:
    integer = from_rows([[share, 0, 0, 0]], [1.0], [LIMIT_W_MAX] * 4)
    coefficient = int(integer.columns.max())
    assert coefficient <= COEFFICIENT_MAX
    assert Fraction(coefficient, integer.slack) >= Fraction(share)


def test_limits_of_two_billion_watts_do_not_wrap_around_into_security() -> None:
    columns = np.full((4, 1), COEFFICIENT_MAX, dtype=np.int32)
    rows = Polytope(columns, 2**SLACK_BITS_MAX, labels(1))
    for limits_w in ([LIMIT_W_MAX] * 4, [LIMIT_W_MAX, LIMIT_W_MAX, 0, 0], [LIMIT_W_MAX, 0, 0, 0]):
        assert not rows.is_secure(limits_w)


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points)
@settings(max_examples=100, deadline=None)
def test_bytes_and_back(rows: list[list[float]], slack: list[float], limits_w: list[int]) -> None:
    integer = from_rows(rows, slack[: len(rows)])
    again = Polytope.from_bytes(integer.to_bytes())
    assert again.to_bytes() == integer.to_bytes()
    assert again.content_hash == integer.content_hash
    assert again.labels == integer.labels
    assert again.residual(limits_w).tolist() == integer.residual(limits_w).tolist()


def test_the_hash_knows_coefficients_slack_and_labels() -> None:
    one = Polytope(np.array([[1], [2]], dtype=np.int32), 10, labels(1))
    others = [
        Polytope(np.array([[1], [3]], dtype=np.int32), 10, labels(1)),
        Polytope(np.array([[1], [2]], dtype=np.int32), 11, labels(1)),
        Polytope(np.array([[1], [2]], dtype=np.int32), 10, [RowLabel("thermal", "line 0", "a")]),
        Polytope.unlimited(2),
    ]
    assert len({rows.content_hash for rows in [one, *others]}) == 5


def test_rows_are_immutable() -> None:
    with pytest.raises(ValueError, match="read-only"):
        from_rows([[1, 1, 1, 1]], [10_000]).columns[0, 0] = 0


@pytest.mark.parametrize(
    ("rows", "slack", "caps", "named"),
    [
        ([[1, -1e-9, 0, 0]], [10], CAPS, "row 0 .*line 0"),
        ([[1, 1, 0, 0], [np.nan, 1, 0, 0]], [10, 10], CAPS, "row 1 .*line 1"),
        ([[1, np.inf, 0, 0]], [10], CAPS, "row 0"),
        ([[1, 1, 0, 0]], [0], CAPS, "row 0 .*slack 0"),
        ([[1, 1, 0, 0]], [-1], CAPS, "row 0 .*slack -1"),
        ([[1, 1, 0, 0]], [np.nan], CAPS, "row 0"),
        ([[1, 1, 0, 0]], [np.inf], CAPS, "row 0"),
        ([[1, 11, 0, 0]], [10], CAPS, "row 0"),
        ([[1, 1, 0, 0]], [10, 10], CAPS, "shapes"),
        ([[1, 1, 0, 0]], [10], [*CAPS[:3], -1], "caps"),
        ([[1, 1, 0, 0]], [10], [*CAPS[:3], LIMIT_W_MAX + 1], "caps"),
    ],
)
def test_bad_rows_are_named(rows: list[list[float]], slack: list[float], caps: list[int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Polytope.from_rows(rows, slack, labels(len(rows)), caps)


@pytest.mark.parametrize("limits_w", [[1, 2, 3], [1, 2, 3, -1], [1, 2, 3, LIMIT_W_MAX + 1], [[1, 2, 3, 4]]])
def test_limits_that_are_none_are_refused(limits_w: list[int]) -> None:
    with pytest.raises(ValueError, match="4 whole watts"):
        from_rows([[1, 1, 1, 1]], [10_000]).residual(limits_w)


@pytest.mark.parametrize(
    ("columns", "slack", "named"),
    [
        ([[1], [-1]], 10, "negative"),
        ([[1], [1]], 0, "slack"),
        ([[1], [1]], 2**44 + 1, "slack"),
        ([[1, 1], [1, 1]], 10, "labels"),
        ([1, 1], 10, "labels"),
    ],
)
def test_a_polytope_that_is_none_cannot_be_made(columns: list[list[int]], slack: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Polytope(np.array(columns, dtype=np.int32), slack, labels(1))


WIRE = [2, 10, [["thermal", "line 0", "a"]], b"\1\0\0\0\2\0\0\0"]


@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("value", [-1, 0, 3, 2**31, 2**63, 2**64 - 1, None, "x", b"", b"\1", b"\377" * 8, [], [["a", "b", "c"]] * 3, 1.5])
def test_bytes_that_are_no_polytope_are_a_value_error_or_a_polytope(field: int, value: object) -> None:
    wire = [*WIRE[:field], value, *WIRE[field + 1 :]]
    try:
        rows = Polytope.from_bytes(msgspec.msgpack.encode(wire))
    except ValueError:
        return
    assert rows.columns.shape == (rows.n_rights, len(rows.labels))
    assert rows.columns.size == 0 or rows.columns.min() >= 0


@given(st.one_of(st.binary(max_size=40), st.tuples(st.integers(0, 40), st.integers(0, 255)).map(lambda at: (at,))))
@settings(max_examples=500, deadline=None)
def test_random_and_damaged_bytes_are_a_value_error_or_a_polytope(raw: bytes | tuple[tuple[int, int]]) -> None:
    if isinstance(raw, tuple):
        ((position, value),) = raw
        whole = bytearray(msgspec.msgpack.encode(WIRE))
        whole[position % len(whole)] = value
        raw = bytes(whole)
    try:
        rows = Polytope.from_bytes(raw)
    except ValueError:
        return
    assert 0 < rows.slack <= 2**SLACK_BITS_MAX
    assert Polytope.from_bytes(rows.to_bytes()).content_hash == rows.content_hash


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points, st.sampled_from([0.0, 1e-4, 1e-3, 1e-2]))
@settings(max_examples=400, deadline=None)
def test_merged_rows_are_never_more_generous_and_cost_at_most_their_tolerance(
    rows: list[list[float]], slack: list[float], limits_w: list[int], tolerance: float
) -> None:
    nearly = [[take * (1 + 0.003 * place) for place, take in enumerate(row)] for row in rows]
    exact = from_rows(rows + nearly, [1 + room for room in slack[: len(rows)]] * 2)
    merged = exact.merged(tolerance)
    assert merged.n_rows <= exact.n_rows
    if merged.is_secure(limits_w):
        assert exact.is_secure(limits_w)
    used = exact.slack - exact.residual(limits_w)
    if (used * (1 + tolerance) <= exact.slack).all():
        assert merged.is_secure(limits_w)


@given(some_rows, st.lists(some_slack, min_size=6, max_size=6), points, st.integers(0, 3000))
@settings(max_examples=200, deadline=None)
def test_tightened_rows_admit_so_much_less_and_never_more(
    rows: list[list[float]], slack: list[float], limits: list[int], more: int
) -> None:
    polytope = from_rows(rows, slack[: len(rows)])
    tight = polytope.tightened(more)
    share, tight_share = polytope.columns / polytope.slack, tight.columns / tight.slack
    assert (tight_share >= share * (1 + more / 1000) * (1 - 1e-12)).all()
    assert polytope.is_secure(limits) or not tight.is_secure(limits)
    assert (polytope.tightened(more, ("voltage_max",)).columns == polytope.columns).all()


def test_rows_that_nearly_coincide_become_their_maximum() -> None:
    exact = from_rows([[1.0, 2.0, 0.0, 1.0], [1.0009, 1.9995, 0.0, 1.0], [0.0, 0.0, 3.0, 0.0]], [100.0] * 3)
    merged = exact.merged(1e-3)
    assert exact.n_rows == 3
    assert [label.element for label in merged.labels] == ["line 1", "line 2"]
    assert (merged.columns[:, 0] == exact.columns[:, :2].max(axis=1)).all()
    assert merged.columns[2, 0] == 0
