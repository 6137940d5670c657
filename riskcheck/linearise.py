"""A network -> secure rows: a polytope of envelopes whose every point holds in AC, not only today's.

Balanced radial networks of constant powers get rows that are proven, from the branch flow equations (`riskcheck/distflow.py`). All
others, three-phase, meshed or with voltage control, get rows that are verified: tangents with margins searched for in AC, below.

A limit f(p) <= 0 (see `riskcheck/adversary.py`) is replaced by one packing row. At an anchor p0 with gradient g by right,

    f(p) <= f(p0) + g.(x - x0) + remainder   becomes   max(g, 0).x  <=  -f(p0) + g.x0 - margin

The anchor is the centre of the points near that limit's own face: trades move holdings along faces, so the tangent must fit
all of the face, not one corner. The remainder is of second order (currents follow the voltages that they cause). Its
greatest value near the face is searched for in AC over the whole polytope, by sampling bred towards the limits and by climbs
with linear programs, and becomes the margin; limits whose rows nearly coincide share the greatest margin of their neighbours;
the search goes on until a round finds no more, and a cushion is added. So the margins are *verified*, not proven: sampling alone
missed 0.4 % of a rating on a line that few points reach, which is why every current with a row is climbed at least once. The
cushion is what a longer search may still find. `benchmarks/false_accepts.py` is another adversary, with other means.

Which rows: over-voltage at the upper end of the interface range, under-voltage and thermal at the lower. A current has no
gradient at no load: its rows are taken at the two corners at which its customers push it one way or the other, and where
customers of several phases meet in one current (a delta winding), at corners every 30 degrees. Currents that all ratings
together cannot bring near the limit get no row. Dominated rows are dropped by `Polytope.from_rows`, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from riskcheck import distflow
from riskcheck.adversary import KINDS, Climb, Hunt, Limits, corners_by_gradient
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.radial import trees
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Network
    from riskcheck.radial import Tree

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

SEED = 20_261_122
NEAR = np.array([0.008, 0.008, 0.03])  # how near to its limit (by kind: pu, pu, fraction) a point must be for its remainder to count
CUSHION = np.array([0.0006, 0.0006, 0.006])  # by kind; what the search may have missed
HUNTS_MAX = 12
QUIET_HUNTS = 2
CLIMBS_MAX = 6
CURRENTS_CLIMBED = 6
VOLTAGES_CLIMBED = 6  # per phase and side in each round of climbing
EXCESS = 0.25  # of the cushion: a round that finds no more than this is quiet
TRIALS = 1200
ALIKE = 0.995  # cosine of two rows that share their margin
DUST = 1e-8
MERGED = 1e-3  # rows whose coefficients differ by less become one: half the rows, at most 0.1 % of a limit
UNREACHABLE = 0.85  # of the rating, by all customers at full rating at once in one direction


class Insecure(ValueError):  # noqa: N818 - the name says it
    """The network breaks a limit before any customer uses a watt, so no envelope is secure."""


@dataclass
class Rows:
    """Tangents [n_rows]: `limit` is a position in Limits, f(x) ~ offset + gradient.x; `margin` is what AC asked for."""

    limit: Indices
    gradient: Floats
    offset: Floats
    margin: Floats

    def tangent(self, x_w: Floats) -> Floats:
        return np.asarray(self.offset + x_w @ self.gradient.T)

    def polytope(self, labels: list[RowLabel], kind: Indices, caps_w: NDArray[np.int64], cushion: float = 0.0) -> Polytope:
        slack = -self.offset - self.margin - cushion * CUSHION[kind[self.limit]]
        rows = np.maximum(self.gradient, 0.0)
        # Rounding gives customers of other phases a coefficient of nothing, which would stop them when the row is full.
        # Such a coefficient becomes zero, and all that it could ever take is taken from the slack instead.
        dust = rows < DUST * rows.max(axis=1, keepdims=True)
        slack = slack - np.where(dust, rows, 0.0) @ caps_w
        if (slack <= 0).any():
            worst = int(np.argmin(slack))
            raise Insecure(f"no room for any customer: {labels[self.limit[worst]]} is at its limit already at no load")
        return Polytope.from_rows(np.where(dust, 0.0, rows), slack, [labels[i] for i in self.limit], caps_w)


def build(network: Network, *, progress: Callable[[str, float], None] | None = None) -> Polytope:
    """Secure rows over all rights of the network, proven where the network allows it (`is_proven`), else verified. Deterministic.

    Raises Insecure where not even zero envelopes hold, or where the search for margins does not settle.

    progress: called with a phrase and the fraction done, for a person who waits.
    """
    tell = progress or (lambda _phrase, _done: None)
    forest = trees(network)
    rows = _verified(network, tell) if forest is None else _proven(network, forest, tell)
    tell("rows are secure", 1.0)
    return rows.merged(MERGED)


def is_proven(network: Network) -> bool:
    """Whether `build` proves its rows: the network is balanced, radial and of constant powers."""
    return trees(network) is not None


def _proven(network: Network, forest: tuple[Tree, ...], tell: Callable[[str, float], None]) -> Polytope:
    tell("branch flow equations", 0.0)
    rows = distflow.rows(network, forest)
    if (rows.slack <= 0).any():
        raise Insecure(f"no room for any customer: {rows.labels[int(rows.slack.argmin())]} is at its limit already at no load")
    tell("dominated rows", 0.7)
    return Polytope.from_rows(rows.coefficient, rows.slack, rows.labels, network.caps_w())


def _verified(network: Network, tell: Callable[[str, float], None]) -> Polytope:
    tell("reducing the network to its customers", 0.0)
    model = Reduced(network)
    limits = Limits.of(model)
    labels = row_labels(model, limits)
    caps_w = network.caps_w()
    hunt = Hunt(np.array(["abc".index(c.phase[0]) for c in network.customers]), SEED)
    idle = limits.measure(model, np.zeros((1, model.n_customers)))[0]
    if idle.max() >= 0:
        raise Insecure(f"no room for any customer: {labels[int(idle.argmax())]} is at its limit already at no load")

    tell("sensitivities at no load", 0.05)
    thermal = _thermal_rows(model, limits, caps_w)
    voltage = _voltage_rows(model, limits, np.zeros((len(KINDS), 3, 2 * model.n_customers)))
    rows = _joined(voltage, thermal)
    for step in range(2):
        tell("sensitivities at the worst corners", 0.1 + 0.1 * step)
        anchors = _anchors(model, limits, rows.polytope(labels, limits.kind, caps_w), hunt, caps_w)
        rows = _joined(_voltage_rows(model, limits, anchors), thermal)
    _verify(model, limits, rows, labels, caps_w, hunt, tell)
    return rows.polytope(labels, limits.kind, caps_w, cushion=1.0)


def row_labels(model: Reduced, limits: Limits) -> list[RowLabel]:
    """What each limit protects, in the words that a refused customer reads."""
    network, monitors = model.network, model.monitors
    labels = []
    for monitor, kind in zip(limits.monitor, limits.kind, strict=True):
        element = int(monitors.element[monitor])
        name = network.branches[element].name if KINDS[kind] == "thermal" else f"bus {network.bus_names[element]}"
        labels.append(RowLabel(KINDS[kind], name, "abc" if network.phases == 1 else "abc"[monitors.phase[monitor]]))
    return labels


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("limit", "gradient", "offset", "margin")))


def _signed(x_w: Floats) -> Floats:
    """Signed powers [.., n] of points by right [.., 2n]; a point uses one right of each customer."""
    n = x_w.shape[-1] // 2
    return np.asarray(x_w[..., :n] - x_w[..., n:])


def _voltage_rows(model: Reduced, limits: Limits, anchors: Floats) -> Rows:
    """Tangents of all voltage limits at the anchor of their kind and phase; anchors: [kinds, 3, n_rights] in watts."""
    phase = model.monitors.phase[limits.monitor]
    limit, gradient, offset = [], [], []
    for kind in (0, 1):
        for p in np.unique(phase):
            which = np.flatnonzero((limits.kind == kind) & (phase == p))
            if not len(which):
                continue
            f, slopes = limits.gradients(model, _signed(anchors[kind, p]))
            limit.append(which)
            gradient.append(slopes[which])
            offset.append(f[which] - slopes[which] @ anchors[kind, p])
    joined = np.concatenate(limit)
    return Rows(joined, np.concatenate(gradient), np.concatenate(offset), np.zeros(len(joined)))


def _anchors(model: Reduced, limits: Limits, polytope: Polytope, hunt: Hunt, caps_w: NDArray[np.int64]) -> Floats:
    """For each kind and phase the centre of the saturated points that come nearest to its limits, by right in watts."""
    x, _ = hunt.strike(_share(polytope), caps_w.astype(float), 2 * TRIALS, 0)
    f = limits.measure(model, _signed(x))
    phase = model.monitors.phase[limits.monitor]
    anchors = np.zeros((len(KINDS), 3, x.shape[1]))
    for kind in (0, 1):
        for p in np.unique(phase):
            which = (limits.kind == kind) & (phase == p)
            if which.any():
                nearest = np.argsort(-f[:, which].max(axis=1), kind="stable")[: TRIALS // 12]
                anchors[kind, p] = x[nearest].mean(axis=0)
    return anchors


def _thermal_rows(model: Reduced, limits: Limits, caps_w: NDArray[np.int64]) -> Rows:
    """Tangents of the currents that could reach their rating, each at corners scaled to its rating."""
    n = model.n_customers
    interface_pu = model.network.interface_min_pu
    _, by_right = model.current_sensitivities(np.zeros(n), interface_pu)
    export_w, import_w = caps_w[:n].astype(float), caps_w[n:].astype(float)
    limit, gradient, offset = [], [], []
    for which in np.flatnonzero(limits.kind == 2):
        monitor = limits.monitor[which]
        pull = model.H[monitor] @ by_right * model.scale[monitor]
        if np.maximum(np.abs(pull[:n]) * export_w, np.abs(pull[n:]) * import_w).sum() < UNREACHABLE:
            continue
        axis = np.exp(0.5j * np.angle((pull[:n] ** 2).sum()))
        spread = np.abs(np.imag(pull[:n] / axis)).sum() / np.abs(pull[:n]).sum()
        turns = (0, 6) if spread < 0.2 else range(12)
        for turn in turns:
            direction = np.conj(axis) * np.exp(-1j * np.pi / 6 * turn)
            slope = np.real(direction * pull)
            slope[np.abs(slope) < 1e-6 * np.abs(slope).max()] = 0.0  # rounding: customers on other phases stay at zero
            corner = corners_by_gradient(slope[None], export_w, import_w)[0]
            reach = abs(pull @ np.concatenate([np.maximum(corner, 0), np.maximum(-corner, 0)]))
            point = corner * min(1.0, 1.0 / max(reach, 1e-12))
            while np.isnan(model.solve(point, interface_pu)).any():
                point = point / 2
            f, slopes = limits.gradients(model, point)
            x0 = np.concatenate([np.maximum(point, 0), np.maximum(-point, 0)])
            limit.append(which)
            gradient.append(slopes[which])
            offset.append(f[which] - slopes[which] @ x0)
    if not limit:
        return Rows(np.empty(0, dtype=np.int64), np.empty((0, 2 * n)), np.empty(0), np.empty(0))
    return Rows(np.array(limit, dtype=np.int64), np.array(gradient), np.array(offset), np.zeros(len(limit)))


def _share(polytope: Polytope) -> Floats:
    return np.ascontiguousarray(polytope.columns / polytope.slack)


def _verify(
    model: Reduced,
    limits: Limits,
    rows: Rows,
    labels: list[RowLabel],
    caps_w: NDArray[np.int64],
    hunt: Hunt,
    tell: Callable[[str, float], None],
) -> None:
    """Raises the margins of `rows` in place until rounds of both searches over the polytope find nothing beyond them."""
    alike = _neighbours(rows, limits)
    caps = caps_w.astype(float)
    rng = np.random.default_rng(SEED)
    quiet, climbs = 0, 0
    peaks = np.empty((0, len(caps)))
    fresh: Indices | None = None  # limits whose margins the last round of climbing raised
    for turn in range(HUNTS_MAX + CLIMBS_MAX):
        tell(f"margins from AC, round {turn + 1}", 0.3 + 0.7 * turn / (HUNTS_MAX + CLIMBS_MAX))
        polytope = rows.polytope(labels, limits.kind, caps_w)
        share = _share(polytope)
        x, genes = hunt.strike(share, caps, TRIALS, TRIALS)
        f = limits.measure(model, _signed(x))
        hunt.learn(genes, np.unique(f.argmax(axis=0)))
        inside = f
        if quiet >= QUIET_HUNTS or turn >= HUNTS_MAX:
            climbs += 1
            chosen = _worth_climbing(limits, model, polytope, labels, f, rng, fresh)
            climb = Climb(model, limits, share, caps)
            x, f = np.vstack([x, peaks]), np.vstack([f, limits.measure(model, _signed(peaks))])
            climbed = [point for limit in chosen for point in climb.from_point(limit, x[f[:, limit].argmax()])]
            if climbed:
                above = limits.measure(model, _signed(np.array(climbed)))
                x, f, inside = np.vstack([x, climbed]), np.vstack([f, above]), np.vstack([inside, above])
            # the worst point of each limit so far, also one that the raised margins now exclude, is where to climb from next
            peaks = x[np.unique(f.argmax(axis=0))]
        excess = float((inside.max(axis=0) / CUSHION[limits.kind]).max())
        found = _remainders(rows, x, f, NEAR[limits.kind])
        fresh = np.unique(rows.limit[found > rows.margin]) if climbs else None
        rows.margin = np.maximum(rows.margin, found)
        rows.margin = np.maximum(rows.margin, np.where(alike, rows.margin[None, :], 0.0).max(axis=1))
        if climbs and excess <= EXCESS:
            return
        if climbs >= CLIMBS_MAX:
            if excess > 1:
                worst = labels[int((inside.max(axis=0) / CUSHION[limits.kind]).argmax())]
                raise Insecure(f"the search for margins does not settle: its last round still found {excess:.1f} cushions at {worst}")
            return
        quiet = quiet + 1 if excess <= EXCESS or climbs else 0


def _worth_climbing(
    limits: Limits,
    model: Reduced,
    polytope: Polytope,
    labels: list[RowLabel],
    f: Floats,
    rng: np.random.Generator,
    fresh: Indices | None,
) -> list[int]:
    """Of the limits that still have a row: all currents, and of each phase's voltages those nearest to breaking and some at random.

    Voltages of one phase are much alike and share their margins; every current has customers of its own. After the first round
    only currents whose margin was raised (`fresh`) and one in four of the others are climbed again.
    """
    kept = set(polytope.labels)
    alive = np.array([limit for limit, label in enumerate(labels) if label in kept], dtype=np.int64)
    best = f.max(axis=0)
    phase = model.monitors.phase[limits.monitor]
    chosen = alive[limits.kind[alive] == KINDS.index("thermal")]
    if fresh is not None:
        nearest = chosen[np.argsort(-best[chosen], kind="stable")[:CURRENTS_CLIMBED]]
        chosen = chosen[np.isin(chosen, fresh) | np.isin(chosen, nearest) | (rng.random(len(chosen)) < 0.25)]
    for kind in (0, 1):
        for p in np.unique(phase):
            group = alive[(limits.kind[alive] == kind) & (phase[alive] == p)]
            worst = group[np.argsort(-best[group], kind="stable")[: VOLTAGES_CLIMBED // 2]]
            some = rng.choice(group, size=min(len(group), VOLTAGES_CLIMBED // 2), replace=False)
            chosen = np.concatenate([chosen, np.union1d(worst, some)])
    return [int(limit) for limit in chosen]


def _remainders(rows: Rows, x: Floats, f: Floats, near: Floats) -> Floats:
    """Greatest f - tangent of each row over the points near its limit. A limit with several rows charges the nearest of them."""
    tangent = rows.tangent(x)
    leading = np.full(f.shape, -np.inf)
    np.maximum.at(leading.T, rows.limit, tangent.T)
    measure = f[:, rows.limit]
    counts = (tangent >= leading[:, rows.limit]) & (np.maximum(measure, tangent) > -near[rows.limit])
    return np.asarray(np.where(counts, measure - tangent, 0.0).max(axis=0))


def _neighbours(rows: Rows, limits: Limits) -> NDArray[np.bool_]:
    """Pairs of rows of one kind that point the same way."""
    unit = rows.gradient / np.linalg.norm(rows.gradient, axis=1, keepdims=True)
    kind = limits.kind[rows.limit]
    return np.asarray((unit @ unit.T > ALIKE) & (kind[:, None] == kind[None, :]))
