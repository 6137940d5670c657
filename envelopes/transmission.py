"""Rows of a transmission network in DC, with every single outage: what the areas below may do, in every combination at once.

In DC the flow over a branch is linear in the injections: `f = PTDF p`. When branch k is out its flow moves to the others by
`LODF[l, k] = (PTDF[l, from k] - PTDF[l, to k]) / (1 - PTDF[k, from k] + PTDF[k, to k])`, so with an outage the row of l is
`PTDF[l] + LODF[l, k] PTDF[k]`: linear again. Each area below may be anywhere between its import and its export limit, whatever the
others do; the worst point of that box is a packing row (docs/concepts.md), one for each direction of each flow. What areas put in
is taken up elsewhere by `balance`. Transformers are branches with ratings like lines.

Nearly all rows can never bind, or are near-copies of another (`envelopes/screening.py`): those that are left hold all others, at the
price of a stated `loss` of every envelope, 0.1 % unless asked for; with a loss of 0 the reduction is exact.

*What DC leaves out* is losses, reactive power and voltage: `rated` keeps a share of every rating for them, and AC has to confirm the
result (`benchmarks/transmission_case.py`). Outages that part the network are not rows, but listed. Rows that are at their limit
before any area moves are not rows either: they are `violated`, and nothing is given out until the operator has accepted each of
them by name or redispatched (`envelopes/redispatch.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from envelopes.screening import SLACK_W_MIN, Screen
from riskcheck.blas import use_one_thread
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Tell = Callable[[str, float], None]

NO_OUTAGE = -1
OUTAGES_AT_ONCE = 64
PARTS_THE_NETWORK = 1e-6
LOSS = 0.001  # of every envelope, for far fewer rows
LOSS_MAX = 0.01
UNLIMITED_MW = 1e6
NO_ROOM_MW = 1.001e-6 * SLACK_W_MIN  # a little more: what is no row for want of room is violated, however floats round


@dataclass(frozen=True, eq=False)
class Grid:
    """A DC network in MW: branches [n_branches] and, by bus, what is injected before any area below moves, and who balances."""

    names: tuple[str, ...]
    from_bus: Indices
    to_bus: Indices
    susceptance_mw: Floats  # per radian
    shift_rad: Floats
    rating_mw: Floats
    injection_mw: Floats
    balance: Floats  # shares, their sum is 1

    def __post_init__(self) -> None:
        usable = np.isfinite(self.susceptance_mw) & (self.susceptance_mw != 0) & (self.rating_mw > 0)
        if not usable.all():
            first = int(np.flatnonzero(~usable)[0])
            raise ValueError(f"{self.names[first]} has no reactance or no rating: {self.rating_mw[first]:g} MW")

    def rated(self, share: float) -> Grid:
        """With a share of every rating: the rest is kept for what DC leaves out."""
        return replace(self, rating_mw=self.rating_mw * share)


@dataclass(frozen=True)
class Violated:
    """A flow beyond its rating before any area moves: of the rating, with this branch out."""

    branch: str
    outage: str | None
    loading: float

    def __str__(self) -> str:
        return f"{self.branch} at {100 * self.loading:.1f} % {f'when {self.outage} is out' if self.outage else 'with everything in'}"


class BaseCaseViolatedError(ValueError):
    """Limits are broken before any area below moves; `violated` has all of them."""

    def __init__(self, violated: tuple[Violated, ...]) -> None:
        self.violated = violated
        worst = "; ".join(map(str, sorted(violated, key=lambda v: -v.loading)[:5]))
        super().__init__(f"{len(violated)} limit(s) are broken before anybody moves: {worst}. Redispatch, or accept them by name")


@dataclass(frozen=True, eq=False)
class Secured:
    """Rows over the limits of the areas below (exports, then imports, in watts), and what they do not cover.

    `considered` counts the rows before screening, `binding` those that the caps can fill; `lost` is the most that a row was tightened
    to stand for others; `parting` are outages that part the network.
    """

    rows: Rows
    caps_w: npt.NDArray[np.int64]
    violated: tuple[Violated, ...]
    parting: tuple[str, ...]
    considered: int
    binding: int
    lost: float

    def polytope(self, *, accept_violated: bool = False) -> Polytope:
        """Integer rows, for limits within `caps_w`: larger caps need rows of their own.

        Raises BaseCaseViolatedError unless what is violated is accepted: those limits are then nobody's.
        """
        if self.violated and not accept_violated:
            raise BaseCaseViolatedError(self.violated)
        return Polytope.from_rows(self.rows.coefficient, self.rows.slack, self.rows.labels, self.caps_w)


class Flows:
    """Distribution factors of a grid: flows by injections, and what outages move."""

    def __init__(self, grid: Grid) -> None:
        use_one_thread()
        self.grid = grid
        n, lines = len(grid.injection_mw), len(grid.names)
        at = np.arange(lines)
        incidence = sparse.csr_matrix(
            (np.concatenate([np.ones(lines), -np.ones(lines)]), (np.tile(at, 2), np.concatenate([grid.from_bus, grid.to_bus]))), (lines, n)
        )
        weighted = sparse.diags(grid.susceptance_mw) @ incidence
        slack = int(np.argmax(grid.balance))
        kept = np.delete(np.arange(n), slack)
        inverse = splu((incidence.T @ weighted).tocsc()[kept][:, kept])
        angles = np.zeros((n, n))
        angles[np.ix_(kept, kept)] = inverse.solve(np.eye(n - 1))
        factors = weighted @ angles
        self.to_balance = np.asarray(factors - (factors @ grid.balance)[:, None])
        shifts = -grid.susceptance_mw * grid.shift_rad
        # a phase shifter drives a flow of its own, which the network around it carries back
        self.base_mw = self.to_balance @ (grid.injection_mw - incidence.T @ shifts) + shifts
        moved = self.to_balance[at[:, None], grid.from_bus] - self.to_balance[at[:, None], grid.to_bus]
        stays = 1 - moved[at, at]
        self.parts = stays < PARTS_THE_NETWORK
        self.lodf = moved / np.where(self.parts, np.inf, stays)
        self.lodf[at, at] = -1.0  # nothing flows over what is out

    def outages(self) -> Iterator[tuple[Indices, Floats]]:
        """Blocks of outages, first none at all, with the column of factors of each [n_branches, n_outages]."""
        yield np.array([NO_OUTAGE]), np.zeros((len(self.grid.names), 1))
        secured = np.flatnonzero(~self.parts)
        for start in range(0, len(secured), OUTAGES_AT_ONCE):
            block = secured[start : start + OUTAGES_AT_ONCE]
            yield block, self.lodf[:, block]

    def rows_of(self, branch: int) -> tuple[Indices, Floats]:
        """The outages in which this branch has a limit, first none at all, and how much of each one's flow comes to it [n_outages]."""
        out = np.flatnonzero(~self.parts & (np.arange(len(self.parts)) != branch))
        return np.concatenate([[NO_OUTAGE], out]), np.concatenate([[0.0], self.lodf[branch, out]])

    def loading(self, by_bus_mw: Floats | None = None) -> Iterator[tuple[Indices, Floats]]:
        """Flows over ratings in every block of outages, [n_branches, n_outages], signed."""
        flow = self.base_mw if by_bus_mw is None else self.base_mw + self.to_balance @ by_bus_mw
        for block, factors in self.outages():
            yield block, (flow[:, None] + factors * np.where(block == NO_OUTAGE, 0.0, flow[block])) / self.grid.rating_mw[:, None]

    def violated(self) -> tuple[Violated, ...]:
        """Everything beyond its rating before any area moves."""
        names, found = self.grid.names, []
        for block, loading in self.loading():
            room_mw = (1 - np.abs(loading)) * self.grid.rating_mw[:, None]
            for branch, i in zip(*np.nonzero(~(room_mw >= NO_ROOM_MW)), strict=True):
                outage = None if block[i] == NO_OUTAGE else names[block[i]]
                found.append(Violated(names[branch], outage, float(np.abs(loading[branch, i]))))
        return tuple(found)


