"""AC evidence that a set of envelopes is secure, or the corner that breaks it. Works on envelopes that anyone made.

A customer may draw or inject anything inside its envelope, so the envelopes are secure if every point of the box
[-import_w, export_w] is. `certify` searches the box as an adversary (`riskcheck/adversary.py`) with the dense model, which
is an AC power flow itself, at both ends of the interface voltage range; then it runs the worst corners of every kind of
limit through power-grid-model on the whole network, insists that the two agree, and reports the smaller margin.

It is evidence, not proof: it can show that a box is broken, and that a determined search did not break it. Tolerances are
those of the contract, 1e-6 pu and 0.01 % of a rating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from riskcheck.adversary import KINDS, Limits, worst_of_box
from riskcheck.powerflow import NoSolution, PowerFlow
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.network import Network

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

TOLERANCE = {"voltage_max": 1e-6, "voltage_min": 1e-6, "thermal": 1e-4}
DISAGREEMENT_MAX = 1e-6  # between the two engines, pu of nominal voltage and fraction of rating
COLLAPSED = -1.0  # the margin that stands for "there is no operating point at all"
CONFIRMED_PER_KIND = {"quick": 4, "full": 16}


class Corner(msgspec.Struct, frozen=True):
    """A point of the box in words and in whole watts per customer, export positive, at an interface voltage."""

    description: str
    interface_pu: float
    power_w: tuple[int, ...]


class PhaseVoltage(msgspec.Struct, frozen=True):
    """The most extreme voltage of one phase: per unit of nominal, in volts, and where."""

    phase: str
    voltage_pu: float
    voltage_v: float
    bus: str
    corner: str


class BranchLoading(msgspec.Struct, frozen=True):
    name: str
    phase: str
    loading_percent: float
    corner: str


class Certificate(msgspec.Struct, frozen=True):
    """Result of `certify`. Margins are the smallest found, negative where a limit breaks: pu, pu, fraction of rating.

    `bus_margin_pu` and `branch_margin` have one figure per bus and branch of the network, the smallest over phases, sides
    and corners. `points_tried` counts AC power flows of the search, `points_confirmed` those of power-grid-model.
    """

    secure: bool
    margin_voltage_max_pu: float
    margin_voltage_min_pu: float
    margin_thermal: float
    highest_voltages: tuple[PhaseVoltage, ...]
    lowest_voltages: tuple[PhaseVoltage, ...]
    worst_branch: BranchLoading
    worst_kind: str
    worst_corner: Corner
    points_tried: int
    points_confirmed: int
    bus_margin_pu: tuple[float, ...]
    branch_margin: tuple[float, ...]
    network_hash: str
    effort: str
    seed: int
    rows_hash: str | None = None


class Certifier:
    """A network prepared for certificates: build once where many sets of envelopes are to be certified."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.model = Reduced(network)
        self.limits = Limits.of(self.model)
        self.all_limits = Limits.of(self.model, extremal_only=False)
        self._flow = PowerFlow(network)

    def certify(
        self, export_w: npt.ArrayLike, import_w: npt.ArrayLike, *, seed: int = 0, effort: str = "quick", rows_hash: str | None = None
    ) -> Certificate:
        """See `certify`."""
        export, imports = _envelopes(self.network, export_w, import_w)
        if effort not in CONFIRMED_PER_KIND:
            raise ValueError(f"effort is 'quick' or 'full', not {effort!r}")
        points, f = worst_of_box(self.model, self.limits, export, imports, seed=seed, full=effort == "full")
        worst = np.unique(f.argmax(axis=0))
        points, tried = points[worst], len(points)
        everywhere = self.all_limits.measure(self.model, points)
        confirmed = self._confirm(points, everywhere, CONFIRMED_PER_KIND[effort])
        return self._certificate(points, everywhere, tried, confirmed, effort, seed, rows_hash)

    def _confirm(self, points: Floats, f: Floats, per_kind: int) -> int:
        """Power-grid-model at the points that came nearest to breaking each kind of limit. Returns how many runs it made.

        Asserts that it agrees with the dense model at every bus, branch and phase.
        """
        limits, network = self.all_limits, self.network
        chosen: set[int] = set()
        for kind in range(len(KINDS)):
            worst = f[:, limits.kind == kind].max(axis=1)
            chosen.update(int(i) for i in np.argsort(-worst, kind="stable")[:per_kind])
        index = np.array(sorted(i for i in chosen if np.isfinite(f[i]).all()), dtype=np.int64)
        if not len(index):
            return 0
        monitors = self.model.monitors
        for which, interface_pu in limits.interfaces_pu(self.model):
            try:
                flows = self._flow.run(points[index], interface_pu)
            except NoSolution:
                f[np.ix_(index, which)] = np.inf
                continue
            monitor = limits.monitor[which]
            at, phase = monitors.element[monitor], monitors.phase[monitor]
            is_voltage = monitors.is_voltage[monitor]
            values = np.where(is_voltage, flows.voltage_pu[:, np.where(is_voltage, at, 0), phase], 0.0)
            # the engine reports the larger end of a branch, the monitors each end: compare branch by branch
            engine = limits.sense[which] * (values - limits.bound[which])
            mine = f[np.ix_(index, which)]
            gap = np.abs(engine - mine)[:, is_voltage].max(initial=0.0)
            loading = _by_branch(mine[:, ~is_voltage] + 1, at[~is_voltage], phase[~is_voltage], flows.loading.shape)
            gap = max(gap, np.abs(loading - flows.loading).max() if (~is_voltage).any() else 0.0)
            assert gap < DISAGREEMENT_MAX, f"the two power flow engines of {network.name} disagree by {gap:.2e}"
            f[np.ix_(index, which)] = np.where(is_voltage, np.maximum(engine, mine), mine)
        return 2 * len(index)

    def _certificate(
        self, points: Floats, f: Floats, tried: int, confirmed: int, effort: str, seed: int, rows_hash: str | None
    ) -> Certificate:
        limits, network, monitors = self.all_limits, self.network, self.model.monitors
        f = np.where(np.isfinite(f), f, -COLLAPSED)
        margin = -f.max(axis=0)
        where = f.argmax(axis=0)
        smallest = {kind: float(margin[limits.kind == k].min(initial=np.inf)) for k, kind in enumerate(KINDS)}
        # voltage margins are of the order of 0.1 pu, thermal ones of 1: compare them as shares of that
        worst_kind = min(KINDS, key=lambda kind: smallest[kind] * (0.1 if kind == "thermal" else 1.0))
        of_kind = np.flatnonzero(limits.kind == KINDS.index(worst_kind))
        worst_limit = of_kind[margin[of_kind].argmin()]
        words = [describe(network, point) for point in points]
        interface_pu = network.interface_max_pu if worst_kind == "voltage_max" else network.interface_min_pu
        corner = Corner(words[where[worst_limit]], interface_pu, tuple(int(w) for w in np.rint(points[where[worst_limit]])))
        bus_margin = np.array([min(v - lo, hi - w) for v, w, lo, hi in self._interface_margins()])
        branch_margin = np.ones(len(network.branches))
        element = monitors.element[limits.monitor]
        is_voltage = limits.kind != KINDS.index("thermal")
        np.minimum.at(bus_margin, element[is_voltage], margin[is_voltage])
        np.minimum.at(branch_margin, element[~is_voltage], margin[~is_voltage])
        return Certificate(
            secure=all(smallest[kind] >= -TOLERANCE[kind] for kind in KINDS),
            margin_voltage_max_pu=smallest["voltage_max"],
            margin_voltage_min_pu=smallest["voltage_min"],
            margin_thermal=smallest["thermal"],
            highest_voltages=self._extremes("voltage_max", margin, where, words),
            lowest_voltages=self._extremes("voltage_min", margin, where, words),
            worst_branch=self._worst_branch(margin, where, words),
            worst_kind=worst_kind,
            worst_corner=corner,
            points_tried=tried,
            points_confirmed=confirmed,
            bus_margin_pu=tuple(float(x) for x in bus_margin),
            branch_margin=tuple(float(x) for x in branch_margin),
            network_hash=network.content_hash,
            effort=effort,
            seed=seed,
            rows_hash=rows_hash,
        )

    def _interface_margins(self) -> list[tuple[float, float, float, float]]:
        """For each bus (lowest, highest, lower limit, upper limit) of the interface voltages, in pu of that bus."""
        network = self.network
        to_pu = network.bus_base_v / network.bus_nominal_v
        low, high = network.bus_min_v / network.bus_nominal_v, network.bus_max_v / network.bus_nominal_v
        at_source = np.isin(np.arange(network.n_buses), network.sources)
        lowest = np.where(at_source, network.interface_min_pu * to_pu, np.inf)
        highest = np.where(at_source, network.interface_max_pu * to_pu, -np.inf)
        return [(float(a), float(b), float(c), float(d)) for a, b, c, d in zip(lowest, highest, low, high, strict=True)]

    def _extremes(self, kind: str, margin: Floats, where: Indices, words: list[str]) -> tuple[PhaseVoltage, ...]:
        limits, network, monitors = self.all_limits, self.network, self.model.monitors
        rows = []
        for phase in range(network.phases):
            which = np.flatnonzero((limits.kind == KINDS.index(kind)) & (monitors.phase[limits.monitor] == phase))
            value = limits.bound[which] - limits.sense[which] * margin[which]
            pick = which[value.argmax() if kind == "voltage_max" else value.argmin()]
            bus = int(monitors.element[limits.monitor[pick]])
            value_pu = float(limits.bound[pick] - limits.sense[pick] * margin[pick])
            name = "abc" if network.phases == 1 else "abc"[phase]
            value_v = value_pu * float(network.bus_nominal_v[bus])
            rows.append(PhaseVoltage(name, value_pu, value_v, network.bus_names[bus], words[where[pick]]))
        return tuple(rows)

    def _worst_branch(self, margin: Floats, where: Indices, words: list[str]) -> BranchLoading:
        limits, network, monitors = self.all_limits, self.network, self.model.monitors
        which = np.flatnonzero(limits.kind == KINDS.index("thermal"))
        pick = which[margin[which].argmin()]
        monitor = limits.monitor[pick]
        phase = "abc" if network.phases == 1 else "abc"[monitors.phase[monitor]]
        return BranchLoading(network.branches[monitors.element[monitor]].name, phase, float(100 * (1 - margin[pick])), words[where[pick]])


