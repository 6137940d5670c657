"""One operator of the cascade: answers what is asked from above, asks what lies below, and shares out what it is granted.

It knows its own network, the limits at its interface, and by message the limits that the areas below want and get
(`envelopes/operator_messages.py`). Its rights are its customers' and those of the areas below, in the same rows: so what an area below
is granted is its parent's right, and becomes the two rows of interface power below. `send` is the only entrance; an operator
below may be an object, or a process (`envelopes/operator_process.py`).

* *Ask* a level: all customers and areas below are put at this share of their ratings, and the widest range of interface voltage is
  searched at which the rows still admit it: first up, from a point at which they do, then down. Secure limits form a packing
  polytope that only shrinks as the range grows, so bisection finds the ends.
* *Offer* of a range: what a fair allocation with nothing to stop it but the own network would come to at the interface.
* *Grant*: the same with the granted limits as rows. Then AC looks for a corner that leaves the grant or breaks a limit.

Shares: everybody's limit over what it has at the level that was agreed rises together (max-min), failsafe envelopes first.
Rows are the sharper the less anybody may have, so they are built for several ceilings (`CEILINGS` times the level, at last the level
itself) and the highest is used that still admits the level for all: nobody gets less than was agreed on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from envelopes.allocate import InsecureFloorsError, allocate
from envelopes.boundary import Below, Exchange, Side, drawn_w_max
from envelopes.operator_messages import Answer, Any_, Ask, Grant, Offer, Range, ReactiveBand, Refused, Report, Request
from riskcheck.certify import Certifier
from riskcheck.linearise import Insecure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from envelopes.boundary import MoreRows, Plan
    from riskcheck.network import Network

    Watts = npt.NDArray[np.int64]

Said = TypeVar("Said", Answer, Request, Report)
STARTS_PU = (1.0, 1.01, 0.99, 1.02, 0.98, 1.03, 0.97, 1.04, 0.96, 1.05, 0.95)
ENDS_PU = (0.85, 1.15)
RESOLUTION_PU = 0.0005
CEILINGS = (1e6, 4.0, 2.0, 1.4)
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
class Agreed:
    """What was agreed on with the areas below: at the level, and what they want on top of it."""

    level: float
    answered: list[Below]
    wanted: list[Below]


class RefusedBelowError(RuntimeError):
    """An area below has refused; the message is its own."""


class Operator:
    """`base` has the operator's own customers, `links` the areas below by name; `more_rows` adds rows of its own, such as N-1."""

    def __init__(self, name: str, base: Network, links: dict[str, Link] | None = None, more_rows: MoreRows | None = None) -> None:
        if any(customer.volt_var for customer in base.customers):
            raise ValueError(f"{name}: Volt-VAr curves have no band of reactive power yet: give their customers a power factor")
        self.name, self.base, self.links = name, base, dict(links or {})
        self.side = Side(base, more_rows)
        self.agreed = Agreed(0.0, [], [])
        self.grant: Grant | None = None
        self.grants: dict[str, Grant] = {}
        self.envelopes_w: Watts = np.zeros(0, dtype=np.int64)

    def send(self, message: Any_) -> Any_:
        """The answer to a message from above."""
        try:
            if isinstance(message, Ask):
                return self.at_level(message.level)
            if isinstance(message, Offer):
                return self.request(message.range, message.level)
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
        limits = self._at(level, below)
        found = self._widest(below, limits) if fixed is None else fixed if self._admits(fixed, below, limits) else None
        if found is None:
            return no
        export_w, import_w, band = self._at_interface(found, below, limits)
        return Answer(operator=self.name, level=level, range=found, export_w=export_w, import_w=import_w, reactive=band)

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
            return self.side.plan(around, below, limits).polytope.is_secure(limits)
        except Insecure:
            return False

    def _at(self, level: float, below: list[Below]) -> Watts:
        return by_right(np.floor(self.base.caps_w() * level).astype(np.int64), [(area.export_w, area.import_w) for area in below])

    # ---------------------------------------------------------------------------------------------- offer and request

    def request(self, around: Range, level: float) -> Request:
        """What the own network would let everybody have at a range of voltage, and what the failsafe envelopes come to."""
        self.agreed = self._agreed(level)
        plan, below = next(self._plans(around))
        export_w, import_w, band = self._at_interface(around, below, self._shared_out(plan, below))
        least_export_w, least_import_w, _ = self._at_interface(around, below, self._floors(below))
        return Request(
            operator=self.name,
            export_w=export_w,
            import_w=import_w,
            failsafe_export_w=min(least_export_w, export_w),
            failsafe_import_w=min(least_import_w, import_w),
            reactive=band,
        )

    def _agreed(self, level: float) -> Agreed:
        """What the areas below answer to the level, and what they want at the ranges that they answered."""
        answered = self._at_level_below(level)
        if answered is None:
            raise RefusedBelowError(f"an area below {self.name} cannot serve the level {level:g} that it had agreed to")
        wanted = []
        for area in answered:
            said = _of(Request, self.links[area.name].peer.send(Offer(operator=area.name, level=level, range=area.range)))
            least = min(said.failsafe_export_w, area.export_w), min(said.failsafe_import_w, area.import_w)
            wanted.append(Below(area.name, area.bus, said.export_w, said.import_w, said.reactive, area.range, *least))
        return Agreed(level, answered, wanted)

    def _plans(self, around: Range, limits_w: tuple[float, float] = (math.inf, math.inf)) -> Iterator[tuple[Plan, list[Below]]]:
        """Rows that admit the agreed level for all, the highest ceiling first. Raises Insecure where there are none."""
        goal, found = np.maximum(self._at(self.agreed.level, self.agreed.answered), self._floors(self.agreed.wanted)), False
        for below, caps in self._ceilings(goal):
            try:
                plan = self.side.plan(around, below, caps, limits_w)
            except Insecure:
                continue
            if plan.polytope.is_secure(np.minimum(goal, caps)):
                found = True
                yield plan, below
        below = self.agreed.answered
        plan = self.side.plan(around, below, goal)
        if plan.polytope.is_secure(goal) and (np.array(_power_at_interface(plan.least, plan.most, goal)) <= limits_w).all():
            yield plan, below  # nobody may have more than the level, and all of it at once is within the limits
        elif not found:
            raise Insecure("the agreed level is not secure within these limits")

    def _ceilings(self, goal: Watts) -> Iterator[tuple[list[Below], Watts]]:
        most = by_right(self.base.caps_w(), [(area.export_w, area.import_w) for area in self.agreed.wanted])
        for ceiling in CEILINGS:
            yield self.agreed.wanted, np.minimum(most, np.ceil(goal * ceiling)).astype(np.int64)

    # ----------------------------------------------------------------------------------------------- grant and report

    def _report(self, grant: Grant) -> Report:
        limits_w = (grant.export_w or math.inf, grant.import_w or math.inf)  # nobody below has a right where nothing was asked for
        self.grant = grant
        for plan, below in self._plans(grant.range, limits_w):
            self.envelopes_w = self._shared_out(plan, below)
            problems = self._leaves(plan, grant)
            if not problems:
                break
        problems += self._breaks(plan)
        reports = [self._pass_on(number, area) for number, area in enumerate(below)]
        ratings, n = self.base.caps_w(), len(self.base.customers)
        exports, imports = np.split(self.envelopes_w, 2)
        shares = np.concatenate([exports[:n], imports[:n]])[ratings > 0] / ratings[ratings > 0]
        return Report(
            operator=self.name,
            secure=not problems and all(report.secure for report in reports),
            customers=n + sum(report.customers for report in reports),
            smallest_share=float(min([*shares, *(report.smallest_share for report in reports)], default=1.0)),
            problems=(*problems, *(f"{report.operator}: {problem}" for report in reports for problem in report.problems)),
        )

    def _pass_on(self, number: int, area: Below) -> Report:
        exports, imports = np.split(self.envelopes_w, 2)
        at = len(self.base.customers) + 2 * number
        power = {"export_w": int(exports[at]), "import_w": int(imports[at + 1])}
        grant = self.grants[area.name] = Grant(operator=area.name, **power, range=area.range, reactive=area.reactive)
        return _of(Report, self.links[area.name].peer.send(grant))

    def _leaves(self, plan: Plan, grant: Grant) -> list[str]:
        """Whether AC finds a corner of the envelopes at which the power at the interface leaves the grant."""
        granted_w, limits = (grant.export_w, grant.import_w), self.envelopes_w.astype(float)
        watts, var = Exchange(plan.least, plan.most).breaks(limits, granted_w, grant.reactive, CORNERS, np.random.default_rng(0))
        spare = PER_WATT * max(granted_w) + 1.0
        found = [f"leaves its active power by {watts:.0f} W"] if watts > spare else []
        return found + ([f"leaves its reactive power by {var:.0f} var"] if var > spare else [])

    def _breaks(self, plan: Plan) -> list[str]:
        """Whether AC finds a corner at which a limit of the own network breaks."""
        n, found = len(plan.most.customers), []
        for network in (plan.least, plan.most) if self.links else (plan.most,):
            certificate = Certifier(network).certify(self.envelopes_w[:n], self.envelopes_w[n:])
            if not certificate.secure:
                found.append(f"{certificate.worst_kind} margin {min(kind.margin for kind in certificate.kinds):.6f}")
        return found

    def _floors(self, below: list[Below]) -> Watts:
        return by_right(self.base.floors_w(), [(area.failsafe_export_w, area.failsafe_import_w) for area in below])

    def _shared_out(self, plan: Plan, below: list[Below]) -> Watts:
        """Max-min of everybody's limit over what it has at the agreed level."""
        weights = self._at(self.agreed.level, self.agreed.answered)
        floors = np.minimum(self._floors(below), plan.caps_w)
        caps = np.where(weights > 0, plan.caps_w, floors)
        return allocate(plan.polytope, caps, floors, weights=weights).limits_w

    def _at_interface(self, around: Range, below: list[Below], limits: Watts) -> tuple[int, int, ReactiveBand]:
        """Power that these limits come to at the interface, each way, and the band of reactive power with it."""
        least, most = self.side.networks(around, below, limits)
        export_w, import_w = _power_at_interface(least, most, limits)
        return _rounded_up(export_w), _rounded_up(import_w), Exchange(least, most).band(limits.astype(float))