def secured(
    grid: Grid, at: npt.ArrayLike, caps_w: npt.ArrayLike, around_w: npt.ArrayLike = 0.0, tell: Tell | None = None, loss: float = LOSS
) -> Secured:
    """Rows for areas at these buses [n_areas], each within caps [2 n_areas] (exports, then imports) around a power of its own.

    `around_w` is added to the injections of the base case; the limits of an area are then deviations from it. Every secure point
    shrunk by `loss` fulfils the rows.
    """
    if not 0 <= loss <= LOSS_MAX:
        raise ValueError(f"a loss of {loss} is outside [0, {LOSS_MAX}]")
    buses, caps = np.asarray(at, dtype=np.int64), np.asarray(caps_w, dtype=np.int64)
    injection = grid.injection_mw.copy()
    np.add.at(injection, buses, np.broadcast_to(np.asarray(around_w, dtype=float), buses.shape) / 1e6)
    flows = Flows(replace(grid, injection_mw=injection))
    screen = Screen(flows, buses, caps, tell or (lambda _phrase, _done: None))
    needed, lost = screen.needed(loss)
    rows = Rows(needed.by_right() * needed.slack_w[:, None], needed.slack_w, _labels(needed.what, grid.names))
    parting = tuple(grid.names[k] for k in np.flatnonzero(flows.parts))
    considered = 2 * len(grid.names) * (int((~flows.parts).sum()) + 1)
    return Secured(rows, caps, flows.violated(), parting, considered, screen.binding, lost)


