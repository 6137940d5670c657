"""Recourse: is there a setting of inverters and taps at which this blocked trade is secure? Proposed by OSQP, verified in AC.

Each lever (`riskcheck/levers.py`) may go up or down. With z how far it goes, as a share of the longer of its two ways, and what is
left of each row after the trade,

    min |z|^2 / 2     s.t.   up z_up + down z_down <= residual / slack,    0 <= z <= ends

set up once per network; each trade changes only the right-hand side, and the search starts from the answer before. All
rows are constraints, so a setting that helps one limit and hurts another is weighed as it should be. A row that stays short
with every lever at its best for that row alone is named at once, without a solver: no setting relieves it.

Settings are whole vars and whole steps. Taps are rounded first, to the nearest step and, where that fails, away from where they
are; then the inverters are asked again around them. Room is kept for what rounding to a var may change.

Where rows are searched for and not proven, tangents are trusted less: relief must be a quarter more than is missing, and harm a
quarter less than what is left (`DOUBT`); and as another search may find a little more, some of each row stays free (`SPARE`), as far
as half of what settings can do for it.

A proposal is linear and nothing more. `verify` makes it a fact: the network with these settings (`apply`) gets rows of its own, the
holdings after the trade must be inside them in integers, and an AC certificate must find nothing. It takes as long as building
rows does, so it belongs off an order's way. Whoever uses a proposal without it trades on a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from riskcheck.certify import certify
from riskcheck.levers import levers_of, moved, sensitivities
from riskcheck.linearise import build, is_proven
from riskcheck.polytope import RowLabel
from riskcheck.rows import Insecure
from riskcheck.solver import Nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from riskcheck.certify import Certificate
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope
    from riskcheck.solver import Answer

    Floats = npt.NDArray[np.float64]

EPS = 1e-4  # settings are verified anyway
ITERATIONS_MAX = 2_000
SPARE = 0.01  # of a row's slack; rows searched for again came out up to 0.5 % narrower than predicted, on the default network
DOUBT = 0.25  # of the change of use that sensitivities give; on three phases they differ from rebuilt rows by up to that
TINY = 1e-3  # of a step: a tap that is asked to move by less stays


class Proposal(msgspec.Struct, frozen=True):
    """Settings that should make a trade of `quantity_w` secure. `reactive_var`: what each customer named is to inject from now on,
    in vars; `tap_steps`: how far each branch named is to move from where its tap is. Who is not named stays. `margin`: the least
    that any row has left after it, as a share of its slack, by the linear model."""

    quantity_w: int
    reactive_var: dict[str, int]
    tap_steps: dict[str, int]
    margin: float


class NoRecourse(msgspec.Struct, frozen=True):
    """No setting is known to help. `short` is what the trade leaves missing in this row, as a share of its slack. `alone`: not even
    every lever at its best for this row would do; else levers that relieve it break other rows."""

    row: int
    label: RowLabel
    short: float
    alone: bool

    def __str__(self) -> str:
        why = "no setting relieves it enough" if self.alone else "what relieves it breaks other limits"
        return f"{self.label} is short of {self.short:.1%} of its limit, and {why}"


@dataclass(frozen=True, eq=False)
class Verified:
    """A proposal that holds: the network with its settings, the rows of that network, and the certificate of the holdings."""

    network: Network
    rows: Polytope
    certificate: Certificate


@dataclass(frozen=True)
class Refused:
    """A proposal that does not hold, and why in words."""

    reason: str


class Recourse:
    """The program of one network and its rows. Knows settings; holdings come with each question.

    Raises ValueError for a network without anything to set. After new settings or rows, make another.
    """

    def __init__(self, network: Network, rows: Polytope) -> None:
        self.levers = levers_of(network)
        if not self.levers:
            raise ValueError(f"{network.name} has no inverter and no tap that the operator may set")
        self._network, self._rows = network, rows
        self._doubt = 0.0 if is_proven(network) else DOUBT
        ends = np.array([lever.high for lever in self.levers] + [lever.low for lever in self.levers])
        reach = np.abs(ends).reshape(2, -1).max(axis=0)
        self._unit = np.concatenate([reach, -reach])
        self.ends = ends / self._unit
        self._is_tap = np.array([lever.kind == "tap" for lever in self.levers] * 2, dtype=bool)
        all_the_way = np.hstack(sensitivities(network, rows, self.levers))
        self.sensitivity = np.divide(all_the_way, self.ends, out=np.zeros_like(all_the_way), where=self.ends > 0)
        self._best = (np.minimum(self.sensitivity, 0.0) * self.ends).sum(axis=1)
        self._spare = np.zeros(rows.n_rows) if is_proven(network) else np.minimum(SPARE, -self._best / 2)
        self._rounding = np.abs(self.sensitivity) @ np.where(self._is_tap, 0.0, 0.5 / np.abs(self._unit))
        zero = np.zeros(len(self.ends))
        self._nearest = Nearest(self.sensitivity, zero, zero, self.ends, eps=EPS, iterations_max=ITERATIONS_MAX)

    def propose(self, after_w: npt.ArrayLike, quantity_w: int) -> Proposal | NoRecourse:
        """The least change of settings at which the holdings after a trade [n_rights], whole watts, should be secure."""
        now, room = self._rows.residual(after_w) / self._rows.slack, self.room(after_w)
        beyond = self._best - room
        if beyond.max(initial=0.0) > 0:
            return self._none(int(beyond.argmax()), now, alone=True)
        stress = np.zeros(len(room))
        for answer in self._answers(room - self._rounding):
            stress = answer.stress
            if answer.point is not None:
                change = np.rint(self._net(answer.point)).astype(int)
                left = room - self.sensitivity @ self._shares(change)
                if left.min(initial=0.0) >= 0:
                    return self._proposal(change, quantity_w, float(left.min(initial=1.0)))
        return self._none(int(np.where(now < 0, stress - now, -1.0).argmax()), now, alone=False)

    def room(self, after_w: npt.ArrayLike) -> Floats:
        """What settings may use of each row [n_rows], as a share of its slack: less than is left where rows are searched for."""
        left = self._rows.residual(after_w) / self._rows.slack
        return np.asarray(left * np.where(left < 0, 1 + self._doubt, 1 - self._doubt) - self._spare)

    def _answers(self, room: Floats) -> Iterator[Answer]:
        """As it is where there are no taps; else with taps fixed to whole steps, the nearest first, then those farther from here."""
        zero = np.zeros(len(self.ends))
        free = self._nearest.ask(room, low=zero, high=self.ends)
        if free.point is None or not self._is_tap.any():
            yield free
            return
        steps = self._net(free.point)
        for whole in (np.rint(steps), np.sign(steps) * np.ceil(np.abs(steps) - TINY)):
            fixed = self._shares(whole)
            yield self._nearest.ask(room, low=np.where(self._is_tap, fixed, 0.0), high=np.where(self._is_tap, fixed, self.ends))

    def _net(self, point: Floats) -> Floats:
        """Change of each lever in vars and steps, from its shares up and down."""
        return np.asarray((point * self._unit).reshape(2, -1).sum(axis=0))

    def _shares(self, change: Floats) -> Floats:
        """The shares up and down that make a change, one of them zero."""
        wanted = np.concatenate([np.maximum(change, 0), np.minimum(change, 0)])
        return np.asarray(wanted / self._unit)

    def _proposal(self, change: npt.NDArray[np.int64], quantity_w: int, margin: float) -> Proposal:
        moved = [(lever, step) for lever, step in zip(self.levers, change.tolist(), strict=True) if step]
        now = self._network.customers
        reactive_var = {lever.device: now[lever.position].reactive_var + step for lever, step in moved if lever.kind == "reactive_var"}
        return Proposal(quantity_w, reactive_var, {lever.device: step for lever, step in moved if lever.kind == "tap"}, margin)

    def _none(self, row: int, room: Floats, *, alone: bool) -> NoRecourse:
        return NoRecourse(row, self._rows.labels[row], max(0.0, float(-room[row])), alone)


def apply(network: Network, proposal: Proposal) -> Network:
    """The network with these settings. Raises ValueError naming the device that is unknown or cannot be set so."""
    levers = {(lever.kind, lever.device): lever for lever in levers_of(network)}
    wanted = [("reactive_var", *item) for item in proposal.reactive_var.items()] + [("tap", *item) for item in proposal.tap_steps.items()]
    chosen, change = [], []
    for kind, device, value in wanted:
        lever = levers.get((kind, device))
        if lever is None:
            raise ValueError(f"{device} is nothing that the operator may set")
        now = network.customers[lever.position].reactive_var if kind == "reactive_var" else 0
        if not lever.low <= value - now <= lever.high:
            raise ValueError(f"{device} can be set to {now + lever.low}..{now + lever.high}, not to {value}")
        chosen.append(lever)
        change.append(value - now)
    return moved(network, chosen, change)


def verify(
    network: Network, proposal: Proposal, after_w: npt.ArrayLike, *, make_rows: Callable[[Network], Polytope] = build, effort: str = "quick"
) -> Verified | Refused:
    """Whether the holdings after the trade [n_rights] are secure with these settings: certified in AC, and inside new rows."""
    after = np.asarray(after_w, dtype=np.int64)
    try:
        changed = apply(network, proposal)
    except ValueError as error:
        return Refused(str(error))
    certificate = certify(changed, *np.split(after, 2), effort=effort)
    if not certificate.secure:
        return Refused(f"in AC it breaks {certificate.worst_kind} limits where {certificate.worst_corner.description}")
    try:
        rows = make_rows(changed)
    except Insecure as error:
        return Refused(str(error))
    residual = rows.residual(after)
    if (residual < 0).any():
        return Refused(f"with these settings the trade leaves no room: {rows.labels[int(residual.argmin())]}")
    return Verified(changed, rows, msgspec.structs.replace(certificate, rows_hash=rows.content_hash))
