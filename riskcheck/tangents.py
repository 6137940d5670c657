"""Rows whose margins are searched for in AC: for three-phase and meshed networks and voltage control. Verified, not proven.

A limit f(p) <= 0 (see `riskcheck/limits.py`) is replaced by packing rows. At an anchor p0 with gradient g by right,

    f(p) <= f(p0) + g.(x - x0) + remainder   becomes   max(g, 0).x  <=  -f(p0) + g.x0 - margin

The anchor is the centre of the points near that limit's own face: trades move holdings along faces, so the tangent must fit
all of the face, not one corner. The remainder is of second order (currents follow the voltages that they cause). Its
greatest value near the face is searched for in AC over the whole polytope, by sampling bred towards the limits and by climbs
with linear programs, and becomes the margin; limits whose rows nearly coincide share the greatest margin of their neighbours;
the search goes on until a round finds no more, and a cushion is added. Sampling alone missed 0.4 % of a rating on a line that
few points reach, which is why every current with a row is climbed at least once. The cushion is what a longer search may
still find. `benchmarks/false_accepts.py` is another adversary, with other means.

Which rows: over-voltage at the upper end of the interface range, all others at the lower, and where cables charge or inverters
follow the voltage all at both. A current has no gradient at no load:
its rows are taken at the two corners at which its customers push it one way or the other, and where customers of several phases
meet in one current (a delta winding, a neutral), at corners every 30 degrees. Currents that all ratings together cannot bring
near the limit get no row. Passive customers stand at the end of their forecast that is worse for the limit in a tangent, and at
the worse ends of all limits in turn in the search. Dominated rows are dropped by `Polytope.from_rows`, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from riskcheck.adversary import Climb, Hunt, corners_by_gradient
from riskcheck.limits import KINDS, Limits
from riskcheck.monitors import POWERS
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.reduced import Reduced
from riskcheck.rows import Insecure, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Network

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Complexes = NDArray[np.complex128]

Number = TypeVar("Number", np.float64, np.complex128)

SEED = 20_261_122
NEAR = np.array([0.008, 0.008, 0.03, 0.03])  # how near to its limit (by kind) a point must be for its remainder to count
CUSHION = np.array([0.0006, 0.0006, 0.006, 0.006])  # by kind: pu, pu, fraction; what the search may have missed
HUNTS_MAX = 6
QUIET_HUNTS = 2
CLIMBS_MAX = 6
CURRENTS_CLIMBED = 6
VOLTAGES_CLIMBED = 6  # per phase and side in each round of climbing
EXCESS = 0.25  # of the cushion: a round that finds no more than this is quiet
TRIALS = 1200
ALIKE = 0.995  # cosine of two rows that share their margin
DUST = 1e-8
UNREACHABLE = 0.85  # of the rating, by all customers at full rating at once in one direction
CHARGING = 0.005  # of a rating, without any load
THERMAL = KINDS.index("thermal")
SMOOTH = tuple(kind for kind in range(len(KINDS)) if kind != THERMAL)  # limits with a gradient at no load
PHASES = 4  # a, b, c and neutral


@dataclass
class Tangents:
    """Arrays [n_rows]: `limit` is a position in Limits, f(x) ~ offset + gradient.x; `margin` is what AC asked for."""

    limit: Indices
    gradient: Floats
    offset: Floats
    margin: Floats

    @classmethod
    def joined(cls, parts: list[Tangents]) -> Tangents:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("limit", "gradient", "offset", "margin")))

    def at(self, x_w: Floats) -> Floats:
        return np.asarray(self.offset + x_w @ self.gradient.T)


class Points:
    """Powers of all injectors from limits by right, with passives at the worse ends of the limits in turn."""

    def __init__(self, model: Reduced, limits: Limits) -> None:
        self._passives = model.network.passives
        self._low_w = np.array([p.low_w for p in self._passives], dtype=float)
        self._high_w = np.array([p.high_w for p in self._passives], dtype=float)
        self.n_customers = model.n_customers
        nearest_w = np.minimum(np.maximum(0, self._low_w), self._high_w)
        _, gradient = limits.gradients(model, self.signed(np.zeros((1, 2 * self.n_customers)), nearest_w)[0])
        self.worst_w = self.worse_end(gradient)
        self._ends_w = np.unique(self.worst_w, axis=0)

    def worse_end(self, gradient: Floats) -> Floats:
        """Powers of the passives [m, n_passives] that raise each function with this gradient by right [m, 2 n_injectors]."""
        n, half = self.n_customers, gradient.shape[-1] // 2
        rises = gradient[..., n:half] > 0
        return np.where(rises, self._high_w, self._low_w)

    def signed(self, x_w: Floats, passive_w: Floats | None = None) -> Floats:
        """Powers [batch, n_injectors] of points by right [batch, 2 n_customers]; a point uses one right of each customer."""
        own = x_w[:, : self.n_customers] - x_w[:, self.n_customers :]
        if not self._passives:
            return np.asarray(own)
        if passive_w is None:
            passive_w = self._ends_w[np.arange(len(own)) % len(self._ends_w)]
        return np.hstack([own, np.broadcast_to(passive_w, (len(own), len(self._passives)))])

    def by_right(self, gradient: NDArray[Number]) -> NDArray[Number]:
        """The part of a gradient [.., 2 n_injectors] that belongs to rights, [.., 2 n_customers]."""
        half = gradient.shape[-1] // 2
        return np.concatenate([gradient[..., : self.n_customers], gradient[..., half : half + self.n_customers]], axis=-1)


def rows(network: Network, tell: Callable[[str, float], None]) -> Rows:
    """All rows over the rights of the network's customers. Raises Insecure: see there."""
    tell("reducing the network to its customers", 0.0)
    search = Search(network)
    if not network.customers:  # its limits hold with its passives at their worst, and there is nobody to limit
        return Rows(np.empty((0, 0)), np.empty(0), [])
    tell("sensitivities at no load", 0.05)
    currents = search.currents()
    anchors = np.zeros((len(KINDS), PHASES, 2 * len(network.customers)))
    found = Tangents.joined([*search.voltages(anchors), *currents])
    for step in range(2):
        tell("sensitivities at the worst corners", 0.1 + 0.1 * step)
        found = Tangents.joined([*search.voltages(search.anchors(found)), *currents])
    search.settle(found, tell)
    return search.rows(found, cushion=1.0)