def certify(
    network: Network,
    export_w: npt.ArrayLike,
    import_w: npt.ArrayLike,
    *,
    seed: int = 0,
    effort: str = "quick",
    rows_hash: str | None = None,
) -> Certificate:
    """Adversarial AC certificate of envelopes, whole watts [n_customers] each; effort "quick" (about a second) or "full".

    Deterministic in its arguments. Raises ValueError for envelopes that do not fit the network.
    """
    return Certifier(network).certify(export_w, import_w, seed=seed, effort=effort, rows_hash=rows_hash)


def describe(network: Network, power_w: Floats) -> str:
    """A point in words, phase by phase: "phase a exports, b and c import"."""
    phases: dict[str, list[float]] = {}
    for customer, power in zip(network.customers, power_w, strict=True):
        phases.setdefault(customer.phase, []).append(float(power))
    verbs: dict[str, list[str]] = {}
    for phase, powers in sorted(phases.items()):
        exporting, importing = sum(p > 0 for p in powers), sum(p < 0 for p in powers)
        if not exporting and not importing:
            verb = "idle"
        elif not importing:
            verb = "export"
        elif not exporting:
            verb = "import"
        else:
            verb = f"mixed ({exporting} of {exporting + importing} export)"
        verbs.setdefault(verb, []).append(phase)
    if len(verbs) == 1:
        return f"all {next(iter(verbs))}"
    parts = []
    for verb, names in verbs.items():
        shown = verb + "s" if len(names) == 1 and verb in ("export", "import") else verb
        parts.append(f"{' and '.join(names)} {shown}")
    return "phase " + ", ".join(parts)


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


def _by_branch(loading: Floats, branch: Indices, phase: Indices, shape: tuple[int, ...]) -> Floats:
    """Loading of monitors [batch, m] as the larger end of every branch and phase."""
    out = np.zeros(shape)
    for column in range(loading.shape[1]):
        cell = out[:, branch[column], phase[column]]
        np.maximum(cell, loading[:, column], out=cell)
    return out
