"""One operator of the cascade: answers what is asked from above, asks what lies below, and shares out what it is granted.

It knows its own network, the limits at its interface, and by message the limits that the areas below want and get
(`envelopes/operator_messages.py`). Its rights are its customers' and those of the areas below, in the same rows: so what an area below
is granted is its parent's right, and becomes the two rows of interface power below. `send` is the only entrance; an operator
below may be an object, or a process (`envelopes/operator_process.py`).

* *Ask* a level: all customers and areas below are put at this share of their ratings, and the widest range of interface voltage is
  searched at which the rows still admit it: first up, from a point at which they do, then down. Secure limits form a packing
  polytope that only shrinks as the range grows, so bisection finds the ends.
* *Offer* of a range: what a fair allocation with nothing to stop it but the own network would come to at the interface.
* *Grant*: the same with the granted limits as rows; max-min by share of the connection rating, failsafe envelopes first.
  Then AC looks for a corner that leaves the grant or breaks a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from envelopes.allocate import InsecureFloorsError, water_fill
from envelopes.boundary import LEAST, MOST, Below, Exchange, composed, drawn_w_max
from envelopes.operator_messages import Answer, Any_, Ask, Grant, Offer, Range, ReactiveBand, Refused, Report, Request
from riskcheck.certify import Certifier
from riskcheck.linearise import Insecure, build
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from riskcheck.network import Network
    from riskcheck.rows import Rows

    Floats = npt.NDArray[np.float64]
    Watts = npt.NDArray[np.int64]
    MoreRows = Callable[[Network], Rows | None]

Said = TypeVar("Said", Answer, Request, Report)
STARTS_PU = (1.0, 1.01, 0.99, 1.02, 0.98, 1.03, 0.97, 1.04, 0.96, 1.05, 0.95)
ENDS_PU = (0.85, 1.15)
RESOLUTION_PU = 0.0005
CORNERS = 400
PER_WATT = 1e-6  # of a grant: what a power may leave it by and still be rounding


class Peer(Protocol):
    """Whoever answers messages: an operator here, or the pipe to one elsewhere."""

    def send(self, message: Any_) -> Any_: ...


@dataclass(frozen=True)
class Link:
    """An area below: where its interface is in this network (bus position), and who speaks for it."""

    bus: int
    peer: Peer


@dataclass(frozen=True)
class Plan:
    """Rows at an interface range and power limits, and the networks (least and most reactive power drawn below) they hold for."""

    least: Network
    most: Network
    polytope: Polytope

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.least, self.most)


class RefusedBelowError(RuntimeError):
    """An area below has refused; the message is its own."""


class Operator:
    """`base` has the operator's own customers, `links` the areas below by name; `more_rows` adds rows of its own, such as N-1."""

    def __init__(self, name: str, base: Network, links: dict[str, Link] | None = None, more_rows: MoreRows | None = None) -> None:
        if any(customer.volt_var for customer in base.customers):
            raise ValueError(f"{name}: Volt-VAr curves have no band of reactive power yet: give their customers a power factor")
        self.name, self.base, self.links, self.more_rows = name, base, dict(links or {}), more_rows
        self.grant: Grant | None = None
        self.envelopes_w: Watts = np.zeros(0, dtype=np.int64)
        self.grants: dict[str, Grant] = {}
        self._below: list[Below] = []
        self._requests: dict[str, Request] = {}

    def send(self, message: Any_) -> Any_:
        try:
            if isinstance(message, Ask):
                return self._answer(message)
            if isinstance(message, Offer):
                return self._request(message)
            if isinstance(message, Grant):
                return self._report(message)
        except (Insecure, InsecureFloorsError, RefusedBelowError) as error:
            return Refused(operator=self.name, reason=f"{type(error).__name__}: {_without_places(str(error))}")
        return Refused(operator=self.name, reason=f"cannot serve a message of type {type(message).__name__}")

    # ------------------------------------------------------------------------------------------------ ask and answer

    def at_level(self, level: float, fixed: Range | None = None) -> Answer:
        """The answer to a level; at `fixed` where the range is not the operator's to choose, at the top."""
        below = self._at_level_below(level)
        no = Answer(operator=self.name, level=level, range=None)
        if below is None:
            return no
        limits = _by_right(self._own_w(level), below)
        found = fixed if fixed is not None and self._admits(fixed, below, limits) else None
        if fixed is None:
            found = self._widest(below, limits)
        if found is None:
            return no
        export_w, import_w, band = self._at_interface(found, below, limits)
        return Answer(operator=self.name, level=level, range=found, export_w=export_w, import_w=import_w, reactive=band)

    def _answer(self, ask: Ask) -> Answer:
        return self.at_level(ask.level)

    def _at_level_below(self, level: float) -> list[Below] | None:
        """Every area below at this level, None where one cannot."""
        found = []
        for name, link in self.links.items():
            answer = link.peer.send(Ask(operator=name, level=level))
            if not isinstance(answer, Answer) or answer.range is None:
                return None
            found.append(Below(name, link.bus, answer.export_w, answer.import_w, answer.reactive, answer.range))
        return found

    def _widest(self, below: list[Below], limits: Watts) -> Range | None:
        start = next((pu for pu in STARTS_PU if self._admits(Range(pu, pu), below, limits)), None)
        if start is None:
            return None
        high = _furthest(start, ENDS_PU[1], lambda pu: self._admits(Range(start, pu), below, limits))
        low = _furthest(start, ENDS_PU[0], lambda pu: self._admits(Range(pu, high), below, limits))
        return Range(low, high)

    def _admits(self, around: Range, below: list[Below], limits: Watts) -> bool:
        try:
            return self._plan(around, below, caps=limits).polytope.is_secure(limits)
        except Insecure:
            return False

    def _own_w(self, level: float) -> Watts:
        return np.floor(self.base.caps_w() * level).astype(np.int64)

    # ---------------------------------------------------------------------------------------------- offer and request

    def request(self, around: Range, level: float) -> Request:
        below = self._requests_below(level)
        limits = self._shared_out(self._plan(around, below))
        export_w, import_w, band = self._at_interface(around, below, limits)
        floors = _by_right(self.base.floors_w(), below, failsafe=True)
        least_export, least_import, _ = self._at_interface(around, below, floors)
        weights = np.split(self._weights_w(), 2)
        return Request(
            operator=self.name,
            export_w=export_w,
            import_w=import_w,
            failsafe_export_w=min(least_export, export_w),
            failsafe_import_w=min(least_import, import_w),
            weight_export_w=int(weights[0].sum()),
            weight_import_w=int(weights[1].sum()),
            reactive=band,
        )

    def _request(self, offer: Offer) -> Request:
        return self.request(offer.range, offer.level)

    def _requests_below(self, level: float) -> list[Below]:
        """What every area below wants, at the range that it answered to the level that was agreed."""
        found, self._requests = [], {}
        for name, link in self.links.items():
            answer = _of(Answer, link.peer.send(Ask(operator=name, level=level)))
            if answer.range is None:
                raise RefusedBelowError(f"{name} cannot serve the level {level:g}")
            wanted = _of(Request, link.peer.send(Offer(operator=name, level=level, range=answer.range)))
            self._requests[name] = wanted
            found.append(_wanting(name, link.bus, wanted, answer.range))
        self._below = found
        return found

    def _weights_w(self) -> Watts:
        """Connection ratings by right; of an area below those of everybody in it, also by the right it does not have."""
        exports, imports = np.split(self.base.caps_w(), 2)
        for wanted in self._requests.values():
            exports = np.concatenate([exports, [wanted.weight_export_w, 0]])
            imports = np.concatenate([imports, [0, wanted.weight_import_w]])
        return np.concatenate([exports, imports])

    # ----------------------------------------------------------------------------------------------- grant and report

    def _report(self, grant: Grant) -> Report:
        below = self._below
        limits_w = (grant.export_w or math.inf, grant.import_w or math.inf)  # nobody below has a right where nothing was asked for
        plan = self._plan(grant.range, below, limits_w)
        self.grant, self.envelopes_w = grant, self._shared_out(plan)
        problems = self._problems(plan, grant)
        reports = [self._pass_on(number, area) for number, area in enumerate(below)]
        exports, imports = np.split(self.envelopes_w, 2)
        n = len(self.base.customers)
        ratings = self.base.caps_w()
        shares = np.concatenate([exports[:n], imports[:n]])[ratings > 0] / ratings[ratings > 0]
        return Report(
            operator=self.name, secure=not problems and all(report.secure for report in reports),
            customers=n + sum(report.customers for report in reports),
            smallest_share=float(min([*shares, *(report.smallest_share for report in reports)], default=1.0)),
            problems=(*problems, *(f"{report.operator}: {problem}" for report in reports for problem in report.problems)),
        )  # fmt: skip

    def _pass_on(self, number: int, area: Below) -> Report:
        exports, imports = np.split(self.envelopes_w, 2)
        at = len(self.base.customers) + 2 * number
        grant = Grant(
            operator=area.name, export_w=int(exports[at]), import_w=int(imports[at + 1]), range=area.range, reactive=area.reactive
        )
        self.grants[area.name] = grant
        return _of(Report, self.links[area.name].peer.send(grant))

    def _problems(self, plan: Plan, grant: Grant) -> list[str]:
        """What AC finds: a corner at which a limit of the own network breaks, or one that leaves the grant."""
        n, found = len(plan.most.customers), []
        for network in (plan.least, plan.most) if self.links else (plan.most,):
            certificate = Certifier(network).certify(self.envelopes_w[:n], self.envelopes_w[n:])
            if not certificate.secure:
                found.append(f"{certificate.worst_kind} margin {min(kind.margin for kind in certificate.kinds):.6f}")
        watts, vars_ = plan.exchange.breaks(
            self.envelopes_w.astype(float), (grant.export_w, grant.import_w), grant.reactive, CORNERS, np.random.default_rng(0)
        )
        spare = PER_WATT * max(grant.export_w, grant.import_w) + 1.0
        found += [f"leaves its active power by {watts:.0f} W"] if watts > spare and max(grant.export_w, grant.import_w) else []
        found += [f"leaves its reactive power by {vars_:.0f} var"] if vars_ > spare else []
        return found

    # ------------------------------------------------------------------------------------------------- rows and shares

    def _plan(
        self, around: Range, below: list[Below], limits_w: tuple[float, float] = (math.inf, math.inf), caps: Watts | None = None
    ) -> Plan:
        least, most = (composed(self.base, around, below, end, limits_w) for end in (LEAST, MOST))
        networks = (least, most) if below else (most,)
        found = [build(capped(network, caps)) for network in networks]
        more = self.more_rows(most) if self.more_rows else None
        caps_w = most.caps_w() if caps is None else caps
        if len(found) == 1 and more is None:
            return Plan(least, most, found[0])
        rows = [polytope.columns.T / polytope.slack for polytope in found]
        labels = [label for polytope in found for label in polytope.labels]
        if more is not None:
            rows.append(more.with_room().coefficient / more.slack[:, None])
            labels += more.labels
        stacked = np.concatenate(rows)
        return Plan(least, most, Polytope.from_rows(stacked, np.ones(len(stacked)), labels, caps_w))

    def _shared_out(self, plan: Plan) -> Watts:
        caps, floors = plan.most.caps_w(), plan.most.floors_w()
        return share_out(plan.polytope, np.minimum(floors, caps), caps, self._weights_w())

    def _at_interface(self, around: Range, below: list[Below], limits: Watts) -> tuple[int, int, ReactiveBand]:
        """Power that these limits come to at the interface, each way, and the band of reactive power with it."""
        least, most = (capped(composed(self.base, around, below, end), limits) for end in (LEAST, MOST))
        floats = limits.astype(float)
        export_w = float(floats[: len(limits) // 2].sum()) + sum(max(p.high_w, 0) for p in most.passives)
        import_w = max(drawn_w_max(network, floats) for network in (least, most))
        return _rounded_up(export_w), _rounded_up(import_w), Exchange(least, most).band(floats)


def _rounded_up(watts: float) -> int:
    """With room for the roundings of the rows, so that whoever asks for it can use it."""
    return math.ceil(watts * (1 + PER_WATT)) + 1 if watts > 0 else 0


def share_out(polytope: Polytope, floors_w: Watts, caps_w: Watts, weights_w: Watts) -> Watts:
    """Max-min of limit over weight, in whole watts, verified in integers. Rights without weight keep their floor."""
    residual = polytope.residual(floors_w)
    if (residual < 0).any():
        raise InsecureFloorsError(f"the failsafe envelopes are not secure: {polytope.labels[int(residual.argmin())]}")
    chosen = np.flatnonzero(weights_w > 0)
    weights = weights_w[chosen].astype(float)
    used = floors_w.astype(float)
    used[chosen] = 0.0
    room = 1.0 - used @ (polytope.columns / polytope.slack)
    share = polytope.columns[chosen] / polytope.slack / np.maximum(room, 1e-12) * weights[:, None]
    level, _ = water_fill(share, floors_w[chosen] / weights, caps_w[chosen] / weights)
    limits = floors_w.copy()
    limits[chosen] = np.clip(np.floor(level * weights + 1e-9).astype(np.int64), floors_w[chosen], caps_w[chosen])
    while not polytope.is_secure(limits):  # float rounding moved somebody across a whole watt
        full = polytope.residual(limits) < 0
        limits = np.maximum(limits - (polytope.columns[:, full] > 0).any(axis=1), floors_w)
    return limits


def capped(network: Network, caps: Watts | None) -> Network:
    """The network with these connection ratings: rows are sharper where nobody can have more."""
    if caps is None:
        return network
    exports, imports = np.split(caps, 2)
    pairs = zip(network.customers, exports.tolist(), imports.tolist(), strict=True)
    return replace(network, customers=tuple(replace(c, rating_export_w=e, rating_import_w=i) for c, e, i in pairs))


def _furthest(inside: float, end: float, holds: Callable[[float], bool]) -> float:
    """The point nearest to `end` at which a monotone condition holds that holds at `inside`."""
    if holds(end):
        return end
    while abs(end - inside) > RESOLUTION_PU:
        middle = (inside + end) / 2
        inside, end = (middle, end) if holds(middle) else (inside, middle)
    return inside


def _wanting(name: str, bus: int, wanted: Request, around: Range) -> Below:
    least = wanted.failsafe_export_w, wanted.failsafe_import_w
    return Below(name, bus, wanted.export_w, wanted.import_w, wanted.reactive, around, *least)


def _by_right(own_w: Watts, below: list[Below], failsafe: bool = False) -> Watts:
    exports, imports = np.split(own_w, 2)
    for area in below:
        high, low = (area.failsafe_export_w, area.failsafe_import_w) if failsafe else (area.export_w, area.import_w)
        exports, imports = np.concatenate([exports, [high, 0]]), np.concatenate([imports, [0, low]])
    return np.concatenate([exports, imports])


def _of(kind: type[Said], message: Any_) -> Said:
    if isinstance(message, kind):
        return message
    raise RefusedBelowError(f"{message.operator}: {message.reason if isinstance(message, Refused) else type(message).__name__}")


def _without_places(text: str) -> str:
    """Which kind of limit is full is the neighbour's business, where it stands is not."""
    return text.split(" of ")[0]
