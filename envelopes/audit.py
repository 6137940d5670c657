"""What the auditor computes: an AC certificate of holdings, and what to do where it is poor. Pure, slow, and run in a process apart.

Holdings are judged by the smallest margin of each kind of limit. Below zero (beyond the certificate's tolerance) the limit is
*broken*: the rows are wrong. Below the alarm it is *low*: rows that were verified by a search leave less than the cushion that they
were built with. Rows that are proven (`riskcheck.linearise`) leave what the proof needs, often nearly nothing, and have no alarm.

The remedy is tighter rows. A margin m at the worst corner, and m0 when nobody uses a watt, differ by what the holdings do;
rows that are 1 + t times as large shrink that by 1 + t where they bind. So t = (m0 - m) / (m0 - goal) - 1 is tried first, with
the goal at twice the alarm, so that the next search does not find the alarm again; then more and more, first on the rows of
the poor kinds, then on all. Each time the holdings are projected on the tightened rows and certified again: what is proposed
has passed. Where no tightening passes, a broken limit leaves only the failsafe envelopes.

An interval in which the operator has set devices is judged on the network with these settings (`envelopes.recourse.in_force`), and one
whose rows were made for forecasts of its own on the network with these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from envelopes.forecasts import Forecast, with_forecasts
from envelopes.recourse import Settings, in_force
from riskcheck.certificate import Certificate
from riskcheck.certify import TOLERANCE, WEIGHT, Certifier
from riskcheck.linearise import is_proven
from riskcheck.polytope import KIND_WORDS, Polytope, RowLabel
from riskcheck.project import project

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.network import Network

    Watts = npt.NDArray[np.int64]

PER_MILLE_MAX = 8_000
FAILSAFE_ONLY = "no tightening of the rows helps: failsafe envelopes for everybody"
VARIANTS_MAX = 8  # sets of settings and forecasts whose certifiers are kept between audits
VOLTAGES = ("voltage_max", "voltage_min")  # their margins are in pu, all others shares of a rating


Forecasts = tuple[Forecast, ...]


class Alarm(msgspec.Struct, frozen=True):
    """Margins below which verified rows are tightened: half of their cushion, of which honest rows were measured to leave all."""

    voltage_pu: float = 0.0003
    loading: float = 0.003

    def of(self, kind: str) -> float:
        return self.voltage_pu if kind in VOLTAGES else self.loading


class Finding(NamedTuple):
    """One audit. `broken` and `low` are kinds of limit, `low` those above zero only; `worst` says the worst limit and its corner."""

    margins: dict[str, float]
    broken: tuple[str, ...]
    low: tuple[str, ...]
    worst: str
    points: int


class Remedy(NamedTuple):
    """Rows, and limits by right, that have passed an audit. `rows` None: those in force stay, the limits are the failsafe."""

    rows: bytes | None
    limit_w: tuple[int, ...]
    detail: str


class Prepared(NamedTuple):
    """What the calls of one network with one set of settings and forecasts share."""

    certifier: Certifier
    alarm: Alarm
    is_proven: bool

    @classmethod
    def of(cls, network: Network, alarm: Alarm) -> Prepared:
        return cls(Certifier(network), alarm, is_proven(network))

    def certify(self, limit_w: Watts, seed: int) -> Certificate:
        half = len(limit_w) // 2
        return self.certifier.certify(limit_w[:half], limit_w[half:], seed=seed, effort="quick")


_networks: dict[str, tuple[Network, Alarm]] = {}
_prepared: dict[tuple[Settings, Forecasts], Prepared] = {}


def prepare(network: Network, alarm: Alarm) -> str:
    """Keeps what the audits of this network need, and of no other, for the calls that follow; returns the network's hash."""
    _networks.clear()
    _prepared.clear()
    _networks[network.content_hash] = network, alarm
    _prepared[(), ()] = Prepared.of(network, alarm)
    return network.content_hash


