"""AC evidence that a set of envelopes is secure, or the corner that breaks it. Works on envelopes that anyone made.

A customer may draw or inject anything inside its envelope, so the envelopes are secure if every point of the box
[-import_w, export_w] is, with every passive customer anywhere in its forecast. `certify` searches the box as an adversary
(`riskcheck/box.py`) with the dense model, which is an AC power flow itself, at both ends of the interface voltage range; then
it runs the worst points of every kind of limit through power-grid-model on the whole network, and insists that the two agree to 1e-6.

It is evidence, not proof: it can show that a box is broken, and that a determined search did not break it. Tolerances are
those of the contract, 1e-6 pu and 0.01 % of a rating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from riskcheck.admittance import NEUTRAL
from riskcheck.box import EFFORTS, Adversary, Found, pieces
from riskcheck.certificate import BranchLoading, Certificate, Corner, KindMargin, PhaseVoltage, describe
from riskcheck.corners import Box
from riskcheck.fixedpoint import engine
from riskcheck.limits import KINDS, Limits
from riskcheck.monitors import POWERS
from riskcheck.powerflow import Flows, NoSolution, PowerFlow
from riskcheck.reduced import Reduced
from riskcheck.screen import Screening, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from riskcheck.network import Network

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]
    Progress = Callable[[str, float], None]

__all__ = ["TOLERANCE", "Certificate", "Certifier", "Corner", "KindMargin", "certify", "describe"]

TOLERANCE = {"voltage_max": 1e-6, "voltage_min": 1e-6, "thermal": 1e-4, "interface": 1e-4}
UNIT = {"voltage_max": "pu", "voltage_min": "pu", "thermal": "of rating", "interface": "of limit"}
WEIGHT = {
    "voltage_max": 1.0,
    "voltage_min": 1.0,
    "thermal": 0.1,
    "interface": 0.1,
}  # voltage margins are of the order of 0.1 pu, others of 1
DISAGREEMENT_MAX = 1e-6  # between the two engines, pu of nominal voltage and fraction of rating
COLLAPSED = -1.0  # the margin that stands for "there is no operating point at all"


class Certifier:
    """A network prepared for certificates: build once where many sets of envelopes are to be certified."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.model = Reduced(network)
        self.limits = Limits.of(self.model, both_ends=True)
        self.all_limits = Limits.of(self.model, extremal_only=False, both_ends=True)
        self.engine = engine(self.model)
        self._flow = PowerFlow(network)

    def certify(
        self,
        export_w: npt.ArrayLike,
        import_w: npt.ArrayLike,
        *,
        seed: int = 0,
        effort: str = "quick",
        rows_hash: str | None = None,
        progress: Progress | None = None,
    ) -> Certificate:
        """See `certify`."""
        export, imports = _envelopes(self.network, export_w, import_w)
        if effort not in EFFORTS:
            raise ValueError(f"effort is 'quick' or 'full', not {effort!r}")
        box = Box.of(self.network, export, imports)
        searched = Adversary(self.model, self.engine, self.limits, box, EFFORTS[effort], seed).search(progress)
        found = self._everywhere(searched)
        confirmed = self._confirm(found, EFFORTS[effort].confirmed)
        return _Report(self.model, self.all_limits, box, found).certificate(confirmed, effort, seed, rows_hash)

    def screen(self, export_w: npt.ArrayLike, import_w: npt.ArrayLike, *, corners: int = 1000, seed: int = 0) -> Screening:
        """Many sets of envelopes, whole watts [n_sets, n_customers] each, at the same corners; see `riskcheck/screen.py`."""
        sets = zip(np.atleast_2d(export_w), np.atleast_2d(import_w), strict=True)
        boxes = [Box.of(self.network, *_envelopes(self.network, export, imports)) for export, imports in sets]
        return screen(self.model, self.engine, self.limits, boxes, corners, seed)

    def _everywhere(self, searched: Found) -> Found:
        """The worst points of the search, at every monitor of the network."""
        limits = self.all_limits
        found = Found.nothing(len(limits.monitor), searched.points.shape[1])
        rows = np.unique(searched.row)
        for some in pieces(len(rows), len(limits.monitor)):
            points = searched.points[rows[some]]
            found.add(points, limits.measure(self.engine, points), [searched.strategy[row] for row in rows[some]])
        found.tried = searched.tried
        return found

    def _confirm(self, found: Found, per_kind: int) -> int:
        """Power-grid-model at the points that came nearest to breaking each kind of limit. Returns how many runs it made.

        Asserts that it agrees with the dense model at every bus, branch and phase.
        """
        limits, runs = self.all_limits, 0
        points = found.points[_nearest(limits, found, per_kind)]
        for which, interface_pu, _, _ in limits.ends:
            state = self.engine.solve(points, interface_pu)
            solved = np.isfinite(state).all(axis=1)
            if not solved.any():
                continue
            try:
                flows = self._flow.run(points[solved], interface_pu)
            except NoSolution:
                found.f[which] = np.inf
                continue
            self._agree(flows, self.engine.values(state[solved], interface_pu, np.arange(len(self.model.scale))))
            runs += int(solved.sum())
        return runs

    def _agree(self, flows: Flows, values: Floats) -> None:
        """The engine reports the larger end of a branch, the monitors each end: compared branch by branch."""
        network, monitors = self.network, self.model.monitors
        volts, powers = monitors.is_voltage, monitors.is_power
        currents = np.flatnonzero(~volts & ~powers)
        mine = np.zeros((len(network.branches), NEUTRAL + 1, len(values)))
        np.maximum.at(mine, tuple(np.array([monitors.element[currents], monitors.phase[currents]])), values[:, currents].T)
        limits_w = np.array([-network.interface_export_w_max, network.interface_import_w_max])[monitors.element[powers]]
        gaps = (
            flows.voltage_pu[:, monitors.element[volts], monitors.phase[volts]] - values[:, volts],
            np.moveaxis(flows.loading, 0, 2) - mine[:, : network.phases],
            flows.neutral.T - mine[:, NEUTRAL],
            flows.interface_w[:, None] / limits_w - values[:, powers],
        )
        gap = max(float(np.abs(gap).max(initial=0.0)) for gap in gaps)
        assert gap < DISAGREEMENT_MAX, f"the two power flow engines of {network.name} disagree by {gap:.2e}"


