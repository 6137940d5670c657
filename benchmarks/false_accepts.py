"""Does a trade that the rows accept ever break a limit in AC? Drives holdings to saturation and lets an adversary look.

    python -m benchmarks.false_accepts --trades 100000 --seed 1

A campaign starts from an allocation (max-min, failsafe, or a random maximal one) and pushes holdings with random trades
through `Headroom`, exactly as the exchange does: between any two rights, down to zero and up to the connection's rating.
Campaigns have a mood: some trade at random, some concentrate rights on one phase, on a few customers, on the far end of the
feeder, or on the customers that load one row. Then the operator sells all headroom that is left, in random order, so that
holdings are saturated. Half-way and at the end `riskcheck.certify` searches the box for a corner that breaks a limit. A
false accept is a margin below the tolerance, 1e-6 pu or 0.01 % of a rating. Exit status 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from envelopes.allocate import max_min
from riskcheck.certify import TOLERANCE, Certifier
from riskcheck.headroom import Headroom
from riskcheck.linearise import build
from riskcheck.network import DEFAULT_NETWORK, Network, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.certify import Certificate
    from riskcheck.polytope import Polytope

    Watts = NDArray[np.int64]

MOODS = ("random", "one phase", "few customers", "one row", "exports only", "imports only")
STARTS = ("max-min", "failsafe", "random maximal")


@dataclass
class Tally:
    """What happened so far."""

    trades: int = 0
    accepted: int = 0
    moved_w: int = 0
    sales: int = 0
    certificates: int = 0
    corners: int = 0
    confirmed: int = 0
    false_accepts: int = 0
    margins: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TOLERANCE, np.inf))
    worst: dict[str, str] = field(default_factory=dict)

    def note(self, certificate: Certificate, circumstances: str) -> None:
        self.certificates += 1
        self.corners += certificate.points_tried
        self.confirmed += certificate.points_confirmed
        self.false_accepts += not certificate.secure
        found = (certificate.margin_voltage_max_pu, certificate.margin_voltage_min_pu, certificate.margin_thermal)
        corners = (
            max(certificate.highest_voltages, key=lambda v: v.voltage_pu).corner,
            min(certificate.lowest_voltages, key=lambda v: v.voltage_pu).corner,
            certificate.worst_branch.corner,
        )
        for kind, margin, corner in zip(TOLERANCE, found, corners, strict=True):
            if margin < self.margins[kind]:
                self.margins[kind] = margin
                self.worst[kind] = f"{circumstances}; {corner}"


class Campaign:
    """Holdings on their way from an allocation to saturation."""

    def __init__(self, network: Network, polytope: Polytope, limits_w: Watts, rng: np.random.Generator, mood: str) -> None:
        self._network, self._polytope, self._rng = network, polytope, rng
        self._caps = network.caps_w()
        self.limits_w = limits_w.copy()
        self._headroom = Headroom(polytope, limits_w)
        self._weight = self._buyers(mood)

    def _buyers(self, mood: str) -> NDArray[np.float64]:
        """How likely each right is to buy; the rest sells."""
        rng, network = self._rng, self._network
        n = len(network.customers)
        weight = np.full(2 * n, 0.02)
        if mood == "random":
            weight[:] = 1.0
        elif mood == "one phase":
            phase = rng.choice(sorted({c.phase for c in network.customers}))
            on = np.array([c.phase == phase for c in network.customers])
            exporting = rng.random() < 0.5
            weight[:n][on == exporting] = 1.0
            weight[n:][on != exporting] = 1.0
        elif mood == "few customers":
            weight[rng.choice(2 * n, size=max(2, n // 8), replace=False)] = 1.0
        elif mood == "one row":
            row = self._polytope.columns[:, rng.integers(self._polytope.n_rows)]
            weight += row / max(1, row.max())
        else:
            weight[: n if mood == "exports only" else None] = 1.0
            if mood == "imports only":
                weight[:n] = 0.02
        return np.asarray(weight / weight.sum())

    def trade(self, count: int, tally: Tally) -> None:
        rng = self._rng
        rights = len(self._weight)
        buyers = rng.choice(rights, size=count, p=self._weight)
        away = 1 / self._weight
        sellers = rng.choice(rights, size=count, p=away / away.sum())
        wanted = np.exp(rng.uniform(0, np.log(10_000), count)).astype(np.int64)
        for buyer, seller, watts in zip(buyers.tolist(), sellers.tolist(), wanted.tolist(), strict=True):
            tally.trades += 1
            most = min(watts, int(self.limits_w[seller]), int(self._caps[buyer] - self.limits_w[buyer]))
            if buyer == seller or most <= 0:
                continue
            moved = self._headroom.trade(buyer, seller, most)
            self.limits_w[buyer] += moved
            self.limits_w[seller] -= moved
            tally.accepted += moved > 0
            tally.moved_w += moved

    def sell_headroom(self, tally: Tally) -> None:
        """The operator sells what is left, buyers of the mood first, until no right can rise."""
        order = self._rng.choice(len(self._weight), size=len(self._weight), replace=False, p=self._weight)
        for right in order.tolist():
            room = min(self._headroom.room_w(right), int(self._caps[right] - self.limits_w[right]))
            if room > 0:
                self._headroom.change(right, room)
                self.limits_w[right] += room
                tally.sales += 1
        self._headroom.check(self.limits_w)


def _random_maximal(polytope: Polytope, caps_w: Watts, rng: np.random.Generator) -> Watts:
    limits = np.zeros(len(caps_w), dtype=np.int64)
    headroom = Headroom(polytope, limits)
    for right in rng.permutation(len(caps_w)).tolist():
        rise = min(headroom.room_w(right), int(caps_w[right]))
        headroom.change(right, rise)
        limits[right] = rise
    return limits


def run(network: Network, trades: int, seed: int, per_campaign: int, tell: Any) -> tuple[Tally, Polytope, float]:
    """All campaigns. tell(done, tally) is called after each."""
    started = time.perf_counter()
    polytope = build(network)
    built_s = time.perf_counter() - started
    certifier = Certifier(network)
    rng = np.random.default_rng(seed)
    caps, floors = network.caps_w(), network.floors_w()
    half = len(caps) // 2
    fair = max_min(polytope, floors, caps).limits_w
    tally = Tally()
    campaign_number = 0
    while tally.trades < trades:
        start, mood = STARTS[campaign_number % len(STARTS)], MOODS[campaign_number // len(STARTS) % len(MOODS)]
        limits = fair if start == "max-min" else floors if start == "failsafe" else _random_maximal(polytope, caps, rng)
        campaign = Campaign(network, polytope, limits, rng, mood)
        count = min(per_campaign, trades - tally.trades)
        for part, effort in ((count - count // 2, "quick"), (count // 2, "full" if campaign_number % 10 == 0 else "quick")):
            campaign.trade(part, tally)
            if effort == "full" or part == count // 2:
                campaign.sell_headroom(tally)
            held = campaign.limits_w
            certificate = certifier.certify(held[:half], held[half:], seed=int(rng.integers(2**31)), effort=effort)
            tally.note(certificate, f"campaign {campaign_number} from {start}, mood {mood}")
        campaign_number += 1
        tell(tally.trades, tally)
    return tally, polytope, built_s


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.false_accepts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trades", type=int, default=100_000, help="random trades to try (default 100000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="builtin name or pandapower JSON file")
    parser.add_argument("--per-campaign", type=int, default=400, help="trades between two fresh starts (default 400)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args(arguments)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    network = load(args.network)
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("building rows", total=args.trades)

        def tell(done: int, tally: Tally) -> None:
            worst = min(tally.margins["voltage_max"], tally.margins["voltage_min"])
            text = f"trades, {tally.corners:,} corners, smallest margin {worst:+.5f} pu {tally.margins['thermal']:+.2%}"
            progress.update(task, completed=done, description=text)

        tally, polytope, built_s = run(network, args.trades, args.seed, args.per_campaign, tell)
    result = {
        "network": network.name,
        "network_hash": network.content_hash,
        "rows_hash": polytope.content_hash,
        "rows": polytope.n_rows,
        "rows_built_s": round(built_s, 1),
        "trades": tally.trades,
        "accepted": tally.accepted,
        "moved_w": tally.moved_w,
        "headroom_sales": tally.sales,
        "certificates": tally.certificates,
        "corners": tally.corners,
        "corners_confirmed": tally.confirmed,
        "margins": tally.margins,
        "worst": tally.worst,
        "false_accepts": tally.false_accepts,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "command": shlex.join(["python", "-m", "benchmarks.false_accepts", *(sys.argv[1:] if arguments is None else arguments)]),
    }
    print(json.dumps(result) if args.json else _text(result))
    return 1 if tally.false_accepts else 0


def _text(result: dict[str, Any]) -> str:
    margins = result["margins"]
    lines = [
        f"{result['network']}: {result['rows']} rows, built in {result['rows_built_s']} s",
        f"{result['trades']:,} trades tried, {result['accepted']:,} accepted, {result['moved_w'] / 1e3:,.0f} kW moved",
        f"{result['headroom_sales']:,} sales of left-over headroom",
        f"{result['certificates']:,} certificates: {result['corners']:,} corners, {result['corners_confirmed']:,} also in power-grid-model",
        f"smallest margins: over-voltage {margins['voltage_max']:+.6f} pu, under-voltage {margins['voltage_min']:+.6f} pu",
        f"                  thermal {margins['thermal']:+.3%} of rating",
        *(f"  {kind}: {where}" for kind, where in result["worst"].items()),
        f"false accepts: {result['false_accepts']}",
        f"{result['seconds']} s on {result['machine']}",
        f"command: {result['command']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
