"""How much secure power do the rows leave unused? For many directions, what they allow beside what AC allows.

    python -m benchmarks.left_on_table                       all nine networks; writes docs/on-the-table.md
    python -m benchmarks.left_on_table --network cigre-lv --directions 6

A direction is a set of holdings: the max-min allocation, holdings after random trades and the sale of all headroom left, and maximal
points of the rows, fair and lopsided. All limits are scaled together, each at most to its connection's rating:

* rows: the largest multiple that the rows admit (1 where no right can rise);
* AC: the largest multiple at which nobody finds a point of the box that breaks a limit by more than the tolerance. `certify` (full
  effort) and the blind adversary look; the corners that they find pull the multiple down by bisection, by power-grid-model, until both
  find nothing. That is an upper bound of what is secure: a better adversary could only lower it, and raise the ratio.

The ratio is the power of all limits at the first multiple over that at the second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import arguments
from benchmarks.blind_adversary import BlindAdversary
from benchmarks.campaigns import Campaign
from benchmarks.false_accepts import tight_corners
from benchmarks.measure import load_average, machine
from benchmarks.networks import Case, chosen, ready
from benchmarks.workers import Tell, watched
from riskcheck.certify import TOLERANCE, Certifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from riskcheck.certificate import Certificate
    from riskcheck.polytope import Polytope

    Watts = NDArray[np.int64]
    Floats = NDArray[np.float64]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "on-the-table.md"
MARGIN_MIN = -np.array([TOLERANCE[kind] for kind in ("voltage_max", "voltage_min", "thermal")])
FIRST_MULTIPLE = 1.5  # above the rows': where the search starts, unless the ratings are nearer
PRECISION = 2e-4  # of a multiple
TURNS_MAX = 25
TRADES_PER_RIGHT = 20
MEAN_TARGET, SMALLEST_TARGET = 0.95, 0.90


@dataclass(frozen=True)
class Share:
    """One direction: multiples that rows and AC allow, and the power of all limits at the first over that at the second."""

    direction: str
    rows: float
    ac: float
    power: float


@dataclass(frozen=True)
class Figures:
    network: str
    customers: int
    rows: int
    shares: tuple[Share, ...]
    corners: int
    seconds: float

    @property
    def mean(self) -> float:
        return float(np.mean([share.power for share in self.shares]))

    @property
    def smallest(self) -> Share:
        return min(self.shares, key=lambda share: share.power)


class Scale:
    """Multiples of one direction, each limit at most the connection's rating."""

    def __init__(self, direction_w: Watts, caps_w: Watts) -> None:
        self._direction, self._caps = direction_w, caps_w
        held = direction_w > 0
        self.most = float((caps_w[held] / direction_w[held]).max(initial=1.0))

    def at(self, multiple: float) -> Watts:
        return np.asarray(np.minimum(np.floor(self._direction * multiple + 1e-9).astype(np.int64), self._caps))

    def of_rows(self, polytope: Polytope) -> float:
        if polytope.is_secure(self.at(self.most)):
            return self.most
        held = float(polytope.is_secure(self.at(1.0)))
        return bisected(lambda multiple: polytope.is_secure(self.at(multiple)), held, self.most)


