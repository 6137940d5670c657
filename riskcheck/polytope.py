"""The packing polytope {x >= 0 : P x <= s} of secure limits, in integers. Knows rows and rights; nothing of grids or trades.

x is the vector of all limits in whole watts: first every customer's export limit, then every customer's import limit.
A limit allows any power up to it, so a network limit a.p <= s must hold for the worst power of the box, which is
sum(max(a, 0) * export + max(-a, 0) * import) <= s: all coefficients are non-negative, and lowering a limit is always secure.

Integers make it exact. All rows share one slack, 2^k, with coefficients rounded UP: what the integers call secure is
secure in the floats they came from. k is the largest with every coefficient below 2^31, at most 44. Sums cannot overflow:
a holding that satisfies the rows keeps P x <= 2^44, a single product is below 2^31 * 2^31, checked by `from_rows`.
Equal slacks make dominance (one row implies another) an element-wise comparison, so the reduction is exact too. A row
that even all caps together cannot fill is dropped as well: both reductions hold for these caps and slacks only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

SLACK_BITS_MAX = 44
COEFFICIENT_MAX = 2**31 - 1
LIMIT_W_MAX = 2**31 - 1
KIND_WORDS = {"voltage_max": "over-voltage", "voltage_min": "under-voltage", "thermal": "overload", "interface": "interface power"}

Watts = npt.NDArray[np.int64]


class RowLabel(msgspec.Struct, frozen=True, gc=False):
    """What a row protects: `kind` voltage_max, voltage_min, thermal or interface; phase a, b, c, n or abc."""

    kind: str
    element: str
    phase: str

    def __str__(self) -> str:
        return f"{KIND_WORDS.get(self.kind, self.kind)} of {self.element} phase {self.phase}"


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    rights: int
    slack: int
    labels: tuple[RowLabel, ...]
    columns: bytes


class Polytope:
    """Immutable integer rows. `columns[right, row]` int32, C-contiguous; every row's slack is `slack` (int).

    `labels[row]` names the network element of each row, `rows_given` counts the rows before the exact reduction.
    """

    def __init__(self, columns: npt.NDArray[np.int32], slack: int, labels: Sequence[RowLabel], rows_given: int | None = None) -> None:
        if columns.ndim != 2 or columns.shape[1] != len(labels):
            raise ValueError(f"columns of shape {columns.shape} do not fit {len(labels)} row labels")
        if columns.size and columns.min() < 0:
            raise ValueError("a packing row has a negative coefficient")
        if not 0 < slack <= 2**SLACK_BITS_MAX:
            raise ValueError(f"slack {slack} is outside (0, 2^{SLACK_BITS_MAX}]")
        self.compiled_columns = np.array(columns, dtype=np.int32, order="C")  # a call with a read-only array costs 0.1 us more
        self.columns = self.compiled_columns.view()
        self.columns.setflags(write=False)
        self.slack = slack
        self.labels = tuple(labels)
        self.rows_given = len(labels) if rows_given is None else rows_given

    @cached_property
    def _float_columns(self) -> npt.NDArray[np.float64]:
        return self.columns.astype(float)

    @property
    def n_rights(self) -> int:
        return int(self.columns.shape[0])

    @property
    def n_rows(self) -> int:
        return int(self.columns.shape[1])

    @cached_property
    def content_hash(self) -> str:
        return hashlib.blake2b(self.to_bytes(), digest_size=16).hexdigest()

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike, slack: npt.ArrayLike, labels: Sequence[RowLabel], caps_w: npt.ArrayLike) -> Polytope:
        """Integer rows from float ones.

        rows: (n_rows, n_rights), per watt, non-negative. slack: (n_rows,), positive, same unit. caps_w: (n_rights,) whole
        watts, the ratings. Raises ValueError naming the first row that is negative, not finite or admits not one watt.
        """
        given, room, caps = np.asarray(rows, dtype=float), np.asarray(slack, dtype=float), np.asarray(caps_w, dtype=np.int64)
        _check_rows(given, room, labels, caps)
        share = given / room[:, None]
        largest = float(share.max(initial=0.0))
        bits = SLACK_BITS_MAX if largest == 0 else min(SLACK_BITS_MAX, int(np.floor(np.log2(COEFFICIENT_MAX / largest))))
        # A relative nudge above float rounding keeps ceil() on the safe side of the exact product.
        share *= 2.0**bits
        share *= 1 + 1e-14
        integer = np.minimum(np.ceil(share, out=share), COEFFICIENT_MAX, out=share).astype(np.int32)
        kept = necessary(integer, 2.0**bits, caps)
        columns = np.ascontiguousarray(integer[kept].T) if len(kept) else np.zeros((given.shape[1], 0), dtype=np.int32)
        return cls(columns, 2**bits, [labels[row] for row in kept], len(labels))

    def merged(self, tolerance: float) -> Polytope:
        """A smaller polytope inside this one: rows that differ by at most `tolerance` of a coefficient become their maximum.

        Secure by construction, since the maximum implies each row that it replaces. It costs at most that share of any limit;
        a merged row keeps the label of its largest. The check of a trade reads every row, so fewer rows are a faster market.
        """
        if not 0 <= tolerance <= 0.01:
            raise ValueError(f"tolerance {tolerance} is outside [0, 0.01]")
        rows = self.columns.T.copy(order="C")
        order = np.argsort(-rows.sum(axis=1, dtype=np.int64), kind="stable")
        kept = np.sort(_merge(rows, order, int(tolerance * 2**20)))
        return Polytope(np.ascontiguousarray(rows[kept].T), self.slack, [self.labels[row] for row in kept], self.rows_given)

    def tightened(self, per_mille: int, kinds: Collection[str] | None = None) -> Polytope:
        """A smaller polytope inside this one: coefficients of the rows of these kinds (None: of all) grow by `per_mille`, rounded up.

        Where they outgrow their integers, all coefficients are halved, rounded up, and so is the slack, rounded down.
        """
        if not 0 <= per_mille <= 1_000_000:
            raise ValueError(f"per_mille {per_mille} is outside [0, 1000000]")
        chosen = np.array([kinds is None or label.kind in kinds for label in self.labels], dtype=bool)
        grown, slack = self.columns.astype(np.int64), self.slack
        grown[:, chosen] = -(-grown[:, chosen] * (1000 + per_mille) // 1000)
        while grown.max(initial=0) > COEFFICIENT_MAX:
            grown, slack = (grown + 1) >> 1, slack >> 1
        return Polytope(grown.astype(np.int32), slack, self.labels, self.rows_given)

    def residual(self, limits_w: npt.ArrayLike) -> Watts:
        """Slack left in each row at the given limits, (n_rows,); negative where the row is broken."""
        limits = np.asarray(limits_w, dtype=np.int64)
        if limits.shape != (self.n_rights,) or (limits.size and (limits.min() < 0 or limits.max() > LIMIT_W_MAX)):
            raise ValueError(f"limits must be {self.n_rights} whole watts in [0, {LIMIT_W_MAX}]")
        used = limits.astype(float) @ self._float_columns
        if not used.size or used.max() < 2.0**53:  # every partial sum is a whole number below 2^53, so floats are exact, and BLAS is fast
            return np.asarray(self.slack - used.astype(np.int64))
        # Limits far outside the polytope may wrap around int64; floats see that, and the row counts as broken by 2^62.
        return self.slack - np.where(used > 2.0**62, 2**62, limits @ self.columns.astype(np.int64))

    def is_secure(self, limits_w: npt.ArrayLike) -> bool:
        return bool((self.residual(limits_w) >= 0).all())

    def to_bytes(self) -> bytes:
        wire = _Wire(self.n_rights, self.slack, self.labels, self.columns.astype("<i4").tobytes())
        return msgspec.msgpack.encode(wire)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Polytope:
        """Raises ValueError on bytes that are not a polytope."""
        try:
            wire = msgspec.msgpack.decode(raw, type=_Wire)
            columns = np.frombuffer(wire.columns, dtype="<i4").reshape(wire.rights, len(wire.labels))
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"not a polytope: {error}") from error
        return cls(columns.astype(np.int32), wire.slack, wire.labels)

    @classmethod
    def unlimited(cls, n_rights: int) -> Polytope:
        """No row at all: every trade is secure. For markets without a network and for matching tests."""
        return cls(np.zeros((n_rights, 0), dtype=np.int32), 1, ())


def necessary(rows: npt.NDArray[Any], slack: float, caps_w: Watts) -> npt.NDArray[np.int64]:
    """Indices of the rows (n_rows, n_rights) of equal slack that the caps can fill and that no other row implies, ascending."""
    binding = np.flatnonzero(rows.astype(float) @ caps_w.astype(float) > slack)
    filled = np.ascontiguousarray(rows[binding])
    order = np.argsort(-filled.sum(axis=1, dtype=np.int64 if filled.dtype.kind == "i" else float), kind="stable")
    return np.sort(binding[_undominated(filled, order)])


def _check_rows(rows: npt.NDArray[Any], slack: npt.NDArray[Any], labels: Sequence[RowLabel], caps: Watts) -> None:
    if rows.ndim != 2 or slack.shape != rows.shape[:1] or len(labels) != len(slack) or caps.shape != rows.shape[1:]:
        raise ValueError(f"shapes do not fit: rows {rows.shape}, slack {slack.shape}, {len(labels)} labels, caps {caps.shape}")
    if caps.size and (caps.min() < 0 or caps.max() > LIMIT_W_MAX):
        raise ValueError(f"caps must be whole watts in [0, {LIMIT_W_MAX}]")
    bad = ~np.isfinite(rows).all(axis=1) | (rows < 0).any(axis=1) | ~(slack > 0) | ~np.isfinite(slack)
    bad |= rows.max(axis=1, initial=0.0) > slack
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"row {first} ({labels[first]}): slack {slack[first]:g}, coefficients not in [0, slack] per watt or not finite")


@njit(cache=True)  # type: ignore[untyped-decorator]
def _first_right(row: npt.NDArray[Any]) -> Any:
    """The first right that takes part in a row: nobody before it matters, and one comparison there parts rows of different feeders."""
    for right in range(len(row)):
        if row[right] > 0:
            return right
    return len(row)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _undominated(rows: npt.NDArray[Any], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of the rows that no other row implies. `order` sorts by falling sum: only an earlier row can dominate."""
    kept = np.empty(len(order), dtype=np.int64)
    n = 0
    for candidate in order:
        dominated, first = False, _first_right(rows[candidate])
        for k in range(n):
            implied = True
            for right in range(first, rows.shape[1]):
                if rows[candidate, right] > rows[kept[k], right]:
                    implied = False
                    break
            if implied:
                dominated = True
                break
        if not dominated:
            kept[n] = candidate
            n += 1
    return kept[:n]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _merge(rows: npt.NDArray[Any], order: npt.NDArray[np.int64], millionths: int) -> npt.NDArray[np.int64]:
    """Indices of the rows that stay. Each is raised, in place, over those that it replaces: never above its own bound."""
    kept = np.empty(len(order), dtype=np.int64)
    bounds = np.empty(rows.shape, dtype=np.int64)
    n = 0
    for candidate in order:
        home, first = -1, _first_right(rows[candidate])
        for k in range(n):
            fits = True
            for right in range(first, rows.shape[1]):
                if rows[candidate, right] > bounds[k, right]:
                    fits = False
                    break
            if fits:
                home = k
                break
        if home >= 0:
            for right in range(rows.shape[1]):
                if rows[candidate, right] > rows[kept[home], right]:
                    rows[kept[home], right] = rows[candidate, right]
            continue
        kept[n] = candidate
        for right in range(rows.shape[1]):
            own = np.int64(rows[candidate, right])
            raised = own + (own * millionths >> 20)
            bounds[n, right] = raised if raised < COEFFICIENT_MAX else COEFFICIENT_MAX  # noqa: FURB136  compiled, typed code
        n += 1
    return kept[:n]
