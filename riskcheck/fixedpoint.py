"""A batch AC power flow of the whole network in compiled code: the fast engine of certificates where customers are many.

The same fixed point as the dense model's, v = w + Y^-1 conj(s / v), where Y is the admittance between all buses but the
interface, and w the voltages at no load. Here Y^-1 is two triangular solves with the sparse factors of Y, not a product with a
dense matrix: in a radial network of n buses the factors have 2n entries, so an iteration costs 8n multiplications, where the dense
one costs 4k^2 for k customers. Scenarios go through side by side in lanes, so that each multiplication is a vector instruction.
Voltages of all buses come with it; a current is two or more entries of the branch's admittance.

It is used where it is cheaper (`engine`), and not with Volt-VAr curves. The dense model and power-grid-model are its oracles
(tests/test_fixedpoint.py), and every certificate confirms its worst points with power-grid-model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import sparse
from scipy.sparse.linalg import splu

from riskcheck.reduced import ITERATIONS_MAX, Reduced

if TYPE_CHECKING:
    from riskcheck.limits import Engine

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Indices = npt.NDArray[np.int64]

LANES = 16
STEP_PU = 1e-9  # the last step of an iteration; what is left is a fraction of it
CHEAPER = 0.1  # entries of the factors over those of the dense matrix: 4 ns against 0.4 ns per entry and iteration


class SparseRows(NamedTuple):
    """A complex matrix by rows: entries first[r] .. first[r + 1] belong to row r."""

    first: Indices
    column: Indices
    real: Floats
    imag: Floats


class Factors(NamedTuple):
    """L U = P_into Y P_out. `into` says at which row of L a node's current enters, `out` at which row of U its voltage leaves."""

    lower: SparseRows  # without its diagonal of ones
    upper: SparseRows  # above its diagonal
    inverse: Complexes  # of U's diagonal
    into: Indices
    out: Indices


def engine(model: Reduced) -> Engine:
    """The cheaper of two equal engines for the power flows of a model."""
    if any(customer.volt_var for customer in model.network.customers):
        return model
    fast = FixedPoint(model)
    return fast if fast.n_entries < CHEAPER * model.Z.size else model


class FixedPoint:
    """Voltages of all nodes and values of all monitors of a dense model, by sparse means."""

    def __init__(self, model: Reduced) -> None:
        inner = model.inner
        self._model = model
        self._factors = _factors(model.admittance[inner][:, inner])
        self._at = np.searchsorted(inner, model.nodes)
        self._idle = model.idle[inner]
        self._rows = _by_rows(model.rows[:, inner])
        self._from_interface = model.rows @ model.idle - model.rows[:, inner] @ self._idle

    @property
    def n_entries(self) -> int:
        return len(self._factors.lower.column) + len(self._factors.upper.column)

    def solve(self, power_w: Floats, interface_pu: float) -> Complexes:
        """Voltages of all nodes but the interface [batch, n_nodes]; NaN where no operating point exists."""
        power = self._model.powers(np.atleast_2d(power_w))
        return np.asarray(_solve(power, interface_pu * self._idle, self._at, self._factors))

    def values(self, current: Complexes, interface_pu: float, which: Indices) -> Floats:
        """Monitored values [batch, n_which] at the voltages that `solve` returned."""
        monitors, from_interface = self._model.monitors, interface_pu * self._from_interface
        scale = self._model.scale * np.where(monitors.is_power, interface_pu, 1.0)
        return np.asarray(_values(current, which, self._rows, from_interface, scale, monitors.is_power))


