"""Rows of a balanced radial network, proven: whatever they admit has an AC operating point within every limit. No search.

On a tree (`riskcheck/radial.py`) the branch flow equations (Baran and Wu, 1989) are linear but for the losses. With the power S
that a branch delivers to its lower bus, v the squared voltages, l the squared currents and d the powers drawn,

    S_j = sum of d and conj(shunt) v below j + sum of z l strictly below j         l_j = |S_j|^2 / v_j
    v   = c + K x - H l         exact, with c, K, H from the tree alone (shunts solved for, not guessed)

x are the limits by right; a customer's power may be anywhere between them, so of each coefficient the worse end counts. Each
row bounds l from the side that is unsafe for it, by functions that are linear in x:

* above: l_b <= (greatest current of b) * T_b(x) / (least root of v_b). T_b(x), the sum of all |powers| below b and of the losses
  there, bounds |S_b|. The greatest current is the rating, which the rows themselves guard, or what the rows let flow, if less.
* below: l_b >= (2 s P_b - s^2) / v_b for any s, since (P_b - s)^2 >= 0: with P_b the net export below b, and s guessed near the row's
  own face, this gives back the part of the losses that without it would be left on the table.

*Over-voltage*: v <= v_max with l bounded below. *Under-voltage*: v >= v_min with l bounded above. *Overload*: |S_b| <= I (root of v_b),
the root bounded below by its chord, which is linear in v, so that a voltage raised by exports counts for the current it saves.
|S_b| is at most the larger of all imports and all exports below b (they point nearly opposite ways) and some of the losses.
*Interface*: all imports with losses, and all exports, against the power limits at the sources.

Why it holds. Let x satisfy the rows, p be any powers within x, and B the box 0 <= l <= its upper bounds at x. The map l -> |S|^2 / v of
the equations sends B into itself: l in B gives v >= v_min (under-voltage rows), |S_b| as bounded, hence the new l in B. It is continuous,
so by Brouwer it has a fixed point, which solves the equations; and there every limit holds by its row. That this is the
state the network is in, and not a collapsed one, is the uniqueness of the solution near rated voltage on radial networks
(Chiang and Baran, 1990); certificates confirm it by power flow. The bounds on currents are computed from rows and rows from bounds: the
pair is accepted only when what the final rows let flow is within the bounds that made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.admittance import BASE_VA
from riskcheck.polytope import RowLabel, necessary
from riskcheck.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network
    from riskcheck.radial import Tree

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]

ROUNDS_MAX = 12
SPARE = 1.03  # a bound on a current is taken so much above what the last rows let flow
ROUNDING = 1e-9  # of a slack: floating point in all of this is a thousand times finer
LOSS_SHARE, LOSSES_SMALL = 0.1, 11.0  # see `Bounded.overload`
UNLIMITED = 1e6  # per unit, far above what any rating is; the root of a tree has no branch


@dataclass(frozen=True)
class Affine:
    """Functions of the powers below: sum of `export` * exports + `imports` * imports + `constant`; arrays [m, n_injectors], [m]."""

    export: Floats
    imports: Floats
    constant: Floats

    def __add__(self, other: Affine) -> Affine:
        return Affine(self.export + other.export, self.imports + other.imports, self.constant + other.constant)

    def behind_the_root(self) -> Affine:
        """Of all buses or branches but the first."""
        return Affine(self.export[1:], self.imports[1:], self.constant[1:])

    def times(self, factor: Floats) -> Affine:
        """Each function times its own factor [m], or a matrix [k, m] of combinations of them."""
        if factor.ndim == 1:
            return Affine(self.export * factor[:, None], self.imports * factor[:, None], self.constant * factor)
        return Affine(factor @ self.export, factor @ self.imports, factor @ self.constant)


class Equations:
    """The exact equations of one tree: squared voltages are `base` + K.powers - H.losses."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.below = tree.below()
        path = self.below.astype(float)
        common = (path.T * np.conj(tree.z).real) @ path + 1j * ((path.T * np.conj(tree.z).imag) @ path)
        losses = 2 * np.real(common * tree.z) - path.T * np.abs(tree.z) ** 2
        shunts = 2 * np.real(common * np.conj(tree.shunt))
        self._undo = np.linalg.inv(np.eye(len(tree.bus)) + shunts) if shunts.any() else np.eye(len(tree.bus))
        at = common[:, tree.at]
        self.H = self._undo @ losses
        self._by_fixed = self._undo @ (-2 * np.real(at @ tree.fixed_demand))
        self._by_export = self._undo @ (-2 * np.real(at * tree.export_demand))
        self._by_import = self._undo @ (-2 * np.real(at * tree.import_demand))
        self._by_source = self._undo.sum(axis=1)

    def voltages(self, interface_pu: float) -> Affine:
        """Squared voltages without losses."""
        return Affine(self._by_export, self._by_import, self._by_source * interface_pu**2 + self._by_fixed)


