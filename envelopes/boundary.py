"""One operator's network with what lies beyond its interfaces: the range of voltage above it, and the areas below it.

An area below is two customers at its interface bus, one that only exports and one that only imports, since at every moment it may
do some of both (`ReactiveBand`): their box holds every power and, at the ends of the band, every reactive power that it may have.
Voltage rises with reactive power injected and currents are convex in it, so rows are built for both ends, `LEAST` drawn and
`MOST` drawn, and all of them kept. (In a radial network that is exact; in a meshed one it is checked in AC like everything else.)
The voltage that the area below was promised is a limit of its interface bus like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from envelopes.operator_messages import Range, ReactiveBand
from riskcheck.admittance import BASE_VA
from riskcheck.distflow import rows as tree_rows
from riskcheck.linearise import build
from riskcheck.network import Customer, Network
from riskcheck.polytope import Polytope
from riskcheck.radial import tree
from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from riskcheck.rows import Rows

    MoreRows = Callable[[Network], Rows]
    Floats = npt.NDArray[np.float64]
    Watts = npt.NDArray[np.int64]
    Complexes = npt.NDArray[np.complex128]

LEAST, MOST = 0, 1  # ends of a band of reactive power
CUSHION = 0.05  # of a slope of reactive power, between corners that were looked at and all others
LOSSES_SPARE = 1.02  # on the losses of a meshed network at the corner of all imports


@dataclass(frozen=True)
class Below:
    """An area below an interface: what it may have at most and must have at least, and what was promised to it."""

    name: str
    bus: int
    export_w: int
    import_w: int
    reactive: ReactiveBand
    range: Range
    failsafe_export_w: int = 0
    failsafe_import_w: int = 0


@dataclass(frozen=True)
class Plan:
    """Rows for these ratings by right, and the networks (least and most reactive power drawn below) that they hold for."""

    least: Network
    most: Network
    polytope: Polytope

    @property
    def caps_w(self) -> Watts:
        return self.most.caps_w()


class Side:
    """The operator's own side of all its interfaces: a network with its own customers, and rows for whatever lies beyond."""

    def __init__(self, base: Network, more_rows: MoreRows | None = None) -> None:
        self._base, self._more_rows = base, more_rows

    def networks(
        self, around: Range, below: list[Below], caps_w: Watts, limits_w: tuple[float, float] = (math.inf, math.inf)
    ) -> tuple[Network, Network]:
        """At the two ends of the bands below, with these ratings by right (own customers, then two for each area below)."""
        least = _composed(self._base, around, below, LEAST, caps_w, limits_w)
        return least, _composed(self._base, around, below, MOST, caps_w, limits_w) if below else least

    def plan(self, around: Range, below: list[Below], caps_w: Watts, limits_w: tuple[float, float] = (math.inf, math.inf)) -> Plan:
        """Rows at a range of interface voltage, within power limits (export, import) of the own interface. Raises Insecure."""
        least, most = self.networks(around, below, caps_w, limits_w)
        more = self._more_rows(most) if self._more_rows else None
        found = [build(network) for network in ((least, most) if below else (most,))]
        if len(found) == 1 and more is None:
            return Plan(least, most, found[0])
        rows = [polytope.columns.T / polytope.slack for polytope in found]
        labels = [label for polytope in found for label in polytope.labels]
        if more is not None:
            rows.append(more.with_room().coefficient / more.slack[:, None])
            labels += more.labels
        together = np.concatenate(rows)
        return Plan(least, most, Polytope.from_rows(together, np.ones(len(together)), labels, caps_w))