def _prepared_for(network_hash: str, settings: Settings, forecasts: Forecasts) -> Prepared:
    """The oldest variants are forgotten first. Raises ValueError where the network has no such device or passive."""
    network, alarm = _networks[network_hash]
    variant = settings, forecasts
    if variant not in _prepared:
        for other in [kept for kept in _prepared if kept != ((), ())][: max(0, len(_prepared) - VARIANTS_MAX)]:
            del _prepared[other]
        _prepared[variant] = Prepared.of(in_force(with_forecasts(network, forecasts), settings), alarm)
    return _prepared[variant]


def audit(network_hash: str, holding_w: tuple[int, ...], seed: int, settings: Settings = (), forecasts: Forecasts = ()) -> Finding:
    """Holdings by right: exports, then imports."""
    prepared = _prepared_for(network_hash, settings, forecasts)
    certificate = prepared.certify(np.array(holding_w, dtype=np.int64), seed)
    return judge(certificate, None if prepared.is_proven else prepared.alarm)


def judge(certificate: Certificate, alarm: Alarm | None) -> Finding:
    margins = {one.kind: one.margin for one in certificate.kinds}
    broken = tuple(kind for kind, margin in margins.items() if margin < -TOLERANCE[kind])
    low = tuple(kind for kind, margin in margins.items() if alarm is not None and kind not in broken and margin < alarm.of(kind))
    return Finding(margins, broken, low, _worst(certificate), certificate.points_tried)


def in_words(kind: str, margin: float) -> str:
    return f"{margin:+.5f} pu" if kind in VOLTAGES else f"{100 * margin:+.2f} %"


def _worst(certificate: Certificate) -> str:
    """The worst limit, its margin and its corner: what the operator reads in the journal."""
    worst = min(certificate.kinds, key=lambda one: one.margin * WEIGHT[one.kind])
    limit, corner = RowLabel(worst.kind, worst.element, worst.phase), worst.corner
    return f"{limit}, margin {in_words(worst.kind, worst.margin)}, corner: {corner.description}, interface at {corner.interface_pu:.3f} pu"


def remedy(
    network_hash: str, rows: bytes, holding_w: tuple[int, ...], floor_w: tuple[int, ...], finding: Finding, seed: int,
    settings: Settings = (), forecasts: Forecasts = (),
) -> Remedy | None:  # fmt: skip
    """Tighter rows and the projection of the holdings on them that passes an audit, proven or not; None where nothing does."""
    prepared = _prepared_for(network_hash, settings, forecasts)
    holding, floor = np.array(holding_w, dtype=np.int64), np.array(floor_w, dtype=np.int64)
    polytope = Polytope.from_bytes(rows)
    poor = finding.broken + finding.low
    idle = judge(prepared.certify(np.zeros_like(floor), seed), None).margins
    first = _first_per_mille(finding.margins, idle, poor, prepared.alarm)
    for kinds in (poor, None):
        for per_mille in _ladder(first):
            tight = polytope.tightened(per_mille, kinds)
            if not tight.is_secure(floor):
                break
            limit = project(tight, holding, floor)
            found = judge(prepared.certify(limit, seed), prepared.alarm)
            if not found.broken and not found.low:
                which = "all rows" if kinds is None else f"rows of {' and '.join(KIND_WORDS.get(kind, kind) for kind in kinds)}"
                return Remedy(tight.to_bytes(), tuple(map(int, limit)), f"{which} tightened by {per_mille} per mille")
    if finding.broken and not judge(prepared.certify(floor, seed), None).broken:
        return Remedy(None, tuple(floor_w), FAILSAFE_ONLY)
    return None


def _first_per_mille(margins: dict[str, float], idle: dict[str, float], poor: tuple[str, ...], alarm: Alarm) -> int:
    """By how much the rows are too generous, if all of the effect is theirs."""
    excess = [1.0]
    for kind in poor:
        reach = idle[kind] - 2 * alarm.of(kind)
        excess.append((idle[kind] - margins[kind]) / reach if reach > 0 else 1.0)
    return min(int(np.ceil(1000 * (max(excess) - 1))) + 1, PER_MILLE_MAX)


def _ladder(first: int) -> Iterator[int]:
    per_mille = first
    while per_mille <= PER_MILLE_MAX:
        yield per_mille
        per_mille += max(per_mille // 2, 2)