class Bounded:
    """The equations with bounds on the losses, from the greatest current [n] that each branch may carry."""

    def __init__(self, equations: Equations, network: Network, current: Floats) -> None:
        tree = self.tree = equations.tree
        self.current = current
        self.highest_v = tree.v_max + np.abs(equations.H) @ current**2
        self.highest_v[0] = max(self.highest_v[0], network.interface_max_pu**2)  # the source is where the interface is
        self._equations, self._network = equations, network
        self._low, self._high = equations.voltages(network.interface_min_pu), equations.voltages(network.interface_max_pu)
        below = self._below = equations.below.astype(float)
        own = np.eye(len(tree.bus))
        per_flow: Floats = current / np.sqrt(tree.v_min)
        drawn = Affine(
            below[:, tree.at] * np.abs(tree.export_demand),
            below[:, tree.at] * np.abs(tree.import_demand),
            below @ (np.abs(tree.shunt) * self.highest_v) + below[:, tree.at] @ np.abs(tree.fixed_demand),
        )
        self._drawn = drawn
        self.extra_max = (below - own) * np.abs(tree.z) @ current**2 + drawn.constant
        self._relief = _relief(tree)
        flow = drawn.times(np.asarray(np.linalg.inv(own - (below - own) * np.abs(tree.z) * per_flow), dtype=np.float64))
        self._losses = flow.times(per_flow)  # upper bounds of l
        self._losses_below = self._losses.times((below - own) * np.abs(tree.z))
        self._lowest_v = self._low + self._losses.times(-np.maximum(equations.H, 0.0))

    def limits(self) -> Affine:
        """What must not be positive: over-voltage and under-voltage by bus, overload by imports and by exports by branch."""
        return _stacked(*(f.behind_the_root() for f in (self.over_voltage(), self.under_voltage(), *self.overload())))

    def under_voltage(self) -> Affine:
        """v_min - v at every bus, at most."""
        return _shifted(self._lowest_v.times(-np.ones(len(self.tree.bus))), self.tree.v_min)

    def over_voltage(self) -> Affine:
        """v - v_max at every bus, at most: losses bounded below near uniform exports that would fill the row."""
        tree, H, below = self.tree, self._equations.H, self._below
        gained = -below[:, tree.at] * tree.export_demand.real
        plain = self._high.export.sum(axis=1)
        uniform = np.maximum(tree.v_max - self._high.constant, 0.0) / np.maximum(plain, 1e-30)
        near = np.minimum(np.outer(uniform, gained.sum(axis=1)), self.current * np.sqrt(tree.v_max))
        near = near * (plain > 0)[:, None]
        near = near if (tree.z.real >= 0).all() else np.zeros_like(near)  # else losses above could weigh more than H: see `highest_v`
        slope, offset = 2 * near / self.highest_v, near**2 / self.highest_v
        weight, gathered = np.zeros_like(H), np.zeros_like(H)
        for b in range(1, len(tree.bus)):
            above = tree.parent[b]
            gathered[:, b] = gathered[:, above] + np.maximum(weight[:, above], 0.0) * slope[:, above]
            weight[:, b] = H[:, b] - tree.z[b].real * gathered[:, b]
        back = np.maximum(weight, 0.0)
        export = Affine(gained, -below[:, tree.at] * tree.import_demand.real, -below @ (tree.shunt.real * self.highest_v))
        found = self._high + export.times(-back * slope) + self._losses.times(np.maximum(-weight, 0.0))
        return _shifted(found, (back * offset).sum(axis=1) - tree.v_max)

    def overload(self) -> tuple[Affine, Affine]:
        """|S| - rating * root of v at every branch, at most: where imports prevail, and where exports do.

        Let M be all imports and E all exports below, k the least cosine between imports and reversed exports, w losses, shunts and
        set points. |M - E| <= max(M - h E, E - h M) for h = 1 - root(2 - 2k) - 0.2, and |S| <= |M - E| + w. Losses do not point
        against imports, so |S|^2 <= E^2 + (M + w)^2 - 2 k E M as well, and then |S| <= E - h M + w/10 where E >= M + 5 w; between M and
        M + 5 w the first bound is 0.2 M - w better than it needs to be, which is enough unless all of it is less than 11 w: no danger
        where that fits into the rating. Exports that absorb vars lean towards w by an angle f, which adds 2 E w sin f to |S|^2: at most
        what w sin f / (1 - h) adds to the bound, as that is at least (1 - h) E.
        """
        drawn = self._drawn
        rating_v = self._rating() * np.sqrt(self.tree.v_min)
        small = LOSSES_SMALL * self.extra_max <= rating_v
        against = np.sin(-np.angle(-self.tree.export_demand).min(initial=0.0)) / (1 - max(self._relief, 0.0))
        share = np.where(small & (self._relief > 0), min(1.0, LOSS_SHARE + against), 1.0)
        extra = _shifted(self._losses_below, drawn.constant)
        none = np.zeros(len(share))
        imports = Affine(-self._relief * drawn.export, drawn.imports, none) + extra + self._room(self._lowered())
        exports = Affine(drawn.export, -self._relief * drawn.imports, none) + extra.times(share) + self._room(self._lowest_v)
        return imports, exports

    def _lowered(self) -> Affine:
        """The lower bound of v without what raises it."""
        return Affine(np.minimum(self._lowest_v.export, 0.0), np.minimum(self._lowest_v.imports, 0.0), self._lowest_v.constant)

    def _room(self, lower_v: Affine) -> Affine:
        """-rating * chord of the root of v, from v_min to the highest that this lower bound can be."""
        tree = self.tree
        rises = (lower_v.export > 0).any() or (lower_v.imports > 0).any()
        highest = self.highest_v if rises else np.maximum(lower_v.constant, tree.v_min)
        chord = 1 / (np.sqrt(tree.v_min) + np.sqrt(highest))
        return _shifted(lower_v.times(chord), np.sqrt(tree.v_min) - chord * tree.v_min).times(-self._rating())

    def interface(self) -> tuple[Affine, Affine]:
        """Power drawn from the source and power fed into it, at most, in this tree: functions of one row each."""
        tree = self.tree
        all_losses = self._losses.times(np.maximum(tree.z.real, 0.0)[None, :])
        shunts = float(tree.shunt.real @ self.highest_v)
        drawn = Affine(np.zeros((1, len(tree.at))), tree.import_demand.real[None, :], np.array([shunts])) + all_losses
        gains = self._losses.times(np.maximum(-tree.z.real, 0.0)[None, :])
        fed = Affine(-tree.export_demand.real[None, :], np.zeros((1, len(tree.at))), np.zeros(1)) + gains
        return drawn, fed

    def interface_limits(self) -> list[Affine]:
        """What must not be positive at the interface, where it has limits."""
        limits = self._network.interface_import_w_max, self._network.interface_export_w_max
        pairs = zip(self.interface(), limits, strict=True)
        return [_shifted(function, np.array([-limit / (3 * BASE_VA)])) for function, limit in pairs if np.isfinite(limit)]

    def current_from(self, limits: Affine, connected: Floats) -> Floats:
        """The greatest current in each branch while `limits` hold and nobody exceeds a cap (`connected`: all caps below it)."""
        relief = -np.minimum(_worst_passive(limits, self.tree, self._network), 0.0).sum(axis=1)
        slack = np.maximum(relief - limits.constant, 0.0)
        imports = self._ceiling(np.maximum(limits.imports, 0.0) / np.abs(self.tree.import_demand), slack)
        exports = self._ceiling(np.maximum(limits.export, 0.0) / np.abs(self.tree.export_demand), slack)
        flow = np.maximum(imports, exports) if self._relief >= 0 else imports + exports
        return np.asarray((np.minimum(flow, connected) + self.extra_max) / np.sqrt(self.tree.v_min))

    def _ceiling(self, coefficient: Floats, slack: Floats) -> Floats:
        """Greatest sum of |power| below each branch under any one row [m]: slack / least coefficient there."""
        tree = self.tree
        least = np.full((len(slack), len(tree.bus)), np.inf)
        np.minimum.at(least.T, tree.at, coefficient.T)
        for b in range(len(tree.bus) - 1, 0, -1):
            np.minimum(least[:, tree.parent[b]], least[:, b], out=least[:, tree.parent[b]])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(np.isinf(least), 0.0, slack[:, None] / least).min(axis=0, initial=np.inf))

    def _rating(self) -> Floats:
        """What is left of the ratings for the series current."""
        charging = self.tree.end_shunt * np.sqrt(np.maximum(self.highest_v, self.highest_v[self.tree.parent]))
        return np.asarray(np.where(np.isfinite(self.tree.rating), self.tree.rating - charging, UNLIMITED))