def _composed(base: Network, around: Range, below: list[Below], end: int, caps_w: Watts, limits_w: tuple[float, float]) -> Network:
    low, high = base.bus_min_v.copy(), base.bus_max_v.copy()
    for area in below:
        low[area.bus] = max(low[area.bus], area.range.min_pu * base.bus_base_v[area.bus])
        high[area.bus] = min(high[area.bus], area.range.max_pu * base.bus_base_v[area.bus])
    customers = [*base.customers, *(customer for area in below for customer in _pair(area, end))]
    pairs = zip(customers, *(half.tolist() for half in np.split(caps_w, 2)), strict=True)
    return replace(
        base, bus_min_v=low, bus_max_v=high, interface_min_pu=around.min_pu, interface_max_pu=around.max_pu,
        customers=tuple(replace(c, rating_export_w=e, rating_import_w=i) for c, e, i in pairs),
        interface_export_w_max=limits_w[0], interface_import_w_max=limits_w[1],
    )  # fmt: skip


def _pair(area: Below, end: int) -> tuple[Customer, Customer]:
    band = area.reactive
    slopes = ((band.export_least, band.import_least), (band.export_most, band.import_most))[end]
    exporting, importing = (math.cos(math.atan(slope)) for slope in slopes)
    drawn = math.floor(band.constant_least) if end == LEAST else math.ceil(band.constant_most)
    name, bus, low_e, low_i = area.name, area.bus, area.failsafe_export_w, area.failsafe_import_w
    return (
        Customer(f"{name}.export", bus, "abc", area.export_w, 0, low_e, 0, 1.0, exporting),
        Customer(f"{name}.import", bus, "abc", 0, area.import_w, 0, low_i, importing, reactive_var=-drawn),
    )


