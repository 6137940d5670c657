"""What the operator may set, inverters' reactive power and transformers' taps, and what each setting does to every row.

A row says share . x <= 1, where the limit behind it is f(x) <= 0 and f grows by `alpha` times what the row is used. So a
setting that moves f by df moves the row's use by df / alpha. alpha is read from the model: at a point near the row's own face
(all customers at their ratings in the direction that hurts, scaled until no row is broken) the gradient of f by right is
alpha times the row's coefficients, as well as they fit.

* Reactive power: df / dq from the AC sensitivities. A phantom customer at the inverter's own terminals, whose imports draw a var
  with each watt, has them in its two columns: a watt in and a watt out cancel, the var stays.
* Taps: a secant, f with the tap one step away less f as it is, at the same point.

Rows that are proven rather than fitted answer to settings in their own way: they count a var as current whichever way it flows,
so its two directions differ. Where building them takes no search, they are built again with all inverters, and each tap, moved one
way and the other, and what each row then says is spread over the levers by their tangents.

Linear, at one point per row, so it is good for proposals only; what is proposed is verified with rows of its own. Rows of kinds
that the dense model has no monitor for (interface power) count as indifferent to settings.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from riskcheck.limits import Limits
from riskcheck.linearise import build, is_proven
from riskcheck.reduced import Reduced
from riskcheck.rows import Insecure
from riskcheck.tangents import row_labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from riskcheck.network import Branch, Network
    from riskcheck.polytope import Polytope, RowLabel

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

DIAGONAL_POWER_FACTOR = 0.5**0.5  # as many vars as watts


@dataclass(frozen=True)
class Lever:
    """One setting: `kind` as the exchange names it. It may change from where it is by `low`..`high`, whole vars or whole steps."""

    kind: str  # "reactive_var" | "tap"
    device: str  # customer id, or branch name
    position: int  # among customers, or branches
    low: int
    high: int


def levers_of(network: Network) -> tuple[Lever, ...]:
    """Everything in this network that the operator may set, inverters first."""
    inverters = [
        Lever("reactive_var", c.id, i, -c.reactive_var_max - c.reactive_var, c.reactive_var_max - c.reactive_var)
        for i, c in enumerate(network.customers)
        if c.reactive_var_max > 0
    ]
    taps = [Lever("tap", b.name, i, b.tap_low, b.tap_high) for i, b in enumerate(network.branches) if b.tap_step and b.tap_low < b.tap_high]
    return (*inverters, *taps)


def moved(network: Network, levers: Iterable[Lever], change: Iterable[int]) -> Network:
    """The network with each lever changed by so many vars or steps."""
    customers, branches = list(network.customers), list(network.branches)
    for lever, amount in zip(levers, change, strict=True):
        if lever.kind == "reactive_var":
            now = customers[lever.position]
            customers[lever.position] = dataclasses.replace(now, reactive_var=now.reactive_var + amount)
        else:
            branches[lever.position] = _stepped(branches[lever.position], amount)
    return dataclasses.replace(network, customers=tuple(customers), branches=tuple(branches))


def _stepped(branch: Branch, steps: int) -> Branch:
    """The branch with its tap moved; later steps are as large as they were, in volts."""
    change = 1 + steps * branch.tap_step
    low, high = branch.tap_low - steps, branch.tap_high - steps
    return dataclasses.replace(branch, ratio=branch.ratio * change, tap_step=branch.tap_step / change, tap_low=low, tap_high=high)


def sensitivities(network: Network, rows: Polytope, levers: tuple[Lever, ...]) -> tuple[Floats, Floats]:
    """By how much of its slack each row's use grows when a lever goes all the way up, and all the way down: [n_rows, n_levers] each."""
    slopes = _tangents(network, rows, levers)
    low, high = (np.array([getattr(lever, end) for lever in levers]) for end in ("low", "high"))
    up, down = slopes * high, slopes * low
    if is_proven(network):
        taps = [[number] for number, lever in enumerate(levers) if lever.kind == "tap"]
        for group in ([number for number, lever in enumerate(levers) if lever.kind == "reactive_var"], *taps):
            for direction, ends in ((up, high), (down, low)):
                direction[:, group] = _as_rows_say(network, rows, [levers[number] for number in group], ends[group], direction[:, group])
    return up, down


def _as_rows_say(network: Network, rows: Polytope, levers: list[Lever], ends: Indices, tangent: Floats) -> Floats:
    """The tangents [n_rows, n_levers] of going to these ends, corrected to what rows built on the way there say; as they are where
    no way there leaves secure rows."""
    for share in (0.5, 0.1, 0.02):
        change = np.where(ends != 0, np.sign(ends) * np.maximum(np.rint(np.abs(ends) * share), 1), 0).astype(int)
        try:
            rebuilt = build(moved(network, levers, change.tolist()))
        except Insecure:
            continue
        grown = _growth(rows, rebuilt, _points(rows, network))
        weight = np.abs(tangent)
        total = weight.sum(axis=1, keepdims=True)
        whole = np.divide(ends, change, out=np.zeros(len(ends)), where=change != 0)
        return np.asarray(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0) * grown[:, None] * whole)
    return tangent