def certify(
    network: Network,
    export_w: npt.ArrayLike,
    import_w: npt.ArrayLike,
    *,
    seed: int = 0,
    effort: str = "quick",
    rows_hash: str | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Adversarial AC certificate of envelopes, whole watts [n_customers] each; effort "quick" (about a second) or "full".

    Deterministic in its arguments. Raises ValueError for envelopes that do not fit the network.

    progress: called with a phrase and the share done, for a person who waits.
    """
    return Certifier(network).certify(export_w, import_w, seed=seed, effort=effort, rows_hash=rows_hash, progress=progress)


class _Report:
    """What a search found, in the words of a certificate."""

    def __init__(self, model: Reduced, limits: Limits, box: Box, found: Found) -> None:
        self._model, self._network, self._limits, self._box, self._found = model, model.network, limits, box, found
        self._margin = -np.where(np.isfinite(found.f), found.f, -COLLAPSED)

    def certificate(self, confirmed: int, effort: str, seed: int, rows_hash: str | None) -> Certificate:
        kinds = {kind: self._kind(kind) for kind in KINDS if (self._limits.kind == KINDS.index(kind)).any()}
        worst = min(kinds.values(), key=lambda one: one.margin * WEIGHT[one.kind])
        bus_margin_pu, branch_margin = self._by_element()
        return Certificate(
            secure=all(one.margin >= -TOLERANCE[one.kind] for one in kinds.values()),
            margin_voltage_max_pu=kinds["voltage_max"].margin,
            margin_voltage_min_pu=kinds["voltage_min"].margin,
            margin_thermal=kinds["thermal"].margin,
            highest_voltages=self._extremes("voltage_max"),
            lowest_voltages=self._extremes("voltage_min"),
            worst_branch=self._worst_branch(),
            worst_kind=worst.kind,
            worst_corner=worst.corner,
            points_tried=self._found.tried.total(),
            points_confirmed=confirmed,
            bus_margin_pu=bus_margin_pu,
            branch_margin=branch_margin,
            network_hash=self._network.content_hash,
            effort=effort,
            seed=seed,
            rows_hash=rows_hash,
            kinds=tuple(kinds.values()),
            points_by_strategy=dict(self._found.tried),
        )

    def _kind(self, kind: str) -> KindMargin:
        limit = self._nearest(self._limits.kind == KINDS.index(kind))
        margin, row = float(self._margin[limit]), self._found.row[limit]
        point, customers = np.rint(self._found.points[row]).astype(int).tolist(), len(self._network.customers)
        corner = Corner(self._words(limit), float(self._limits.interface_pu[limit]), tuple(point[:customers]), tuple(point[customers:]))
        value, where, strategy = self._value(limit), self._element(limit), self._found.strategy[row]
        return KindMargin(kind, margin, value, UNIT[kind], where, self._phase(limit), corner, strategy, self._volts(limit, value))

    def _volts(self, limit: int, value_pu: float) -> float | None:
        monitors, monitor = self._model.monitors, self._limits.monitor[limit]
        return value_pu * float(self._network.bus_nominal_v[monitors.element[monitor]]) if monitors.is_voltage[monitor] else None

    def _nearest(self, among: Flags) -> int:
        which = np.flatnonzero(among)
        return int(which[self._margin[which].argmin()])

    def _value(self, limit: int) -> float:
        return float(self._limits.bound[limit] - self._limits.sense[limit] * self._margin[limit])

    def _words(self, limit: int) -> str:
        point = self._found.points[self._found.row[limit]]
        inside = int(((self._box.low_w < point) & (point < self._box.high_w) & (point != 0)).sum())
        return describe(self._network, point) + (f", {inside} of {len(point)} inside their limits" if inside else "")

    def _phase(self, limit: int) -> str:
        monitors, monitor = self._model.monitors, self._limits.monitor[limit]
        return "abc" if self._network.phases == 1 or monitors.is_power[monitor] else "abcn"[monitors.phase[monitor]]

    def _element(self, limit: int) -> str:
        monitors, monitor = self._model.monitors, self._limits.monitor[limit]
        element = monitors.element[monitor]
        if monitors.is_power[monitor]:
            return f"interface {POWERS[element]}"
        return f"bus {self._network.bus_names[element]}" if monitors.is_voltage[monitor] else self._network.branches[element].name

    def _extremes(self, kind: str) -> tuple[PhaseVoltage, ...]:
        """The limit of this kind that came nearest to breaking on each phase."""
        network, monitors = self._network, self._model.monitors
        phase = monitors.phase[self._limits.monitor]
        rows = []
        for p in range(network.phases):
            limit = self._nearest((self._limits.kind == KINDS.index(kind)) & (phase == p))
            bus, value_pu = int(monitors.element[self._limits.monitor[limit]]), self._value(limit)
            value_v = value_pu * float(network.bus_nominal_v[bus])
            rows.append(PhaseVoltage(self._phase(limit), value_pu, value_v, network.bus_names[bus], self._words(limit)))
        return tuple(rows)

    def _worst_branch(self) -> BranchLoading:
        limit = self._nearest(self._limits.kind == KINDS.index("thermal"))
        return BranchLoading(self._element(limit), self._phase(limit), 100 * self._value(limit), self._words(limit))

    def _by_element(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The smallest margin of every bus, the interface among them, and of every branch."""
        limits, network = self._limits, self._network
        element, thermal = self._model.monitors.element[limits.monitor], limits.kind == KINDS.index("thermal")
        volts = self._model.monitors.is_voltage[limits.monitor]
        bus, branch = _interface_margins(network), np.ones(len(network.branches))
        np.minimum.at(bus, element[volts], self._margin[volts])
        np.minimum.at(branch, element[thermal], self._margin[thermal])
        return tuple(bus.tolist()), tuple(branch.tolist())


def _nearest(limits: Limits, found: Found, per_kind: int) -> Indices:
    """Rows of the points that came nearest to breaking each kind of limit."""
    rows: list[int] = []
    for kind in np.unique(limits.kind):
        which = np.flatnonzero(limits.kind == kind)
        order = found.row[which[np.argsort(-found.f[which], kind="stable")]]
        rows += list(dict.fromkeys(order.tolist()))[:per_kind]
    return np.unique(rows)


def _interface_margins(network: Network) -> Floats:
    """What the interface voltages leave to the limits of their own buses, in pu of that bus; infinite at all others."""
    to_pu = network.bus_base_v / network.bus_nominal_v
    above = network.bus_max_v / network.bus_nominal_v - network.interface_max_pu * to_pu
    below = network.interface_min_pu * to_pu - network.bus_min_v / network.bus_nominal_v
    return np.where(np.isin(np.arange(network.n_buses), network.sources), np.minimum(above, below), np.inf)


def _envelopes(network: Network, export_w: npt.ArrayLike, import_w: npt.ArrayLike) -> tuple[Floats, Floats]:
    both = []
    for name, given in (("export_w", export_w), ("import_w", import_w)):
        watts = np.asarray(given)
        if watts.shape != (len(network.customers),):
            raise ValueError(f"{name} has shape {watts.shape}, the network has {len(network.customers)} customers")
        if not np.issubdtype(watts.dtype, np.integer) or (watts < 0).any():
            raise ValueError(f"{name} must be whole watts, none negative")
        both.append(watts.astype(float))
    return both[0], both[1]