def rows(network: Network, tree: Tree) -> tuple[Rows, Rows]:
    """Rows of the limits that may bind, and two of interface power, drawn and fed in, in watts and before their limits.

    Both over the rights of the network's customers. A slack of a limit that is not positive means: no room at all.
    """
    bounded = _settled(Equations(tree), network)
    limits = _necessary(_packed(bounded.limits(), tree, network, _labels(tree, network)), network.caps_w())
    labels = [RowLabel("interface", word, "abc") for word in ("import", "export")]
    functions = [function.times(np.array([3 * BASE_VA])) for function in bounded.interface()]
    return limits, Rows.joined([_packed(function, tree, network, [label]) for function, label in zip(functions, labels, strict=True)])


def _settled(equations: Equations, network: Network) -> Bounded:
    """Bounds on currents that the rows they make guarantee themselves: from the ratings down to what the rows let flow."""
    tree = equations.tree
    below, root = equations.below[:, tree.at], np.sqrt(tree.v_min)
    caps = _caps_w(network)[tree.injector]
    exported, imported = below @ (caps[:, 0] * np.abs(tree.export_demand)), below @ (caps[:, 1] * np.abs(tree.import_demand))
    connected = exported + imported
    rating = np.where(tree.branch < 0, 0.0, tree.rating)
    current, accepted = np.minimum(rating, 2 * connected / root), None
    for _ in range(ROUNDS_MAX):
        bounded = Bounded(equations, network, current)
        reached = np.minimum(bounded.current_from(_stacked(bounded.limits(), *bounded.interface_limits()), connected), rating)
        if (reached <= current).all():
            accepted = bounded
            if (SPARE * reached >= current / SPARE).all():
                break
            current = np.minimum(current, SPARE * reached)
        else:
            current = np.minimum(np.maximum(current, SPARE * reached), rating)
    return accepted or Bounded(equations, network, rating)  # the rows guard the ratings themselves