def row_labels(model: Reduced, limits: Limits) -> list[RowLabel]:
    """What each limit protects, in the words that a refused customer reads."""
    network, monitors = model.network, model.monitors
    labels = []
    for monitor, number in zip(limits.monitor, limits.kind, strict=True):
        kind, element = KINDS[number], int(monitors.element[monitor])
        if kind == "interface":
            labels.append(RowLabel(kind, POWERS[element], "abc"))
            continue
        name = network.branches[element].name if kind == "thermal" else f"bus {network.bus_names[element]}"
        labels.append(RowLabel(kind, name, "abc" if network.phases == 1 else "abcn"[monitors.phase[monitor]]))
    return labels


class Search:
    """Finds the tangents of one network and then, in rounds, their margins. Seeded: the same network gets the same rows."""

    def __init__(self, network: Network) -> None:
        self.model = Reduced(network)
        self.limits = Limits.of(self.model, both_ends=_may_turn(self.model))
        self.points = Points(self.model, self.limits)
        self.labels = row_labels(self.model, self.limits)
        self.caps_w = network.caps_w()
        self._phase = self.model.monitors.phase[self.limits.monitor]
        self._hunt = Hunt(np.array(["abc".index(c.phase[0]) for c in network.customers]), SEED)
        self._rng = np.random.default_rng(SEED)
        idle = self._measure(np.zeros((len(self.limits.monitor), len(self.caps_w)))).max(axis=0)
        if idle.max() >= 0:
            raise Insecure(f"no room for any customer: {self.labels[int(idle.argmax())]} is at its limit already at no load")

    def _measure(self, x_w: Floats) -> Floats:
        return self.limits.measure(self.model, self.points.signed(x_w))

    def rows(self, tangents: Tangents, cushion: float = 0.0) -> Rows:
        """Raises Insecure where the margins leave a limit no room."""
        slack = -tangents.offset - tangents.margin - cushion * CUSHION[self.limits.kind[tangents.limit]]
        coefficient = np.maximum(tangents.gradient, 0.0)
        # Rounding gives customers of other phases a coefficient of nothing, which would stop them when the row is full.
        # Such a coefficient becomes zero, and all that it could ever take is taken from the slack instead.
        dust = coefficient < DUST * coefficient.max(axis=1, keepdims=True)
        slack = slack - np.where(dust, coefficient, 0.0) @ self.caps_w
        return Rows(np.where(dust, 0.0, coefficient), slack, [self.labels[i] for i in tangents.limit]).with_room()

    def polytope(self, tangents: Tangents) -> Polytope:
        rows = self.rows(tangents)
        return Polytope.from_rows(rows.coefficient, rows.slack, rows.labels, self.caps_w)

    def _tangents(self, which: Indices, x_w: Floats) -> Tangents:
        """Tangents of limits at one point by right, each with the passives at its own worse end."""
        passive_w, group = np.unique(self.points.worst_w[which], axis=0, return_inverse=True)
        parts = []
        for number, ends in enumerate(passive_w):
            among = which[group.ravel() == number]
            f, gradient = self.limits.chosen(among).gradients(self.model, self.points.signed(x_w[None], ends)[0])
            slopes = self.points.by_right(gradient)
            parts.append(Tangents(among, slopes, f - slopes @ x_w, np.zeros(len(among))))
        return Tangents.joined(parts)

    def voltages(self, anchors: Floats) -> list[Tangents]:
        """Tangents of all limits with a gradient at the anchor of their kind and phase; anchors: [kinds, phases, n_rights] in watts."""
        groups = [(kind, p, np.flatnonzero((self.limits.kind == kind) & (self._phase == p))) for kind in SMOOTH for p in range(PHASES)]
        return [self._tangents(which, anchors[kind, p]) for kind, p, which in groups if len(which)]

    def anchors(self, tangents: Tangents) -> Floats:
        """For each kind and phase the centre of the saturated points that come nearest to its limits, by right in watts."""
        x, _ = self._hunt.strike(_share(self.polytope(tangents)), self.caps_w.astype(float), 2 * TRIALS, 0)
        f = self._measure(x)
        anchors = np.zeros((len(KINDS), PHASES, x.shape[1]))
        for kind in SMOOTH:
            for p in np.unique(self._phase):
                which = (self.limits.kind == kind) & (self._phase == p)
                if which.any():
                    nearest = np.argsort(-f[:, which].max(axis=1), kind="stable")[: TRIALS // 12]
                    anchors[kind, p] = x[nearest].mean(axis=0)
        return anchors

    def currents(self) -> list[Tangents]:
        """Tangents of the currents that could reach their rating, each at corners scaled to its rating."""
        model, caps = self.model, self.caps_w.astype(float)
        n = model.n_customers
        _, by_right = model.current_sensitivities(np.zeros(model.n_injectors), model.network.interface_min_pu)
        forecast_w = np.abs(self.points.worst_w).max(axis=0, initial=0.0)
        found = []
        for which in np.flatnonzero(self.limits.kind == THERMAL):
            monitor = self.limits.monitor[which]
            every = model.H[monitor] @ by_right * model.scale[monitor]
            pull = self.points.by_right(every)
            reach = np.maximum(np.abs(pull[:n]) * caps[:n], np.abs(pull[n:]) * caps[n:]).sum()
            if reach + np.abs(every[n : len(every) // 2]) @ forecast_w < UNREACHABLE or not pull.any():
                continue
            axis = np.exp(0.5j * np.angle((pull[:n] ** 2).sum()))
            spread = np.abs(np.imag(pull[:n] / axis)).sum() / np.abs(pull[:n]).sum()
            for turn in (0, 6) if spread < 0.2 else range(12):
                slope = np.real(np.conj(axis) * np.exp(-1j * np.pi / 6 * turn) * pull)
                slope[np.abs(slope) < 1e-6 * np.abs(slope).max()] = 0.0  # rounding: customers on other phases stay at zero
                found.append(self._tangents(np.array([which]), self._at_rating(slope, pull)))
        return found

    def _at_rating(self, slope: Floats, pull: Complexes) -> Floats:
        """The corner to which the slope points, scaled so that the current is about its rating; by right in watts.

        Not at the edge of collapse, where gradients point anywhere: a tenth more must have a solution too.
        """
        n = len(slope) // 2
        corner = corners_by_gradient(slope[None], self.caps_w[:n].astype(float), self.caps_w[n:].astype(float))[0]
        x = np.concatenate([np.maximum(corner, 0), np.maximum(-corner, 0)])
        x = x * min(1.0, 1.0 / max(abs(pull @ x), 1e-12))
        while np.isnan(self.model.solve(self.points.signed(np.array([x, 1.1 * x])), self.model.network.interface_min_pu)).any():
            x = x / 2
        return np.asarray(x)

    def settle(self, tangents: Tangents, tell: Callable[[str, float], None]) -> None:
        """Raises the margins in place until rounds of both searches over the polytope find nothing beyond them."""
        alike = _neighbours(tangents, self.limits)
        caps = self.caps_w.astype(float)
        quiet, climbs = 0, 0
        peaks = np.empty((0, len(caps)))
        fresh: Indices | None = None  # limits whose margins the last round of climbing raised
        for turn in range(HUNTS_MAX + CLIMBS_MAX):
            tell(f"margins from AC, round {turn + 1}", 0.3 + 0.7 * turn / (HUNTS_MAX + CLIMBS_MAX))
            polytope = self.polytope(tangents)
            share = _share(polytope)
            x, genes = self._hunt.strike(share, caps, TRIALS, TRIALS)
            f = self._measure(x)
            self._hunt.learn(genes, np.unique(f.argmax(axis=0)))
            inside = f
            if quiet >= QUIET_HUNTS or turn >= HUNTS_MAX:
                climbs += 1
                climb = Climb(self.model, self.limits, self.points, share, caps)
                x, f = np.vstack([x, peaks]), np.vstack([f, self._measure(peaks)])
                chosen = self._worth_climbing(polytope, inside, fresh)
                climbed = [step for limit in chosen for step in climb.from_point(limit, x[f[:, limit].argmax()])]
                if climbed:
                    above = np.array([measure for _, measure in climbed])
                    x, f, inside = np.vstack([x, [point for point, _ in climbed]]), np.vstack([f, above]), np.vstack([inside, above])
                # the worst point of each limit so far, also one that the raised margins now exclude, is where to climb from next
                peaks = x[np.unique(f.argmax(axis=0))]
            excess = float((inside.max(axis=0) / CUSHION[self.limits.kind]).max())
            found = _remainders(tangents, x, f, NEAR[self.limits.kind])
            fresh = np.unique(tangents.limit[found > tangents.margin]) if climbs else None
            tangents.margin = np.maximum(tangents.margin, found)
            tangents.margin = np.maximum(tangents.margin, np.where(alike, tangents.margin[None, :], 0.0).max(axis=1))
            if climbs and excess <= EXCESS:
                return
            if climbs >= CLIMBS_MAX:
                if excess > 1:
                    worst = self.labels[int((inside.max(axis=0) / CUSHION[self.limits.kind]).argmax())]
                    raise Insecure(f"the search for margins does not settle: its last round still found {excess:.1f} cushions at {worst}")
                return
            quiet = quiet + 1 if excess <= EXCESS or climbs else 0

    def _worth_climbing(self, polytope: Polytope, f: Floats, fresh: Indices | None) -> list[int]:
        """Of the limits that still have a row: all currents, and of each phase's others those nearest to breaking and some at random.

        Voltages of one phase are much alike and share their margins; every current has customers of its own. After the first round
        only currents whose margin was raised (`fresh`) and one in four of the others are climbed again.
        """
        kept, kinds, rng = set(polytope.labels), self.limits.kind, self._rng
        alive = np.array([limit for limit, label in enumerate(self.labels) if label in kept], dtype=np.int64)
        best = f.max(axis=0)
        chosen = alive[kinds[alive] == THERMAL]
        if fresh is not None:
            nearest = chosen[np.argsort(-best[chosen], kind="stable")[:CURRENTS_CLIMBED]]
            chosen = chosen[np.isin(chosen, fresh) | np.isin(chosen, nearest) | (rng.random(len(chosen)) < 0.25)]
        for kind in SMOOTH:
            for p in np.unique(self._phase):
                group = alive[(kinds[alive] == kind) & (self._phase[alive] == p)]
                worst = group[np.argsort(-best[group], kind="stable")[: VOLTAGES_CLIMBED // 2]]
                some = rng.choice(group, size=min(len(group), VOLTAGES_CLIMBED // 2), replace=False)
                chosen = np.concatenate([chosen, np.union1d(worst, some)])
        return [int(limit) for limit in chosen]


def _may_turn(model: Reduced) -> bool:
    """Whether a limit may be worse at the other end of the interface range: cables charge, or inverters follow the voltage."""
    currents = np.flatnonzero(~model.monitors.is_voltage & ~model.monitors.is_power)
    charging = model.values(model.solve(np.zeros((1, model.n_injectors)), 1.0), 1.0, currents)
    return bool(charging.max(initial=0.0) > CHARGING or any(customer.volt_var for customer in model.network.customers))


def _share(polytope: Polytope) -> Floats:
    return np.ascontiguousarray(polytope.columns / polytope.slack)


def _remainders(tangents: Tangents, x: Floats, f: Floats, near: Floats) -> Floats:
    """Greatest f - tangent of each row over the points near its limit. A limit with several rows charges the nearest of them."""
    tangent = tangents.at(x)
    leading = np.full(f.shape, -np.inf)
    np.maximum.at(leading.T, tangents.limit, tangent.T)
    measure = f[:, tangents.limit]
    counts = (tangent >= leading[:, tangents.limit]) & (np.maximum(measure, tangent) > -near[tangents.limit])
    return np.asarray(np.where(counts, measure - tangent, 0.0).max(axis=0))


def _neighbours(tangents: Tangents, limits: Limits) -> NDArray[np.bool_]:
    """Pairs of rows of one kind that point the same way."""
    unit = tangents.gradient / np.linalg.norm(tangents.gradient, axis=1, keepdims=True)
    kind = limits.kind[tangents.limit]
    return np.asarray((unit @ unit.T > ALIKE) & (kind[:, None] == kind[None, :]))