def bisected(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest multiple that holds, where `low` holds and `high` does not."""
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


class Truth:
    """What AC allows on one network, as far as two adversaries can tell."""

    def __init__(self, case: Case, certifier: Certifier, polytope: Polytope, seed: int) -> None:
        self._certifier, self._blind, self._polytope = certifier, BlindAdversary(certifier.network), polytope
        self._flows, self._rng = case.flows, np.random.default_rng(seed)
        self.corners = 0

    def multiple(self, scale: Scale, rows_multiple: float) -> float:
        """Largest multiple without a broken corner."""
        multiple = min(scale.most, FIRST_MULTIPLE * rows_multiple)
        shares = np.empty((0, len(scale.at(1.0)) // 2))
        for _ in range(TURNS_MAX):
            broken = self._broken(scale.at(multiple))
            if len(broken):
                shares = np.vstack([shares, _shares(broken, scale.at(multiple))])
                multiple = bisected(lambda m, known=shares: self._holds(known, scale.at(m)), 0.0, multiple)  # type: ignore[misc]
            elif len(shares) or multiple == scale.most:
                return multiple
            else:
                multiple = min(scale.most, FIRST_MULTIPLE * multiple)
        raise RuntimeError("the adversaries still find corners; no multiple was settled")

    def _holds(self, shares: Floats, limits_w: Watts) -> bool:
        self.corners += len(shares)
        export_w, import_w = np.split(limits_w, 2)
        points = np.where(shares > 0, shares * export_w, shares * import_w)
        return bool((self._blind.margins(points) >= MARGIN_MIN).all())

    def _broken(self, limits_w: Watts) -> Floats:
        """Points of the box that break a limit, of as many kinds as do: found by quick means, or else by thorough ones."""
        export_w, import_w = np.split(limits_w, 2)
        for effort in ("quick", "full"):
            certificate = self._certifier.certify(export_w, import_w, seed=int(self._rng.integers(2**31)), effort=effort)
            broken = _of_certificate(certificate)
            self.corners += certificate.points_tried
            if len(broken):
                return broken
        corners = tight_corners(self._polytope, self._polytope.residual(limits_w), limits_w)
        found = self._blind.search(export_w.astype(float), import_w.astype(float), self._rng, self._flows, corners)
        self.corners += found.flows
        return np.asarray(found.points_w[np.array(found.margins) < MARGIN_MIN])


def _of_certificate(certificate: Certificate) -> Floats:
    broken = [one.corner.power_w for one in certificate.kinds if one.margin < -TOLERANCE[one.kind]]
    return np.array(broken, dtype=float)


def _shares(points: Floats, limits_w: Watts) -> Floats:
    """Points as shares of the limits, export positive: the same corner of another multiple."""
    export_w, import_w = np.split(np.maximum(limits_w, 1), 2)
    return np.asarray(np.clip(np.where(points > 0, points / export_w, points / import_w), -1.0, 1.0))


def measure(case: Case, directions: int, seed: int, tell: Tell) -> Figures:
    network, feeder = ready(case.name, lambda phrase, _: tell(case.name, 0, phrase))
    began = time.perf_counter()
    polytope, fair = feeder.polytope, np.array(feeder.export_w + feeder.import_w)
    truth = Truth(case, Certifier(network), polytope, seed)
    shares = []
    for name, limits_w in _directions(network, polytope, fair, directions, seed):
        scale = Scale(limits_w, network.caps_w())
        rows = scale.of_rows(polytope)
        ac = truth.multiple(scale, rows)
        shares.append(Share(name, rows, ac, float(scale.at(rows).sum() / max(1, scale.at(ac).sum()))))
        tell(case.name, 1, f"{shares[-1].power:.3f} {name}")
    return Figures(
        case.name, len(network.customers), polytope.n_rows, tuple(shares), truth.corners, round(time.perf_counter() - began, 1)
    )  # fmt: skip


def _directions(network: Any, polytope: Polytope, fair_w: Watts, count: int, seed: int) -> Iterator[tuple[str, Watts]]:
    """Max-min first; then saturated holdings, in turns after trades and straight from greedy allocations."""
    yield "max-min", fair_w
    for number in range(1, count):
        campaign = Campaign(network, polytope, fair_w, np.random.default_rng([seed, number]), 7 * number)
        if number % 2:
            campaign.trade(TRADES_PER_RIGHT * polytope.n_rights)
        campaign.sell_headroom()
        words = f"{campaign.start}, then trades, mood {campaign.mood}" if number % 2 else campaign.start
        yield f"{words}, and all headroom sold", campaign.limits_w


def page(figures: list[Figures], command: str, seconds: float) -> str:
    lines = [
        "# What the rows leave on the table", "",
        "Rows are linear and must hold for every point that trading can reach, so they keep a distance from what alternating current",
        "would allow. The ratio below is the power of all limits that the rows admit in a direction, over that at the largest multiple",
        "of the same direction at which two adversaries find no broken limit (`benchmarks/left_on_table.py` says how).", "",
        "| network | customers | rows | directions | mean | smallest | AC corners |", "|---|---|---|---|---|---|---|",
        *map(_line, figures),
        f"| **all** | | | | **{_mean(figures):.3f}** | **{min(one.smallest.power for one in figures):.3f}** | |", "",
        f"The goal: {MEAN_TARGET} on average over the networks, {SMALLEST_TARGET} everywhere.", "",
        "The smallest of each network was found in this direction:", "",
        *(f"* {one.network}: {_words(one.smallest)}" for one in figures), "",
        f"Regenerate with `{command}`; this took {seconds:.0f} s on {machine()['processor']}, {machine()['cores']} cores.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _line(one: Figures) -> str:
    cells = (one.network, f"{one.customers:,}", f"{one.rows:,}", len(one.shares), f"{one.mean:.3f}", f"{one.smallest.power:.3f}")
    return f"| {' | '.join(map(str, cells))} | {one.corners:,} |"


def _mean(figures: list[Figures]) -> float:
    return float(np.mean([one.mean for one in figures]))


def _words(share: Share) -> str:
    return f"{share.direction}: multiple {share.rows:.3f} by the rows, {share.ac:.3f} in AC"


def main(given: list[str] | None = None) -> int:
    """Prints the table; with all networks and the usual directions also writes the page. 2: a network that cannot be traded on."""
    args = _parser().parse_args(given)
    command, began = arguments.command("left_on_table", given), time.perf_counter()
    try:
        works = [partial(measure, case, args.directions, args.seed) for case in chosen(args.network)]
        figures = watched(works, len(works) * args.directions, "directions")
    except ValueError as error:
        print(f"left_on_table: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - began
    text = page(figures, command, seconds)
    if not args.network:
        PAGE.write_text(text)
    plain = {"command": command, "machine": machine(), "load": load_average(), "networks": [asdict(one) for one in figures]}
    print(json.dumps(plain) if args.json else text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("left_on_table", __doc__)
    parser.add_argument("--network", action="append", default=[], help="only this one: a name or a file; may be repeated")
    parser.add_argument("--directions", type=int, default=12, help="per network (default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