def _caps_w(network: Network) -> Floats:
    """Greatest export and import of every injector, [n_injectors, 2]."""
    customers = [(c.rating_export_w, c.rating_import_w) for c in network.customers]
    return np.array(customers + [(max(p.high_w, 0), max(-p.low_w, 0)) for p in network.passives], dtype=float).reshape(-1, 2)


def _worst_passive(function: Affine, tree: Tree, network: Network) -> Floats:
    """What passive injectors add at their worst, [m, n_passives of the tree]: at an end of the forecast, or at nothing."""
    first = int(np.searchsorted(tree.injector, len(network.customers)))
    passives = [network.passives[k - len(network.customers)] for k in tree.injector[first:]]
    ends = np.array([(p.low_w, p.high_w, min(max(0, p.low_w), p.high_w)) for p in passives], dtype=float).reshape(-1, 3)
    values = [function.export[:, first:] * np.maximum(p, 0) + function.imports[:, first:] * np.maximum(-p, 0) for p in ends.T]
    return np.asarray(np.max(values, axis=0))


def _packed(function: Affine, tree: Tree, network: Network, labels: list[RowLabel]) -> Rows:
    """`function` <= 0 as packing rows: of each customer the worse end of the envelope, of each passive that of the forecast."""
    n = len(network.customers)
    active = tree.injector[tree.injector < n]
    coefficient = np.zeros((len(function.constant), 2 * n))
    coefficient[:, active] = np.maximum(function.export[:, : len(active)], 0.0)
    coefficient[:, n + active] = np.maximum(function.imports[:, : len(active)], 0.0)
    return Rows(coefficient, -function.constant - _worst_passive(function, tree, network).sum(axis=1), labels)


