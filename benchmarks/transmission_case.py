"""case118 with N-1: envelopes for 30 areas from DC rows, tried in AC with every outage, beside a method that checks joint corners.

The 30 largest loads are areas below; each may deviate from its load by up to all of it, either way. pandapower's ratings of this case are
placeholders (9,900 MVA and the like), so every branch is rated here at `HEADROOM` times the largest apparent power that it carries in
AC or in DC before any area moves, with any one branch out, but at least `LEAST_MVA`. DC knows active power only: its rows use
`SHARE` of a rating, less the reactive power that the branch carries then, at right angles. Then AC searches the corners with other seeds;
branches that come within `SPARE` of their rating lose what they were over from their DC rating, until the search finds none.

A sample is a corner of all envelopes with one outage or none, solved in AC (fast decoupled, Stott and Alsac 1974; generators hold
their voltages without limits on reactive power, and share what areas deviate by in proportion to what they give, as in the rows). It
breaks a limit where a branch carries more than its rating in MVA at either end. Voltage is not among the limits of this case: the
range found at the areas' buses is reported, for the agreement. Outages that part the network are not tried.

*Joint corners*: the largest share of all caps with which "all export" and "all import" hold in the same DC rows, with the same
share of the ratings: deviations of different areas may cancel there, as they do in a check of these two corners only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import splu

from envelopes.allocate import allocate
from envelopes.transmission import Flows, Grid, read_dc, secured

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Complexes = npt.NDArray[np.complex128]
    Indices = npt.NDArray[np.int64]

AREAS = 30
HEADROOM, LEAST_MVA, SHARE = 2.0, 100.0, 0.85
ITERATIONS_MAX = 60
MISMATCH_PU = 1e-6
BATCH = 512
ROUNDS_MAX, SEARCHED, SPARE = 6, 6_000, 0.02


@dataclass(frozen=True, eq=False)
class Case:
    """The DC grid, the areas' positions in it, and an AC power flow for every outage that does not part the network."""

    grid: Grid  # rated for DC
    rating_mva: Floats
    at: Indices
    caps_w: npt.NDArray[np.int64]
    base_mva: Complexes
    topologies: list[tuple[int | None, Decoupled]]


@dataclass(frozen=True, eq=False)
class Found:
    """What samples broke, and by branch the highest loading that any of them reached."""

    samples: int
    broken: int
    no_solution: int
    margin: dict[str, float]
    voltage_pu_at_areas: list[float]
    reached: Floats

    def figures(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "reached"}


def case118(tell: Callable[[str, float], None]) -> Case:
    import pandapower
    import pandapower.networks

    net = pandapower.networks.case118()
    loads = net.load.sort_values("p_mw", ascending=False).drop_duplicates("bus").head(AREAS)
    grid, at = read_dc(net, at_buses=loads.bus.to_numpy())
    pandapower.runpp(net, calculate_voltage_angles=True)
    internal = net._ppc["internal"]  # noqa: SLF001 - the tables of its power flow, which it offers under no other name
    base_mva = np.asarray(internal["V"] * np.conj(internal["Ybus"] @ internal["V"]) * internal["baseMVA"])
    topologies: list[tuple[int | None, Decoupled]] = [(None, Decoupled(internal, None))]
    apparent, reactive = np.zeros(len(grid.names)), np.zeros(len(grid.names))
    for out in [None, *np.flatnonzero(~Flows(grid).parts).tolist()]:
        solver = Decoupled(internal, out)
        topologies += [(out, solver)] if out is not None else []
        powers = solver.powers_mva(solver.solve(base_mva[:, None]))[:, :, 0]
        apparent[solver.kept] = np.maximum(apparent[solver.kept], np.abs(powers).max(axis=0))
        reactive[solver.kept] = np.maximum(reactive[solver.kept], np.abs(powers.imag).max(axis=0))
        tell("base case in AC", 0.1 * len(topologies) / len(grid.names))
    in_dc = np.max([np.abs(loading * grid.rating_mw[:, None]).max(axis=1) for _, loading in Flows(grid).loading()], axis=0)
    rating = np.maximum(HEADROOM * np.maximum(apparent, in_dc), LEAST_MVA)
    caps = np.tile((loads.p_mw.to_numpy() * 1e6).astype(np.int64), 2)
    for_dc = replace(grid, rating_mw=np.sqrt((SHARE * rating) ** 2 - reactive**2))
    return Case(for_dc, rating, at, caps, base_mva, topologies)