class Exchange:
    """Complex power that a network draws through its interface, by AC power flow, and the band that it keeps within."""

    def __init__(self, least: Network, most: Network) -> None:
        self.networks = (least, most)
        self._models = (
            (Reduced(least), Reduced(most)) if least != most and least.content_hash != most.content_hash else (Reduced(most),) * 2
        )

    def drawn_va(self, power_w: Floats, interface_pu: float, end: int) -> Complexes:
        """Complex power drawn [batch] at powers [batch, n_injectors]; NaN where there is no operating point."""
        model = self._models[end]
        n, phases = model.network.n_buses * model.network.phases, model.network.phases
        voltage = np.empty((len(power_w), n), dtype=complex)
        voltage[:, :] = interface_pu * model.idle
        voltage[:, model.inner] = model.phasors(model.solve(power_w, interface_pu), interface_pu, slice(len(model.inner)))
        outer = np.setdiff1d(np.arange(n), model.inner)
        current = (model.admittance[outer] @ voltage.T).T
        return np.asarray((voltage[:, outer] * np.conj(current)).sum(axis=1) * BASE_VA * (3 if phases == 1 else 1))

    def band(self, limits_w: Floats) -> ReactiveBand:
        """The band at these limits by right: slopes at the corners of all exports and all imports, with a cushion."""
        most, least = self._corners(limits_w, MOST), self._corners(limits_w, LEAST)
        n = len(self.networks[MOST].customers)
        exports, imports = limits_w[:n].sum(), limits_w[n:].sum()
        lowest, highest = self._tangents(LEAST).min(axis=1, initial=np.inf), self._tangents(MOST).max(axis=1, initial=0.0)
        tangents, used, totals = self._tangents(MOST), (limits_w[:n], limits_w[n:]), (exports, imports)
        losses = [max(0.0, most[1 + i] - most[0] - float(used[i] @ tangents[i])) / totals[i] if totals[i] else 0.0 for i in (0, 1)]
        least_e, least_i = ((1 - CUSHION) * slope if np.isfinite(slope) else 0.0 for slope in lowest)
        most_e, most_i = (slope + (1 + CUSHION) * loss for slope, loss in zip(highest, losses, strict=True))
        spare = CUSHION * (abs(most[0]) + abs(least[0])) + 1e-4 * (exports + imports)
        low, high = least[0] - least_i * least[3] - spare, most[0] + spare  # power that is drawn when idle has no slope
        return ReactiveBand(*(float(figure) for figure in (low, high, least_e, most_e, least_i, most_i)))

    def _corners(self, limits_w: Floats, end: int) -> tuple[float, float, float, float]:
        """Reactive power drawn when idle, at all exports and at all imports, extreme over the range's ends; active power when idle."""
        network, n = self.networks[end], len(limits_w) // 2
        passive = np.array([(min(max(0, p.low_w), p.high_w), p.high_w, p.low_w) for p in network.passives]).reshape(-1, 3)
        points = np.hstack([np.array([0 * limits_w[:n], limits_w[:n], -limits_w[n:]]), passive.T])
        found = np.array([self.drawn_va(points, pu, end) for pu in (network.interface_min_pu, network.interface_max_pu)])
        worst = found.imag.max(axis=0) if end == MOST else found.imag.min(axis=0)
        return float(worst[0]), float(worst[1]), float(worst[2]), float(found.real[:, 0].max())

    def _tangents(self, end: int) -> Floats:
        """Reactive power by watt exported and imported [2, n_customers], infinite or zero where somebody has no such right."""
        customers, nobody = self.networks[end].customers, 0.0 if end == MOST else np.inf
        return np.array([
            [math.tan(math.acos(c.export_power_factor)) if c.rating_export_w else nobody for c in customers],
            [math.tan(math.acos(c.power_factor)) if c.rating_import_w else nobody for c in customers],
        ])  # fmt: skip

    def breaks(
        self, limits_w: Floats, grant_w: tuple[int, int], band: ReactiveBand, draws: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """How far corners of the box leave the grant: watts of active, var of reactive power; zero or less where they do not."""
        network, n = self.networks[MOST], len(limits_w) // 2
        high = np.concatenate([limits_w[:n], [p.high_w for p in network.passives]])
        low = np.concatenate([-limits_w[n:], [p.low_w for p in network.passives]])
        odds = rng.choice([0.0, 1.0, 0.5], (draws, 1)) + rng.uniform(-0.5, 0.5, (draws, 1))
        idle = (rng.random((draws, len(high))) < 0.1) & (low <= 0) & (high >= 0)
        points = np.where(idle, 0.0, np.where(rng.random((draws, len(high))) < odds, high, low))
        worst = np.array([-np.inf, -np.inf])
        for end in (LEAST, MOST):
            for pu in (network.interface_min_pu, network.interface_max_pu):
                drawn = self.drawn_va(points, pu, end)
                found = np.array([_outside(s, grant_w, band) for s in drawn])
                worst = np.maximum(worst, np.where(np.isnan(found), np.inf, found).max(axis=0))
        return float(worst[0]), float(worst[1])


def _outside(drawn: complex, grant_w: tuple[int, int], band: ReactiveBand) -> tuple[float, float]:
    """By how many watts and vars a power is outside a grant (export, import) and its band."""
    export, power = grant_w[0], -drawn.real
    least_y, most_y = max(0.0, -power), max(0.0, min(grant_w[1], export - power))
    most = band.constant_most + band.export_most * max(power + most_y, 0.0) + band.import_most * most_y
    least = band.constant_least + band.export_least * max(power + least_y, 0.0) + band.import_least * least_y
    return max(power - export, -power - grant_w[1]), max(drawn.imag - most, least - drawn.imag)


def drawn_w_max(network: Network, limits_w: Floats) -> float:
    """Most active power drawn through the interface at these limits: proven in a radial network, else at all imports, with spare."""
    shape = tree(network)
    n = len(limits_w) // 2
    if shape is not None:
        total = tree_rows(network, shape)[1]
        return float(max(0.0, total.coefficient[0] @ limits_w - total.slack[0]))
    drawn = (
        Exchange(network, network)
        .drawn_va(np.concatenate([-limits_w[n:], [p.low_w for p in network.passives]])[None, :], network.interface_min_pu, MOST)[0]
        .real
    )
    wanted = float(limits_w[n:].sum() - sum(p.low_w for p in network.passives))
    return float(wanted + LOSSES_SPARE * max(0.0, drawn - wanted))