def _necessary(packed: Rows, caps_w: NDArray[np.int64]) -> Rows:
    """Without the rows that cannot bind, and with float rounding taken from the slack."""
    slack = packed.slack - ROUNDING * np.maximum(1.0, np.abs(packed.slack))
    full = np.flatnonzero(slack <= 0)  # no room for anybody: the caller says so
    kept = full if len(full) else necessary(packed.coefficient / slack[:, None], 1.0, caps_w)
    return Rows(packed.coefficient[kept], slack[kept], [packed.labels[row] for row in kept])


def _labels(tree: Tree, network: Network) -> list[RowLabel]:
    """In the order of `Bounded.limits`."""
    buses = [f"bus {network.bus_names[bus]}" for bus in tree.bus[1:]]
    branches = [network.branches[b].name for b in tree.branch[1:]]
    voltages = [RowLabel(kind, name, "abc") for kind in ("voltage_max", "voltage_min") for name in buses]
    return voltages + [RowLabel("thermal", name, "abc") for name in branches * 2]


def _relief(tree: Tree) -> float:
    """How much of the exports certainly counts against imports, h of `Bounded.overload`; -1: they may even add to them."""
    if not len(tree.at):
        return 0.0
    if min(tree.z.real.min(), tree.z.imag.min(), tree.shunt.real.min()) < 0:
        return -1.0
    drawn, back = np.angle(tree.import_demand), np.angle(-tree.export_demand)
    k, spread = np.cos(drawn.max() - back.min()), np.cos(max(np.ptp(drawn), np.ptp(back)))
    return float(max(0.0, 1 - np.sqrt(2 - 2 * k) - 0.2) * spread) if k >= 0.5 else -1.0


def _shifted(function: Affine, change: Floats) -> Affine:
    return Affine(function.export, function.imports, function.constant + change)


def _stacked(*functions: Affine) -> Affine:
    return Affine(*(np.concatenate([getattr(f, part) for f in functions]) for part in ("export", "imports", "constant")))