def _power_at_interface(least: Network, most: Network, limits: Watts) -> tuple[float, float]:
    export_w = float(limits[: len(limits) // 2].sum()) + sum(max(p.high_w, 0) for p in most.passives)
    return export_w, max(drawn_w_max(network, limits.astype(float)) for network in (least, most))


def by_right(own_w: Watts, below_w: list[tuple[int, int]]) -> Watts:
    """Limits of the own customers and of the areas below (export, import each) in the order of the rights of the composed network."""
    exports, imports = np.split(own_w, 2)
    more_e = [watts for export_w, _ in below_w for watts in (export_w, 0)]
    more_i = [watts for _, import_w in below_w for watts in (0, import_w)]
    return np.concatenate([exports, np.array(more_e, dtype=np.int64), imports, np.array(more_i, dtype=np.int64)])


def _rounded_up(watts: float) -> int:
    """With room for the roundings of the rows, so that whoever asks for it can use it."""
    return math.ceil(watts * (1 + PER_WATT)) + 1 if watts > 0 else 0


def _furthest(inside: float, end: float, holds: Callable[[float], bool]) -> float:
    """The point nearest to `end` at which a monotone condition holds that holds at `inside`."""
    if holds(end):
        return end
    while abs(end - inside) > RESOLUTION_PU:
        middle = (inside + end) / 2
        inside, end = (middle, end) if holds(middle) else (inside, middle)
    return inside


def _of(kind: type[Said], message: Any_) -> Said:
    if isinstance(message, kind):
        return message
    raise RefusedBelowError(f"{message.operator}: {message.reason if isinstance(message, Refused) else type(message).__name__}")


def _without_places(text: str) -> str:
    """Which kind of limit is full is the neighbour's business, where it stands is not."""
    return text.split(" of ")[0]