def _growth(before: Polytope, after: Polytope, points: Floats) -> Floats:
    """By how much more each row of `before` is used at its own point, signed watts [n_rows, n_customers], as `after` has it: by the
    rows that bear its label, or, where others imply them, by all of its kind."""
    x = np.hstack([np.maximum(points, 0.0), np.maximum(-points, 0.0)])
    was, now = (x @ (rows.columns / rows.slack) for rows in (before, after))
    left = set(after.labels)
    grown = np.empty(before.n_rows)
    for row, label in enumerate(before.labels):
        old, new = (
            [i for i, other in enumerate(rows.labels) if (other == label if label in left else other.kind == label.kind)]
            for rows in (before, after)
        )
        grown[row] = now[row, new].max(initial=0.0) - was[row, old].max(initial=0.0)
    return grown


def _tangents(network: Network, rows: Polytope, levers: tuple[Lever, ...]) -> Floats:
    """By how much of its slack each row's use grows with a var or a step more, [n_rows, n_levers], from the AC model."""
    found = np.zeros((rows.n_rows, len(levers)))
    with_phantoms = _with_phantoms(network, levers)
    model = Reduced(with_phantoms)
    row, limits = _limits_of_rows(rows, model)
    if not len(row):
        return found
    points = _injected(_points(rows, network), with_phantoms)[row]
    exports, imports = np.split(limits.slopes(model, points), 2, axis=1)
    share, n = (rows.columns / rows.slack).T[row], len(network.customers)
    hurts = np.maximum(np.hstack([exports[:, :n], imports[:, :n]]), 0.0)
    alpha = (hurts * share).sum(axis=1) / (share**2).sum(axis=1)
    by_lever = np.empty((len(row), len(levers)))
    vars_of_phantoms = iter(-(exports + imports)[:, n:].T)
    for number, lever in enumerate(levers):
        by_lever[:, number] = (
            next(vars_of_phantoms) if lever.kind == "reactive_var" else _by_tap(with_phantoms, lever, model, limits, points)
        )
    fits = alpha / np.linalg.norm(hurts, axis=1).clip(min=1e-300) * np.linalg.norm(share, axis=1)
    for pair in np.argsort(fits, kind="stable"):  # the best fitting limit of a row is written last
        if alpha[pair] > 0:
            found[row[pair]] = by_lever[pair] / alpha[pair]
    return found


def _with_phantoms(network: Network, levers: tuple[Lever, ...]) -> Network:
    """The network with a customer more at each inverter, whose imports draw as many vars as watts."""
    inverters = [network.customers[lever.position] for lever in levers if lever.kind == "reactive_var"]
    phantoms = tuple(
        dataclasses.replace(c, id=f"{c.id} var", power_factor=DIAGONAL_POWER_FACTOR, export_power_factor=1.0, volt_var=None, reactive_var=0)
        for c in inverters
    )
    return dataclasses.replace(network, customers=network.customers + phantoms)


def _limits_of_rows(rows: Polytope, model: Reduced) -> tuple[Indices, Limits]:
    """Every pair of a row and a limit that bears its label: a branch has a limit at either end."""
    limits = Limits.of(model, extremal_only=False)
    limits_named: dict[RowLabel, list[int]] = {}
    for limit, label in enumerate(row_labels(model, limits)):
        limits_named.setdefault(label, []).append(limit)
    pairs = [(row, limit) for row, label in enumerate(rows.labels) for limit in limits_named.get(label, ())]
    of_row, of_limit = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return of_row, limits.chosen(of_limit)


def _points(rows: Polytope, network: Network) -> Floats:
    """A point near each row's face, signed watts [n_rows, n_customers]: ratings in the direction that hurts, scaled into the rows."""
    share, n, caps = rows.columns / rows.slack, len(network.customers), network.caps_w().astype(float)
    up, down = share[:n].T, share[n:].T
    mostly_up = (up.sum(axis=1) > down.sum(axis=1))[:, None]
    exporting = (up > down) | ((up == down) & mostly_up)
    x = np.hstack([np.where(exporting, caps[:n], 0.0), np.where(exporting, 0.0, caps[n:])])
    x /= np.maximum((x @ share).max(axis=1, initial=1.0), 1.0)[:, None]
    return np.asarray(x[:, :n] - x[:, n:])


def _injected(points: Floats, network: Network) -> Floats:
    """The points with everything else that injects, [n_rows, n_injectors]: phantoms idle, passives in the middle of their forecasts."""
    phantoms = np.zeros((len(points), len(network.customers) - points.shape[1]))
    passives = np.tile([(p.low_w + p.high_w) / 2 for p in network.passives], (len(points), 1))
    return np.hstack([points, phantoms, passives])


def _by_tap(network: Network, lever: Lever, model: Reduced, limits: Limits, points: Floats) -> Floats:
    """What one step of the tap changes of each limit at its own point."""
    steps = 1 if lever.high > 0 else -1
    tapped = Reduced(moved(network, [lever], [steps]))
    return np.asarray(np.diagonal(limits.measure(tapped, points) - limits.measure(model, points)) * steps)