def _labels(what: Indices, names: tuple[str, ...]) -> list[RowLabel]:
    words = [names[branch] + (f" when {names[out]} is out" if out != NO_OUTAGE else "") for branch, out in what.tolist()]
    return [RowLabel("thermal", word, "abc") for word in words]


def read_dc(net: Any, *, at_buses: npt.ArrayLike) -> tuple[Grid, Indices]:
    """Grid of a pandapower network with its present loads and generation, as pandapower's own DC power flow reads it; positions of buses.

    Ratings are those of lines (max_i_ka at rated voltage) and transformers (sn_mva), times max_loading_percent; a branch without one has
    none. Generators and the ext_grid take up differences in proportion to what they give; without any, the first ext_grid does.
    """
    import pandapower

    pandapower.rundcpp(net)
    case = net._ppc["internal"]  # noqa: SLF001 - the tables of its power flow, which it offers under no other name
    table, buses, generators = (case[name].real for name in ("branch", "bus", "gen"))
    n, base_mva = len(buses), float(case["baseMVA"])
    ratio = np.where(table[:, 8] == 0, 1.0, table[:, 8])
    injection = -buses[:, 2] - buses[:, 4]
    np.add.at(injection, generators[:, 0].astype(int), generators[:, 1])
    balance = np.zeros(n)
    np.add.at(balance, generators[:, 0].astype(int), np.maximum(generators[:, 1], 0.0))
    if not balance.any():
        balance[int(generators[0, 0])] = 1.0
    names, rating = _names_and_ratings(net, len(table))
    grid = Grid(
        names, table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), base_mva / (table[:, 3] * ratio), np.radians(table[:, 9]),
        rating, injection, balance / balance.sum(),
    )  # fmt: skip
    position = np.asarray(net._pd2ppc_lookups["bus"])  # noqa: SLF001 - as above
    return grid, position[np.asarray(at_buses, dtype=np.int64)]


def _names_and_ratings(net: Any, n: int) -> tuple[tuple[str, ...], Floats]:
    """In the order of pandapower's branch table: lines, transformers, then the others, which have no rating here."""
    from_bus = net.bus.vn_kv.loc[net.line.from_bus].to_numpy()
    line = np.sqrt(3) * net.line.max_i_ka * from_bus * net.line.df * net.line.parallel
    trafo = net.trafo.sn_mva * net.trafo.parallel * net.trafo.get("df", 1.0)
    names, rating = [], []
    for word, table, mva in (("line", net.line, line), ("transformer", net.trafo, trafo)):
        usable = np.asarray(mva * table.get("max_loading_percent", 100.0) / 100 if len(table) else [], dtype=float)
        alive = table.in_service.to_numpy(dtype=bool) if len(table) else np.zeros(0, dtype=bool)
        names += [f"{word} {index}" for index in table.index[alive]]
        rating += np.where(np.isfinite(usable), usable, UNLIMITED_MW)[alive].tolist()
    names += [f"branch {i}" for i in range(len(names), n)]
    return tuple(names), np.array(rating + [UNLIMITED_MW] * (n - len(rating)))
