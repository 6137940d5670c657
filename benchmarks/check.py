"""One trade's network check, asked in three ways: closed form, a solver, and two AC power flows.

The question is always "how much of this trade is secure?" for random pairs of rights at holdings that trading has moved. The closed
form answers exactly and commits. OSQP gets the same question as a quadratic program in one variable, z = quantity / wanted,

    min (z - 1)^2     s.t.  (d_row * wanted) z <= residual_row,   0 <= z <= 1     each row divided by |d_row * wanted|

set up once and updated per trade. As a linear program (max z) it does not converge in 2,000 iterations; the projection
of what is wanted on what is secure has the same answer and does. Two power flows, the state before
the trade and after it, are how published prototypes decide, and answer yes or no for one corner only; here with pandapower,
three-phase where the network is. A call of compiled code that does nothing is timed beside them: the floor of the first.

No check can be faster than the memory that it must touch: two columns read, residuals read and written. So on random rows of a
large network, 5,000 rows by 2,000 rights, a loop that streams just these bytes is timed beside the closed form, in turns.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from benchmarks.feeder import Feeder, Progress
from benchmarks.measure import no_collector
from exchange.bounds import MarketSettings
from riskcheck import headroom
from riskcheck.headroom import Headroom
from riskcheck.network import DEFAULT_NETWORK

LOT_W = MarketSettings().lot_w
EPS = 1e-3
FAR = 10.0  # times what is wanted: a row with more room cannot matter, and large numbers slow the solver down
Pairs = npt.NDArray[np.int64]
LARGE_ROWS, LARGE_RIGHTS = 5_000, 2_000


class CheckFigures(msgspec.Struct, frozen=True):
    """Microseconds per trade: least of rounds for the closed form, medians for solver and power flows.

    Shares are of the trades asked. None: not measured on this network.
    """

    feeder: str
    trades: int
    whole_share: float
    part_share: float
    nothing_share: float
    empty_call_us: float
    call_us: float
    loop_us: float
    blocking_row_us: float
    osqp_us: float
    osqp_within_one_percent: float
    osqp_insecure: float
    power_flows_us: float | None
    large_rows: int
    large_rights: int
    large_loop_us: float
    large_bound_us: float


def measure(feeder: Feeder, network: str, *, quick: bool, progress: Progress) -> CheckFigures:
    count, rounds, solves = (4_000, 5, 100) if quick else (20_000, 9, 400)
    limits = np.array(feeder.export_w + feeder.import_w)
    trades = _trades(feeder, limits, count)
    progress("check: closed form", 0.1)
    call_us, loop_us, shares = _closed_form(feeder, limits, trades, rounds)
    state = Headroom(feeder.polytope, limits)
    blocking_us = _per_item(lambda b, s, _: state.blocking_row(b, s), trades, rounds)
    empty_us = _per_item(lambda b, s, _: _nothing(b, s), trades, rounds)
    progress("check: OSQP", 0.4)
    osqp_us, within, insecure = _osqp(feeder, limits, trades[:solves])
    progress("check: two power flows by pandapower", 0.7)
    flows_us = _power_flows(network, 1 if quick else 3)
    progress("check: large network and memory", 0.9)
    large_us, bound_us = _against_memory(LARGE_ROWS, LARGE_RIGHTS, rounds)
    return CheckFigures(
        feeder.size, count, *shares, empty_us, call_us, loop_us, blocking_us, osqp_us, within, insecure, flows_us,
        LARGE_ROWS, LARGE_RIGHTS, large_us, bound_us,
    )  # fmt: skip


def _trades(feeder: Feeder, limits: npt.NDArray[np.int64], count: int) -> Pairs:
    """Rows of (buyer, seller, wanted watts): one direction each, whole lots, and nobody sells what it does not hold."""
    random, half = np.random.default_rng(7), len(limits) // 2
    state, held = Headroom(feeder.polytope, limits), limits.tolist()
    found: list[tuple[int, int, int]] = []
    while len(found) < count:
        base, seller, step, lots = (int(random.integers(low, high)) for low, high in ((0, 2), (0, half), (1, half), (1, 41)))
        buyer, seller = half * base + (seller + step) % half, half * base + seller
        wanted = min(lots, held[seller] // LOT_W) * LOT_W
        if wanted:
            found.append((buyer, seller, wanted))
            moved = state.trade(buyer, seller, wanted, LOT_W)
            held[buyer], held[seller] = held[buyer] + moved, held[seller] - moved
    return np.array(found)


Shares = tuple[float, float, float]


def _closed_form(feeder: Feeder, limits: npt.NDArray[np.int64], trades: Pairs, rounds: int) -> tuple[float, float, Shares]:
    call_times, loop_times = [], []
    asked = [tuple(map(int, trade)) for trade in trades]
    for _ in range(rounds + 1):  # the first compiles
        state = Headroom(feeder.polytope, limits)
        trade = state.trade_or_row
        with no_collector():
            began = time.perf_counter_ns()
            answers = [trade(buyer, seller, wanted, LOT_W) for buyer, seller, wanted in asked]
            call_times.append(time.perf_counter_ns() - began)
        secure = np.array([quantity for quantity, _ in answers])
        looped = Headroom(feeder.polytope, limits)
        began = time.perf_counter_ns()
        total = _loop(feeder.polytope.columns, looped.residual, trades, LOT_W)
        loop_times.append(time.perf_counter_ns() - began)
        assert total == secure.sum() and np.array_equal(looped.residual, state.residual), "loop and calls disagree"
    whole, nothing = float((secure == trades[:, 2]).mean()), float((secure == 0).mean())
    shares = round(whole, 3), round(1 - whole - nothing, 3), round(nothing, 3)
    return _us(call_times[1:], len(asked)), _us(loop_times[1:], len(asked)), shares


def _per_item(ask: Any, trades: Pairs, rounds: int) -> float:
    asked = [tuple(map(int, trade)) for trade in trades]
    ask(*asked[0])
    times = []
    for _ in range(rounds):
        with no_collector():
            began = time.perf_counter_ns()
            for trade in asked:
                ask(*trade)
            times.append(time.perf_counter_ns() - began)
    return _us(times, len(asked))


def _us(rounds_ns: list[int], count: int) -> float:
    """Microseconds of each of `count` equal trades, of the round that was disturbed least."""
    return round(min(rounds_ns) / count / 1000, 3)


@njit  # type: ignore[untyped-decorator]
def _loop(columns: npt.NDArray[np.int32], residual: npt.NDArray[np.int64], trades: Pairs, lot: int) -> Any:
    total = 0
    for number in range(trades.shape[0]):
        packed = headroom._trade(columns, residual, trades[number, 0], trades[number, 1], trades[number, 2], lot)  # noqa: SLF001
        total += packed & headroom.QUANTITY
    return total


@njit  # type: ignore[untyped-decorator]
def _nothing(buyer: int, seller: int) -> Any:
    return buyer - seller


def _against_memory(rows: int, rights: int, rounds: int) -> tuple[float, float]:
    """(closed form, bare streaming of the same bytes) in microseconds per trade, inside compiled code, on random rows."""
    random = np.random.default_rng(5)
    columns = random.integers(0, 1_000, (rights, rows), dtype=np.int32)
    trades = np.stack([*random.integers(0, rights, (2, 2_000)), random.integers(1, 100, 2_000)], axis=1)
    room = np.full(rows, 2**43)
    ways: tuple[Any, Any] = (lambda: _loop(columns, room, trades, 1)), (lambda: _stream(columns, room, trades))
    times: tuple[list[int], list[int]] = ([], [])
    for way in ways:
        way()  # compiles
    for _ in range(rounds):
        for way, taken in zip(ways, times, strict=True):
            began = time.perf_counter_ns()
            way()
            taken.append(time.perf_counter_ns() - began)
    return _us(times[0], len(trades)), _us(times[1], len(trades))


@njit  # type: ignore[untyped-decorator]
def _stream(columns: npt.NDArray[np.int32], residual: npt.NDArray[np.int64], trades: Pairs) -> None:
    for number in range(trades.shape[0]):
        take, give = columns[trades[number, 0]], columns[trades[number, 1]]
        for row in range(residual.shape[0]):
            residual[row] -= np.int64(np.int32(take[row] - give[row]))


def _osqp(feeder: Feeder, limits: npt.NDArray[np.int64], trades: Pairs) -> tuple[float, float, float]:
    """(median microseconds, share within 1 % of the exact answer, share above it by more than the solver's own tolerance)."""
    import osqp
    from scipy import sparse

    rows = feeder.polytope
    columns, state = rows.columns.astype(np.float64), Headroom(rows, limits)
    solver = osqp.OSQP()
    ones = sparse.csc_matrix(np.ones((rows.n_rows + 1, 1)))
    low, high = np.append(np.full(rows.n_rows, -np.inf), 0.0), np.ones(rows.n_rows + 1)
    solver.setup(sparse.csc_matrix([[1.0]]), np.array([-1.0]), ones, low, high, eps_abs=EPS, eps_rel=EPS, verbose=False, max_iter=2000)
    times, within, above = [], 0, 0
    for buyer, seller, wanted in trades:
        exact = state.secure_w(int(buyer), int(seller), int(wanted))
        began = time.perf_counter_ns()
        take = (columns[buyer] - columns[seller]) * wanted
        room = state.residual.astype(np.float64)
        scale = np.maximum(np.abs(take), 1.0)
        solver.update(Ax=np.append(take / scale, 1.0), u=np.append(np.minimum(room / scale, FAR), 1.0))
        solution = solver.solve(raise_error=False)
        found = float(solution.x[0]) * wanted
        times.append(time.perf_counter_ns() - began)
        slip = 0.01 * float(wanted)
        within += int(abs(found - exact) <= slip + 1)
        above += int(not found <= exact + slip + 1)
        state.trade(int(buyer), int(seller), int(wanted), LOT_W)
    return round(float(np.median(times)) / 1000, 3), round(within / len(trades), 3), round(above / len(trades), 3)


def _power_flows(network: str, rounds: int) -> float | None:
    """Microseconds for two pandapower power flows on the default network; other networks have no pandapower net at hand here."""
    if network != DEFAULT_NETWORK:
        return None
    import pandapower
    from pandapower import networks
    from pandapower.pf.runpp_3ph import runpp_3ph

    net = networks.ieee_european_lv_asymmetric()
    assert isinstance(net, pandapower.pandapowerNet)
    runpp_3ph(net)  # compiles
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for change_mw in (0.0, 0.0005):
            net.asymmetric_load.loc[net.asymmetric_load.index[0], "p_a_mw"] += change_mw
            runpp_3ph(net)
        times.append(time.perf_counter_ns() - began)
    return round(float(np.median(times)) / 1000, 3)