def joint_share(case: Case) -> float:
    """The largest share of all caps with which both joint corners hold in DC, N-1."""
    grid, (exports, imports) = case.grid, np.split(case.caps_w / 1e6, 2)
    flows, share = Flows(grid), 1.0
    for corner in (exports, -imports):
        moved_by_bus = np.zeros(len(grid.injection_mw))
        np.add.at(moved_by_bus, case.at, corner)
        for (_, before), (_, after) in zip(flows.loading(), flows.loading(moved_by_bus), strict=True):
            move = after - before
            room = np.where(move > 0, 1 - before, 1 + before)
            share = min(share, float(np.min(room[move != 0] / np.abs(move[move != 0]), initial=1.0)))
    return max(share, 0.0)


class Decoupled:
    """AC power flow of one topology for many injections at once."""

    def __init__(self, internal: Any, out: int | None) -> None:
        from pandapower.pypower.makeYbus import makeYbus

        branch = internal["branch"].copy()
        if out is not None:
            branch = np.delete(branch, out, axis=0)
        self.kept = np.delete(np.arange(len(internal["branch"])), [] if out is None else out)
        bus, gen = internal["bus"], internal["gen"]
        self.base_mva = float(internal["baseMVA"])
        self.y, self.y_from, self.y_to = makeYbus(self.base_mva, bus, branch)
        self.ends = branch[:, 0].real.astype(int), branch[:, 1].real.astype(int)
        self.slack = int(internal["ref"][0])
        held = np.unique(gen[:, 0].real.astype(int))
        n = len(bus)
        self.angles = np.delete(np.arange(n), self.slack)
        self.magnitudes = np.setdiff1d(np.arange(n), held)
        self.start = internal["V"].astype(complex)
        by_reactance = np.zeros((n, n))
        x = 1 / branch[:, 3].real
        for (i, j), b in zip(zip(*self.ends, strict=True), x, strict=True):
            by_reactance[[i, j], [i, j]] += b
            by_reactance[[i, j], [j, i]] -= b
        self._p = np.linalg.inv(by_reactance[np.ix_(self.angles, self.angles)])
        self._q = splu((-self.y.imag).tocsc()[self.magnitudes][:, self.magnitudes])

    def solve(self, injection_mva: Complexes) -> Complexes:
        """Voltages [n_buses, batch]; NaN where the iteration does not settle. Injections [n_buses, batch] of all but the slack."""
        target = injection_mva / self.base_mva
        angle, size = (np.repeat(part[:, None], target.shape[1], axis=1) for part in (np.angle(self.start), np.abs(self.start)))
        for _ in range(ITERATIONS_MAX):
            v = _phasors(size, angle)
            short = target - v * np.conj(self.y @ v)
            worst = np.maximum(np.abs(short.real[self.angles]).max(axis=0), np.abs(short.imag[self.magnitudes]).max(axis=0))
            if not (worst > MISMATCH_PU).any():
                break
            angle[self.angles] += self._p @ (short.real / size)[self.angles]
            v = _phasors(size, angle)
            short = target - v * np.conj(self.y @ v)
            size[self.magnitudes] += self._q.solve(np.ascontiguousarray((short.imag / size)[self.magnitudes]))
        v[:, ~(worst <= MISMATCH_PU)] = complex(np.nan)
        return v

    def powers_mva(self, v: Complexes) -> Complexes:
        """Power into every branch at both of its ends [2, n_kept, batch]."""
        pairs = zip(self.ends, (self.y_from, self.y_to), strict=True)
        return np.array([v[at] * np.conj(y @ v) * self.base_mva for at, y in pairs], dtype=np.complex128)


def _phasors(size: Floats, angle: Floats) -> Complexes:
    v = np.empty(size.shape, dtype=np.complex128)
    v.real, v.imag = size * np.cos(angle), size * np.sin(angle)
    return v