def _factors(admittance: sparse.csr_matrix) -> Factors:
    lu = splu(admittance.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    lower, upper = _by_rows(sparse.tril(lu.L, -1)), _by_rows(sparse.triu(lu.U, 1))
    return Factors(lower, upper, 1 / lu.U.diagonal(), lu.perm_r.astype(np.int64), lu.perm_c.astype(np.int64))


def _by_rows(matrix: sparse.spmatrix) -> SparseRows:
    rows = matrix.tocsr()
    return SparseRows(rows.indptr.astype(np.int64), rows.indices.astype(np.int64), rows.data.real.copy(), rows.data.imag.copy())


# ---------------------------------------------------------------- compiled; arrays [2, rows, LANES] hold real and imaginary parts


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _solve(power: Complexes, idle: Complexes, at: Indices, factors: Factors) -> Complexes:
    batch, n_powers = power.shape
    voltage = np.empty((batch, len(idle)), dtype=np.complex128)
    x = np.empty((2, len(idle), LANES))
    v, s = np.empty((2, n_powers, LANES)), np.empty((2, n_powers, LANES))
    step = np.empty(LANES)
    for start in range(0, batch, LANES):
        for lane in range(LANES):
            point = min(start + lane, batch - 1)
            for j in range(n_powers):
                s[0, j, lane], s[1, j, lane] = power[point, j].real, power[point, j].imag
                v[0, j, lane], v[1, j, lane] = idle[at[j]].real, idle[at[j]].imag
        for _ in range(ITERATIONS_MAX):
            _inject(s, v, at, factors.into, x)
            _substitute(factors, x)
            _advance(idle, at, factors.out, x, v, step)
            if np.all(step <= STEP_PU**2):
                break
        for lane in range(min(LANES, batch - start)):
            settled = step[lane] <= STEP_PU**2
            for node in range(len(idle)):
                row = factors.out[node]
                risen = idle[node] + complex(x[0, row, lane], x[1, row, lane])
                voltage[start + lane, node] = risen if settled else complex(np.nan, np.nan)
    return voltage


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _inject(s: Floats, v: Floats, at: Indices, into: Indices, x: Floats) -> None:
    """x = conj(s / v) at the nodes that have power, zero at all others."""
    x[:] = 0.0
    for j in range(len(at)):
        row = into[at[j]]
        for lane in range(LANES):
            per = 1.0 / (v[0, j, lane] ** 2 + v[1, j, lane] ** 2)
            x[0, row, lane] = (s[0, j, lane] * v[0, j, lane] + s[1, j, lane] * v[1, j, lane]) * per
            x[1, row, lane] = (s[0, j, lane] * v[1, j, lane] - s[1, j, lane] * v[0, j, lane]) * per


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _substitute(factors: Factors, x: Floats) -> None:
    """x = U^-1 L^-1 x in place."""
    n = x.shape[1]
    for row in range(n):
        _subtract(factors.lower, row, x)
    for row in range(n - 1, -1, -1):
        _subtract(factors.upper, row, x)
        real, imag = factors.inverse[row].real, factors.inverse[row].imag
        for lane in range(LANES):
            before = x[0, row, lane]
            x[0, row, lane] = real * before - imag * x[1, row, lane]
            x[1, row, lane] = real * x[1, row, lane] + imag * before


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _subtract(matrix: SparseRows, row: int, x: Floats) -> None:
    for entry in range(matrix.first[row], matrix.first[row + 1]):
        column, real, imag = matrix.column[entry], matrix.real[entry], matrix.imag[entry]
        for lane in range(LANES):
            x[0, row, lane] -= real * x[0, column, lane] - imag * x[1, column, lane]
            x[1, row, lane] -= real * x[1, column, lane] + imag * x[0, column, lane]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _advance(idle: Complexes, at: Indices, out: Indices, x: Floats, v: Floats, step: Floats) -> None:
    """v = idle + x at the nodes that have power; step is the largest change in each lane, squared, NaN included."""
    step[:] = 0.0
    for j in range(len(at)):
        row, real, imag = out[at[j]], idle[at[j]].real, idle[at[j]].imag
        for lane in range(LANES):
            after_real, after_imag = real + x[0, row, lane], imag + x[1, row, lane]
            change = (after_real - v[0, j, lane]) ** 2 + (after_imag - v[1, j, lane]) ** 2
            step[lane] = np.maximum(step[lane], change)
            v[0, j, lane], v[1, j, lane] = after_real, after_imag


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _values(
    voltage: Complexes, which: Indices, rows: SparseRows, from_interface: Complexes, scale: Floats, is_power: npt.NDArray[np.bool_]
) -> Floats:
    batch, n = voltage.shape
    values = np.empty((batch, len(which)))
    for point in range(batch):
        for position in range(len(which)):
            monitor = which[position]
            if monitor < n:
                phasor = voltage[point, monitor]
            else:
                phasor = from_interface[monitor - n]
                for entry in range(rows.first[monitor - n], rows.first[monitor - n + 1]):
                    phasor += complex(rows.real[entry], rows.imag[entry]) * voltage[point, rows.column[entry]]
            size = phasor.real if is_power[monitor] else np.sqrt(phasor.real**2 + phasor.imag**2)
            values[point, position] = size * scale[monitor]
    return values