def sampled(case: Case, limits_w: Floats, samples: int, seed: int, tell: Callable[[float], None]) -> Found:
    """What AC says of the corners of these envelopes, in every outage in turn."""
    flows, rng = Flows(case.grid), np.random.default_rng(seed)
    counts = np.diff(np.linspace(0, samples, len(case.topologies) + 1).astype(int)).tolist()
    high, low = limits_w[: len(case.at)] / 1e6, -limits_w[len(case.at) :] / 1e6
    broken = unsolved = 0
    lowest, highest = np.inf, -np.inf
    reached = np.zeros(len(case.rating_mva))
    for number, ((out, solver), count) in enumerate(zip(case.topologies, counts, strict=True)):
        for start in range(0, count, BATCH):
            n = min(BATCH, count - start)
            odds = np.where(rng.random((n, 1)) < 0.5, rng.random((n, 1)), rng.random((n, len(high))))
            is_high = np.where(np.arange(n)[:, None] % 2 == 0, rng.random(odds.shape) < odds, _worst_corners(flows, case, out, n))
            v = solver.solve(_injections(case, np.where(is_high, high, low)))
            by_branch = np.abs(solver.powers_mva(v)).max(axis=0) / case.rating_mva[solver.kept, None]
            loading = by_branch.max(axis=0)
            reached[solver.kept] = np.maximum(reached[solver.kept], np.nan_to_num(by_branch).max(axis=1))
            broken += int((~(loading <= 1 + 1e-4)).sum())
            unsolved += int(np.isnan(loading).sum())
            at_areas = np.abs(v[case.at])
            lowest, highest = min(lowest, float(np.nanmin(at_areas, initial=9))), max(highest, float(np.nanmax(at_areas, initial=0)))
        tell((number + 1) / len(case.topologies))
    voltages = [round(lowest, 4), round(highest, 4)]
    return Found(samples, broken, unsolved, {"thermal": float(1 - reached.max())}, voltages, reached)


def _worst_corners(flows: Flows, case: Case, out: int | None, count: int) -> npt.NDArray[np.bool_]:
    """The corner at which the flow of some branch is greatest, for the branches that areas move most in this outage, in turn."""
    of_area = flows.to_balance[:, case.at]
    moved = of_area if out is None else of_area + flows.lodf[:, [out]] * of_area[[out]]
    base = flows.base_mw if out is None else flows.base_mw + flows.lodf[:, out] * flows.base_mw[out]
    reach = (np.abs(base) + np.abs(moved) @ (case.caps_w[: len(case.at)] / 1e6)) / case.grid.rating_mw
    branches = np.resize(np.argsort(-reach)[: max(1, min(count, 40))], count)
    return np.asarray(moved[branches] * np.sign(base[branches] + 1e-12)[:, None] > 0)


def _injections(case: Case, power_mw: Floats) -> Complexes:
    """Injections [n_buses, batch] with the areas' deviations, taken up by the generators in proportion."""
    injection = np.repeat(case.base_mva[:, None], len(power_mw), axis=1)
    np.add.at(injection, case.at, power_mw.T.astype(complex))
    return np.asarray(injection - case.grid.balance[:, None] * power_mw.sum(axis=1))


def tightened(case: Case, seed: int, tell: Callable[[str, float], None]) -> tuple[Case, Any, int]:
    """The case with DC ratings at which AC finds no branch above its rating, the rows for it, and the rounds it took."""
    for number in range(1, ROUNDS_MAX + 1):
        found = secured(case.grid, case.at, case.caps_w)
        limits = allocate(found.polytope(), case.caps_w, weights=case.caps_w).limits_w
        tried = sampled(case, limits.astype(float), SEARCHED, seed + 1000 * number, lambda done: tell("search", 0.1 + 0.2 * done))
        over = np.maximum(tried.reached - 1 + SPARE, 0.0) * (tried.reached > 1 - SPARE)
        if not over.any():
            break
        case = replace(case, grid=replace(case.grid, rating_mw=case.grid.rating_mw - over * case.rating_mva))
    return case, found, number


def transmission(name: str, samples: int, seed: int, tell: Callable[[str, float], None]) -> dict[str, Any]:
    """The whole case, in the shape of `benchmarks.cascade`."""
    given = case118(tell)
    case, found, rounds = tightened(given, seed, tell)
    limits = allocate(found.polytope(), case.caps_w, weights=case.caps_w).limits_w
    joint = joint_share(case)
    box = sampled(case, limits.astype(float), samples, seed, lambda done: tell("box in AC", 0.3 + 0.3 * done))
    corners = sampled(case, np.array(case.caps_w * joint), samples, seed, lambda done: tell("joint corners in AC", 0.6 + 0.4 * done))
    return {
        "case": name,
        "operators": {"tso": AREAS},
        "rows": {"considered": found.considered, "binding": found.binding, "kept": len(found.rows.slack)},
        "parting_outages": len(found.parting),
        "share_of_rating_kept": SHARE,
        "tightening": {"rounds": rounds, "branches": int((case.grid.rating_mw < given.grid.rating_mw).sum())},
        "levels": {"tso": round(float((limits / case.caps_w).min()), 4)},
        "problems": [str(v) for v in found.violated],
        "cascade": box.figures(),
        "joint_corners_level": round(joint, 4),
        "joint_corners": corners.figures(),
        "total_w": {"cascade": [int(half.sum()) for half in np.split(limits, 2)],
                    "joint_corners": [int(half.sum() * joint) for half in np.split(case.caps_w, 2)]},
    }  # fmt: skip
